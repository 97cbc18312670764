"""Jobs that the Redis engine claims unseen: which ones, what is refused afterwards, what a lost answer leaves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.backends.redis.servers import shared
from tests.backends.redis.test_engine import Unruly
from zerog.backends.redis.datastore import RedisDatastore
from zerog.backends.redis.engine import RedisEngine
from zerog.backends.redis.queue import RedisQueue
from zerog.engine.engine import Unsuitable
from zerog.engine.transitions import Claim, Settlement, WorkerIdentity, claimed
from zerog.exceptions import AmbiguousWrite, DatastoreUnavailable
from zerog.records.job import Document, make_key, new_document
from zerog.records.operations import Set
from zerog.support import failpoints
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock

KNOWN = (("test", 1.0),)
ALICE, BOB = WorkerIdentity("alice", 30.0, "build-1", KNOWN), WorkerIdentity("bob", 30.0, None, KNOWN)
ONE_CALL, TWO_CALLS = 1, 2


class Calls:
    """Counts and keeps the calls of an engine's server."""

    def __init__(self, engine: RedisEngine) -> None:
        self._call = engine._server.call
        self.made: list[list[Any]] = []
        engine._server.call = self  # type: ignore[method-assign, assignment]

    def __call__(self, commands: Any, what: str, writes: bool = True) -> list[Any]:
        self.made.append(list(commands))
        return self._call(commands, what, writes)


@pytest.fixture
def engine() -> Iterator[RedisEngine]:
    clock = ManualClock()
    datastore = RedisDatastore(shared("valkey").url(), clock)
    engine = RedisEngine(datastore, RedisQueue(datastore.server), clock)
    engine.look_up_kinds()  # which the first claim would do by a separate call
    yield engine
    failpoints.disarm()
    datastore.close()


def new(engine: RedisEngine, job_type: str = "test", version: float = 1.0, **fields: object) -> Document:
    return {**new_document(job_type, version, to_text(engine.clock.now())), **fields}


def submitted(engine: RedisEngine, job_type: str = "test", delay: float = 0, **fields: object) -> str:
    document = new(engine, job_type, **fields)
    engine.submit([document], delay)
    return str(document["uuid"])


def claims_of(engine: RedisEngine, want: int = 10, worker: WorkerIdentity = ALICE) -> list[Claim]:
    return engine.claim(want, worker, lambda head: head["jobType"])


def calls_of_a_claim(engine: RedisEngine, worker: WorkerIdentity = ALICE) -> int:
    engine.live_limits.of_queue(engine.queue.name)  # read now and then, by no claim in particular
    calls = Calls(engine)
    assert len(claims_of(engine, 1, worker)) == 1
    return len(calls.made)


# which ones


def test_a_claim_unseen_changes_what_any_claim_changes(engine: RedisEngine) -> None:
    """The fields that the script works out are those of the transition, to the letter."""
    uuid = submitted(engine, colour="red", attempts=3, epoch=7)
    before = engine.read(uuid)[0]
    engine.clock.pause(5)
    [claim] = claims_of(engine)
    operations = claimed(before, ALICE, claim.nonce, to_text(engine.clock.now()))
    expected = {**before, **{o.field: o.value for o in operations if isinstance(o, Set)}}
    expected |= {"attempts": 4, "updatedAt": to_text(engine.clock.now())}
    assert claim.head == expected
    assert engine.read(uuid) == (expected, claim.token)
    assert (claim.epoch, claim.seq, claim.job, claim.head["owner"]["build"]) == (8, 0, "test", "build-1")


def test_claims_of_one_call_have_names_of_their_own(engine: RedisEngine) -> None:
    for _ in range(30):
        submitted(engine)
    claims = claims_of(engine, 30)
    assert len({claim.nonce for claim in claims}) == 30


def test_a_known_job_takes_one_call(engine: RedisEngine) -> None:
    submitted(engine)
    assert calls_of_a_claim(engine) == ONE_CALL


def test_a_job_that_was_requeued_takes_one_call(engine: RedisEngine) -> None:
    submitted(engine)
    [claim] = claims_of(engine)
    assert engine.settle([Settlement(claim, "requeue", 1)]) == [True]
    assert calls_of_a_claim(engine) == ONE_CALL


@pytest.mark.parametrize(
    ("job_type", "version"), [("other", 1.0), ("test", 2.0), ("test", 0.9)], ids=["type", "newer", "older"]
)
def test_what_its_code_does_not_write_is_looked_at(engine: RedisEngine, job_type: str, version: float) -> None:
    engine.submit([new(engine, job_type, version)])
    assert calls_of_a_claim(engine) == TWO_CALLS


