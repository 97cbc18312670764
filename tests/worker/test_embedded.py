"""The worker as part of a program: beside a block, with fatal errors, waiting for its datastore, leaving signals."""

from __future__ import annotations

import asyncio
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.processes import until
from tests.worker.builders import Broken, Running, break_down
from zerog.exceptions import DatastoreUnavailable
from zerog.fleet.heartbeat import WorkerRecords
from zerog.testing.clock import ManualClock


@pytest.fixture
def app() -> zerog.App:
    made = zerog.App("memory://")

    @made.job
    def quick(job: zerog.BaseJob) -> None:
        pass

    return made


# with


def test_a_worker_works_beside_a_block(app: zerog.App) -> None:
    worker = zerog.Worker(app)
    assert not worker.is_running
    with worker as entered:
        assert entered is worker and worker.is_running
        uuid = app.submit("quick").uuid
        assert app.wait(uuid, timeout=20).status == "succeeded"
    assert not worker.is_running
    assert WorkerRecords(app.engine).directory() == {}
    with worker:
        assert app.wait(app.submit("quick").uuid, timeout=20).status == "succeeded"


def test_a_worker_works_beside_an_async_block(app: zerog.App) -> None:
    async def main() -> None:
        async with zerog.Worker(app) as worker:
            assert worker.is_running
            uuid = app.submit("quick").uuid
            await asyncio.to_thread(app.wait, uuid, 20)
        assert not worker.is_running

    asyncio.run(main())
    assert WorkerRecords(app.engine).directory() == {}


def test_a_claim_that_breaks_the_slot_that_reads_it_ends_the_worker(app: zerog.App) -> None:
    """Rather than silently one of its threads, leaving a job that is never run."""
    app.submit("quick")

    def unreadable(*_arguments: Any) -> bool:
        raise Broken("made up")

    app.engine.load_claim = unreadable  # type: ignore[method-assign]
    with pytest.raises(Broken):
        zerog.Worker(app, signals=()).run()


@pytest.mark.parametrize("executor", ["thread", "async", "process"])
def test_a_block_has_every_executor(tmp_path: Path, executor: str) -> None:
    app = zerog.App(f"sqlite:///{tmp_path}/jobs.db")

    @app.job
    def quick(job: zerog.BaseJob) -> None:
        pass

    with zerog.Worker(app, executor=executor):
        assert app.wait(app.submit(quick).uuid, timeout=20).status == "succeeded"
    app.close()


def test_the_end_of_a_block_gives_jobs_their_grace(app: zerog.App) -> None:
    begun = threading.Event()

    @app.job
    def patient(job: zerog.BaseJob) -> int:
        begun.set()
        until(lambda: job.stopping)
        return 200

    with zerog.Worker(app):
        uuid = app.submit(patient).uuid
        assert begun.wait(20)
    assert app.progress(uuid)["status"] == "succeeded"


def test_a_worker_runs_once_at_a_time(app: zerog.App) -> None:
    with zerog.Worker(app) as worker:
        with pytest.raises(zerog.ZerogError, match="is running already"):
            worker.run()
        assert worker.is_running


@pytest.mark.parametrize("swallowed", [False, True])
def test_what_was_fatal_is_raised_at_the_end_of_a_block(app: zerog.App, swallowed: bool) -> None:
    """Also when the block itself failed; that is the context then."""
    break_down(app)
    recorded: list[BaseException] = []

    def block() -> None:
        with zerog.Worker(app, on_fatal=recorded.append):
            until(lambda: recorded)
            if not swallowed:
                raise ValueError("the block's own")

    with pytest.raises(Broken) as caught:
        block()
    assert recorded == [caught.value]
    assert isinstance(caught.value.__context__, ValueError) is not swallowed


@pytest.mark.parametrize("swallowed", [False, True])
def test_an_async_block_is_cancelled_when_its_worker_fails(app: zerog.App, swallowed: bool) -> None:
    """And the error is raised at its end, even if the block swallows the cancellation."""
    break_down(app)
    seen: list[str] = []

    async def main() -> None:
        async with zerog.Worker(app):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                seen.append("cancelled")
                if not swallowed:
                    raise

    async def outer() -> None:
        with pytest.raises(Broken):
            await main()
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0
        await asyncio.sleep(0)  # would raise if a cancellation were left

    asyncio.run(outer())
    assert seen == ["cancelled"]


def test_cancelling_the_task_that_awaits_the_end_hurries_it(app: zerog.App) -> None:
    """The first request to end waits for the jobs, a second one doesn't."""
    begun, go = threading.Event(), threading.Event()

    @app.job
    def stubborn(job: zerog.BaseJob) -> None:
        begun.set()
        go.wait(60)
        job.keep_alive()

    uuid = app.submit(stubborn).uuid

    async def main() -> None:
        async with zerog.Worker(app, grace=3600) as worker:
            await asyncio.to_thread(begun.wait, 20)
            worker.stop()

    async def outer() -> None:
        task = asyncio.create_task(main())
        await asyncio.to_thread(begun.wait, 20)
        while not (task.done() or waits_for_the_end(task)):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    def waits_for_the_end(task: asyncio.Task[None]) -> bool:
        return any("end_async" in str(frame) for frame in _frames(task))

    asyncio.run(asyncio.wait_for(outer(), 30))
    assert app.progress(uuid)["status"] == "queued"
    go.set()


def _frames(task: asyncio.Task[None]) -> list[str]:
    names, awaited = [], task.get_coro()
    while awaited is not None:
        names.append(getattr(awaited, "__qualname__", ""))
        awaited = getattr(awaited, "cr_await", None)
    return names


# on_fatal


