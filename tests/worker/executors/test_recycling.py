"""Workers of threads that end after their share, a lease that is watched, and retries that are spread out."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.processes import stretched, until
from zerog import backoff
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.engine.transitions import WorkerIdentity
from zerog.fleet.heartbeat import WorkerRecords
from zerog.support.clock import Clock
from zerog.worker.executors import cleanup
from zerog.worker.lease import Lease


class Quick(zerog.BaseJob):
    JOB_TYPE = "quick"

    def run(self) -> int:
        return 200


class Patient(zerog.BaseJob):
    """Reports that it runs, and runs until it may end."""

    JOB_TYPE = "patient"
    began, may_end = threading.Event(), threading.Event()
    was_notified: bool | None = None

    def run(self) -> int:
        type(self).began.set()
        type(self).may_end.wait(20)
        type(self).was_notified = self.stopping
        return 200


@pytest.fixture
def app() -> zerog.App:
    app = zerog.App("memory://")
    app.register(Quick, Patient)
    Patient.began.clear()
    Patient.may_end.clear()
    return app


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_jobs": 0}, "max_jobs=0"),
        ({"max_jobs": 1.5}, r"max_jobs=1\.5"),
        ({"max_jobs": True}, "max_jobs=True"),
        ({"max_jobs_per_child": 0}, "max_jobs_per_child=0"),
        ({"max_jobs_per_child": None}, "max_jobs_per_child=None"),
        ({"max_memory": 0}, "max_memory=0"),
        ({"max_memory": "1G"}, "max_memory='1G'"),
    ],
)
def test_wrong_limits_fail_at_once(app: zerog.App, options: dict[str, Any], named: str) -> None:
    with pytest.raises(zerog.ConfigurationError, match=named):
        zerog.Worker(app, **options)


@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_worker_of_threads_ends_after_exactly_max_jobs(app: zerog.App, concurrency: int) -> None:
    """And the next one finds the rest as it was."""
    uuids = app.submit_many("quick", ({} for _ in range(30)))
    stats = zerog.Worker(app, concurrency=concurrency, max_jobs=20).run()
    assert (stats.ran, stats.succeeded, stats.released) == (20, 20, 0)
    waiting = [app.progress(uuid) for uuid in uuids if app.progress(uuid)["status"] == "queued"]
    assert [head["attempts"] for head in waiting] == [0] * 10
    assert zerog.Worker(app, max_jobs=20).run(burst=True).ran == 10


@pytest.mark.parametrize("executor", ["thread", "async", "process"])
def test_a_worker_of_every_executor_ends_after_exactly_max_jobs(executor: str, tmp_path: Path) -> None:
    """Runs that failed count, and so does each try of one job."""
    app = zerog.App(f"sqlite:///{tmp_path}/jobs.db")

    @app.job
    def wrong(job: zerog.BaseJob) -> int:
        return zerog.NO_RESULT if job.attempts == 1 else 500

    app.submit_many("wrong", ({} for _ in range(4)))
    options: dict[str, Any] = {"executor": executor, "max_jobs_per_child": 2}
    for most, ran in ((3, 3), (4, 4), (3, 1)):
        assert zerog.Worker(app, max_jobs=most, concurrency=2, **options).run(burst=ran < most).ran == ran
    assert [head["attempts"] for head in app.jobs(status="failed")] == [2] * 4
    app.close()


def test_a_worker_of_threads_ends_when_it_has_grown_too_big(app: zerog.App) -> None:
    """Each worker makes progress, however small the limit: the first run precedes the first look."""
    app.submit_many("quick", ({} for _ in range(100)))
    assert 1 <= zerog.Worker(app, max_memory=1).run().ran <= 100


def test_running_jobs_of_a_worker_that_reached_its_limit_have_their_own_time(app: zerog.App) -> None:
    """They are neither interrupted nor cut off after the grace."""
    app.submit("patient")
    worker = zerog.Worker(app, max_jobs=1, grace=0.0)
    ended: list[Any] = []
    thread = threading.Thread(target=lambda: ended.append(worker.run()))
    thread.start()
    assert Patient.began.wait(stretched(10))
    thread.join(1.2)  # more than twice the pace at which the worker checks itself
    assert thread.is_alive()
    Patient.may_end.set()
    thread.join(stretched(10))
    assert (ended[0].succeeded, ended[0].released, Patient.was_notified) == (1, 0, False)


def test_a_lot_of_memory_is_seen() -> None:
    before = cleanup.resident_memory()
    kept = bytearray(b"x" * (64 << 20))
    assert cleanup.resident_memory() - before > 50 << 20
    assert len(kept) == 64 << 20


def test_retries_of_jobs_that_failed_together_are_spread() -> None:
    """Of 1,000 errors at one moment no tenth of the span gets more than twice its share of the next runs."""
    for errors in (1, 2, 5):
        delays = [backoff.DEFAULT(errors, None) for _ in range(1_000)]
        low, high = min(delays), max(delays)
        assert high - low > 0.2 * high
        tenths = [int((delay - low) / (high - low) * 9.999) for delay in delays]
        assert max(tenths.count(tenth) for tenth in range(10)) < 200


class Blocked(MemoryDatastore):
    """Writes of workers' records wait until they are let through."""

    def __init__(self) -> None:
        super().__init__()
        self.let_through = threading.Event()
        self.waiting = threading.Event()
        self.let_through.set()

    def mutate(self, key: str, *args: Any, **kwargs: Any) -> Any:
        if key.startswith("zerog_worker_") and not self.let_through.is_set():
            self.waiting.set()
            self.let_through.wait(20)
        return super().mutate(key, *args, **kwargs)


