"""The control channel: how a worker gets its orders, and when it stops polling."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import zerog
from tests.processes import stretched, until
from tests.worker.builders import Running
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.exceptions import DatastoreUnavailable
from zerog.fleet.heartbeat import WorkerRecords
from zerog.records.commands import CANCELS, WorkerCommands
from zerog.records.keys import QUEUES, worker_key
from zerog.records.operations import Append, Remove, Set
from zerog.testing.clock import ManualClock
from zerog.worker.control import PERIOD, CommandPoller

KEY = worker_key("w")


class Channel:
    """A control that polls on demand."""

    def __init__(self) -> None:
        self.store = MemoryDatastore()
        self.store.create(KEY, {"beat": 1})
        self.changes: list[WorkerCommands] = []
        self.cancelled: list[str] = []
        self.control = CommandPoller(self.store, "w", self.changes.append, ManualClock(), self.cancelled.append)


@pytest.fixture
def channel() -> Channel:
    return Channel()


def test_orders_are_passed_on_when_they_change(channel: Channel) -> None:
    channel.control.turn()
    channel.store.mutate(KEY, [Set("drain", {"forGood": False})])
    channel.control.turn()
    channel.control.turn()
    channel.store.create(QUEUES, {"paused": {"slow": {"reason": "the disk"}}})
    channel.control.turn()
    channel.store.mutate(KEY, [Set("drain", {"forGood": True})])
    channel.control.turn()
    channel.store.mutate(KEY, [Set("drain", None)])
    channel.control.turn()
    drains = [(orders.drain is not None, orders.is_for_good, sorted(orders.paused)) for orders in channel.changes]
    assert drains == [
        (True, False, []),
        (True, False, ["slow"]),
        (True, True, ["slow"]),
        (False, False, ["slow"]),
    ]


def test_each_cancel_is_passed_on_once(channel: Channel) -> None:
    """The same job may be cancelled, tried again and cancelled again; the list is bounded and may begin anew."""

    def cancel(*uuids: str) -> None:
        channel.store.mutate(KEY, [Append("cancels", uuid, CANCELS) for uuid in uuids])

    cancel("a", "b")
    for _ in range(2):
        channel.control.turn()
    cancel("a")
    channel.control.turn()
    assert channel.cancelled == ["a", "b", "a"]
    many = [f"job {number}" for number in range(CANCELS)]
    cancel(*many)
    channel.control.turn()
    channel.control.turn()
    assert channel.cancelled[3:] == many
    channel.store.delete(KEY)
    channel.control.turn()
    channel.store.create(KEY, {"cancels": ["z"]})
    channel.control.turn()
    assert channel.cancelled[-1] == "z" and len(channel.cancelled) == CANCELS + 4


def test_a_poller_without_a_cancel_callback_ignores_cancels(channel: Channel) -> None:
    control = CommandPoller(channel.store, "w", channel.changes.append, ManualClock())
    channel.store.mutate(KEY, [Append("cancels", "a")])
    control.turn()
    assert channel.changes == []


def test_a_worker_whose_record_was_removed_stays_drained(channel: Channel) -> None:
    """It was away for its lease; the record it makes anew has what was ordered."""
    channel.store.mutate(KEY, [Set("drain", {"forGood": False})])
    channel.control.turn()
    channel.store.delete(KEY)
    channel.control.turn()
    assert channel.control.orders.drain is not None
    app = zerog.App(datastore=channel.store, queue="memory://")
    identity = zerog.engine.transitions.WorkerIdentity("w", 30.0)
    WorkerRecords(app.engine).renew(
        identity, 2, lambda: {"state": "drained"}, lambda: {"host": "here", **channel.control.kept()}
    )
    assert channel.store.read(KEY) == {
        "documentType": "zerog_worker",
        "worker": "w",
        "host": "here",
        "drain": {"forGood": False},
        "beat": 2,
        "lease": 30.0,
        "state": "drained",
    }
    channel.control.turn()
    assert len(channel.changes) == 1


@pytest.mark.parametrize(
    ("key", "record"),
    [(KEY, {"drain": "yes"}), (KEY, {"cancels": "all", "drain": {"forGood": False}}), (QUEUES, {"paused": ["slow"]})],
)
def test_orders_that_make_no_sense_change_nothing_and_are_logged_once(
    channel: Channel, caplog: pytest.LogCaptureFixture, key: str, record: dict[str, Any]
) -> None:
    channel.store.mutate(KEY, [Set("drain", {"forGood": False})])
    channel.control.turn()
    channel.store.set(key, record)
    caplog.set_level(logging.WARNING, "zerog")
    with Looking(channel.control):
        until(lambda: caplog.records)
        seen = channel.store.reads
        until(lambda: channel.store.reads > seen + 4)
    assert len(caplog.records) == 1 and "the last ones hold" in caplog.text
    assert channel.control.orders.drain is not None


class Looking:
    """A control whose thread polls in a loop. Use as ``with``."""

    def __init__(self, control: CommandPoller) -> None:
        self.control = control

    def __enter__(self) -> None:
        store = self.control._datastore
        read, store.reads = store.read_with_cas, 0  # type: ignore[attr-defined]

        def counted(*args: Any, **kwargs: Any) -> Any:
            store.reads += 1  # type: ignore[attr-defined]
            return read(*args, **kwargs)

        store.read_with_cas = counted  # type: ignore[method-assign]
        self.control.start()

    def __exit__(self, *_exception: object) -> None:
        self.control.stop()
        self.control._thread.join(stretched(10))
        assert not self.control._thread.is_alive()


@pytest.mark.parametrize(("error", "warnings"), [(DatastoreUnavailable("away"), 0), (RuntimeError("driver"), 1)])
def test_an_outage_is_survived(
    channel: Channel,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    warnings: int,
) -> None:
    """The lease logs the outage; an unexpected error is logged here."""
    failing = True
    read = channel.store.read_with_cas

    def away(*args: Any, **kwargs: Any) -> Any:
        if failing:
            raise error
        return read(*args, **kwargs)

    monkeypatch.setattr(channel.store, "read_with_cas", away)
    caplog.set_level(logging.WARNING, "zerog")
    with Looking(channel.control):
        until(lambda: channel.store.reads > 4)
        failing = False
        channel.store.set(QUEUES, {"paused": {"slow": {}}})
        until(lambda: channel.changes)
    assert len(caplog.records) == warnings
    assert channel.control.orders.paused == {"slow"}


def test_a_worker_looks_about_once_a_second() -> None:
    clock = ManualClock()
    store = MemoryDatastore()
    seen: list[float] = []
    control = CommandPoller(store, "w", lambda orders: seen.append(clock.monotonic()), clock)
    start = clock.monotonic()
    with Looking(control):
        until(lambda: store.reads >= 30)  # type: ignore[attr-defined]
    looks = store.reads / 3  # type: ignore[attr-defined]
    assert (clock.monotonic() - start) / looks == pytest.approx(PERIOD, rel=0.2)


def test_a_drained_worker_claims_again_once_it_may(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "zerog")
    app = zerog.App(f"sqlite:///{tmp_path}/jobs.db")

    @app.job
    def quick(job: zerog.BaseJob) -> None:
        pass

    with Running(app) as running:
        key = worker_key(running.worker.name)
        first = app.submit(quick).uuid
        until(lambda: app.progress(first)["status"] == "succeeded")
        app.datastore.mutate(key, [Set("drain", {"forGood": False})])
        until(lambda: "is drained" in caplog.text)
        second = app.submit(quick).uuid
        app.datastore.mutate(key, [Remove("drain")])
        until(lambda: app.progress(second)["status"] == "succeeded")
    assert running.stats is not None and running.stats.succeeded == 2
    app.close()


def test_an_entry_that_was_reserved_too_late_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """It arrived while the worker was drained, at the thread that waits for work: other workers must get it."""
    app = zerog.App("memory://")

    @app.job
    def quick(job: zerog.BaseJob) -> None:
        pass

    running = Running(app)
    wait_ready = app.engine.wait_ready
    late: list[str] = []

    def drained_meanwhile(timeout: float, queues: Any) -> bool:
        if not late:
            key = worker_key(running.worker.name)
            app.datastore.mutate(key, [Set("drain", {"forGood": False})])
            until(lambda: running.worker._session._fetcher._queues == ())  # type: ignore[union-attr]
            late.append(app.submit(quick).uuid)
        return wait_ready(timeout, queues)

    monkeypatch.setattr(app.engine, "wait_ready", drained_meanwhile)
    with running:
        reservation = until(lambda: late and app.queue.reserve(0))
        assert reservation.uuid == late[0]


def test_what_a_claim_under_way_brings_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order arrived between the claim and its answer: no slot may begin the job."""
    app = zerog.App("memory://")
    ran: list[str] = []

    @app.job
    def noted(job: zerog.BaseJob) -> None:
        ran.append(job.uuid)

    running = Running(app)
    step = app.engine.step
    orders: list[str] = []

    def drained_meanwhile(*args: Any, **more: Any) -> Any:
        answer = step(*args, **more)
        if answer.claims and not orders:
            orders.append("drain")
            app.datastore.mutate(worker_key(running.worker.name), [Set("drain", {"forGood": False})])
            until(lambda: running.worker._session._fetcher._queues == ())  # type: ignore[union-attr]
        return answer

    monkeypatch.setattr(app.engine, "step", drained_meanwhile)
    with running:
        uuid = app.submit(noted).uuid
        until(lambda: orders and app.progress(uuid)["status"] == "queued")
        assert ran == []
        app.datastore.mutate(worker_key(running.worker.name), [Remove("drain")])
        until(lambda: app.progress(uuid)["status"] == "succeeded")
    assert ran == [uuid]
