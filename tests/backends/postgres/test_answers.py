"""Lost questions and answers at every write of the engine on PostgreSQL, and statements that are cut off."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from tests.backends.postgres.servers import recycled, shared
from tests.marks import wide
from tests.processes import stretched, until
from zerog.backends.postgres.datastore import PostgresDatastore
from zerog.backends.postgres.engine import PostgresEngine
from zerog.backends.postgres.queue import PostgresQueue
from zerog.backends.postgres.server import Rows
from zerog.contracts.datastore import FindQuery, RunGuard
from zerog.engine.transitions import Claim, Settlement, WorkerIdentity
from zerog.exceptions import AmbiguousWrite, DatastoreUnavailable
from zerog.records.job import new_document
from zerog.records.operations import Add
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock

ALICE = WorkerIdentity("alice", 30.0, None, (("test", 1.0),))
JOBS = 4


class Unruly:
    """Precedes a server's statements; the answer to one write of them is lost, before or after it was executed."""

    def __init__(self, engine: PostgresEngine, number: int, how: str) -> None:
        self._run = engine._server.run
        self._left, self._how = number, how
        engine._server.run = self  # type: ignore[method-assign, assignment]

    @property
    def has_acted(self) -> bool:
        return self._left < 0

    def __call__(self, statement: str, parameters: Mapping[str, Any], what: str, writes: bool) -> Rows:
        self._left -= writes
        if not writes or self._left != -1:
            return self._run(statement, parameters, what, writes)
        if self._how == "down":
            raise DatastoreUnavailable("out of reach")
        if self._how == "late":
            self._run(statement, parameters, what, writes)
        raise AmbiguousWrite("not answered")


def settle_all(engine: PostgresEngine, settlements: list[Settlement]) -> None:
    """Settle as a worker does: again, under the same numbers, until each is answered."""
    while settlements:
        results = engine.settle(settlements)
        assert False not in results
        settlements = [each for each, result in zip(settlements, results, strict=True) if result is not True]


def claim_all(engine: PostgresEngine, want: int) -> list[Claim]:
    """Claim; release what is owned and wasn't answered, as the audit does."""
    claims = engine.step([], want, ALICE, lambda head: None).claims
    held = {claim.nonce for claim in claims}
    for head in engine.datastore.find(FindQuery("running")).heads:
        run = RunGuard.of(head)
        if run.nonce not in held:
            assert engine.release(head["uuid"], run, "its claim was not answered")
    return claims


def live(engine: PostgresEngine) -> None:
    """Submit jobs and run each twice: released or requeued, then finished."""
    documents = [new_document("test", 1.0, to_text(engine.clock.now())) for _ in range(JOBS)]
    try:
        engine.submit(documents)
    except DatastoreUnavailable:
        engine.submit(documents)
    runs: dict[str, int] = {}
    for _ in range(20):
        ends = []
        for claim in claim_all(engine, JOBS):
            turn = runs[claim.uuid] = runs.get(claim.uuid, 0) + 1
            kind = ("requeue", "release")[len(runs) % 2] if turn == 1 else "finish"
            ends.append(Settlement(claim, kind, 1, 200, operations=[Add("continues", 1)]))
        settle_all(engine, ends)
    assert set(runs) == {document["uuid"] for document in documents}


@pytest.mark.parametrize("how", ["late", *wide("lost", "down")])
def test_every_write(how: str) -> None:
    """No job is lost, and no end is stored twice, whichever write it is."""
    number, has_acted = 0, True
    while has_acted:
        clock = ManualClock()
        datastore = PostgresDatastore(recycled(), clock)
        engine = PostgresEngine(datastore, PostgresQueue(datastore.server), clock)
        unruly = Unruly(engine, number, how)
        live(engine)
        heads = datastore.find(FindQuery()).heads
        assert [(head["status"], head["continues"]) for head in heads] == [("succeeded", 2)] * JOBS
        assert engine.queue.size() == 0
        number, has_acted = number + 1, unruly.has_acted
        engine.close()
    assert number > 4


@pytest.mark.parametrize("how", ["terminate", "cancel"])
def test_a_statement_that_is_cut_off(how: str) -> None:
    """A cut connection leaves it unknown whether a write happened; a cancelled statement has changed nothing."""
    server = shared()
    datastore = PostgresDatastore(server.url())
    datastore.create("key", {"n": 0})
    errors: list[Exception] = []

    def write() -> None:
        try:
            datastore.delete("key")
        except Exception as error:
            errors.append(error)

    with server.connect() as connection, connection.transaction():
        connection.execute(f"LOCK TABLE {datastore.server.schema}.zerog_documents IN SHARE MODE".encode())
        thread = threading.Thread(target=write)
        thread.start()
        ended = f"SELECT pg_{how}_backend(pid) FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
        table = f"{datastore.server.schema}.zerog_documents"
        until(lambda: connection.execute(ended.encode(), (table,)).fetchall(), 10, "the write waits for the lock")
        thread.join(stretched(10))
    [error] = errors
    assert isinstance(error, AmbiguousWrite if how == "terminate" else DatastoreUnavailable)
    assert datastore.read("key") == {"n": 0}
    datastore.close()
