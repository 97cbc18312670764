"""``Worker.stop``: with and without waiting, and what ``is_running`` and ``is_stopped`` say meanwhile."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.processes import until
from tests.worker.builders import Broken, Running, break_down
from tests.worker.worker_fixtures import EXECUTORS, Bed
from zerog.fleet.heartbeat import WorkerRecords


def states(worker: zerog.Worker) -> tuple[bool, bool]:
    return worker.is_running, worker.is_stopped


def patient(self: Any) -> int:
    """The body of a job that ends when its worker does."""
    self.record_event("began")
    until(lambda: self.stopping)
    return 200


@pytest.mark.parametrize("executor", EXECUTORS)
def test_it_returns_when_the_worker_has_ended(executor: str, tmp_path: Path) -> None:
    """After the jobs and all that the worker leaves behind."""
    bed = Bed(tmp_path, executor)
    uuid = bed.submit(patient)
    worker = zerog.Worker(bed.app, executor=executor)
    assert states(worker) == (False, False)
    thread = threading.Thread(target=worker.run)
    thread.start()
    until(lambda: bed.app.info(uuid)["events"])
    assert states(worker) == (True, False)
    worker.stop(wait=True)
    assert states(worker) == (False, True)
    assert bed.app.progress(uuid)["status"] == "succeeded"
    assert WorkerRecords(bed.app.engine).directory() == {}
    thread.join(20)
    assert not thread.is_alive()
    bed.app.close()


def test_without_wait_it_returns_at_once(tmp_path: Path) -> None:
    bed = Bed(tmp_path)
    may_end = threading.Event()
    uuid = bed.submit(lambda self: self.record_event("began") or (may_end.wait(20) and 200))
    with Running(bed.app) as running:
        until(lambda: bed.app.info(uuid)["events"])
        running.worker.stop()
        assert states(running.worker) == (True, False)  # the job still runs
        may_end.set()
        running.worker.stop(wait=True)
        assert states(running.worker) == (False, True)
    bed.app.close()


def test_several_may_wait(tmp_path: Path) -> None:
    bed = Bed(tmp_path)
    uuid = bed.submit(patient)
    worker = zerog.Worker(bed.app)
    run = threading.Thread(target=worker.run)
    run.start()
    until(lambda: bed.app.info(uuid)["events"])
    waiting = [threading.Thread(target=worker.stop, kwargs={"wait": True}) for _ in range(3)]
    for thread in waiting:
        thread.start()
    for thread in [*waiting, run]:
        thread.join(20)
        assert not thread.is_alive()
    bed.app.close()


def test_it_doesn_t_wait_for_what_does_not_run() -> None:
    """Before the first run, which then ends at once, and after it."""
    app = zerog.App("memory://")
    worker = zerog.Worker(app)
    worker.stop(wait=True)
    assert states(worker) == (False, False)
    assert worker.run().ran == 0
    assert states(worker) == (False, True)
    worker.stop(wait=True)


def test_a_worker_that_runs_again_is_not_stopped() -> None:
    app = zerog.App("memory://")
    worker = zerog.Worker(app)
    for _ in range(2):
        with worker:
            assert states(worker) == (True, False)
        assert states(worker) == (False, True)


def test_within_a_block() -> None:
    """Of either kind: the worker has ended then, and so has nothing to do at the end of the block."""
    app = zerog.App("memory://")
    with zerog.Worker(app) as worker:
        worker.stop(wait=True)
        assert worker.is_stopped

    async def main() -> None:
        async with zerog.Worker(app, executor="async") as beside:
            await asyncio.to_thread(beside.stop, wait=True)
            assert beside.is_stopped

    asyncio.run(main())


def test_a_worker_that_failed_is_stopped() -> None:
    app = zerog.App("memory://")
    break_down(app)
    worker = zerog.Worker(app)
    with pytest.raises(Broken):
        worker.run()
    assert states(worker) == (False, True)


@pytest.mark.parametrize("executor", ["thread", "async"])
def test_a_job_can_t_wait_for_the_worker_that_runs_it(executor: str) -> None:
    """It would wait for its own end; it may stop the worker, and another thread may wait."""
    app = zerog.App("memory://")

    @app.job
    def stopping(job: Any) -> dict[str, str]:
        with pytest.raises(zerog.ZerogError, match="for whose end it would wait") as refused:
            worker.stop(wait=True)
        assert not job.stopping
        worker.stop()
        return {"refused": str(refused.value)}

    job = app.submit(stopping)
    worker = zerog.Worker(app, executor=executor)
    worker.run()
    assert f"called in job {job.uuid}, which it runs" in app.get_job(job.uuid).output["refused"]


def test_neither_can_the_thread_that_runs_it(caplog: pytest.LogCaptureFixture) -> None:
    """As in on_fatal, whose own errors are logged."""
    app = zerog.App("memory://")
    break_down(app)
    worker = zerog.Worker(app, on_fatal=lambda error: worker.stop(wait=True))
    with pytest.raises(Broken):
        worker.run()
    assert "called in the thread that runs it" in caplog.text
