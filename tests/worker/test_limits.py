"""Soft and hard limits of a run, as far as one process can show them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import zerog
from tests.processes import until
from tests.worker.kit import Running, Started, finished
from zerog.clock import SYSTEM
from zerog.datastores.memory import MemoryDatastore
from zerog.orders import named
from zerog.queues.memory import MemoryQueue
from zerog.testing.clock import ManualClock
from zerog.testing.inline import ways_out
from zerog.transitions import Worker
from zerog.worker.eventloop import AsyncSlots
from zerog.worker.outcome import REQUEUE
from zerog.worker.slots import ThreadSlots

ASYNC = ("async", "thread")
"""Executors for an ``async def run``: as a task of the worker's loop, and on a loop of its own."""


def app_with(run: Callable[..., Any], **attributes: Any) -> tuple[zerog.App, str]:
    app = zerog.App(datastore=MemoryDatastore(), queue=MemoryQueue())
    app.register(type("Made", (zerog.BaseJob,), {"JOB_TYPE": "made", "run": run, "MAX_ERRORS": 1, **attributes}))
    return app, app.submit("made").uuid


def work(app: zerog.App, executor: str, **options: Any) -> zerog.worker.worker.WorkerStats:
    return zerog.Worker(app, executor=executor, **options).run(burst=True)


@pytest.mark.parametrize("how", ["tick", "keep_alive", "record_event", "save", "wait"])
def test_a_run_over_its_soft_limit_is_told_where_it_calls_zerog(how: str) -> None:
    """Once, as an error of type SoftTimeout; what runs in time hears nothing."""
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
    """It is told once: what it writes while it cleans up goes through."""

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
    """A job that shrugs off each failed item would shrug off its limit, too."""

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
    """``on_error`` is told, as of any exception; a hook is part of the run that the limit is for."""
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


def test_what_comes_after_run_is_not_interrupted() -> None:
    """A run that has returned is over, however long its end takes."""

    def continue_running(job: Any) -> int:
        time.sleep(0.1)
        job.keep_alive()
        return 503

    def run(job: Any) -> None:
        raise ValueError

    job = finished(run, SOFT_TIMEOUT=0.05, continue_running=continue_running)
    assert (job.status, job.resultCode, [error.type for error in job.errors]) == ("failed", 503, ["ValueError"])


def test_another_thread_of_the_job_is_not_told() -> None:
    """It would end that thread and not the run."""
    told: list[BaseException] = []

    def helper(job: Any) -> None:
        try:
            job.keep_alive()
        except BaseException as error:
            told.append(error)

    def run(job: Any) -> None:
        until(lambda: job._run.seconds_left() == 0)
        thread = threading.Thread(target=helper, args=[job])
        thread.start()
        thread.join()
        job.keep_alive()

    job = finished(run, SOFT_TIMEOUT=0.05, MAX_ERRORS=1)
    assert not told
    assert job.errors[0].type == "SoftTimeout"


@pytest.mark.parametrize("executor", ASYNC)
def test_a_coroutine_is_told_where_it_awaits(executor: str) -> None:
    """It sees SoftTimeout, may clean up with awaits, and what leaves it is an error like any other."""
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
    assert time.monotonic() - started < 10
    job = app.get_job(uuid)
    assert seen == ["cleaned up"]
    assert (job.status, [error.type for error in job.errors]) == ("failed", ["SoftTimeout"])


@pytest.mark.parametrize("executor", ASYNC)
def test_task_groups_clean_up_behind_a_soft_timeout(executor: str) -> None:
    """The tasks of a group are cancelled and waited for, and the limit comes out of it."""
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
def test_a_coroutine_that_goes_on_after_its_limit_is_told_once(executor: str) -> None:
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
def test_a_clean_up_may_have_task_groups_of_its_own(executor: str) -> None:
    """The cancellation that the limit was has been used up: what fails in the clean-up is told as what it is."""

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
    """It keeps its slot until it ends, and its job is somebody else's long before."""
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


@pytest.mark.parametrize("executor", ["thread", "async"])
def test_a_hard_limit_that_a_thread_cant_keep_is_refused(executor: str) -> None:
    """Where it would not be kept the worker doesn't start, and says what would keep it."""
    app, uuid = app_with(lambda job: None, TIMEOUT=1)
    with pytest.raises(zerog.ConfigurationError, match=r"TIMEOUT of 1 s.*executor='process'"):
        work(app, executor)
    assert app.get_job(uuid).status == "queued"


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


# cancel


