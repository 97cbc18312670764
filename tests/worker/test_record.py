"""The content of a worker's record, which costs one write for each renewal of the lease, whatever the worker runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zerog
import zerog.worker.health
from tests.processes import until
from tests.worker.builders import Running
from zerog.engine.transitions import WorkerIdentity
from zerog.fleet.heartbeat import WorkerRecords
from zerog.support.clock import Clock
from zerog.worker.lease import Lease
from zerog.worker.session import UUIDS


class Crowd:
    """An app whose jobs wait until they are let go."""

    def __init__(self) -> None:
        self.app = zerog.App("memory://")
        self.go = threading.Event()
        go = self.go

        @self.app.job
        def waiting(job: zerog.BaseJob) -> None:
            go.wait(60)

    def submit(self, count: int) -> list[str]:
        return self.app.submit_many("waiting", [{}] * count)

    def shown(self) -> dict[str, Any]:
        [worker] = until(self.app.workers)
        return worker  # type: ignore[no-any-return]


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    made = Crowd()
    yield made
    made.go.set()


def test_a_record_counts_all_jobs_and_names_some(crowd: Crowd) -> None:
    uuids = crowd.submit(UUIDS + 5)
    with Running(crowd.app, concurrency=UUIDS + 5, lease=0.5):
        until(lambda: crowd.shown()["jobs"] == UUIDS + 5)
        named = crowd.shown()["uuids"]
        assert len(named) == UUIDS and set(named) <= set(uuids)
        crowd.go.set()


def test_a_renewal_is_one_write_whatever_runs(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[str] = []
    store = crowd.app.datastore
    for verb in ("mutate", "set_with_cas", "create", "set", "update"):
        original = getattr(store, verb)

        def counted(key: str, *args: Any, original: Any = original, **kwargs: Any) -> Any:
            writes.append(key)
            return original(key, *args, **kwargs)

        monkeypatch.setattr(store, verb, counted)
    crowd.submit(30)
    with Running(crowd.app, concurrency=30, lease=0.5) as running:
        until(lambda: crowd.shown()["jobs"] == 30)
        key = f"zerog_worker_{running.worker.name}"
        before, beat = writes.count(key), store.read(key)["beat"]
        until(lambda: store.read(key)["beat"] >= beat + 5)
        after = store.read(key)["beat"]
        assert after - beat <= writes.count(key) - before <= after - beat + 1  # one may have been written since
        crowd.go.set()


def test_a_change_of_state_is_recorded_at_once(crowd: Crowd) -> None:
    """Not with the next renewal, which may be twenty minutes away."""
    with Running(crowd.app, lease=3600) as running:
        crowd.submit(1)
        until(lambda: next(crowd.app.jobs(status="running"), None))
        crowd.app.fleet.drain(running.worker.name)
        until(lambda: crowd.app.datastore.read(f"zerog_worker_{running.worker.name}")["state"] == "draining")
        crowd.go.set()
        until(lambda: crowd.shown()["state"] == "drained")
        crowd.app.fleet.undrain(running.worker.name)
        until(lambda: crowd.shown()["state"] == "running")
        crowd.go.clear()
        crowd.submit(1)
        until(lambda: next(crowd.app.jobs(status="running"), None))
        running.worker.stop()
        until(lambda: crowd.shown()["state"] == "stopping")
        crowd.go.set()


def test_a_worker_of_paused_queues_only_is_ready_and_has_nothing_to_do(tmp_path: Path) -> None:
    """systemd would give it up otherwise; and a burst is over."""
    crowd = Crowd()
    crowd.app.fleet.pause("default")
    crowd.submit(1)
    recorded: list[str] = []
    reporter = zerog.worker.health.HealthReporter([recorded.append])
    stats = zerog.Worker(crowd.app, reporter=reporter).run(burst=True)
    assert stats.ran == 0
    with Running(crowd.app, reporter=reporter):
        until(lambda: any("READY=1" in line for line in recorded))
    [uuid] = [progress["uuid"] for progress in crowd.app.jobs()]
    assert crowd.app.progress(uuid)["status"] == "queued" and crowd.app.progress(uuid)["attempts"] == 0


def test_a_paused_queue_is_not_put_again(crowd: Crowd) -> None:
    """Its jobs wait, and are on it: however often workers and reconcile poll, nothing is repaired."""
    app = crowd.app
    app.fleet.pause("default")
    app.submit_many("waiting", [{}] * 5)
    with Running(app, lease=0.5):
        [worker] = until(app.workers)
        key = f"zerog_worker_{worker['name']}"
        until(lambda: app.datastore.read(key)["beat"] > 20)  # reconcile has run ten times meanwhile
    assert not app.reconcile()
    assert app.engine.counters["put.again"] == 0
    assert app.queue.size() == 5


@pytest.mark.parametrize("of_worker", ["7", None])
def test_the_owner_of_a_job_names_its_build(crowd: Crowd, of_worker: str | None) -> None:
    """The worker's own, or else its app's."""
    [uuid] = crowd.submit(1)
    crowd.app.build_id = "6" if of_worker else "7"
    with Running(crowd.app, build_id=of_worker):
        until(lambda: crowd.app.progress(uuid)["status"] == "running")
        assert crowd.app.get_job(uuid).dump()["owner"]["build"] == "7"
        assert crowd.shown()["build"] == "7" and crowd.shown()["config"]["build_id"] == of_worker
        crowd.go.set()


def test_an_app_is_closed_at_the_end_of_its_block(tmp_path: Path) -> None:
    """So that no socket is left open, which would be an error of this test."""
    with zerog.App(f"sqlite:///{tmp_path}/jobs.db") as app:
        assert app.queue.size() == 0


def test_a_worker_leaves_no_thread_that_renews(crowd: Crowd) -> None:
    """Nor one that listens, however long the pauses between two rounds are."""
    before = set(threading.enumerate())

    def new() -> set[str]:
        return {thread.name for thread in set(threading.enumerate()) - before}

    with Running(crowd.app, lease=3600):
        until(lambda: {"zerog-lease", "zerog-control"} <= new())
    assert "zerog-lease" not in new()
    until(lambda: "zerog-control" not in new())


def test_a_drained_worker_whose_record_was_removed_is_drained_in_the_new_one(crowd: Crowd) -> None:
    """It was away for its lease, and was taken for dead."""
    app = crowd.app
    with Running(app, lease=0.5) as running:
        key = f"zerog_worker_{running.worker.name}"
        until(lambda: app.datastore.read(key))
        app.fleet.drain(running.worker.name, by="ann")
        until(lambda: app.datastore.read(key)["state"] == "drained")
        WorkerRecords(app.engine).forget(running.worker.name)
        record = until(lambda: app.datastore.read(key))
        assert (record["state"], record["drain"]["by"]) == ("drained", "ann")
        assert crowd.shown()["config"]["lease"] == 0.5


def test_a_long_wait_for_the_datastore_at_the_start_is_not_taken_for_a_hang() -> None:
    """The watchdog of the threads counts from when the worker began to work."""

    class Set(Clock):
        time = 0.0

        def monotonic(self) -> float:
            return self.time

    clock = Set()
    lease = Lease(WorkerRecords(zerog.App("memory://").engine), WorkerIdentity("w", 30.0), dict, print, clock)
    clock.time = 1_000.0
    lease.start()
    try:
        assert (lease.turned, lease.held_since) == (1_000.0, 1_000.0)
    finally:
        lease.stop()
