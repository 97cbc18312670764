"""The engine of one SQLite file: what it does at once, and what in several transactions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.engines.unruly import claim, document, submit
from zerog import crashpoints
from zerog.datastores.sqlite import SqliteDatastore
from zerog.document import new_uuid
from zerog.engines import sqlite as sqlite_engine
from zerog.engines.sqlite import SqliteEngine
from zerog.exceptions import (
    AmbiguousWrite,
)
from zerog.queues.sqlite import SqliteQueue
from zerog.testing.clock import ManualClock
from zerog.transitions import Settlement


@pytest.fixture
def shared(tmp_path: Path) -> Any:
    clock = ManualClock()
    datastore = SqliteDatastore(tmp_path / "jobs.db", "normal")
    made = SqliteEngine(datastore, SqliteQueue(tmp_path / "jobs.db", clock=clock, file=datastore.file), clock)
    yield made
    crashpoints.disarm()
    made.close()


def test_parts_of_two_files_are_refused(tmp_path: Path) -> None:
    """They can't be written in one transaction."""
    with pytest.raises(ValueError, match="generic engine"):
        SqliteEngine(SqliteDatastore(tmp_path / "a.db"), SqliteQueue(tmp_path / "b.db"))


def test_a_batch_without_an_answer_is_stored_once(shared: SqliteEngine) -> None:
    """Stored or not, it is found out; without any answer the error names a uuid."""
    for name in ("submit.create", "submit.created"):
        crashpoints.arm(name, "unknown")
        made = [document(shared) for _ in range(3)]
        assert [one["uuid"] for one, _ in shared.submit(made)] == [one["uuid"] for one in made]

    def never(name: str) -> None:
        if name in ("submit.create", "settle.write"):
            raise AmbiguousWrite("no answer")

    crashpoints.watch(never)
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
    """They become ready a few in each transaction, and the claim looks on until it finds the job behind them."""
    monkeypatch.setattr("zerog.queues.sqlite.PROMOTED", 4)
    for _ in range(10):
        shared.queue.named("other").put(new_uuid(), delay=1)
    shared.clock.advance(1)  # type: ignore[attr-defined]
    uuid = str(shared.submit([document(shared)], delay=1)[0][0]["uuid"])
    shared.clock.advance(2)  # type: ignore[attr-defined]
    assert [one.uuid for one in claim(shared, 3)] == [uuid]


def test_repairs_leave_out_what_needs_none(shared: SqliteEngine) -> None:
    """Unknown uuids and jobs that are on their queue aren't put."""
    uuid = submit(shared)
    assert shared.put_again_all([new_uuid(), uuid], "its writer did not") == []
    assert shared.queue.size() == 1
