"""The engine of one SQLite file: what it does in one transaction, and what in several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.engine.faulty_datastore import ALICE, claim, document, submit
from zerog.backends.sqlite import engine as sqlite_engine
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.backends.sqlite.engine import SqliteEngine
from zerog.backends.sqlite.queue import SqliteQueue
from zerog.engine.transitions import Settlement
from zerog.exceptions import AmbiguousWrite, CorruptDocument, DatastoreUnavailable
from zerog.records.job import Document, make_key, new_uuid
from zerog.support import failpoints
from zerog.testing.clock import ManualClock


@pytest.fixture
def shared(tmp_path: Path) -> Any:
    clock = ManualClock()
    datastore = SqliteDatastore(tmp_path / "jobs.db", "normal")
    made = SqliteEngine(datastore, SqliteQueue(tmp_path / "jobs.db", clock=clock, file=datastore.file), clock)
    yield made
    failpoints.disarm()
    made.close()


def test_parts_of_two_files_are_refused(tmp_path: Path) -> None:
    """They can't be written in one transaction."""
    with pytest.raises(ValueError, match="generic engine"):
        SqliteEngine(SqliteDatastore(tmp_path / "a.db"), SqliteQueue(tmp_path / "b.db"))


def test_a_batch_without_an_answer_is_stored_once(shared: SqliteEngine) -> None:
    """Stored or not, the outcome is found; without any answer the error names a uuid."""
    for name in ("submit.create", "submit.created"):
        failpoints.arm(name, "unknown")
        made = [document(shared) for _ in range(3)]
        assert [one["uuid"] for one, _ in shared.submit(made)] == [one["uuid"] for one in made]

    def never(name: str) -> None:
        if name in ("submit.create", "settle.write"):
            raise AmbiguousWrite("no answer")

    failpoints.watch(never)
    made = [document(shared)]
    with pytest.raises(AmbiguousWrite, match=made[0]["uuid"]):
        shared.submit(made)
    mine = claim(shared, 10)
    assert len(mine) == 6
    [answer] = shared.settle([Settlement(mine[0], "finish", 1, 200)])
    assert isinstance(answer, AmbiguousWrite)


def test_stale_entries_are_dropped_a_transaction_at_a_time(
    shared: SqliteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are, other writers get their turn, and the job behind them is found."""
    monkeypatch.setattr(sqlite_engine, "ENTRIES", 4)
    for _ in range(10):
        shared.queue.put(new_uuid())
    uuid = submit(shared)
    assert [one.uuid for one in claim(shared, 3)] == [uuid]
    assert shared.counters["dropped.unknown"] == 10


def test_due_entries_of_another_queue_hide_no_job(shared: SqliteEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """They become ready a few in each transaction, and the claim continues until it finds the job behind them."""
    monkeypatch.setattr("zerog.backends.sqlite.queue.PROMOTED", 4)
    for _ in range(10):
        shared.queue.queue_named("other").put(new_uuid(), delay=1)
    shared.clock.advance(1)  # type: ignore[attr-defined]
    uuid = str(shared.submit([document(shared)], delay=1)[0][0]["uuid"])
    shared.clock.advance(2)  # type: ignore[attr-defined]
    assert [one.uuid for one in claim(shared, 3)] == [uuid]


def test_repairs_leave_out_what_needs_none(shared: SqliteEngine) -> None:
    """Unknown uuids and jobs that are on their queue aren't put."""
    uuid = submit(shared)
    assert shared.put_again_all([new_uuid(), uuid], "its writer did not") == []
    assert shared.queue.size() == 1


def test_nothing_to_settle_is_no_transaction(shared: SqliteEngine) -> None:
    failpoints.arm("settle.write", "raise")
    assert shared.settle([]) == []


def test_an_outage_leaves_each_settlement_to_be_sent_again(
    shared: SqliteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is claimed."""
    uuids = [submit(shared) for _ in range(3)]
    claims = claim(shared, 2)
    settlements = [Settlement(each, "finish", 1, 200) for each in claims]
    outage = DatastoreUnavailable("made up: the disk is gone")

    def fail() -> None:
        raise outage

    with monkeypatch.context() as patch:
        patch.setattr(shared._file, "writing", fail)
        step = shared.step(settlements, 1, ALICE, lambda head: None)
    assert (step.settled, step.claims, step.trouble) == ([outage, outage], [], outage)
    assert shared.settle(settlements) == [True, True]
    assert [each.uuid for each in claim(shared)] == uuids[2:]


def test_one_job_that_can_t_be_removed_keeps_no_other(shared: SqliteEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a batch are removed one by one then."""
    uuids = [submit(shared) for _ in range(3)]
    shared.settle([Settlement(each, "finish", 1, 200) for each in claim(shared, 3)])
    heads = [shared.read(uuid)[0] for uuid in uuids]
    damaged = {**heads[1], "uuid": new_uuid()}

    def refuse(*_: Any) -> list[Document]:
        raise CorruptDocument("made up: one of them makes no sense")

    monkeypatch.setattr(shared, "_discard", refuse)
    assert shared.discard_all([heads[0], damaged, heads[2]], "it is old") == [uuids[0], uuids[2]]
    assert shared.datastore.read(make_key(uuids[1])) is not None
