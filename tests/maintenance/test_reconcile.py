"""Sweeps: which worker's turn it is, how much one reads, and what it repairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.jobs.builders import PlainStore
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.backends.sqlite.engine import SqliteEngine
from zerog.backends.sqlite.queue import SqliteQueue
from zerog.engine.engine import Engine
from zerog.engine.transitions import WorkerIdentity, waiting
from zerog.exceptions import AmbiguousWrite, DatastoreUnavailable
from zerog.fleet.heartbeat import WorkerRecords
from zerog.maintenance import reconcile, redelivery, sweep
from zerog.maintenance.kept import Keep
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import make_key, new_document
from zerog.records.keys import SWEEPER
from zerog.records.operations import Set, apply
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock

ALICE, BOB = WorkerIdentity("alice", 30.0), WorkerIdentity("bob", 30.0)


@pytest.fixture
def engine(clock: ManualClock) -> Engine:
    return Engine(MemoryDatastore(), MemoryQueue(clock=clock), clock)


def submit(engine: Engine, number: int = 1, **fields: Any) -> list[str]:
    documents = [{**new_document("test", 1.0, to_text(engine.clock.now())), **fields} for _ in range(number)]
    return [document["uuid"] for document, _ in engine.submit(documents)]


def leave_pending(engine: Engine, number: int) -> list[str]:
    uuids = []
    for _ in range(number):
        document = new_document("test", 1.0, to_text(engine.clock.now()))
        apply(document, waiting(document["createdAt"], 0))
        engine.datastore.create(make_key(document["uuid"]), document)
        uuids.append(document["uuid"])
    return uuids


def take(engine: Engine, want: int = 50, worker: WorkerIdentity = ALICE, **queues: Any) -> list[Any]:
    return engine.claim(want, worker, lambda head: head["jobType"], **queues)


# the turn


def test_one_worker_sweeps_and_another_takes_over(engine: Engine, clock: ManualClock) -> None:
    """While the sweeper's record moves the other workers only read it; when it stands still one of them takes over."""
    first, second = Reconciler(engine, "first", clock), Reconciler(engine, "second", clock)
    assert first.turn() is not None
    for _ in range(5):
        clock.advance(10)
        assert first.turn() is not None
        assert second.turn() is None
    clock.advance(10)
    assert second.turn() is None
    clock.advance(10)
    assert second.turn() is not None
    clock.advance(1)
    assert first.turn() is None


def test_a_sweeper_that_leaves_is_followed_at_once(engine: Engine, clock: ManualClock) -> None:
    """After a clean stop there is no wait, and a late turn doesn't take the record back."""
    first, second = Reconciler(engine, "first", clock), Reconciler(engine, "second", clock)
    first.turn()
    second.release()
    assert second.turn() is None
    third = Reconciler(engine, "third", clock)
    assert third.turn() is None
    first.release()
    assert first.turn() is None
    assert third.turn() is not None


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_answer_about_the_turn_is_found_out(
    engine: Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, applied: bool
) -> None:
    """Nothing is swept on a guess, and the next turn decides."""
    write = engine.datastore.set_with_cas

    def lost(*args: Any) -> Any:
        if applied:
            write(*args)
        raise AmbiguousWrite("the answer was lost")

    reconciler = Reconciler(engine, "first", clock)
    with monkeypatch.context() as broken:
        broken.setattr(engine.datastore, "set_with_cas", lost)
        assert reconciler.turn() is None
    assert reconciler.turn() is not None


def test_a_sweeper_record_that_makes_no_sense_is_replaced(engine: Engine, clock: ManualClock) -> None:
    """Rubbish under the key stops no sweep."""
    engine.datastore.create(SWEEPER, {"beat": "much"})
    assert Reconciler(engine, "first", clock).turn() is not None
    assert (engine.datastore.read(SWEEPER) or {})["worker"] == "first"


def test_a_datastore_that_can_t_list_is_not_swept(clock: ManualClock) -> None:
    """Nothing happens, rather than an error every ten seconds."""
    assert Reconciler(Engine(PlainStore(), MemoryQueue(), clock), "first", clock).turn() is None


def test_watchers_know_a_dead_worker_when_they_take_over(engine: Engine, clock: ManualClock) -> None:
    """Sweeper and owner died together: the owner's silence was watched before the takeover."""
    Reconciler(engine, "dead", clock).turn()
    WorkerRecords(engine).renew(ALICE, 1)
    [uuid] = submit(engine)
    take(engine)
    odd = submit(engine)[0]
    engine.datastore.mutate(make_key(odd), [Set("status", "running"), Set("owner", "not an object")])
    watcher = Reconciler(engine, "watcher", clock)
    for _ in range(5):
        report = watcher.turn()
        clock.advance(10)
    assert report is not None
    assert report.rescued == [uuid]
    assert "not an object" in report.stuck[odd]


