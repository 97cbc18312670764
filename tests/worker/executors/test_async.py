"""The async executor: tasks of one loop."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import zerog
from tests.processes import until
from tests.worker.blocking_job import Gate, add, burst, document
from tests.worker.builders import Running, short_lease
from zerog.backends.memory.queue import MemoryQueue
from zerog.exceptions import ClaimLost
from zerog.worker.executors.pool import DaemonThreadPool


@pytest.fixture
def store() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


@pytest.fixture
def app(store: Gate) -> zerog.App:
    return zerog.App(datastore=store, queue=MemoryQueue())


def test_a_job_that_blocks_the_loop_for_many_leases_is_run_by_one_worker(app: zerog.App) -> None:
    """The heartbeat is sent by another thread, so the second worker sees its neighbour alive all the time."""
    began, go = threading.Event(), threading.Event()
    ran: list[int] = []

    async def run(job: Any) -> Any:
        ran.append(job.attempts)
        began.set()
        go.wait(60)  # no await: nothing else of this loop moves
        job.record_event("done")

    uuid = add(app, run)
    with Running(app, executor="async", lease=1.5) as first:
        assert began.wait(20)
        name = f"zerog_worker_{first.worker.name}"
        before = app.datastore.read(name)["beat"]
        with Running(app, executor="async", lease=1.5):
            until(lambda: app.datastore.read(name)["beat"] >= before + 9)  # three heartbeats a lease: three leases
            assert app.progress(uuid)["status"] == "running"
            go.set()
            job = app.wait(uuid, 20)
    assert (job.status, job.attempts, job.lost, ran) == ("succeeded", 1, 0, [1])


def test_at_the_end_of_the_grace_a_task_is_cancelled_and_may_clean_up(
    app: zerog.App, caplog: pytest.LogCaptureFixture
) -> None:
    began = threading.Event()
    seen: list[object] = []

    async def run(job: Any) -> Any:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append(job.stopping)
            try:
                job.record_event("too late")
            except ClaimLost:
                seen.append("refused")
            raise

    uuid = add(app, run)
    with Running(app, executor="async", grace=0.1):
        assert began.wait(20)
    head = document(app, uuid)
    assert (head["status"], head["attempts"], head["errorCount"], head["lost"]) == ("queued", 0, 0, 0)
    assert "shutdown" in head["events"][-1]["msg"]
    until(lambda: len(seen) == 2)
    assert seen == [True, "refused"]
    until(lambda: "took the run away" in caplog.text)
    assert "CancelledError" not in caplog.text, "it is no error of the job"


def test_a_task_that_swallows_its_cancellation_is_left_behind(app: zerog.App) -> None:
    """The worker ends in time all the same, the job waits for another one, and the task can't change it."""
    began, swallowed, over = threading.Event(), threading.Event(), threading.Event()
    go: list[asyncio.Event] = []

    async def run(job: Any) -> Any:
        go.append(asyncio.Event())
        go.append(asyncio.get_running_loop())  # type: ignore[arg-type]
        began.set()
        try:
            await go[0].wait()
        except asyncio.CancelledError:
            swallowed.set()
        await go[0].wait()
        over.set()
        return 200

    uuid = add(app, run)
    with Running(app, executor="async", grace=0.1):
        assert began.wait(20)
    assert swallowed.wait(20)
    head = document(app, uuid)
    assert (head["status"], head["attempts"]) == ("queued", 0)
    go[1].call_soon_threadsafe(go[0].set)  # type: ignore[attr-defined]
    assert over.wait(20)
    assert document(app, uuid) == head
    until(lambda: "zerog-event-loop" not in {thread.name for thread in threading.enumerate()})


def test_a_lost_lease_stops_tasks_that_only_wait(app: zerog.App, store: Gate) -> None:
    """A task needs no write to stop. The worker releases the job, or a sweep rescues it first; no error is counted."""
    began, cancelled = threading.Event(), threading.Event()

    async def run(job: Any) -> Any:
        if began.is_set():
            return 200
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    uuid = add(app, run)
    with Running(app, executor="async", lease=short_lease()):
        assert began.wait(20)
        store.off = True
        assert cancelled.wait(20)
        store.off = False
        job = app.wait(uuid, 20)
    assert (job.status, job.attempts - job.lost, job.errorCount) == ("succeeded", 1, 0)


def test_each_task_has_its_own_context(app: zerog.App) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")

    async def run(job: Any) -> Any:
        before = variable.get()
        variable.set(job.uuid)
        await asyncio.sleep(0)
        return {"before": before, "after": variable.get()}

    add(app, run)
    uuids = app.submit_many("made", [{}] * 200)  # enough for some to be claimed ahead and begun by an ending one
    burst(app, concurrency=2)
    assert [app.get_job(uuid).output for uuid in uuids] == [{"before": "none", "after": uuid} for uuid in uuids]


def test_a_pool_starts_no_more_threads_than_it_may_and_hides_nothing() -> None:
    pool = DaemonThreadPool(3, "made-up")
    go = threading.Event()
    waiting = [pool.submit(go.wait, 20) for _ in range(10)]
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("made-up")]
    assert sorted(names) == ["made-up-1", "made-up-2", "made-up-3"]
    given_up = pool.submit(print, "never")
    assert given_up.cancel()
    go.set()
    assert [future.result(20) for future in waiting] == [True] * 10
    with pytest.raises(SystemExit):
        pool.submit(sys.exit, 1).result(20)
    assert pool.submit(int, "5").result(20) == 5
    pool.shutdown()
    until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("made-up")])


def test_plain_and_asynchronous_jobs_share_the_slots(app: zerog.App) -> None:
    """A plain job that blocks keeps its own slot and no other."""
    began, go = threading.Event(), threading.Event()

    def blocks(job: Any) -> Any:
        began.set()
        go.wait(30)

    async def quick(job: Any) -> Any:
        await asyncio.sleep(0)

    plain = add(app, blocks, "plain")
    with Running(app, executor="async", concurrency=2):
        assert began.wait(20)
        add(app, quick, "quick")
        for uuid in app.submit_many("quick", [{}] * 20):
            assert app.wait(uuid, 20).status == "succeeded"
        assert app.progress(plain)["status"] == "running"
        go.set()
        assert app.wait(plain, 20).status == "succeeded"


def test_a_worker_leaves_no_thread_and_no_file_behind(app: zerog.App) -> None:
    async def run(job: Any) -> Any:
        await asyncio.to_thread(int)

    add(app, run)
    add(app, lambda job: 200, "plain")
    burst(app)
    gc.collect()
    until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("zerog-")])
    files = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        app.submit("made")
        app.submit("plain")
        assert burst(app).succeeded == 2
    until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("zerog-")])
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= files


def test_a_worker_ends_after_exactly_max_jobs(app: zerog.App) -> None:
    async def run(job: Any) -> Any:
        await asyncio.sleep(0)

    add(app, run)
    app.submit_many("made", [{}] * 9)
    assert zerog.Worker(app, executor="async", max_jobs=5, concurrency=2).run().ran == 5
