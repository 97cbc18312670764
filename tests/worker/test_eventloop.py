"""The async executor: what is special about tasks of one loop."""

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
from tests.worker.kit import Body, Running
from zerog.datastores.memory import MemoryDatastore
from zerog.exceptions import Cancelled, ClaimLost, DatastoreUnavailable
from zerog.queues.memory import MemoryQueue
from zerog.worker.daemons import DaemonPool


class Gate(MemoryDatastore):
    """Writes of runs wait while it is closed; with ``off`` everything is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.open.set()
        self.waiting = threading.Event()
        self.off = False

    def read_with_cas(self, *args: Any, **kwargs: Any) -> Any:
        self._check()
        return super().read_with_cas(*args, **kwargs)

    def mutate(self, key: str, operations: Any, *args: Any, **kwargs: Any) -> Any:
        self._check()
        if kwargs.get("seq") is not None and not self.open.is_set():
            self.waiting.set()
            assert self.open.wait(30)
        return super().mutate(key, operations, *args, **kwargs)

    def _check(self) -> None:
        if self.off:
            raise DatastoreUnavailable("switched off; nothing was written")


@pytest.fixture
def store() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


@pytest.fixture
def app(store: Gate) -> zerog.App:
    return zerog.App(datastore=store, queue=MemoryQueue())


def add(app: zerog.App, run: Body, job_type: str = "made", **attributes: Any) -> str:
    """Submit a job whose run() is this coroutine function."""
    app.register(type("Made", (zerog.BaseJob,), {"JOB_TYPE": job_type, "run": run, **attributes}))
    return app.submit(job_type).uuid


def burst(app: zerog.App, **options: Any) -> Any:
    return zerog.Worker(app, executor="async", **options).run(burst=True)


def document(app: zerog.App, uuid: str) -> dict[str, Any]:
    return dict(app.datastore.read(f"zerog_job_{uuid}"))


def test_a_job_that_blocks_the_loop_for_many_leases_is_run_once_and_by_nobody_else(app: zerog.App) -> None:
    """The beat comes from another thread, so the second worker sees its neighbour alive all the time."""
    began, go = threading.Event(), threading.Event()
    ran: list[int] = []

    async def run(job: Any) -> Any:
        ran.append(job.attempts)
        began.set()
        go.wait(60)  # no await: nothing else of this loop moves
        job.record_event("done")

    uuid = add(app, run)
    with Running(app, executor="async", lease=0.5) as first:
        assert began.wait(20)
        name = f"zerog_worker_{first.worker.name}"
        before = app.datastore.read(name)["beat"]
        with Running(app, executor="async", lease=0.5):
            until(lambda: app.datastore.read(name)["beat"] >= before + 15)  # three beats a lease: five leases
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
    """A task needs no write to learn of it. The worker gives the job up, and runs it again when it can."""
    began, cancelled = threading.Event(), threading.Event()

    async def run(job: Any) -> Any:
        if job.attempts > 1:
            return 200
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    uuid = add(app, run)
    with Running(app, executor="async", lease=0.6):
        assert began.wait(20)
        store.off = True
        assert cancelled.wait(20)
        store.off = False
        job = app.wait(uuid, 20)
    assert (job.status, job.attempts, job.lost, job.errorCount) == ("succeeded", 2, 1, 0)


def test_each_task_has_a_context_of_its_own(app: zerog.App) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody")

    async def run(job: Any) -> Any:
        before = variable.get()
        variable.set(job.uuid)
        await asyncio.sleep(0)
        return {"before": before, "after": variable.get()}

    add(app, run)
    uuids = app.submit_many("made", [{}] * 200)  # enough for some to be claimed ahead and begun by an ending one
    burst(app, concurrency=2)
    assert [app.get_job(uuid).output for uuid in uuids] == [{"before": "nobody", "after": uuid} for uuid in uuids]


# what goes wrong inside a job


async def failing(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


@pytest.mark.parametrize(
    ("error", "status", "code", "says"),
    [
        (ValueError("deep"), "failed", 500, "ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)"),
        (SystemExit(3), "failed", 500, "SystemExit: 3"),
        (KeyboardInterrupt(), "failed", 500, "KeyboardInterrupt"),
        (zerog.ErrorFinish("gone", code=404), "failed", 404, "ErrorFinish: gone"),
        (Cancelled("stop"), "cancelled", 410, None),
    ],
)
def test_what_a_task_of_a_group_raises_ends_the_run(
    app: zerog.App, error: BaseException, status: str, code: int, says: str | None
) -> None:
    """Python lets SystemExit through its event loop; the loop and the other jobs go on."""

    async def run(job: Any) -> Any:
        async with asyncio.TaskGroup() as group:
            group.create_task(failing(error))
            group.create_task(asyncio.sleep(60))

    async def fine(job: Any) -> Any:
        await asyncio.sleep(0.01)
        return 204

    bad = add(app, run, "bad", MAX_ERRORS=1)
    good = add(app, fine, "good")
    burst(app, concurrency=2)
    head = document(app, bad)
    assert (head["status"], head["resultCode"]) == (status, code)
    assert [entry["msg"] for entry in head["errors"]] == ([says] if says else [])
    if isinstance(error, ValueError):
        assert "ValueError: deep" in head["errors"][0]["traceback"]
    assert app.progress(good)["result"] == 204


def test_a_task_that_nobody_awaits_can_not_end_the_loop(app: zerog.App, caplog: pytest.LogCaptureFixture) -> None:
    async def run(job: Any) -> Any:
        job.left = asyncio.create_task(failing(SystemExit(1)))
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.01)
        job.left.exception()
        return 200

    add(app, run)
    app.submit_many("made", [{}] * 3)
    assert burst(app).succeeded == 4
    assert "the event loop, which goes on" in caplog.text


def test_what_a_job_leaves_in_the_loop_ends_with_the_worker_and_writes_nothing(app: zerog.App) -> None:
    ended: list[BaseException] = []

    async def left_behind(job: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            ended.append(error)
            try:
                job.record_event("too late")
            except ClaimLost as lost:
                ended.append(lost)
            raise

    async def run(job: Any) -> Any:
        job.left = asyncio.create_task(left_behind(job))
        await asyncio.sleep(0)

    uuid = add(app, run)
    assert burst(app).succeeded == 1
    assert [type(error) for error in ended] == [asyncio.CancelledError, ClaimLost]
    assert document(app, uuid)["events"] == []


def test_a_job_that_cancels_itself_is_an_error_of_the_job(app: zerog.App) -> None:
    async def run(job: Any) -> Any:
        task = asyncio.current_task()
        assert task is not None
        task.cancel("by myself")
        if job.attempts == 1:
            await asyncio.sleep(60)
        return 200  # cancelled, but it never awaits again

    uuid = add(app, run, continue_running=lambda self: zerog.NO_RESULT)
    with Running(app, executor="async"):
        job = app.wait(uuid, 20)
    assert (job.status, job.attempts, job.errorCount) == ("succeeded", 2, 1)
    assert job.errors[0].msg == "CancelledError: by myself"


def test_a_timeout_inside_a_job_is_an_error_of_the_job(app: zerog.App) -> None:
    async def run(job: Any) -> Any:
        async with asyncio.timeout(0.001):
            await asyncio.sleep(60)

    head = document(app, (add(app, run, MAX_ERRORS=1), burst(app))[0])
    assert (head["status"], head["errorCount"], head["errors"][0]["msg"]) == ("failed", 1, "TimeoutError")


# writes from other threads


def test_a_slow_write_in_a_thread_does_not_hold_up_the_loop(app: zerog.App, store: Gate) -> None:
    """``await asyncio.to_thread(self.update_attrs, …)``: the neighbour runs while the write hangs."""
    neighbour = threading.Event()

    async def slow(job: Any) -> Any:
        await asyncio.to_thread(job.update_attrs, completeness=0.5)
        return 200

    async def quick(job: Any) -> Any:
        neighbour.set()
        while not store.open.is_set():
            await asyncio.sleep(0.001)
        return 200

    uuid = add(app, slow, "slow")
    store.open.clear()
    with Running(app, executor="async", concurrency=2):
        assert store.waiting.wait(20)
        other = add(app, quick, "quick")
        assert neighbour.wait(20)
        store.open.set()
        assert app.wait(uuid, 20).status == app.wait(other, 20).status == "succeeded"


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Has Python change from thread to thread as often as it can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("hasty_threads")
def test_writes_of_one_run_from_many_threads_are_all_stored(app: zerog.App) -> None:
    """Including saves, which are refused if their token is older than the run's own last write."""

    async def run(job: Any) -> Any:
        def save(number: int) -> None:
            job.headers = {**job.headers, str(number): "x"}
            job.save()

        writes = [asyncio.to_thread(job.record_event, f"event {n}") for n in range(200)]
        saves = [asyncio.to_thread(save, n) for n in range(50)]
        adds = [asyncio.to_thread(job.add_to_completeness, 1 / 200) for n in range(100)]
        await asyncio.gather(*writes, *saves, *adds)
        return 418

    uuid = add(app, run)
    burst(app)
    head = document(app, uuid)
    assert (head["resultCode"], head["errors"]) == (418, [])
    assert sorted(event["msg"] for event in head["events"]) == sorted(f"event {n}" for n in range(200))
    assert head["completeness"] == pytest.approx(0.5)


@pytest.mark.parametrize("what", ["cancelled", "claim lost"])
def test_what_a_write_in_a_thread_raises_reaches_the_run(app: zerog.App, what: str) -> None:
    seen: list[type[BaseException]] = []

    async def run(job: Any) -> Any:
        if job.attempts > 1:
            return 200
        if what == "cancelled":
            app.cancel(job.uuid)
        else:
            job._run.revoke("taken")
        try:
            await asyncio.to_thread(job.record_event, "x")
        except BaseException as error:
            seen.append(type(error))
            raise

    uuid = add(app, run)
    burst(app)
    expected = ([Cancelled], "cancelled", 0) if what == "cancelled" else ([ClaimLost], "succeeded", 1)
    head = document(app, uuid)
    assert (seen, head["status"], head["lost"]) == expected


# the worker


def test_a_pool_starts_no_more_threads_than_it_may_and_hides_nothing() -> None:
    pool = DaemonPool(3, "made-up")
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
    """A plain job that blocks keeps its own slot and nobody else's."""
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
