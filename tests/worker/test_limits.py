"""Soft and hard limits of a run, as far as one process can show them."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

import zerog
from tests.processes import stretched, until
from tests.worker.builders import ASYNC, Started, app_with, finished, work
from zerog.jobs.document import document_of
from zerog.testing.clock import ManualClock
from zerog.testing.inline import ways_out
from zerog.worker.outcome import REQUEUE


@pytest.mark.parametrize("how", ["tick", "keep_alive", "record_event", "save", "wait"])
def test_a_run_over_its_soft_limit_is_interrupted_where_it_calls_zerog(how: str) -> None:
    """Once, as an error of type SoftTimeout; what runs in time gets nothing."""
    clock = ManualClock()
    seen: list[str] = []

    def call(job: Any) -> None:
        if how == "record_event":
            job.record_event("so far")
        elif how == "save":
            job.completeness += 0.01
            job.save()
        elif how == "wait":
            job._app.wait(job.uuid, timeout=60)
        else:
            getattr(job, how)()

    def run(job: Any) -> None:
        job._app = started.app
        clock.advance(4.9)
        if how != "wait":
            call(job)
        seen.append("in time")
        clock.advance(0.2)
        call(job)
        seen.append("never")

    started = Started(run, clock=clock, SOFT_TIMEOUT=5)
    started.run._limit_at, started.run._soft_limit = clock.monotonic() + 5, 5
    job = started.settle(outcome := started.go())
    assert seen == ["in time"]
    assert (outcome.branch, outcome.kind) == ("exception", REQUEUE)
    assert (job.errorCount, job.errors[0].type) == (1, "SoftTimeout")
    assert "SOFT_TIMEOUT of 5 s" in job.errors[0].msg


def test_a_job_may_catch_it_clean_up_and_end_as_it_likes() -> None:
    """It is raised once: what the job writes while it cleans up is stored."""

    def run(job: Any) -> int:
        try:
            while True:
                job.tick()
                time.sleep(0.005)
        except zerog.SoftTimeout:
            job.update_attrs(completeness=0.5)
            job.tick()
            return 206

    job = finished(run, SOFT_TIMEOUT=0.05)
    assert (job.status, job.resultCode, job.errorCount, ways_out(job)) == ("succeeded", 206, 0, ("value",))


def test_except_exception_doesnt_swallow_it() -> None:
    """A job that ignores each failed item would ignore its limit, too."""

    def run(job: Any) -> None:
        while True:
            try:
                job.tick()
            except Exception:
                continue

    job = finished(run, SOFT_TIMEOUT=0.05, MAX_ERRORS=2)
    assert (job.status, [error.type for error in job.errors]) == ("failed", ["SoftTimeout"] * 2)


@pytest.mark.parametrize("is_async", [False, True])
def test_hooks_see_it_as_an_error_of_the_job(is_async: bool) -> None:
    """``on_error`` gets it, as any exception; a hook is part of the run that the limit is for."""
    seen: list[str] = []

    def on_error(job: Any, error: BaseException) -> None:
        seen.append(type(error).__name__)

    def after_run(job: Any) -> None:
        seen.append("after")

    def run(job: Any) -> None:
        while True:
            job.tick()

    async def run_async(job: Any) -> None:
        await asyncio.sleep(60)

    job = finished(
        run_async if is_async else run, SOFT_TIMEOUT=0.05, MAX_ERRORS=1, on_error=on_error, after_run=after_run
    )
    assert (seen, [error.type for error in job.errors]) == (["after", "SoftTimeout"], ["SoftTimeout"])


def test_finish_on_may_name_it() -> None:
    def run(job: Any) -> None:
        while True:
            job.tick()

    job = finished(run, SOFT_TIMEOUT=0.05, FINISH_ON=(zerog.SoftTimeout,))
    assert (job.status, job.errorCount) == ("failed", 1)


def test_what_follows_run_is_not_interrupted() -> None:
    """A run that has returned is over, however long its end takes."""

    def continue_running(job: Any) -> int:
        time.sleep(0.1)
        job.keep_alive()
        return 503

    def run(job: Any) -> None:
        raise ValueError

    job = finished(run, SOFT_TIMEOUT=0.05, continue_running=continue_running)
    assert (job.status, job.resultCode, [error.type for error in job.errors]) == ("failed", 503, ["ValueError"])


def test_another_thread_of_the_job_is_not_interrupted() -> None:
    """It would end that thread and not the run."""
    recorded: list[BaseException] = []

    def helper(job: Any) -> None:
        try:
            job.keep_alive()
        except BaseException as error:
            recorded.append(error)

    def run(job: Any) -> None:
        until(lambda: document_of(job).run.seconds_left() == 0)
        thread = threading.Thread(target=helper, args=[job])
        thread.start()
        thread.join()
        job.keep_alive()

    job = finished(run, SOFT_TIMEOUT=0.05, MAX_ERRORS=1)
    assert not recorded
    assert job.errors[0].type == "SoftTimeout"


@pytest.mark.parametrize("executor", ASYNC)
def test_a_coroutine_is_interrupted_where_it_awaits(executor: str) -> None:
    """It sees SoftTimeout, may clean up with awaits, and what it raises is an error like any other."""
    seen: list[str] = []

    async def run(job: Any) -> None:
        try:
            await asyncio.sleep(60)
        except zerog.SoftTimeout:
            async with asyncio.timeout(10):
                await asyncio.sleep(0.01)
            seen.append("cleaned up")
            raise

    app, uuid = app_with(run, SOFT_TIMEOUT=0.1)
    started = time.monotonic()
    work(app, executor)
    assert time.monotonic() - started < stretched(10)
    job = app.get_job(uuid)
    assert seen == ["cleaned up"]
    assert (job.status, [error.type for error in job.errors]) == ("failed", ["SoftTimeout"])


@pytest.mark.parametrize("executor", ASYNC)
def test_task_groups_clean_up_behind_a_soft_timeout(executor: str) -> None:
    """The tasks of a group are cancelled and waited for, and the group raises the limit."""
    ended: list[str] = []

    async def child(name: str) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append(name)

    async def run(job: Any) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(child("a"))
                group.create_task(child("b"))
        finally:
            ended.append("the group")

    app, uuid = app_with(run, SOFT_TIMEOUT=0.1)
    work(app, executor)
    assert (sorted(ended[:2]), ended[2:]) == (["a", "b"], ["the group"])
    assert [error.type for error in app.get_job(uuid).errors] == ["SoftTimeout"]


@pytest.mark.parametrize("executor", ASYNC)
def test_a_jobs_own_timeouts_and_cancellations_are_no_soft_timeout(executor: str) -> None:
    async def run(job: Any) -> str:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(60)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(60), 0.01)
        task = asyncio.ensure_future(asyncio.sleep(60))
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert not isinstance(caught.value, zerog.SoftTimeout)
        return {"all": "well"}  # type: ignore[return-value]

    app, uuid = app_with(run, SOFT_TIMEOUT=30)
    work(app, executor)
    assert app.get_job(uuid).output == {"all": "well"}


@pytest.mark.parametrize("executor", ASYNC)
def test_a_coroutine_that_continues_after_its_limit_is_interrupted_once(executor: str) -> None:
    async def run(job: Any) -> int:
        try:
            await asyncio.sleep(60)
        except zerog.SoftTimeout:
            pass
        for _ in range(20):
            job.tick()
            await asyncio.sleep(0.005)
        return 206

    app, uuid = app_with(run, SOFT_TIMEOUT=0.05)
    work(app, executor)
    assert app.get_job(uuid).resultCode == 206


@pytest.mark.parametrize("executor", ASYNC)
def test_a_clean_up_may_have_its_own_task_groups(executor: str) -> None:
    """The cancellation that the limit was has been used up: what fails in the clean-up is reported as what it is."""

    async def fail() -> None:
        raise ValueError("in the clean-up")

    async def run(job: Any) -> None:
        try:
            await asyncio.sleep(60)
        except zerog.SoftTimeout:
            assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # which libraries look at
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                await asyncio.sleep(60)

    app, uuid = app_with(run, SOFT_TIMEOUT=0.05)
    work(app, executor)
    assert [error.type for error in app.get_job(uuid).errors] == ["ExceptionGroup"]


def test_a_hard_limit_takes_the_job_from_a_coroutine() -> None:
    """An error, counted; the class decides about another try, and the second run may be better."""

    async def run(job: Any) -> Any:
        if job.attempts == 1:
            await asyncio.sleep(60)

    app, uuid = app_with(run, TIMEOUT=0.3, MAX_ERRORS=2)
    stats = work(app, "async")
    assert stats.ran == 1
    job = app.get_job(uuid)
    assert (job.status, job.errorCount, job.lost, job.crashes) == ("scheduled", 1, 0, 0)
    assert (job.errors[0].type, "TIMEOUT of 0.3 s" in job.errors[0].msg) == ("Timeout", True)
    until(lambda: work(app, "async").succeeded)
    assert app.get_job(uuid).attempts == 2


def test_a_coroutine_that_ignores_its_hard_limit_can_write_no_more() -> None:
    """It keeps its slot until it ends, although another worker has long had its job."""
    go, lost = threading.Event(), list[BaseException]()

    async def run(job: Any) -> Any:
        while not go.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue
        try:
            job.record_event("too late")
        except BaseException as error:
            lost.append(error)
            raise

    app, uuid = app_with(run, TIMEOUT=0.2)
    thread = threading.Thread(target=work, args=(app, "async"))
    thread.start()
    try:
        until(lambda: app.get_job(uuid).status == "failed")
        assert thread.is_alive()
    finally:
        go.set()
        thread.join(20)
    job = app.get_job(uuid)
    assert ([type(error).__name__ for error in lost], job.events, job.errorCount) == (["ClaimLost"], [], 1)


def test_a_coroutine_that_blocks_the_loop_loses_its_job_all_the_same() -> None:
    go = threading.Event()

    async def run(job: Any) -> Any:
        go.wait(60)

    app, uuid = app_with(run, TIMEOUT=0.2)
    thread = threading.Thread(target=work, args=(app, "async"))
    thread.start()
    try:
        until(lambda: app.get_job(uuid).status == "failed")
    finally:
        go.set()
        thread.join(20)
    assert app.get_job(uuid).errors[0].type == "Timeout"


def test_a_run_in_time_is_not_touched_by_its_hard_limit() -> None:
    async def run(job: Any) -> int:
        await asyncio.sleep(0.05)
        return 204

    app, uuid = app_with(run, TIMEOUT=20)
    assert work(app, "async").succeeded == 1
    assert app.get_job(uuid).resultCode == 204


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"SOFT_TIMEOUT": 0}, r"SOFT_TIMEOUT is 0; expected seconds, more than 0"),
        ({"SOFT_TIMEOUT": -1}, r"SOFT_TIMEOUT is -1; expected seconds, more than 0"),
        ({"SOFT_TIMEOUT": "1m"}, r"SOFT_TIMEOUT is '1m'; expected seconds"),
        ({"SOFT_TIMEOUT": True}, r"SOFT_TIMEOUT is True; expected seconds"),
        ({"SOFT_TIMEOUT": float("nan")}, r"SOFT_TIMEOUT is nan; expected seconds"),
        ({"TIMEOUT": float("inf")}, r"TIMEOUT is inf; expected seconds"),
        ({"SOFT_TIMEOUT": 60, "TIMEOUT": 60}, r"SOFT_TIMEOUT is 60 and its TIMEOUT 60; expected a soft limit below"),
        ({"SOFT_TIMEOUT": 61, "TIMEOUT": 60.0}, r"SOFT_TIMEOUT is 61 and its TIMEOUT 60.0"),
    ],
)
def test_limits_that_make_no_sense_are_refused_at_registration(attributes: dict[str, Any], expected: str) -> None:
    with pytest.raises(zerog.InvalidJobClass, match=expected):
        app_with(lambda job: None, **attributes)
