"""Ways through PostgreSQL's engine that the contract passes rarely or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.backends.postgres.servers import NAMES, recycled
from tests.backends.postgres.test_engine import LookingEngine
from zerog.backends.postgres import engine as engine_module
from zerog.backends.postgres.datastore import PostgresDatastore
from zerog.backends.postgres.engine import PostgresEngine
from zerog.backends.postgres.queue import PostgresQueue
from zerog.engine.transitions import Claim, Settlement, WorkerIdentity
from zerog.exceptions import DatastoreUnavailable, InvalidValue
from zerog.records.job import make_key, new_document
from zerog.records.operations import Set
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock

ALICE = WorkerIdentity("alice", 30.0, knows=(("test", 1.0),))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=[PostgresEngine, LookingEngine])
def engine(request: pytest.FixtureRequest, clock: ManualClock) -> Iterator[PostgresEngine]:
    datastore = PostgresDatastore(recycled(NAMES[0]), clock)
    yield request.param(datastore, PostgresQueue(datastore.server), clock)
    datastore.close()


def submitted(engine: PostgresEngine, number: int = 1) -> list[str]:
    documents = [new_document("test", 1.0, to_text(engine.clock.now())) for _ in range(number)]
    engine.submit(documents)
    return [document["uuid"] for document in documents]


def claims(engine: PostgresEngine, number: int = 1) -> list[Claim]:
    submitted(engine, number)
    return engine.claim(number, ALICE, lambda head: head["jobType"])


def test_a_step_may_settle_only(engine: PostgresEngine) -> None:
    [mine] = claims(engine)
    waiting = submitted(engine)
    step = engine.step([Settlement(mine, "finish", 1, 200)], 0, ALICE, lambda head: None)
    assert (step.settled, step.claims, step.trouble) == ([True], [], None)
    assert engine.read(waiting[0])[0]["status"] == "queued"


def test_parts_that_are_opened_apart_are_refused(clock: ManualClock) -> None:
    url = recycled(NAMES[0])
    datastore, other = PostgresDatastore(url, clock), PostgresDatastore(url, clock)
    with pytest.raises(ValueError, match="are opened apart"):
        PostgresEngine(datastore, PostgresQueue(other.server), clock)
    datastore.close()
    other.close()


def test_a_claim_whose_row_is_forgotten_settles_all_the_same(
    engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read again."""
    monkeypatch.setattr(engine_module, "REMEMBERED", 1)
    mine = claims(engine, 3)
    settled = engine.settle([Settlement(claim, "finish", 1, 200) for claim in mine])
    assert settled == [True] * 3
    assert [engine.read(claim.uuid)[0]["status"] for claim in mine] == ["succeeded"] * 3


def test_a_result_that_cannot_be_stored_is_refused_alone(engine: PostgresEngine) -> None:
    bad, good = claims(engine, 2)
    refused, stored = engine.settle([Settlement(bad, "finish", 1, 2**70), Settlement(good, "finish", 1, 200)])
    assert (type(refused), stored) == (InvalidValue, True)


def test_a_run_that_was_taken_settles_nothing(engine: PostgresEngine) -> None:
    lost, kept = claims(engine, 2)
    engine.rescue(lost.uuid, lost.run, "lost", "silent")
    assert engine.settle([Settlement(claim, "finish", 1, 200) for claim in (lost, kept)]) == [False, True]
    assert engine.read(lost.uuid)[0]["status"] == "queued"


def test_a_run_that_was_cancelled_ends_instead_of_waiting(engine: PostgresEngine) -> None:
    cancelled, other = claims(engine, 2)
    engine.cancel(cancelled.uuid)
    assert engine.settle([Settlement(claim, "requeue", 1) for claim in (cancelled, other)]) == [True, True]
    assert [engine.read(claim.uuid)[0]["status"] for claim in (cancelled, other)] == ["cancelled", "queued"]


def test_more_entries_than_are_wanted_stay(engine: PostgresEngine) -> None:
    """Also doubled ones: each job is claimed once, and none is lost."""
    uuids = submitted(engine, 6)
    for uuid in uuids:
        engine.queue.put(uuid)
    taken: list[str] = []
    for _ in range(12):
        found: list[Any] = engine.claim(2, ALICE, lambda head: head["jobType"])
        taken += [claim.uuid for claim in found]
    assert sorted(taken) == sorted(uuids)
    assert engine.queue.size() == 0


def test_two_entries_of_one_job_make_one_claim(engine: PostgresEngine) -> None:
    """In one step; the other entry is dropped by a later one."""
    [uuid] = submitted(engine)
    engine.queue.put(uuid)
    found = engine.claim(4, ALICE, lambda head: head["jobType"])
    assert [claim.uuid for claim in found] == [uuid]
    assert engine.claim(4, ALICE, lambda head: head["jobType"]) == []
    assert engine.queue.size() == 0


def test_a_cancelled_job_among_pending_ones_keeps_none_from_its_queue(engine: PostgresEngine) -> None:
    cancelled, other = submitted(engine, 2)
    for uuid in (cancelled, other):
        engine.datastore.mutate(make_key(uuid), [Set("queueState", "pending")])
    engine.datastore.mutate(make_key(cancelled), [Set("cancelRequested", to_text(engine.clock.now()))])
    put = engine.put_again_all([cancelled, other], "its writer did not")
    assert other in put
    assert engine.read(other)[0]["queueState"] == "queued"


def test_a_step_that_fails_answers_for_each_run(engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its trouble, so that the worker settles again."""
    [mine] = claims(engine)

    def failing(*_: Any) -> Any:
        raise DatastoreUnavailable("away")

    monkeypatch.setattr(engine, "_settle_and_claim", failing)
    step = engine.step([Settlement(mine, "finish", 1, 200)], 1, ALICE, lambda head: None)
    assert [type(answer) for answer in step.settled] == [DatastoreUnavailable]
    assert isinstance(step.trouble, DatastoreUnavailable)
    monkeypatch.undo()
    assert engine.settle([Settlement(mine, "finish", 1, 200)]) == [True]
