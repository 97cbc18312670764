"""Outages of the datastore that are longer than a lease: they cost running jobs their run, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import zerog
from tests.processes import until
from tests.worker.builders import Running, short_lease
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import DatastoreUnavailable
from zerog.fleet.heartbeat import WorkerRecords
from zerog.maintenance.reconcile import Reconciler
from zerog.worker.lease import Lease


class Line(MemoryDatastore):
    """A connection to another datastore that can be cut."""

    def __init__(self, to: MemoryDatastore) -> None:
        super().__init__()
        self.is_cut = False
        for name in ("read_with_cas", "mutate", "create", "set_with_cas", "find", "delete"):
            setattr(self, name, self._guarded(getattr(to, name)))

    def _guarded(self, verb: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.is_cut:
                raise DatastoreUnavailable("the network is gone")
            return verb(*args, **kwargs)

        return call

    @contextmanager
    def cut(self) -> Iterator[None]:
        self.is_cut = True
        try:
            yield
        finally:
            self.is_cut = False


class Long(zerog.BaseJob):
    JOB_TYPE = "long"
    may_end = threading.Event()

    def run(self) -> int:
        while not self.may_end.wait(0.01):  # the pace of its writes
            self.keep_alive()
            self.tick()
        return 200


@pytest.fixture
def store() -> MemoryDatastore:
    return MemoryDatastore()


def app_on(store: MemoryDatastore, queue: MemoryQueue) -> zerog.App:
    app = zerog.App(datastore=store, queue=queue)
    app.register(Long)
    Long.may_end.clear()
    return app


def test_outages_that_a_worker_outlives_are_not_counted(store: MemoryDatastore) -> None:
    """The job runs again each time, and nothing is counted against it."""
    line = Line(store)
    app = app_on(line, MemoryQueue())
    uuid = app.submit("long").uuid
    key = f"zerog_job_{uuid}"
    with Running(app, lease=short_lease()) as running:
        for _ in range(3):
            began = until(lambda: store.read(key)["status"] == "running" and store.read(key)["startedAt"])
            session = running.worker._session
            assert session is not None
            with line.cut():
                until(lambda session=session: not session._lease.held)
            until(lambda began=began: store.read(key)["startedAt"] > began)
        Long.may_end.set()
        job = app.wait(uuid, 20)
    assert (job.lost, job.crashes, job.errorCount, job.attempts) == (0, 0, 0, 1)


def test_a_worker_that_was_rescued_from_takes_back_the_loss(store: MemoryDatastore) -> None:
    """It is cut off alone. Another worker takes its job meanwhile; once back it logs that nothing was lost."""
    line, queue = Line(store), MemoryQueue()
    cut_off, app = app_on(line, queue), app_on(store, queue)
    uuid = app.submit("long").uuid
    key = f"zerog_job_{uuid}"
    reconciler = Reconciler(app.engine, "other")
    with Running(cut_off, lease=short_lease(), queues=["default"]):
        until(lambda: store.read(key)["status"] == "running")
        with line.cut():
            until(lambda: uuid in reconciler.sweep().rescued)
            assert store.read(key)["lost"] == 1
        until(lambda: store.read(key)["lost"] == 0)
        Long.may_end.set()
        assert app.wait(uuid, 20).resultCode == 200
    assert any("does not count as lost" in event["msg"] for event in store.read(key)["events"])


def test_a_process_that_stood_still_is_no_outage(store: MemoryDatastore) -> None:
    """A job may be the cause of the delay, and one that causes it each time has to end some day."""
    now = [0.0]
    clock: Any = type("Clock", (), {"monotonic": lambda self: now[0]})()
    lost: list[bool] = []
    app = app_on(store, MemoryQueue())
    lease = Lease(
        WorkerRecords(app.engine),
        WorkerIdentity("held", 9.0),
        dict,
        lambda _why, is_outage: lost.append(is_outage),
        clock,
    )
    lease._renew()
    now[0] = 100.0
    lease.check()
    assert lost == [False]