def test_a_worker_without_a_list_of_types_checks_each_entry(engine: RedisEngine) -> None:
    submitted(engine)
    assert calls_of_a_claim(engine, WorkerIdentity("new", 30.0)) == TWO_CALLS


def test_a_delayed_job_is_looked_at(engine: RedisEngine) -> None:
    """Whether it is due is for the worker to decide."""
    submitted(engine, delay=5)
    engine.clock.pause(6)
    engine.look_up_kinds()  # which is due once a second
    assert calls_of_a_claim(engine) == TWO_CALLS


def test_a_document_that_another_program_wrote_whole_is_checked(engine: RedisEngine) -> None:
    uuid = submitted(engine)
    engine.datastore.set(make_key(uuid), {**engine.read(uuid)[0], "events": [], "errors": [], "warnings": []})
    assert calls_of_a_claim(engine) == TWO_CALLS


@pytest.mark.parametrize("field", ["jobType", "schemaVersion", "format"])
def test_a_document_that_was_made_another_kind_is_looked_at(engine: RedisEngine, field: str) -> None:
    uuid = submitted(engine)
    value = engine.read(uuid)[0][field]
    engine.datastore.mutate(make_key(uuid), [Set(field, value)])
    assert calls_of_a_claim(engine) == TWO_CALLS


@pytest.mark.parametrize(
    ("field", "value"),
    [("attempts", "3"), ("attempts", 1.5), ("epoch", -1), ("epoch", 10**15), ("updatedAt", 7), ("updatedAt", "a\\")],
)
def test_numbers_and_times_that_the_script_can_not_count_on_are_left_to_the_worker(
    engine: RedisEngine, field: str, value: object
) -> None:
    uuid = submitted(engine)
    engine.datastore.mutate(make_key(uuid), [Set(field, value)])
    before = engine.datastore.read_with_cas(make_key(uuid))
    engine.live_limits.of_queue(engine.queue.name)
    calls = Calls(engine)
    claims = claims_of(engine)
    assert len(calls.made) == TWO_CALLS
    if not claims:  # nor can the worker
        assert engine.datastore.read_with_cas(make_key(uuid)) == before


def test_a_cancelled_job_is_not_claimed(engine: RedisEngine) -> None:
    uuid = submitted(engine)
    engine.datastore.mutate(make_key(uuid), [Set("cancelRequested", to_text(engine.clock.now()))])
    assert claims_of(engine) == []
    assert engine.read(uuid)[0]["status"] == "cancelled"


def test_a_clock_that_was_set_back_sets_no_time_back(engine: RedisEngine) -> None:
    later = "2999-01-01T00:00:00.000000+00:00"
    uuid = submitted(engine)
    engine.datastore.mutate(make_key(uuid), [Set("updatedAt", later)])
    [claim] = claims_of(engine)
    assert (claim.head["startedAt"], claim.head["updatedAt"]) == (later, later)


def test_known_and_unknown_jobs_keep_their_order_of_claims(engine: RedisEngine) -> None:
    uuids = [submitted(engine, ("test", "other")[n % 2]) for n in range(6)]
    assert {claim.uuid for claim in claims_of(engine)} == set(uuids)
    assert engine.queue.size() == 0


# refused


def test_what_is_refused_is_given_back_and_looked_at_from_then_on(engine: RedisEngine) -> None:
    """It costs the job nothing, and is not passed between workers again and again."""
    uuid = submitted(engine)

    def refuse(head: Document) -> None:
        raise Unsuitable("colour is red")

    assert engine.claim(1, ALICE, refuse) == []
    head = engine.read(uuid)[0]
    assert (head["status"], head["attempts"], head["owner"], head["lost"]) == ("scheduled", 0, None, 0)
    assert engine.skipped == {uuid: "colour is red"}
    engine.clock.pause(6)
    assert engine.claim(1, ALICE, refuse) == []
    assert engine.read(uuid)[0] == head
    engine.clock.pause(6)
    [claim] = claims_of(engine, 1, BOB)
    assert claim.head["attempts"] == 1


def test_a_head_that_can_not_be_read_is_given_back_and_then_set_aside(engine: RedisEngine) -> None:
    uuid = submitted(engine)
    engine._server.ask("the test", "HSET", f"{engine._server.prefix}d:{make_key(uuid)}", "body", ',"n":nonsense')
    good = submitted(engine)
    assert [claim.uuid for claim in claims_of(engine)] == [good]
    assert "can't be read" in engine.skipped[uuid]
    engine.clock.pause(6)
    assert claims_of(engine) == []
    assert engine.queue.size() == 0
    assert engine.counters["dropped.unreadable"] == 1