def test_on_fatal_is_called_before_run_raises_and_can_prevent_nothing(
    app: zerog.App, caplog: pytest.LogCaptureFixture
) -> None:
    break_down(app)
    recorded: list[BaseException] = []

    def on_fatal(error: BaseException) -> None:
        recorded.append(error)
        raise RuntimeError("its own")

    with pytest.raises(Broken) as caught:
        zerog.Worker(app, on_fatal=on_fatal).run()
    assert recorded == [caught.value]
    assert "on_fatal of worker" in caplog.text and "its own" in caplog.text


@pytest.mark.parametrize("place", ["run", "with", "async with"])
def test_on_fatal_may_be_asynchronous(app: zerog.App, place: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is awaited to its end before the error is raised, and can prevent that as little."""
    break_down(app)
    recorded: list[str] = []

    async def on_fatal(error: BaseException) -> None:
        recorded.append(f"called with {error}")
        await asyncio.sleep(0.01)
        recorded.append("awaited")
        raise RuntimeError("its own")

    worker = zerog.Worker(app, on_fatal=on_fatal)

    async def async_block() -> None:
        async with worker:
            await asyncio.sleep(60)

    def block() -> None:
        with worker:
            until(lambda: len(recorded) == 2)

    works = {"run": worker.run, "with": block, "async with": lambda: asyncio.run(async_block())}
    with pytest.raises(Broken, match="made up"):
        works[place]()
    assert recorded == ["called with made up", "awaited"]
    assert "on_fatal of worker" in caplog.text and "its own" in caplog.text


def test_an_object_with_an_asynchronous_call_may_be_on_fatal(app: zerog.App) -> None:
    break_down(app)
    recorded: list[BaseException] = []

    class Alarm:
        async def __call__(self, error: BaseException) -> None:
            recorded.append(error)

    with pytest.raises(Broken) as caught:
        zerog.Worker(app, on_fatal=Alarm()).run()
    assert recorded == [caught.value]


def test_on_fatal_is_not_called_for_a_requested_end(app: zerog.App) -> None:
    recorded: list[BaseException] = []
    zerog.Worker(app, on_fatal=recorded.append).run(burst=True)
    assert recorded == []


# connect_retries


class Away:
    """A datastore that is away for the first attempts."""

    def __init__(self, app: zerog.App, times: float) -> None:
        self.looks = 0
        read = app.datastore.read_with_cas

        def read_with_cas(*args: Any, **kwargs: Any) -> Any:
            self.looks += 1
            if self.looks <= times:
                raise DatastoreUnavailable("made up: away")
            return read(*args, **kwargs)

        app.datastore.read_with_cas = read_with_cas


def test_a_worker_waits_for_its_datastore(app: zerog.App, caplog: pytest.LogCaptureFixture) -> None:
    app.submit("quick")
    Away(app, 12)
    assert zerog.Worker(app, clock=ManualClock()).run(burst=True).succeeded == 1
    assert caplog.text.count("waits for the datastore") == 12


def test_the_pauses_between_tries_grow_to_half_a_minute(app: zerog.App) -> None:
    clock, pauses = ManualClock(), list[float]()
    wait = clock.wait

    def noted(event: threading.Event, seconds: float) -> bool:
        if threading.current_thread() is threading.main_thread():
            pauses.append(seconds)
        return wait(event, seconds)

    clock.wait = noted  # type: ignore[method-assign]
    Away(app, 10)
    zerog.Worker(app, clock=clock).run(burst=True)
    assert all(0.2 * 2**n <= pause <= 0.3 * 2**n for n, pause in enumerate(pauses[:7]))
    assert all(24 <= pause <= 36 for pause in pauses[7:10])


@pytest.mark.parametrize("retries", [0, 3])
def test_a_worker_gives_up_after_connect_retries(
    app: zerog.App, retries: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The log records that; the cause is in the error, which the caller of the worker reports."""
    away = Away(app, float("inf"))
    recorded: list[BaseException] = []
    worker = zerog.Worker(app, clock=ManualClock(), connect_retries=retries, on_fatal=recorded.append)
    with pytest.raises(DatastoreUnavailable, match="away") as caught:
        worker.run()
    assert away.looks == retries + 1
    assert f"tried {retries + 1} times to reach the datastore and gives up" in caught.value.__notes__[0]
    assert recorded == [caught.value] and not worker.is_running
    [given_up] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert given_up == caught.value.__notes__[0]


def test_a_worker_that_waits_for_its_datastore_can_be_stopped(app: zerog.App) -> None:
    away = Away(app, float("inf"))
    with Running(app) as running:
        until(lambda: away.looks > 1)
    assert running.stats is not None and running.stats.ran == 0


# signals


def test_signals_may_be_left_alone(app: zerog.App) -> None:
    """Then a program's own handlers are called while the worker runs."""
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: received.append(number))
    try:
        worker = zerog.Worker(app, signals=())

        def act() -> None:
            until(lambda: WorkerRecords(app.engine).directory())
            signal.raise_signal(signal.SIGTERM)

        thread = threading.Thread(target=lambda: (act(), worker.stop()))
        thread.start()
        worker.run()
        thread.join()
        assert received == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_signals_may_end_a_worker(app: zerog.App) -> None:
    worker = zerog.Worker(app, signals=[signal.SIGUSR1])
    before = signal.getsignal(signal.SIGUSR1)

    def act() -> None:
        until(lambda: WorkerRecords(app.engine).directory())
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    thread = threading.Thread(target=act)
    thread.start()
    worker.run()
    thread.join()
    assert signal.getsignal(signal.SIGUSR1) == before


def test_a_block_of_a_worker_leaves_signals_to_the_program(app: zerog.App) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with zerog.Worker(app):
        assert signal.getsignal(signal.SIGTERM) is before