class Writing(zerog.BaseJob):
    """Writes all the time, and notes when ClaimLost was raised."""

    JOB_TYPE = "writing"
    began = threading.Event()
    stopped: list[float] = []  # noqa: RUF012

    def run(self) -> int:
        if self.stopped:
            return 200
        try:
            while True:
                self.keep_alive()
                self.began.set()
                time.sleep(0.005)  # the pace of writing
        except zerog.ClaimLost:
            self.stopped.append(time.monotonic())
            raise


def test_a_renewal_longer_than_the_lease_ends_the_runs_before_a_takeover() -> None:
    """The write hangs, and so does the thread that does it; still the run ends within the lease."""
    store = Blocked()
    app = zerog.App(datastore=store, queue=MemoryQueue())
    app.register(Writing)
    uuid = app.submit("writing").uuid
    worker = zerog.Worker(app, lease=1.5)
    thread = threading.Thread(target=worker.run)
    thread.start()
    assert Writing.began.wait(stretched(10))
    store.let_through.clear()
    assert store.waiting.wait(stretched(10))
    hung = time.monotonic()
    until(lambda: Writing.stopped, 10)
    assert Writing.stopped[0] - hung < 1.5
    store.let_through.set()
    job = app.wait(uuid, 20)
    assert (job.attempts, job.lost) == (1, 0)  # the datastore was away
    worker.stop()
    thread.join(20)
    assert not thread.is_alive()


class Slow(Clock):
    """Lets a renewal seem to take as long as set."""

    def __init__(self) -> None:
        self.time = 0.0

    def monotonic(self) -> float:
        return self.time


def test_a_renewal_that_succeeded_too_late_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent two thirds of a lease ago proves nothing about now."""
    clock, lost = Slow(), list[tuple[str, bool]]()
    app = zerog.App("memory://")
    lease = Lease(WorkerRecords(app.engine), WorkerIdentity("late", 9.0), dict, lambda *loss: lost.append(loss), clock)
    lease._renew()
    original = WorkerRecords.renew

    def slowly(*args: Any) -> int:
        beat = original(*args)
        clock.time += 7.0
        return beat

    monkeypatch.setattr(WorkerRecords, "renew", slowly)
    clock.time = 3.0
    lease._renew()
    lease.check()
    assert len(lost) == 1 and not lease.held
    lease._renew()
    assert not lease.held
    monkeypatch.setattr(WorkerRecords, "renew", original)
    lease._renew()
    assert lease.held and len(lost) == 1


def test_a_worker_that_is_stopped_before_it_runs_ends_at_once(app: zerog.App) -> None:
    """Its supervisor may be gone that early. It can be run again."""
    worker = zerog.Worker(app)
    worker.stop()
    ended: list[int] = []
    thread = threading.Thread(target=lambda: ended.append(worker.run().ran), daemon=True)
    thread.start()
    thread.join(stretched(10))
    assert len(ended) == 1
    uuid = app.submit("quick").uuid
    worker.run(burst=True)
    assert app.progress(uuid)["status"] == "succeeded"