def test_a_sweeper_that_was_stopped_takes_no_job_of_a_living_worker(
    engine: Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between reading a heartbeat and asking for the time this process may be stopped for minutes."""
    WorkerRecords(engine).renew(ALICE, 1)
    submit(engine)
    take(engine)
    reconciler = Reconciler(engine, "first", clock)
    reconciler.sweep()
    read = engine.datastore.read_with_cas

    def stopped(key: str, head: bool = False) -> Any:
        answer = read(key, head)
        clock.advance(300)
        return answer

    monkeypatch.setattr(engine.datastore, "read_with_cas", stopped)
    assert reconciler.sweep().rescued == []


# limits of a sweep


def test_a_sweep_reads_no_more_than_it_may_and_continues_next_time(
    engine: Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever there is to repair, one sweep is bounded, and after enough sweeps all is repaired."""
    monkeypatch.setattr(sweep, "HEADS", 20)
    monkeypatch.setattr(redelivery, "LOOKED_AT", 20)
    monkeypatch.setattr(sweep, "PAGE", 8)
    WorkerRecords(engine).renew(ALICE, 1)
    running = submit(engine, 50)
    take(engine)
    lost = submit(engine, 50)
    while (entry := engine.queue.reserve(0)) is not None:
        entry.delete()
    pending = leave_pending(engine, 50)
    clock.advance(25)
    reconciler = Reconciler(engine, "first", clock)
    put: list[str] = []
    rescued: list[str] = []
    for _ in range(16):
        report = reconciler.sweep()
        assert report.heads <= 4 * 20
        put += report.put_again
        rescued += report.rescued
        clock.advance(10)
    assert sorted(rescued) == sorted(running)
    assert set(put) >= {*lost, *pending}
    assert len(take(engine, 500, BOB)) == 150


def test_no_query_of_a_sweep_reads_finished_documents(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each find uses an index that has what it looks for together, whatever number of jobs has ended."""
    datastore = SqliteDatastore(tmp_path / "jobs.db", synchronous="normal")
    engine = SqliteEngine(datastore, SqliteQueue(tmp_path / "jobs.db", clock=clock, file=datastore.file), clock)
    statements: list[str] = []
    with datastore.file.reading() as connection:
        connection.set_trace_callback(statements.append)
    kept = {"failed": {"a": Keep(1.0, 1.0), "b": Keep(9.0, 1.0)}}
    Reconciler(engine, "first", clock, kept=lambda: kept).sweep()
    Reconciler(engine, "first", clock, kept=lambda: kept).sweep()
    with datastore.file.reading() as connection:
        connection.set_trace_callback(None)
        finds = [s for s in statements if "ORDER BY" in s and "zerog_documents" in s]
        plans = [row[3] for s in finds for row in connection.execute(f"EXPLAIN QUERY PLAN {s}")]
    engine.close()
    assert len(finds) >= 10
    assert sum("zerog_by_end (status=? AND jobType=? AND finishedAt" in plan for plan in plans) >= 4
    for plan in plans:
        assert plan.startswith("SEARCH zerog_documents USING INDEX zerog_by_"), plan


# repairs


def test_jobs_left_alone_are_forgotten_once_they_wait_no_more(engine: Engine, clock: ManualClock) -> None:
    """A job that was cancelled or deleted in the meantime isn't shown as stuck for ever."""
    cancelled, deleted, waits = submit(engine, 3)
    for uuid in (cancelled, deleted, waits):
        engine.skip(uuid, "too new")
    engine.skip("rubbish", "no uuid")
    engine.cancel(cancelled)
    engine.datastore.delete(make_key(deleted))
    clock.advance(31)
    assert set(Reconciler(engine, "first", clock).sweep().stuck) == {waits, "rubbish"}


def test_a_document_without_a_uuid_is_listed(engine: Engine, clock: ManualClock) -> None:
    """It can't be repaired, only shown."""
    document = {**new_document("test", 1.0, to_text(clock.now())), "uuid": "x", "status": "queued", "due": "2020"}
    engine.datastore.create("zerog_job_x", document)
    assert "uuid" in Reconciler(engine, "first", clock).sweep().stuck["x"]


def test_a_record_that_can_t_be_removed_stays(
    engine: Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep continues, and tries again next time."""

    def fail(key: str) -> bool:
        raise DatastoreUnavailable("out of reach")

    WorkerRecords(engine).renew(ALICE, 1)
    reconciler = Reconciler(engine, "first", clock)
    reconciler.sweep()
    clock.advance(31)
    with monkeypatch.context() as broken:
        broken.setattr(engine.datastore, "delete", fail)
        assert reconciler.sweep().forgotten == []
    assert reconciler.sweep().forgotten == ["alice"]
    assert engine.counters["workers.forgotten"] == 1


def test_rescued_jobs_keep_their_order_over_pages(
    engine: Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is put ahead of what waits, in the order in which they were submitted, however many pages they fill."""
    monkeypatch.setattr(reconcile, "PAGE", 3)
    uuids = submit(engine, 8)
    assert len(take(engine)) == 8
    [later] = submit(engine)
    reconciler = Reconciler(engine, "sweeper", clock)
    reconciler.sweep()
    clock.advance(31)
    reconciler.sweep()
    assert [claim.uuid for claim in take(engine, worker=BOB)] == [*uuids, later]


def test_an_owner_whose_heartbeat_returns_keeps_its_jobs(
    engine: Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if that is after it was found silent, and before its jobs are taken away."""
    [uuid] = submit(engine)
    take(engine)
    WorkerRecords(engine).renew(ALICE, 1)
    reconciler = Reconciler(engine, "sweeper", clock)
    reconciler.sweep()
    clock.advance(31)
    looked = reconciler._owned.walk

    def look_and_beat(*arguments: Any) -> Any:
        yield from looked(*arguments)
        WorkerRecords(engine).renew(ALICE, 2)

    monkeypatch.setattr(reconciler._owned, "walk", look_and_beat)
    assert not reconciler.sweep().rescued
    monkeypatch.undo()
    clock.advance(31)
    assert reconciler.sweep().rescued == [uuid]
