"""Cancelled jobs, and those that a shutdown stops, as far as one process can show them."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

import zerog
from tests.processes import until
from tests.worker.builders import ASYNC, Running, app_with, work
from zerog.engine.transitions import WorkerIdentity
from zerog.jobs.document import document_of
from zerog.records.commands import run_name
from zerog.support.clock import SYSTEM
from zerog.worker.executors.async_ import AsyncExecutor
from zerog.worker.executors.thread import ThreadExecutor

# cancel


@pytest.mark.parametrize("executor", ASYNC)
def test_a_coroutine_that_was_cancelled_before_it_began_is_interrupted(executor: str) -> None:
    """The hint may arrive at any time: before the run, too."""
    ways: list[str] = []

    async def run(job: Any) -> None:
        await asyncio.sleep(60)

    app, _ = app_with(run)
    ended = threading.Event()

    def done(_claim: Any, outcome: Any, _seconds: float) -> None:
        ways.append(outcome.branch)
        ended.set()

    slots = (AsyncExecutor if executor == "async" else ThreadExecutor)(app, 1, 30.0, done, SYSTEM)
    [claim] = app.engine.claim(1, WorkerIdentity("w", 30.0), app.registry.load_head)
    slots.start()
    slots.cancel(run_name(claim.uuid, claim.epoch))
    slots.add([claim])
    assert ended.wait(20)
    slots.close()
    assert ways == ["cancelled"]


def test_a_job_that_was_cancelled_and_retried_runs() -> None:
    """A hint is meant for one run: the next one of the same job, on the same worker, doesn't get it."""
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


def test_a_coroutine_gets_a_cancellation_that_comes_with_its_limit() -> None:
    """Both are delivered, one after the other."""
    seen: list[str] = []

    async def run(job: Any) -> None:
        try:
            await asyncio.sleep(60)
        except zerog.SoftTimeout:
            seen.append("limit")
            document_of(job).run.cancel()
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
    """The run is interrupted in any case; how the job ends is written when the datastore answers."""
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
