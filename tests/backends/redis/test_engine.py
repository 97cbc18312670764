"""The engine on one Redis server alone: whole batches, and what is left of them after a failure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.backends.redis.servers import shared
from zerog.backends.redis import engine as redis_engine
from zerog.backends.redis.datastore import RedisDatastore
from zerog.backends.redis.engine import RedisEngine
from zerog.backends.redis.queue import RedisQueue
from zerog.contracts.datastore import FindQuery
from zerog.contracts.queue import FAIR_SHARE
from zerog.engine.transitions import Claim, Settlement, WorkerIdentity, waiting
from zerog.exceptions import AmbiguousWrite, CasMismatch, CorruptDocument, DatastoreUnavailable, InvalidValue
from zerog.records.job import make_key, new_document
from zerog.records.operations import Append, Set
from zerog.support import failpoints
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock

ALICE, BOB = WorkerIdentity("alice", 30.0), WorkerIdentity("bob", 30.0)


@pytest.fixture
def engine() -> Iterator[RedisEngine]:
    clock = ManualClock()
    datastore = RedisDatastore(shared("valkey").url(), clock)
    engine = RedisEngine(datastore, RedisQueue(datastore.server), clock)
    engine.look_up_kinds()  # which the first claim would do by a separate call
    yield engine
    failpoints.disarm()
    datastore.close()


class Unruly:
    """Precedes a server's calls and answers them as the words order, one each; then as the server does."""

    def __init__(self, engine: RedisEngine, words: str) -> None:
        self._call = engine._server.call
        self.words = words.split()
        engine._server.call = self  # type: ignore[method-assign, assignment]

    def __call__(self, commands: Sequence[dict[str, Any]], what: str, writes: bool = True) -> list[Any]:
        word = self.words.pop(0) if self.words else "ok"
        if word == "lost":
            raise AmbiguousWrite("the question was lost")
        if word == "down":
            raise DatastoreUnavailable("out of reach")
        answers = self._call(commands, what, writes)
        if word == "late":
            raise AmbiguousWrite("the answer was lost")
        return answers


def submitted(engine: RedisEngine, **fields: object) -> str:
    document = {**new_document("test", 1.0, to_text(engine.clock.now())), **fields}
    engine.submit([document])
    return str(document["uuid"])


def claims_of(
    engine: RedisEngine, want: int, queues: tuple[str, ...] = (), worker: WorkerIdentity = ALICE
) -> list[Claim]:
    return engine.claim(want, worker, lambda head: head["jobType"], queues)


def claimed(engine: RedisEngine, want: int, queues: tuple[str, ...] = ()) -> list[str]:
    return [claim.uuid for claim in claims_of(engine, want, queues)]


def status(engine: RedisEngine, uuid: str) -> str:
    return str(engine.read(uuid)[0]["status"])


# priorities


def test_a_low_priority_gets_its_share(engine: RedisEngine) -> None:
    """While high ones never end, every tenth job is the oldest of the lowest priority."""
    low = [submitted(engine, priority=-1) for _ in range(3)]
    middle = [submitted(engine) for _ in range(30)]
    high = [submitted(engine, priority=7) for _ in range(60)]
    order = [uuid for _ in range(10) for uuid in claimed(engine, 4)]
    assert [uuid for uuid in order if uuid in low] == low
    assert [order.index(uuid) for uuid in low] == [FAIR_SHARE - 1, 2 * FAIR_SHARE - 1, 3 * FAIR_SHARE - 1]
    assert order.index(middle[0]) == 4 * FAIR_SHARE - 1
    assert [uuid for uuid in order if uuid in high] == high[:36]


def test_a_late_queue_gets_its_share(engine: RedisEngine) -> None:
    """Queues are served in the order in which the worker names them, but for the same share."""
    slow = [submitted(engine, queueName="slow") for _ in range(5)]
    quick = [submitted(engine, queueName="quick") for _ in range(40)]
    order = claimed(engine, 25, ("quick", "slow"))
    assert [n for n, uuid in enumerate(order) if uuid in slow] == [FAIR_SHARE - 1, 2 * FAIR_SHARE - 1]
    assert [uuid for uuid in order if uuid in quick] == quick[:23]