@pytest.mark.parametrize("executor", ASYNC)
def test_a_coroutine_that_was_cancelled_before_it_began_is_told(executor: str) -> None:
    """The hint comes at any time: before the run, too."""
    ways: list[str] = []

    async def run(job: Any) -> None:
        await asyncio.sleep(60)

    app, _ = app_with(run)
    ended = threading.Event()

    def done(_claim: Any, outcome: Any, _seconds: float) -> None:
        ways.append(outcome.branch)
        ended.set()

    slots = (AsyncSlots if executor == "async" else ThreadSlots)(app, 1, 30.0, done, SYSTEM)
    [claim] = app.engine.claim(1, Worker("w", 30.0), app.registry.accept)
    slots.start()
    slots.cancel(named(claim.uuid, claim.epoch))
    slots.add([claim])
    assert ended.wait(20)
    slots.close()
    assert ways == ["cancelled"]


def test_a_job_that_was_cancelled_and_retried_runs() -> None:
    """A hint is meant for one run: the next one of the same job, on the same worker, doesn't hear of it."""
    tried: list[int] = []

    def run(job: Any) -> None:
        tried.append(job.attempts)
        if len(tried) == 1:
            app.cancel(job.uuid)
        for _ in range(200):
            job.keep_alive()
            time.sleep(0.01)

    app, uuid = app_with(run)
    with Running(app):
        until(lambda: app.get_job(uuid).status == "cancelled")
        app.retry(uuid)
        until(lambda: app.get_job(uuid).status == "succeeded")
    assert len(tried) == 2


@pytest.mark.parametrize("executor", ["thread", "async"])
def test_a_run_that_ignores_its_cancellation_loses_its_job_after_the_grace(executor: str) -> None:
    go, began = threading.Event(), threading.Event()

    def run(job: Any) -> None:
        began.set()
        go.wait(60)

    app, uuid = app_with(run, CANCEL_GRACE=0.2)
    with Running(app, executor=executor):
        assert began.wait(20)
        assert app.cancel(uuid) == "running"
        until(lambda: app.get_job(uuid).status == "cancelled")
        assert not go.is_set()
        go.set()
    job = app.get_job(uuid)
    assert (job.resultCode, job.lost, job.errorCount) == (410, 0, 0)
    assert "did not end within 0.2 s of being cancelled" in job.events[0]["msg"]


def test_a_job_that_has_ended_is_refused_with_its_status() -> None:
    app, uuid = app_with(lambda job: None)
    work(app, "thread")
    with pytest.raises(zerog.JobStateError, match="is succeeded already"):
        app.cancel(uuid)


def test_a_job_between_two_tries_never_starts_again() -> None:
    def run(job: Any) -> None:
        raise ValueError

    app, uuid = app_with(run, MAX_ERRORS=5)
    work(app, "thread")
    assert app.get_job(uuid).status == "scheduled"
    assert app.cancel(uuid) == "cancelled"
    assert app.get_job(uuid).attempts == 1


def test_a_coroutine_is_told_of_a_cancellation_that_comes_with_its_limit() -> None:
    """Both are told, one after the other."""
    seen: list[str] = []

    async def run(job: Any) -> None:
        try:
            await asyncio.sleep(60)
        except zerog.SoftTimeout:
            seen.append("limit")
            job._run.cancel()
        try:
            await asyncio.sleep(60)
        except zerog.Cancelled:
            seen.append("cancelled")
            raise

    app, uuid = app_with(run, SOFT_TIMEOUT=0.05)
    work(app, "async")
    assert (seen, app.get_job(uuid).status) == (["limit", "cancelled"], "cancelled")


# shutdown


@pytest.mark.parametrize("executor", ["thread", "async"])
def test_a_shutdown_waits_for_what_it_finishes_and_gives_back_the_rest(executor: str) -> None:
    go, began = threading.Event(), threading.Semaphore(0)

    def run(job: Any) -> None:
        began.release()
        go.wait(60)

    app, uuid = app_with(run)
    app.register(type("Finish", (zerog.BaseJob,), {"JOB_TYPE": "finish", "run": run, "ON_SHUTDOWN": "finish"}))
    finishing = app.submit("finish").uuid
    running = Running(app, executor=executor, concurrency=2, grace=0.1)
    with running:
        assert began.acquire(timeout=20) and began.acquire(timeout=20)
        running.worker.stop()
        until(lambda: app.get_job(uuid).status == "queued")
        assert app.get_job(finishing).status == "running"
        go.set()
    assert app.get_job(finishing).status == "succeeded"
    assert running.stats is not None
    assert (running.stats.released, running.stats.succeeded) == (1, 1)


def test_a_shutdown_stops_what_it_is_to_stop_even_without_a_datastore() -> None:
    """The run is told in any case; how the job ends is written when the datastore answers."""
    began = threading.Event()

    def run(job: Any) -> None:
        began.set()
        while True:
            job.keep_alive()
            time.sleep(0.01)

    app, uuid = app_with(run, ON_SHUTDOWN="stop")
    app.engine.cancel = unavailable  # type: ignore[method-assign,assignment]
    with Running(app, grace=20) as running:
        assert began.wait(20)
        running.worker.stop()
    assert app.get_job(uuid).status == "cancelled"


def unavailable(*_args: object) -> str:
    raise zerog.exceptions.DatastoreUnavailable("it is away")
