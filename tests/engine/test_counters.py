"""Every repair, drop, give-up and fence is reported once: one count, and on the document what a reader of it needs.

``ROWS`` has one way to each counter of ``zerog.engine.base.COUNTERS``; a counter without a row fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.engine.engines import KINDS
from zerog.engine import transitions
from zerog.engine.base import COUNTERS
from zerog.engine.engine import Engine, Unsuitable
from zerog.engine.transitions import Claim, Settlement, WorkerIdentity
from zerog.exceptions import QueueUnavailable
from zerog.fleet.heartbeat import WorkerRecords
from zerog.maintenance.kept import Keep
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import Document, make_key, new_document, new_uuid
from zerog.records.keys import worker_key
from zerog.records.limits import Limit, Limits
from zerog.records.operations import Set
from zerog.records.unique import unique_lock
from zerog.support import failpoints
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock

ALICE, BOB = WorkerIdentity("alice", 30.0), WorkerIdentity("bob", 30.0)

Recorded = Callable[[Document], bool]
"""True if a document records what happened."""


class Place:
    """An engine with a manual clock, and what is done to it."""

    def __init__(self, engine: Engine, clock: ManualClock, patch: pytest.MonkeyPatch) -> None:
        self.engine = engine
        self.clock = clock
        self.patch = patch

    def new(self) -> str:
        """A document that was saved and never enqueued."""
        document = new_document("test", 1.0, to_text(self.clock.now()))
        self.engine.datastore.create(make_key(document["uuid"]), document)
        return str(document["uuid"])

    def submit(self, delay: float = 0) -> str:
        document = new_document("test", 1.0, to_text(self.clock.now()))
        self.engine.submit([document], delay)
        return str(document["uuid"])

    def pending(self, **fields: Any) -> str:
        """The document of a submitter that died before it put the job."""
        uuid = self.new()
        marks = [Set(field, value) for field, value in fields.items()]
        self.engine.datastore.mutate(make_key(uuid), [*transitions.waiting(to_text(self.clock.now()), 0), *marks])
        self.clock.advance(6)
        return uuid

    def claim(self, worker: WorkerIdentity = ALICE) -> list[Claim]:
        return self.engine.claim(10, worker, lambda head: head["jobType"])

    def claimed(self) -> Claim:
        self.submit()
        [mine] = self.claim()
        return mine

    def settle(self, claim: Claim, kind: str = "finish", code: int = 200, **options: Any) -> bool:
        return self.engine.settle([Settlement(claim, kind, 1, code, **options)])[0]

    def deliver(self, uuid: str) -> str:
        self.engine.queue.put(uuid)
        assert self.claim(BOB) == []
        return uuid


def put_failed(place: Place) -> tuple[str, Recorded]:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise QueueUnavailable("no route")

    uuid = place.new()
    place.patch.setattr(place.engine.queue, "put", fail)
    place.engine.enqueue(uuid)
    return uuid, lambda document: document["queueState"] == "pending"


def put_again(place: Place) -> tuple[str, Recorded]:
    uuid = place.pending()
    Reconciler(place.engine, "sweeper", place.clock).sweep()
    return uuid, lambda document: ["again" in event["msg"] for event in document["events"]] == [True]


def rescued_crashes(place: Place) -> tuple[str, Recorded]:
    claim = place.claimed()
    assert place.engine.rescue(claim.uuid, claim.run, "crashes", "killed by SIGSEGV")
    assert not place.engine.rescue(claim.uuid, claim.run, "crashes", "killed by SIGSEGV")
    return claim.uuid, lambda document: [error["msg"] for error in document["errors"]] == ["killed by SIGSEGV"]


def rescued_lost(place: Place) -> tuple[str, Recorded]:
    claim = place.claimed()
    reconciler = Reconciler(place.engine, "sweeper", place.clock)
    for _ in range(4):
        reconciler.sweep()
        place.clock.advance(16)
    return claim.uuid, lambda document: ["alice was silent" in error["msg"] for error in document["errors"]] == [True]


def cancelled_waiting(place: Place) -> tuple[str, Recorded]:
    claim = place.claimed()
    place.engine.cancel(claim.uuid)
    assert place.settle(claim, "requeue")
    return claim.uuid, lambda document: (document["status"], document["resultCode"]) == ("cancelled", 410)


def cancelled_duplicate(place: Place) -> tuple[str, Recorded]:
    lock = unique_lock("test", ["k"], "ended")
    first, double = (new_document("test", 1.0, to_text(place.clock.now())) | {"uniqueLock": lock} for _ in range(2))
    place.engine.submit_unique([first], 0)
    place.engine.submit([double])  # as a crash could have left it
    assert [claim.uuid for claim in place.claim()] == [first["uuid"]]
    return str(double["uuid"]), lambda document: document["status"] == "cancelled" and len(document["events"]) == 1


def woken(place: Place) -> tuple[str, Recorded]:
    place.engine.limits_of = lambda head: Limits((Limit(("type", "test"), 1),))
    first, parked = place.submit(), place.submit()
    [claim] = place.claim()
    assert claim.uuid == first
    settlement = Settlement(claim, "finish", 1, 200)
    assert place.engine.settle([settlement]) == [True]
    place.engine.settle_slots([settlement])
    return parked, lambda document: (document["status"], document["queueState"]) == ("queued", "queued")


def expired_waiting(place: Place) -> tuple[str, Recorded]:
    uuid = place.pending(expiresAt=to_text(place.clock.now()))
    assert place.engine.expire(uuid)
    return uuid, lambda document: (document["status"], document["resultCode"]) == ("cancelled", 408)


def claim_recovered(place: Place) -> tuple[str, Recorded]:
    uuid = place.submit()
    failpoints.arm("claim.written", "unknown")
    assert [claim.uuid for claim in place.claim()] == [uuid]
    return uuid, lambda document: document["attempts"] == 1


def released_unheld(place: Place) -> tuple[str, Recorded]:
    uuid = place.submit()
    place.claim()
    reconciler = Reconciler(place.engine, "sweeper", place.clock)
    for beat in (1, 2, 3):
        WorkerRecords(place.engine).renew(ALICE, beat, lambda: {"held": [], "claiming": None})
        reconciler.sweep()
    return uuid, lambda document: (document["attempts"], document["status"]) == (0, "queued")


def settle_lost(place: Place) -> tuple[str, Recorded]:
    claim = place.claimed()
    place.engine.release(claim.uuid, claim.run, "taken away")
    assert not place.settle(claim)
    return claim.uuid, lambda document: [event["msg"] for event in document["events"]] == ["taken away"]


def dropped_unknown(place: Place) -> tuple[None, Recorded]:
    place.deliver(new_uuid())
    return None, bool


class Rubbish:
    """Deliveries of a queue that breaks its contract."""

    uuid = "rubbish"

    def delete(self) -> None:
        """There is nothing to take away."""


def dropped_invalid(place: Place) -> tuple[None, Recorded]:
    deliveries = [Rubbish()]
    place.patch.setattr(place.engine.queue, "reserve", lambda timeout: deliveries.pop() if deliveries else None)
    assert place.claim() == []
    return None, bool


def dropped_unreadable(place: Place) -> tuple[str, Recorded]:
    uuid = place.submit()
    place.engine.datastore.mutate(make_key(uuid), [Set("attempts", "many")])
    assert place.claim() == []
    return uuid, lambda document: document["status"] == "queued"


def dropped_moved(place: Place) -> tuple[str, Recorded]:
    uuid = place.submit()
    reservation = place.engine.queue.reserve(0)
    assert reservation is not None
    place.engine.move(uuid, "other")
    reservation.queue = "default"
    place.engine.claim_one(reservation, ALICE, str)
    return uuid, lambda document: "moved from queue default" in document["events"][-1]["msg"]


def dropped_new(place: Place) -> tuple[str, Recorded]:
    return place.deliver(place.new()), lambda document: document["status"] == "new"


def dropped_paused(place: Place) -> tuple[str, Recorded]:
    uuid = place.submit()
    place.engine.pause(uuid)
    assert place.claim(BOB) == []
    return uuid, lambda document: document["status"] == "paused"


def dropped_running(place: Place) -> tuple[str, Recorded]:
    return place.deliver(place.claimed().uuid), lambda document: document["owner"]["worker"] == "alice"


def dropped_succeeded(place: Place) -> tuple[str, Recorded]:
    claim = place.claimed()
    place.settle(claim)
    return place.deliver(claim.uuid), lambda document: document["resultCode"] == 200


def dropped_failed(place: Place) -> tuple[str, Recorded]:
    claim = place.claimed()
    place.settle(claim, code=418)
    return place.deliver(claim.uuid), lambda document: document["resultCode"] == 418


def dropped_cancelled(place: Place) -> tuple[str, Recorded]:
    claim = place.claimed()
    place.settle(claim, code=410, status="cancelled")
    return place.deliver(claim.uuid), lambda document: document["resultCode"] == 410


def released_early(place: Place) -> tuple[str, Recorded]:
    return place.deliver(place.submit(delay=50)), lambda document: document["status"] == "scheduled"


def released_unsuitable(place: Place) -> tuple[str, Recorded]:
    def refuse(head: Document) -> str:
        raise Unsuitable("newer than this code")

    uuid = place.submit()
    assert place.engine.claim(10, ALICE, refuse) == []
    assert place.engine.skipped == {uuid: "newer than this code"}
    return uuid, lambda document: document["status"] == "queued"


def sweep_left(place: Place) -> tuple[str, Recorded]:
    uuid = place.pending(notBefore="soon")
    report = Reconciler(place.engine, "sweeper", place.clock).sweep()
    assert "soon" in report.stuck[uuid]
    return uuid, lambda document: document["notBefore"] == "soon"


def removed_old(place: Place) -> tuple[None, Recorded]:
    claim = place.claimed()
    place.settle(claim)
    place.clock.advance(11)
    kept = {"succeeded": {"test": Keep(10.0, 1.0)}}
    assert Reconciler(place.engine, "sweeper", place.clock, kept=lambda: kept).sweep().removed == [claim.uuid]
    assert place.engine.datastore.read(claim.key) is None
    return None, bool


def workers_forgotten(place: Place) -> tuple[None, Recorded]:
    WorkerRecords(place.engine).renew(ALICE, 1)
    reconciler = Reconciler(place.engine, "sweeper", place.clock)
    for _ in range(4):
        reconciler.sweep()
        place.clock.advance(16)
    assert place.engine.datastore.read(worker_key("alice")) is None
    return None, bool


class Row(NamedTuple):
    """A way to a counter."""

    provoke: Callable[[Place], tuple[str | None, Recorded]]
    kinds: tuple[str, ...] = tuple(KINDS)


ROWS = {
    "put.failed": Row(put_failed),
    "put.again": Row(put_again),
    "rescued.crashes": Row(rescued_crashes),
    "rescued.lost": Row(rescued_lost),
    "cancelled.waiting": Row(cancelled_waiting),
    "cancelled.duplicate": Row(cancelled_duplicate),
    # Where documents can't be found by attributes nothing is parked.
    "woken": Row(woken, tuple(kind for kind in KINDS if not kind.startswith("couchbase"))),
    "expired.waiting": Row(expired_waiting),
    # A claim that Redis makes unseen can't be read back: its job is released as one that is not held.
    "claim.recovered": Row(claim_recovered, tuple(kind for kind in KINDS if kind != "redis")),
    "released.unheld": Row(released_unheld),
    "settle.lost": Row(settle_lost),
    "dropped.unknown": Row(dropped_unknown),
    # A queue in the documents' own file sets such bodies aside and counts them as rejected.
    "dropped.invalid": Row(dropped_invalid, ("memory", "two-files")),
    "dropped.unreadable": Row(dropped_unreadable),
    "dropped.moved": Row(dropped_moved),
    "dropped.new": Row(dropped_new),
    "dropped.paused": Row(dropped_paused),
    "dropped.running": Row(dropped_running),
    "dropped.succeeded": Row(dropped_succeeded),
    "dropped.failed": Row(dropped_failed),
    "dropped.cancelled": Row(dropped_cancelled),
    "released.early": Row(released_early),
    "released.unsuitable": Row(released_unsuitable),
    "sweep.left": Row(sweep_left),
    "removed.old": Row(removed_old),
    "workers.forgotten": Row(workers_forgotten),
}


@pytest.fixture
def place(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    clock = ManualClock()
    engine = KINDS[kind].open(tmp_path, clock)
    yield Place(engine, clock, monkeypatch)
    failpoints.disarm()
    engine.close()


def test_every_counter_has_a_way_to_it() -> None:
    """One that is added needs a row, one that is dropped removes its row."""
    assert set(ROWS) == set(COUNTERS)


@pytest.mark.parametrize(
    ("counter", "kind"),
    [pytest.param(counter, kind, marks=KINDS[kind].marks) for counter in ROWS for kind in ROWS[counter].kinds],
)
def test_what_happened_once_is_counted_once(counter: str, place: Place) -> None:
    """It is counted under its name and no other, and its document shows it."""
    uuid, recorded = ROWS[counter].provoke(place)
    assert place.engine.counters == {counter: 1}
    if uuid is not None:
        document = place.engine.datastore.read(make_key(uuid))
        assert document is not None
        assert recorded(document), document