# batches


def test_one_broken_document_does_not_stop_a_batch(engine: RedisEngine) -> None:
    """All other jobs of the call are claimed and settled, and are found where they belong."""
    uuids = [submitted(engine) for _ in range(5)]
    odd = submitted(engine, priority=1)
    server = engine.datastore.server
    server.ask("a test", "HSET", f"{server.prefix}d:{make_key(odd)}", "cas", "?")
    claims = engine.claim(6, ALICE, lambda head: head["jobType"])
    assert [claim.uuid for claim in claims] == uuids
    assert odd in engine.skipped
    server.ask("a test", "HSET", f"{server.prefix}d:{claims[1].key}", "cas", "?")
    server.ask("a test", "DEL", f"{server.prefix}d:{claims[3].key}")
    server.ask("a test", "SET", f"{server.prefix}d:{claims[3].key}", "hello")
    settled = engine.settle([Settlement(claim, "finish", 1, 200) for claim in claims])
    assert [type(answer) for answer in settled] == [bool, CorruptDocument, bool, CorruptDocument, bool]
    assert claims[1].key in str(settled[1])
    found = [head["uuid"] for head in engine.datastore.find(FindQuery(status="succeeded")).heads]
    assert found == [uuids[0], uuids[2], uuids[4]]


def test_more_than_fits_in_one_call(engine: RedisEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Submitting, claiming, settling and putting again continue until all is done."""
    monkeypatch.setattr(engine, "at_once", 3)
    documents = [new_document("test", 1.0, to_text(engine.clock.now())) for _ in range(8)]
    uuids = [document["uuid"] for document, _ in engine.submit(documents)]
    claims = claims_of(engine, 8)
    assert [claim.uuid for claim in claims] == uuids
    settlements = [Settlement(claim, "finish", 1, 200) for claim in claims]
    assert engine.step(settlements, 1, ALICE, lambda head: None) == ([True] * 8, [], None)
    for uuid in uuids:
        engine.datastore.mutate(make_key(uuid), waiting(to_text(engine.clock.now()), 0))
    assert engine.put_again_all(uuids, "a test") == uuids
    assert engine.queue.size() == 8


def test_stale_entries_do_not_hold_up_a_claim(engine: RedisEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue may hold any number of them: a claim that has something returns with it."""
    monkeypatch.setattr(redis_engine, "ENTRIES", 4)
    uuid = submitted(engine)
    for _ in range(6):
        engine.queue.put(uuid)
    later = submitted(engine)
    assert claimed(engine, 2) == [uuid]
    assert claimed(engine, 2) == [later]


def test_parts_that_were_opened_apart_are_refused() -> None:
    url = shared("valkey").url()
    with pytest.raises(ValueError, match="apart"):
        RedisEngine(RedisDatastore(url), RedisQueue(url))


# lost answers


@pytest.mark.parametrize("words", ["lost", "late", "lost ok late", "late ok ok"])
def test_a_submission_without_an_answer_is_stored_once(engine: RedisEngine, words: str) -> None:
    Unruly(engine, words)
    uuid = submitted(engine)
    assert claimed(engine, 5) == [uuid]


def test_a_submission_whose_first_try_came_late_is_stored_once(
    engine: RedisEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not there when it was looked for, and is when it is sent again."""
    document = new_document("test", 1.0, to_text(engine.clock.now()))
    create = engine._create
    Unruly(engine, "lost")
    monkeypatch.setattr(engine, "_wait_for_answer", lambda _: create([dict(document)], document["createdAt"], 0))
    [(stored, _)] = engine.submit([document])
    assert claimed(engine, 5) == [stored["uuid"]]


@pytest.mark.parametrize(
    ("words", "error"),
    [("lost ok lost down", AmbiguousWrite), ("lost ok down", AmbiguousWrite), ("down", DatastoreUnavailable)],
)
def test_a_submission_without_confirmation_names_the_uuid(
    engine: RedisEngine, words: str, error: type[Exception]
) -> None:
    """Unless nothing was sent, which the error states, too."""
    document = new_document("test", 1.0, to_text(engine.clock.now()))
    Unruly(engine, words)
    with pytest.raises(error, match=document["uuid"] if error is AmbiguousWrite else "out of reach"):
        engine.submit([document])


def test_a_submission_that_is_never_answered_ends(engine: RedisEngine) -> None:
    document = new_document("test", 1.0, to_text(engine.clock.now()))
    Unruly(engine, "lost ok " * 20)
    with pytest.raises(AmbiguousWrite, match=document["uuid"]):
        engine.submit([document])


@pytest.mark.parametrize("words", ["lost", "late"])
@pytest.mark.parametrize("want", [0, 1])
def test_a_settlement_without_an_answer_is_made_once(engine: RedisEngine, words: str, want: int) -> None:
    """The answer is that it may have happened; under the same numbers it is sent again until it is answered."""
    uuid = submitted(engine)
    [claim] = claims_of(engine, 1)
    Unruly(engine, words)
    settlement = Settlement(claim, "finish", 1, 200, operations=[Append("events", {"n": 1})])
    assert [type(answer) for answer in engine.step([settlement], want, ALICE, lambda head: None).settled] == [
        AmbiguousWrite
    ]
    assert engine.step([settlement], want, ALICE, lambda head: None).settled == [True]
    assert status(engine, uuid) == "succeeded"
    assert len((engine.datastore.read(claim.key) or {})["events"]) == 1


def test_trouble_after_some_claims_does_not_lose_them(engine: RedisEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was claimed is returned, what was settled is reported; the rest is delivered again."""
    monkeypatch.setattr(engine, "at_once", 2)
    uuids = [submitted(engine) for _ in range(6)]
    Unruly(engine, "ok ok down")
    claims = claims_of(engine, 6)
    assert [claim.uuid for claim in claims] == uuids[:2]
    Unruly(engine, "ok down")
    step = engine.step([Settlement(claims[0], "finish", 1, 200)], 2, ALICE, lambda head: None)
    assert (step.settled, step.claims, type(step.trouble)) == ([True], [], DatastoreUnavailable)
    Unruly(engine, "lost")
    with pytest.raises(AmbiguousWrite):
        claims_of(engine, 1)


@pytest.mark.parametrize("error", [CasMismatch, AmbiguousWrite, DatastoreUnavailable, CorruptDocument, None])
def test_a_job_that_was_changed_between_the_two_calls_of_a_claim(
    engine: RedisEngine, monkeypatch: pytest.MonkeyPatch, error: type[Exception] | None
) -> None:
    """It is tried once more alone; whatever the answer, the remaining jobs are claimed."""
    changed, other = submitted(engine), submitted(engine)
    mutate = engine.datastore.mutate

    def accept(head: dict[str, Any]) -> None:
        if head["uuid"] == changed:
            mutate(make_key(changed), [Set("colour", "red")])

    def answer(*args: Any, **kwargs: Any) -> Any:
        if error:
            raise error("made up")
        return mutate(args[0], args[1])

    monkeypatch.setattr(engine.datastore, "mutate", answer)
    claims = engine.claim(2, ALICE, accept)
    assert {claim.uuid for claim in claims} >= {other}
    assert (changed in [claim.uuid for claim in claims]) == (error is None)


def test_a_cancelled_job_that_can_t_be_ended_is_delivered_again(
    engine: RedisEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    uuid = submitted(engine)
    engine.datastore.mutate(make_key(uuid), [Set("cancelRequested", "2026-01-01T00:00:00+00:00")])
    with monkeypatch.context() as broken:
        broken.setattr(engine, "_stop_waiting", lambda *_: False)
        assert claimed(engine, 1) == []
    engine.clock.pause(2)
    assert claimed(engine, 1) == []
    assert status(engine, uuid) == "cancelled"


def test_a_repair_without_an_answer_is_left_to_the_next_sweep(engine: RedisEngine) -> None:
    uuid = submitted(engine)
    engine.datastore.mutate(make_key(uuid), waiting(to_text(engine.clock.now()), 0))
    Unruly(engine, "ok lost")
    assert engine.put_again_all([uuid], "a test") == []
    assert engine.put_again_all([uuid], "a test") == [uuid]


def test_repairs_leave_out_what_needs_none(engine: RedisEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that are on their queue, that are gone, and one that was changed since it was looked at."""
    there, changed = submitted(engine), submitted(engine)
    gone = new_document("test", 1.0, to_text(engine.clock.now()))["uuid"]
    engine.datastore.mutate(make_key(changed), waiting(to_text(engine.clock.now()), 0))
    recorded = engine._repair_event

    def meanwhile(head: dict[str, Any], now: str, why: str) -> Any:
        engine.datastore.mutate(make_key(changed), [Set("colour", "red")])
        return recorded(head, now, why)

    monkeypatch.setattr(engine, "_repair_event", meanwhile)
    Unruly(engine, "")
    done = engine.put_again_all([there, gone, changed], "a test")
    assert done in ([], [changed])
    assert status(engine, there) == "queued"
    monkeypatch.undo()
    engine.put_again_all([changed], "a test")
    assert engine.read(changed)[0]["queueState"] == "queued"


def test_a_history_that_is_no_list_takes_no_repair(engine: RedisEngine) -> None:
    """The job is named, and those beside it are put again."""
    uuid, other = submitted(engine), submitted(engine)
    for each, events in ((uuid, "none"), (other, [])):
        engine.datastore.mutate(make_key(each), [Set("events", events), *waiting(to_text(engine.clock.now()), 0)])
    assert engine.put_again_all([uuid, other], "a test") == [other]
    assert "has events 'none'" in engine.skipped[uuid]


def test_what_the_script_can_t_do_is_settled_for_itself(engine: RedisEngine) -> None:
    """A list that is replaced, an invalid time to run: each settlement is independent."""
    replaced, odd = submitted(engine), submitted(engine)
    first, second = claims_of(engine, 2)
    second.head["queueKwargs"] = {"ttr": -1}
    settlements = [
        Settlement(first, "finish", 1, 200, operations=[Set("events", [1, 2])]),
        Settlement(second, "requeue", 1),
    ]
    assert engine.settle(settlements) == [True, True]
    assert (engine.datastore.read(first.key) or {})["events"] == [1, 2]
    assert (status(engine, replaced), engine.read(odd)[0]["queueState"]) == ("succeeded", "pending")


def test_a_key_that_holds_no_queue_keeps_no_run_from_its_end(
    engine: RedisEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named, and nothing is claimed from it."""
    submitted(engine)
    [mine] = claims_of(engine, 1)
    engine._server.ask("damaging", "SET", f"{engine._server.prefix}q:default:ready", "7")
    step = engine.step([Settlement(mine, "finish", 1, 200)], 1, ALICE, lambda head: None)
    assert (step.settled, step.claims) == ([True], [])
    assert "holds something else under a key there" in caplog.text


def test_one_settlement_that_can_t_be_made_keeps_no_other(engine: RedisEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a separate answer."""
    for _ in range(3):
        submitted(engine)
    claims = claims_of(engine, 3)
    settlements = [Settlement(each, "finish", 1, 200) for each in claims]
    prepare, error = engine.prepare, InvalidValue("made up: no such value")

    def refuse(settlement: Settlement) -> None:
        if settlement is settlements[1]:
            raise error
        prepare(settlement)

    monkeypatch.setattr(engine, "prepare", refuse)
    assert engine.settle(settlements) == [True, error, True]
