"""Verbs against a datastore that refuses, hangs and breaks in a given order."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.faulty_datastore import ALICE, Unruly, claim, document, plan, submit
from zerog.backends.memory.queue import MemoryQueue
from zerog.contracts.datastore import RunGuard
from zerog.engine import takeovers, transitions
from zerog.engine.engine import Engine
from zerog.engine.transitions import Settlement
from zerog.exceptions import AmbiguousWrite, DatastoreUnavailable, QueueUnavailable, TooManyCollisions
from zerog.fleet.heartbeat import WorkerRecords
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import make_key, new_uuid
from zerog.records.keys import WORKERS
from zerog.records.operations import Set
from zerog.testing.clock import ManualClock


@pytest.fixture
def engine() -> Engine:
    clock = ManualClock()
    return Engine(Unruly(), MemoryQueue(clock=clock), clock)


@pytest.mark.parametrize("words", ["busy", "busy busy", "lost", "late", "lost busy lost", "late busy"])
@pytest.mark.parametrize("verb", ["enqueue", "retry", "cancel", "rescue", "claim", "discard"])
def test_every_verb_tries_again(engine: Engine, verb: str, words: str) -> None:
    """Another writer was first, or an answer was lost: the verb still does its work, and once."""
    uuid = submit(engine)
    if verb in ("retry", "rescue", "discard"):
        [mine] = claim(engine)
    if verb in ("retry", "discard"):
        engine.settle([Settlement(mine, "finish", 1, 500)])
    plan(engine, words)
    if verb == "claim":
        [mine] = claim(engine)
        assert engine.read(uuid)[0] == mine.head
        assert mine.head["attempts"] == 1
    elif verb == "rescue":
        assert engine.rescue(uuid, mine.run, "lost", "gone")
        assert engine.read(uuid)[0]["lost"] == 1
    elif verb == "discard":
        engine.discard(uuid)
        assert engine.datastore.read(mine.key) is None
    else:
        getattr(engine, verb)(uuid)
        assert engine.read(uuid)[0]["status"] == ("cancelled" if verb == "cancel" else "queued")


@pytest.mark.parametrize(("words", "error"), [("busy...", TooManyCollisions), ("lost...", AmbiguousWrite)])
@pytest.mark.parametrize("verb", ["enqueue", "retry", "discard"])
def test_a_verb_that_makes_no_progress_raises(engine: Engine, verb: str, words: str, error: type[Exception]) -> None:
    """It gives up after a bounded number of tries, and nothing was changed."""
    uuid = submit(engine)
    if verb != "enqueue":
        engine.settle([Settlement(claim(engine)[0], "finish", 1, 500)])
    before = engine.read(uuid)
    plan(engine, words)
    with pytest.raises(error):
        getattr(engine, verb)(uuid)
    assert engine.read(uuid) == before


@pytest.mark.parametrize("verb", ["cancel", "rescue"])
def test_a_document_under_constant_change_is_given_up(engine: Engine, verb: str) -> None:
    """The error names it."""
    uuid = submit(engine)
    run = claim(engine)[0].run if verb == "rescue" else RunGuard(0, None)
    plan(engine, "busy...")
    with pytest.raises(TooManyCollisions, match=uuid):
        engine.cancel(uuid) if verb == "cancel" else engine.rescue(uuid, run, "lost", "gone")


def test_a_job_that_can_t_be_claimed_is_delivered_again(engine: Engine) -> None:
    """Whether another writer is always first or no answer arrives: the delivery is put back."""
    uuid = submit(engine)
    plan(engine, "busy...")
    assert claim(engine) == []
    assert "changed by others" in engine.skipped[uuid]
    engine.clock.pause(6)
    plan(engine, "lost...")
    with pytest.raises(AmbiguousWrite):
        claim(engine)
    engine.clock.pause(2)
    plan(engine, "")
    assert [one.uuid for one in claim(engine)] == [uuid]


def test_a_claim_that_was_not_stored_leaves_nothing(engine: Engine) -> None:
    """A claim that was never answered and never applied is no claim once the document has moved on."""
    uuid = submit(engine)
    plan(engine, "lost...")
    with pytest.raises(AmbiguousWrite):
        claim(engine)
    plan(engine, "")
    engine.cancel(uuid)
    engine.clock.pause(2)
    assert claim(engine) == []
    assert (engine.counters["claim.recovered"], engine.read(uuid)[0]["status"]) == (0, "cancelled")


def test_enqueue_and_retry_whose_job_was_quicker(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer was so late that the job runs already: that is no error."""
    for verb in ("enqueue", "retry"):
        uuid = submit(engine)
        if verb == "retry":
            engine.settle([Settlement(claim(engine)[0], "finish", 1, 500)])

        def others(seconds: float, uuid: str = uuid) -> None:
            engine.queue.put(uuid)
            claim(engine)

        plan(engine, "late")
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(engine.clock, "pause", others)
            getattr(engine, verb)(uuid)
        assert engine.read(uuid)[0]["status"] == "running"


