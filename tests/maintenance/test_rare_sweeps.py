"""Sweeps and workers' records where an answer is lost, or another writer comes in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.engine.engines import KINDS
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.engine.engine import Engine
from zerog.engine.transitions import Claim, WorkerIdentity
from zerog.exceptions import (
    AmbiguousWrite,
    CasMismatch,
    CorruptDocument,
    TooManyCollisions,
)
from zerog.fleet.heartbeat import WorkerRecords
from zerog.maintenance.audit import Audit
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import make_key, new_document
from zerog.records.keys import worker_key
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock

ALICE, BOB = WorkerIdentity("alice", 30.0), WorkerIdentity("bob", 30.0)


@pytest.fixture
def parts(clock: ManualClock, tmp_path: Path) -> Engine:
    """The engine of two parts, whose verbs are several writes."""
    return KINDS["memory"].open(tmp_path, clock)


def document(engine: Engine) -> dict[str, Any]:
    return new_document("test", 1.0, to_text(engine.clock.now()))


def submit(engine: Engine) -> str:
    return str(engine.submit([document(engine)])[0][0]["uuid"])


def claim(engine: Engine, worker: WorkerIdentity = ALICE) -> list[Claim]:
    return engine.claim(10, worker, lambda head: head["jobType"])


@pytest.mark.parametrize(("error", "raised"), [(AmbiguousWrite, AmbiguousWrite), (CasMismatch, TooManyCollisions)])
def test_a_record_that_can_t_be_stored_is_no_beat(
    parts: Engine, monkeypatch: pytest.MonkeyPatch, error: type[Exception], raised: type[Exception]
) -> None:
    """The worker learns it from the error, and its lease runs out."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise error("made up")

    monkeypatch.setattr(parts, "_wait_for_answer", lambda _attempt: None)
    monkeypatch.setattr(parts.datastore, "create", refuse)
    with pytest.raises(raised):
        WorkerRecords(parts).renew(ALICE, 1)
    assert parts.datastore.read(worker_key("alice")) is None


def test_a_record_that_can_t_be_read_is_removed(parts: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker makes it anew with its next heartbeat."""
    WorkerRecords(parts).renew(ALICE, 1)
    read = parts.datastore.read_with_cas

    def damaged(key: str, head: bool = False) -> Any:
        if key == worker_key("alice"):
            raise CorruptDocument("made up: no JSON")
        return read(key, head)

    with monkeypatch.context() as patch:
        patch.setattr(parts.datastore, "read_with_cas", damaged)
        WorkerRecords(parts).mend_record("alice")
    assert parts.datastore.read(worker_key("alice")) is None
    WorkerRecords(parts).renew(ALICE, 2)
    assert parts.datastore.read(worker_key("alice"))["beat"] == 2


def test_a_run_that_can_t_be_looked_at_keeps_no_other(
    engine: Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several runs of one worker that holds none of them: all but the one are released."""
    uuids = [submit(engine) for _ in range(3)]
    claim(engine)
    read = engine.datastore.read_with_cas

    def damaged(key: str, head: bool = False) -> Any:
        if key == make_key(uuids[1]):
            raise CorruptDocument("made up: no JSON")
        return read(key, head)

    monkeypatch.setattr(engine.datastore, "read_with_cas", damaged)
    reconciler = Reconciler(engine, "sweeper", clock)
    given_back: list[str] = []
    for beat in range(1, 8):
        WorkerRecords(engine).renew(ALICE, beat, lambda: {"held": [], "claiming": None})
        given_back += reconciler.sweep().given_back
        clock.advance(2)
    assert sorted(given_back) == sorted([uuids[0], uuids[2]])
    assert engine.counters["sweep.left"] > 0


def test_a_run_that_was_replaced_before_it_is_watched_is_not_watched(parts: Engine) -> None:
    """Its token would be that of the next run, which is innocent."""
    uuid = submit(parts)
    [old] = claim(parts)
    stale = parts.read(uuid)[0]
    assert parts.rescue(uuid, old.run, "lost", "a test")
    [again] = claim(parts)
    audit = Audit(parts.datastore)
    for beat in range(1, 9):
        assert audit.look(stale, {"beat": beat, "held": [], "claiming": None}) is None
    assert parts.read(uuid)[0]["owner"]["nonce"] == again.nonce


def test_a_standby_watches_each_worker_once_however_many_jobs_it_has(parts: Engine, clock: ManualClock) -> None:
    """So that it takes its jobs at once when it becomes the sweeper."""
    uuids = [submit(parts) for _ in range(3)]
    claim(parts)
    first, standby = Reconciler(parts, "first", clock), Reconciler(parts, "standby", clock)
    first.turn()
    assert standby.turn() is None
    clock.advance(31)
    first.release()
    report = standby.turn()
    assert report is not None and sorted(report.rescued) == sorted(uuids)


def test_a_queue_that_answers_none_has_put_nothing(clock: ManualClock) -> None:
    """The job is pending, and a sweep puts it."""

    class Busy(MemoryQueue):
        is_busy = True

        def put(self, *arguments: Any, **options: Any) -> Any:
            return None if self.is_busy else super().put(*arguments, **options)

    queue = Busy(clock=clock)
    engine = Engine(MemoryDatastore(), queue, clock)
    uuid = submit(engine)
    head = engine.read(uuid)[0]
    assert (head["queueState"], head["queueJobId"]) == ("pending", -1)
    queue.is_busy = False
    clock.advance(6)
    assert Reconciler(engine, "sweeper", clock).sweep().put_again == [uuid]