def _refuse(head: Document) -> None:
    raise Unsuitable("no")


def test_a_deferred_claim_is_read_once(engine: RedisEngine) -> None:
    uuid = submitted(engine)
    [claim] = engine.step([], 1, ALICE, _refuse, deferred=True)[1]
    assert (claim.uuid, claim.head) == (uuid, {})
    assert engine.load_claim(claim, lambda head: "loaded")
    assert engine.load_claim(claim, _refuse)
    assert (claim.head["uuid"], claim.job) == (uuid, "loaded")


def test_a_settlement_that_was_prepared_is_the_same(engine: RedisEngine) -> None:
    first, second = submitted(engine), submitted(engine)
    claims = claims_of(engine)
    settlements = [Settlement(claim, "finish", 1, 200) for claim in claims]
    engine.prepare(settlements[0])
    assert settlements[0].prepared
    assert engine.settle(settlements) == [True, True]
    one, other = engine.read(first)[0], engine.read(second)[0]
    own = ("uuid", "logId", "owner", "run", "queueJobId")
    assert {k: v for k, v in one.items() if k not in own} == {k: v for k, v in other.items() if k not in own}


# lost answers


@pytest.mark.parametrize("word", ["late", "lost"])
def test_a_take_without_an_answer_claims_under_the_name_of_its_batch(engine: RedisEngine, word: str) -> None:
    """Whether it was done or not can't be known; by its beginning the name shows that no worker holds the run."""
    uuid = submitted(engine)
    Unruly(engine, word)
    step = engine.step([], 1, ALICE, lambda head: None, batch="0123456789ab")
    assert (step.claims, type(step.trouble)) == ([], AmbiguousWrite)
    head = engine.read(uuid)[0]
    if word == "late":
        assert head["owner"]["nonce"].startswith("0123456789ab")
        assert claims_of(engine) == []
    else:
        assert [claim.uuid for claim in claims_of(engine)] == [uuid]


def test_settlements_that_ride_along_with_a_lost_take_are_sent_again(engine: RedisEngine) -> None:
    submitted(engine)
    [claim] = claims_of(engine)
    submitted(engine)
    settlement = Settlement(claim, "finish", 1, 200)
    Unruly(engine, "late")
    assert [type(answer) for answer in engine.step([settlement], 1, ALICE, lambda head: None).settled] == [
        AmbiguousWrite
    ]
    assert engine.settle([settlement]) == [True]
    assert engine.read(claim.uuid)[0]["status"] == "succeeded"


@pytest.mark.parametrize("error", [DatastoreUnavailable("out of reach"), ZeroDivisionError()])
def test_trouble_after_the_call_loses_no_claim(
    engine: RedisEngine, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """What else the step does may fail: for example a settlement that was refused, and is made separately."""
    first = submitted(engine)
    [claim] = claims_of(engine)
    assert engine.rescue(first, claim.run, "lost", "its worker was silent")
    [again] = claims_of(engine, worker=BOB)
    uuid = submitted(engine)

    def fail(settlement: Settlement) -> bool:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(engine, "_settle_one", fail)
        step = engine.step([Settlement(claim, "finish", 1, 200)], 1, ALICE, lambda head: None)
    assert (step.settled, [each.uuid for each in step.claims]) == ([error], [uuid])
    assert engine.settle([Settlement(claim, "finish", 1, 200)]) == [False]
    assert engine.settle([Settlement(again, "finish", 1, 200)]) == [True]


def test_trouble_with_the_next_take_loses_no_claim_of_the_one_before(engine: RedisEngine) -> None:
    known, other = submitted(engine), submitted(engine, "other")

    def stumble(head: Document) -> None:
        if head["jobType"] == "other":
            raise ZeroDivisionError

    step = engine.step([], 2, ALICE, stumble)
    assert ([claim.uuid for claim in step.claims], type(step.trouble)) == ([known], ZeroDivisionError)
    engine.clock.pause(61)
    assert [claim.uuid for claim in claims_of(engine, 1)] == [other]


def test_an_idle_worker_sends_no_claims(engine: RedisEngine) -> None:
    calls = Calls(engine)
    for _ in range(3):
        assert claims_of(engine) == []
    assert len(calls.made) == 3