@pytest.mark.parametrize("words", ["lost", "late", "lost lost", "lost late"])
def test_a_submission_without_an_answer_is_stored_once(engine: Engine, words: str) -> None:
    """It is read back, and created again if it isn't there."""
    plan(engine, words)
    uuid = submit(engine)
    assert [one.uuid for one in claim(engine, 5)] == [uuid]


@pytest.mark.parametrize(("words", "error"), [("lost...", AmbiguousWrite), ("lost down", AmbiguousWrite)])
def test_a_submission_of_unknown_outcome_names_the_uuid(engine: Engine, words: str, error: type[Exception]) -> None:
    """The caller can look it up."""
    made = document(engine)
    plan(engine, words)
    with pytest.raises(error, match=made["uuid"]):
        engine.submit([made])


def test_a_submission_that_can_t_be_read_back_names_the_uuid(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The datastore was unavailable right then."""

    def fail(*_: Any) -> Any:
        raise DatastoreUnavailable("out of reach")

    made = document(engine)
    plan(engine, "late")
    monkeypatch.setattr(engine.datastore, "read_with_cas", fail)
    with pytest.raises(AmbiguousWrite, match=made["uuid"]):
        engine.submit([made])


def test_a_store_that_is_down_refuses_a_submission(engine: Engine) -> None:
    """Nothing was written, and the error states that and no more."""
    plan(engine, "down")
    with pytest.raises(DatastoreUnavailable):
        submit(engine)


@pytest.mark.parametrize("word", ["down", "lost", "busy"])
def test_a_mark_that_fails_does_not_look_like_a_refusal(engine: Engine, word: str) -> None:
    """The document is stored: the job is accepted, and runs."""
    plan(engine, f"ok {word}")
    uuid = submit(engine)
    assert [one.uuid for one in claim(engine)] == [uuid]


def test_reserved_entries_are_given_back_by_a_worker_that_leaves(engine: Engine) -> None:
    """Otherwise no other worker could get them for their time to run."""
    uuid = submit(engine)
    assert engine.wait_ready(0)
    assert engine.queue.reserve(0) is None
    WorkerRecords(engine).forget(ALICE.name)
    engine.wake()
    assert [one.uuid for one in claim(engine)] == [uuid]


def test_a_cancelled_job_that_can_t_be_ended_is_delivered_again(engine: Engine) -> None:
    """Its delivery is put back, and the next claim ends it."""
    uuid = submit(engine)
    engine.datastore.mutate(make_key(uuid), [Set("cancelRequested", "2026-01-01")])
    plan(engine, "lost")
    assert claim(engine) == []
    engine.clock.pause(2)
    assert claim(engine) == []
    assert engine.read(uuid)[0]["status"] == "cancelled"


def test_a_repair_that_can_t_be_recorded_is_left_alone(engine: Engine) -> None:
    """Events that are no list take no event; the job is named and keeps no other from its repair."""
    uuid, other = submit(engine), submit(engine)
    for each in (uuid, other):
        engine.datastore.mutate(make_key(each), [Set("queueState", "pending")])
    engine.datastore.mutate(make_key(uuid), [Set("events", "none")])
    assert engine.put_again_all([uuid, new_uuid(), other], "its writer did not") == [other]
    assert "has events 'none'" in engine.skipped[uuid]


def test_a_queue_out_of_reach_is_no_repair(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job stays pending and the failure is counted."""

    def fail(*_: Any, **__: Any) -> Any:
        raise QueueUnavailable("no route")

    uuid = submit(engine)
    engine.datastore.mutate(make_key(uuid), [Set("queueState", "pending")])
    monkeypatch.setattr(engine.queue, "put", fail)
    assert engine.put_again_all([uuid], "its writer did not") == []
    assert (engine.read(uuid)[0]["queueState"], engine.counters["put.failed"]) == ("pending", 1)


@pytest.mark.parametrize("words", ["busy", "lost", "late", "ok"])
def test_the_directory_is_right_whatever_is_answered(engine: Engine, words: str) -> None:
    """A worker is named once it has a record."""
    plan(engine, f"ok {words}")
    WorkerRecords(engine).renew(ALICE, 1)
    assert set(WorkerRecords(engine).directory()) == {"alice"}
    WorkerRecords(engine).forget(ALICE.name)
    WorkerRecords(engine).forget(ALICE.name)
    assert WorkerRecords(engine).directory() == {}


def test_a_directory_that_is_locked_for_good_is_an_error(engine: Engine) -> None:
    """The worker tries again at its next heartbeat."""
    plan(engine, "busy...")
    with pytest.raises(TooManyCollisions, match=WORKERS):
        WorkerRecords(engine).renew(ALICE, 1)
    plan(engine, "")
    engine.datastore.create(WORKERS, {"workers": 7})
    WorkerRecords(engine).renew(ALICE, 1)
    assert set(WorkerRecords(engine).directory()) == {"alice"}


def test_a_job_whose_rescue_fails_for_itself_stops_no_sweep(engine: Engine) -> None:
    """An epoch that can't be raised any more: it is listed."""
    uuid = submit(engine)
    claim(engine)
    engine.datastore.mutate(make_key(uuid), [Set("notBefore", "soon"), Set("errors", "none")])
    clock = engine.clock
    assert isinstance(clock, ManualClock)
    reconciler = Reconciler(engine, "first", clock)
    assert 8 <= reconciler.pause() <= 12
    reconciler.sweep()
    clock.advance(31)
    assert uuid in reconciler.sweep().stuck


class _Broken:
    """A delivery of any job, which can't be acknowledged."""

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid

    def delete(self) -> None:
        raise QueueUnavailable("no route")


def test_a_delivery_that_is_no_job_or_can_t_be_acknowledged_stops_no_worker(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue that breaks its contract costs a count; an acknowledgement that fails costs a later delivery."""
    uuid = submit(engine)
    deliveries = [_Broken("rubbish"), _Broken(uuid)]
    monkeypatch.setattr(engine.queue, "reserve", lambda timeout: deliveries.pop(0) if deliveries else None)
    assert [one.uuid for one in claim(engine, 5)] == [uuid]
    assert engine.counters["dropped.invalid"] == 1


@pytest.mark.parametrize(
    ("cancelled", "again_after", "status"),
    [(False, None, "failed"), (False, 5.0, "scheduled"), (True, 5.0, "cancelled")],
)
def test_a_run_whose_time_was_over(engine: Engine, cancelled: bool, again_after: float | None, status: str) -> None:
    """It ends, runs again later, or ends as cancelled."""
    uuid = submit(engine)
    [mine] = claim(engine)
    if cancelled:
        engine.cancel(uuid)
    record = transitions.error_record("2026-01-01", 500, "too long")
    assert engine.revoke_run(uuid, mine.run, lambda head, now: takeovers.overrun(head, record, now, 10, again_after))
    assert (engine.read(uuid)[0]["status"], engine.read(uuid)[0]["errorCount"]) == (status, 1)


def test_a_run_whose_document_is_gone_is_not_revoked(engine: Engine) -> None:
    """A job that was removed beside the engine is not written again."""
    uuid = submit(engine)
    [mine] = claim(engine)
    engine.datastore.delete(make_key(uuid))
    record = transitions.error_record("2026-01-01", 500, "too long")
    assert not engine.revoke_run(uuid, mine.run, lambda head, now: takeovers.overrun(head, record, now, 10, None))
    assert engine.datastore.read(make_key(uuid)) is None


def test_a_cancelled_job_is_not_released(engine: Engine) -> None:
    """A shutdown ends it instead."""
    uuid = submit(engine)
    [mine] = claim(engine)
    engine.cancel(uuid)
    assert engine.release(uuid, mine.run, "shutting down")
    assert engine.read(uuid)[0]["status"] == "cancelled"


def test_a_settlement_without_an_answer_is_answered_so(engine: Engine) -> None:
    """The caller may send it again."""
    submit(engine)
    [mine] = claim(engine)
    plan(engine, "lost...")
    assert [type(answer) for answer in engine.settle([Settlement(mine, "finish", 1, 200)])] == [AmbiguousWrite]
    plan(engine, "")
    assert engine.settle([Settlement(mine, "finish", 1, 200)]) == [True]
