"""The exceptions of the driver of a user's own datastore or queue are translated to ZeroG's."""

from __future__ import annotations

from typing import Any

import pytest

import zerog
from tests.contracts.test_datastore import ForeignStore, Mismatch
from zerog.backends.memory.queue import MemoryQueue
from zerog.contracts.datastore import RunGuard
from zerog.contracts.foreign import as_datastore
from zerog.contracts.queue import as_queue
from zerog.exceptions import AmbiguousWrite, ClaimLost, DatastoreUnavailable, QueueUnavailable, ReservationLost
from zerog.records.job import new_uuid
from zerog.records.operations import Add


class Failing:
    """Passes calls on, except those that are to fail."""

    def __init__(self, inner: Any, **failing: Exception) -> None:
        self._inner, self.failing = inner, failing

    def __getattr__(self, name: str) -> Any:
        if name not in self.failing:
            return getattr(self._inner, name)

        def fail(*_args: Any, **_kwargs: Any) -> Any:
            raise self.failing[name]

        return fail


class DriverError(Exception):
    """An exception of a driver."""


def test_a_read_that_failed_is_an_outage() -> None:
    store = as_datastore(Failing(ForeignStore(), read_with_cas=DriverError("reset by peer")))
    for call in (
        lambda: store.read("key"),
        lambda: store.read_with_cas("key", head=True),
        lambda: store.mutate("key", [Add("n", 1)]),
        lambda: store.update("key", {}),
    ):
        with pytest.raises(DatastoreUnavailable, match="reset by peer"):
            call()


def test_a_write_that_failed_may_be_stored() -> None:
    inner = Failing(ForeignStore())
    store = as_datastore(inner)
    token = store.create("key", {"n": 0, "epoch": 1, "seq": 0, "owner": {"nonce": "n"}})
    inner.failing["set_with_cas"] = DriverError("timeout")
    for call in (
        lambda: store.create("other", {}),
        lambda: store.set_with_cas("key", {}, token),
        lambda: store.set("key", {}),
        lambda: store.mutate("key", [Add("n", 1)], run=RunGuard(1, "n", 1)),
    ):
        with pytest.raises(AmbiguousWrite, match="timeout"):
            call()


@pytest.mark.parametrize("own", [Mismatch("stale"), ClaimLost("taken"), KeyboardInterrupt()])
def test_what_means_something_stays_as_it_is(own: Any) -> None:
    store = as_datastore(Failing(ForeignStore(), set_with_cas=own))
    with pytest.raises(type(own)):
        store.create("key", {})


def test_a_queue_s_driver() -> None:
    inner = Failing(MemoryQueue())
    queue = as_queue(inner)
    queue.put(new_uuid())
    reservation = queue.reserve()
    assert reservation is not None
    for verb, call in (
        ("put", lambda: queue.put(new_uuid())),
        ("reserve", queue.reserve),
        ("reserve", queue.reserve_lowest),
        ("size", queue.size),
    ):
        inner.failing = {verb: DriverError("reset by peer")}
        with pytest.raises(QueueUnavailable, match="reset by peer"):
            call()


@pytest.mark.parametrize("error", [DriverError("reset by peer"), ReservationLost("taken")])
def test_a_reservation_s_driver(error: Exception) -> None:
    """Its own ReservationLost stays one."""
    inner = MemoryQueue()
    verbs = dict.fromkeys(("delete", "release"), error)

    class Least:
        def put(self, uuid: str, **more: Any) -> Any:
            return inner.put(uuid, **more)

        def reserve(self, timeout: float) -> Any:
            return Failing(inner.reserve(timeout), **verbs)

    queue = as_queue(Least())
    uuid = new_uuid()
    queue.put(uuid)
    reservation = queue.reserve()
    assert reservation is not None and reservation.uuid == uuid
    for call in (reservation.delete, reservation.release):
        with pytest.raises(ReservationLost if type(error) is ReservationLost else QueueUnavailable, match=str(error)):
            call()


def test_jobs_run_although_the_queue_s_driver_fails_between_two_claims() -> None:
    """What was claimed before in the same call is run."""

    class Flaky:
        name = "default"

        def __init__(self) -> None:
            self.inner, self.calls = MemoryQueue(), 0

        def put(self, uuid: str, **more: Any) -> Any:
            return self.inner.put(uuid, **more)

        def reserve(self, timeout: float = 0) -> Any:
            self.calls += 1
            if self.calls == 2:
                raise ConnectionError("reset by peer")
            return self.inner.reserve(timeout)

        def size(self) -> int:
            return self.inner.size()

    app = zerog.App(datastore="memory://", queue=Flaky())
    app.register(type("Made", (zerog.BaseJob,), {"JOB_TYPE": "made", "run": lambda self: 200}))
    uuids = [app.submit("made").uuid for _ in range(3)]
    with zerog.Worker(app, concurrency=4, signals=()):
        for uuid in uuids:
            assert app.wait(uuid, 20).status == "succeeded"
