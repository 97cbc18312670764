"""The definition of an engine: what each lifecycle verb does to documents and queue.

Subclass ``EngineContract`` in a test module and give it a fixture ``engine``, an empty engine whose clock is a
``ManualClock``. ``lossless`` says whether its queue delivers everything once and in order; the tests that need that
ask for it.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from zerog import crashpoints, transitions
from zerog.clock import to_text
from zerog.datastores.operations import Add, Set
from zerog.document import Document, make_key, new_document, new_uuid
from zerog.exceptions import (
    AmbiguousWrite,
    ClaimLost,
    DatastoreUnavailable,
    JobNotFound,
    JobStateError,
    QueueUnavailable,
    SchemaTooNew,
)
from zerog.lifecycle import Engine, Unsuitable
from zerog.parts import COUNTERS
from zerog.presence import worker_key
from zerog.reconcile import CANCEL_GRACE, Reconciler
from zerog.testing.clock import ManualClock
from zerog.transitions import Claim, Settlement, Worker

ALICE = Worker("alice", 30.0)
BOB = Worker("bob", 30.0)


def accept(head: Document) -> str:
    """Take every job."""
    return str(head["jobType"])


class EngineContract:
    """Rules that every engine keeps."""

    lossless = True

    @pytest.fixture
    def clock(self) -> ManualClock:
        """The clock that the engine and its queue go by."""
        return ManualClock()

    def new(self, engine: Engine, **fields: Any) -> Document:
        """A document nobody has submitted yet."""
        return {**new_document("test", 1.0, to_text(engine.clock.now())), **fields}

    def submitted(self, engine: Engine, delay: float = 0, **fields: Any) -> str:
        """The uuid of a job that was just submitted."""
        document = self.new(engine, **fields)
        engine.submit([document], delay)
        return str(document["uuid"])

    def claimed(self, engine: Engine, worker: Worker = ALICE, **fields: Any) -> Claim:
        """A claim of a job that was just submitted."""
        uuid = self.submitted(engine, **fields)
        claims = self.claim_all(engine, worker)
        return next(claim for claim in claims if claim.uuid == uuid)

    def claim_all(self, engine: Engine, worker: Worker = ALICE) -> list[Claim]:
        """Everything that can be claimed now, with losses of the queue repaired."""
        claims: list[Claim] = []
        for _ in range(20):
            more = engine.claim(50, worker, accept)
            claims += more
            if self.lossless:
                break
            if not more:
                self.pass_time(engine, 70)
                self.sweep(engine, 2)
        return claims

    def head(self, engine: Engine, uuid: str) -> Document:
        """A job's head as stored."""
        return engine.read(uuid)[0]

    def pass_time(self, engine: Engine, seconds: float) -> None:
        """Let time pass."""
        clock = engine.clock
        assert isinstance(clock, ManualClock)
        clock.advance(seconds)

    def sweep(self, engine: Engine, times: int = 1, seconds: float = 0) -> Reconciler:
        """Reconcile ``times`` times, ``seconds`` apart."""
        reconciler = Reconciler(engine, "sweeper", engine.clock)
        for _ in range(times):
            reconciler.sweep(queue_was_empty=True)
            self.pass_time(engine, seconds)
        return reconciler

    # submit

    def test_a_submitted_job_waits_and_is_delivered(self, engine: Engine) -> None:
        """What was submitted can be claimed."""
        uuid = self.submitted(engine)
        head = self.head(engine, uuid)
        assert (head["status"], head["queueState"], head["due"]) == ("queued", "queued", None)
        assert [claim.uuid for claim in self.claim_all(engine)] == [uuid]

    def test_submit_answers_with_what_is_stored(self, engine: Engine) -> None:
        """The returned document and token are the stored ones."""
        [(document, token)] = engine.submit([self.new(engine, colour="blue")])
        stored, stored_token = engine.datastore.read_with_cas(make_key(document["uuid"]))
        assert (document, token) == (stored, stored_token)

    def test_many_jobs_are_submitted_in_order(self, engine: Engine) -> None:
        """Jobs of one call come in its order, unless the queue reorders."""
        documents = [self.new(engine) for _ in range(7)]
        engine.submit(documents)
        uuids = [claim.uuid for claim in self.claim_all(engine)]
        assert sorted(uuids) == sorted(document["uuid"] for document in documents)
        if self.lossless:
            assert uuids == [document["uuid"] for document in documents]

    def test_a_uuid_is_submitted_once(self, engine: Engine) -> None:
        """A second job of the same uuid is refused and the first one stays as it is."""
        uuid = self.submitted(engine, colour="blue")
        before = engine.datastore.read(make_key(uuid))
        with pytest.raises(engine.datastore.casException):
            engine.submit([self.new(engine, uuid=uuid, colour="red")])
        assert engine.datastore.read(make_key(uuid)) == before

    def test_a_delayed_job_comes_when_it_is_due(self, engine: Engine) -> None:
        """A job with a delay is scheduled, isn't claimed early, and is claimed then."""
        uuid = self.submitted(engine, delay=60)
        assert self.head(engine, uuid)["status"] == "scheduled"
        assert engine.claim(5, ALICE, accept) == []
        self.pass_time(engine, 61)
        assert [claim.uuid for claim in self.claim_all(engine)] == [uuid]

    def test_higher_priority_goes_first(self, engine: Engine) -> None:
        """Among ready jobs the higher priority is claimed first."""
        if not self.lossless:
            pytest.skip("this queue reorders")
        low, high = self.submitted(engine), self.submitted(engine, priority=5)
        assert [claim.uuid for claim in self.claim_all(engine)] == [high, low]

    # claim

    def test_a_claim_names_the_owner_and_raises_the_epoch(self, engine: Engine) -> None:
        """The document says who runs the job; the claim's head is the stored one."""
        claim = self.claimed(engine)
        head, token = engine.read(claim.uuid)
        assert head == claim.head
        assert (head["status"], head["epoch"], head["seq"], head["attempts"]) == ("running", 1, 0, 1)
        assert head["owner"] == {"worker": "alice", "nonce": claim.nonce, "lease": 30.0}
        assert (claim.epoch, claim.token, claim.loaded) == (1, token, "test")

    def test_no_more_is_claimed_than_wanted(self, engine: Engine) -> None:
        """``want`` is a limit, and the others stay claimable."""
        for _ in range(5):
            self.submitted(engine)
        first = engine.claim(2, ALICE, accept)
        assert len(first) <= 2
        assert len(first) + len(self.claim_all(engine, BOB)) == 5

    def test_a_job_is_claimed_once(self, engine: Engine) -> None:
        """Deliveries that are repeated find an owner and are dropped."""
        claim = self.claimed(engine)
        for _ in range(3):
            engine.queue.put(claim.uuid)
        assert self.claim_all(engine, BOB) == []
        assert self.head(engine, claim.uuid)["epoch"] == 1

    def test_deliveries_of_ended_jobs_are_dropped(self, engine: Engine) -> None:
        """A delivery after the end runs nothing."""
        claim = self.claimed(engine)
        engine.settle([Settlement(claim, "finish", 1, 200)])
        before = engine.datastore.read(claim.key)
        engine.queue.put(claim.uuid)
        assert self.claim_all(engine, BOB) == []
        assert engine.datastore.read(claim.key) == before

    def test_deliveries_without_a_document_are_dropped(self, engine: Engine) -> None:
        """A uuid that names no document is counted and forgotten."""
        engine.queue.put(new_uuid())
        assert self.claim_all(engine) == []
        if self.lossless:
            assert engine.counters["dropped.unknown"] == 1
            assert engine.queue.size() == 0

    def test_a_new_document_is_not_run(self, engine: Engine) -> None:
        """A document that was saved but never enqueued is left alone even if its uuid is delivered."""
        document = self.new(engine)
        engine.datastore.create(make_key(document["uuid"]), document)
        engine.queue.put(document["uuid"])
        assert self.claim_all(engine) == []
        assert self.head(engine, document["uuid"]) == {
            field: value for field, value in document.items() if field not in ("events", "errors", "warnings")
        }

    def test_what_is_not_accepted_stays_untouched_and_comes_again(self, engine: Engine) -> None:
        """A job this code can't take is put back, unharmed and uncounted, and the reason is kept."""
        uuid = self.submitted(engine)
        before = engine.datastore.read_with_cas(make_key(uuid))

        def refuse(head: Document) -> str:
            raise Unsuitable("too new for me")

        for _ in range(4):
            assert engine.claim(5, ALICE, refuse) == []
            self.pass_time(engine, 6)
        assert engine.datastore.read_with_cas(make_key(uuid)) == before
        assert [claim.uuid for claim in self.claim_all(engine, BOB)] == [uuid]
        assert uuid not in engine.unsuitable

    def test_a_corrupt_document_does_not_stop_the_others(self, engine: Engine) -> None:
        """A document that makes no sense is left as it is, listed with a reason, and others are claimed."""
        bad, good = self.submitted(engine), self.submitted(engine)
        engine.datastore.mutate(make_key(bad), [Set("status", "sideways")])
        before = engine.datastore.read(make_key(bad))
        assert [claim.uuid for claim in self.claim_all(engine)] == [good]
        assert engine.datastore.read(make_key(bad)) == before
        if self.lossless:
            assert "sideways" in engine.unsuitable[bad]

    # settle

    def test_a_finished_job_is_terminal(self, engine: Engine) -> None:
        """Finish stores result, time and what the run left to write, in one go."""
        claim = self.claimed(engine)
        settlement = Settlement(claim, "finish", 1, 200, operations=[Set("output", {"n": 1})])
        assert engine.settle([settlement]) == [True]
        head = self.head(engine, claim.uuid)
        assert (head["status"], head["resultCode"], head["output"]) == ("succeeded", 200, {"n": 1})
        assert (head["owner"], head["running"], head["completeness"]) == (None, False, 1.0)

    def test_a_failed_job_keeps_its_completeness(self, engine: Engine) -> None:
        """A job that failed at 20 % stays at 20 %."""
        claim = self.claimed(engine, completeness=0.2)
        engine.settle([Settlement(claim, "finish", 1, 404)])
        head = self.head(engine, claim.uuid)
        assert (head["status"], head["resultCode"], head["completeness"]) == ("failed", 404, 0.2)

    def test_settling_again_changes_nothing(self, engine: Engine) -> None:
        """The same settlement twice is done once and answers yes twice."""
        claim = self.claimed(engine)
        settlement = Settlement(claim, "finish", 1, 200, operations=[Add("errorCount", 1)])
        assert engine.settle([settlement]) == [True]
        before = engine.datastore.read(claim.key)
        assert engine.settle([settlement]) == [True]
        assert engine.datastore.read(claim.key) == before

    def test_a_requeued_job_comes_again(self, engine: Engine) -> None:
        """Requeue keeps what the run stored, and the job runs again with a new epoch."""
        claim = self.claimed(engine)
        engine.settle([Settlement(claim, "requeue", 1, operations=[Set("colour", "red"), Add("continues", 1)])])
        head = self.head(engine, claim.uuid)
        assert (head["status"], head["colour"], head["continues"], head["attempts"]) == ("queued", "red", 1, 1)
        [again] = self.claim_all(engine, BOB)
        assert (again.uuid, again.epoch, again.head["attempts"]) == (claim.uuid, 2, 2)

    def test_a_requeued_job_waits_for_its_delay(self, engine: Engine) -> None:
        """Requeue with a delay makes the job scheduled."""
        claim = self.claimed(engine)
        engine.settle([Settlement(claim, "requeue", 1, delay=30)])
        assert self.head(engine, claim.uuid)["status"] == "scheduled"
        assert engine.claim(5, BOB, accept) == []
        self.pass_time(engine, 31)
        assert [again.uuid for again in self.claim_all(engine, BOB)] == [claim.uuid]

    def test_a_released_job_has_lost_nothing(self, engine: Engine) -> None:
        """Release costs no attempt."""
        claim = self.claimed(engine)
        engine.settle([Settlement(claim, "release", 1)])
        assert self.head(engine, claim.uuid)["attempts"] == 0
        assert [again.uuid for again in self.claim_all(engine, BOB)] == [claim.uuid]

    def test_a_stale_settlement_is_refused(self, engine: Engine) -> None:
        """Once the job was taken away, its old run changes nothing any more."""
        claim = self.claimed(engine)
        assert engine.rescue(claim.uuid, claim.epoch, "lost", "gone")
        before = engine.datastore.read(claim.key)
        assert engine.settle([Settlement(claim, "finish", 1, 200), Settlement(claim, "requeue", 1)]) == [False, False]
        assert engine.datastore.read(claim.key) == before
        with pytest.raises(ClaimLost):
            engine.datastore.mutate(claim.key, [Set("colour", "stale")], epoch=claim.epoch, seq=1)

    def test_one_stale_settlement_does_not_stop_the_others(self, engine: Engine) -> None:
        """In a batch each settlement stands for itself."""
        lost, kept = self.claimed(engine), self.claimed(engine)
        engine.rescue(lost.uuid, lost.epoch, "lost", "gone")
        batch = [Settlement(lost, "finish", 1, 200), Settlement(kept, "finish", 1, 200)]
        assert engine.settle(batch) == [False, True]
        assert self.head(engine, kept.uuid)["status"] == "succeeded"

    def test_step_settles_and_claims(self, engine: Engine) -> None:
        """``step`` does both in one call."""
        claim = self.claimed(engine)
        uuid = self.submitted(engine)
        results, claims = engine.step([Settlement(claim, "finish", 1, 200)], 5, ALICE, accept)
        assert results == [True]
        assert self.head(engine, claim.uuid)["status"] == "succeeded"
        assert [c.uuid for c in claims or self.claim_all(engine)] == [uuid]

    # rescue, cancel, retry

    @pytest.mark.parametrize("counter", ["crashes", "lost"])
    def test_a_rescued_job_runs_again(self, engine: Engine, counter: str) -> None:
        """Rescue raises the epoch, counts, records why, and puts the job back."""
        claim = self.claimed(engine)
        assert engine.rescue(claim.uuid, claim.epoch, counter, "it died")
        document = engine.datastore.read(claim.key)
        assert document is not None
        assert (document["status"], document["epoch"], document["owner"], document[counter]) == ("queued", 2, None, 1)
        assert document["errorCount"] == 0
        assert [error["msg"] for error in document["errors"]] == ["it died"]
        [again] = self.claim_all(engine, BOB)
        assert (again.uuid, again.epoch) == (claim.uuid, 3)

    def test_only_the_named_epoch_is_rescued(self, engine: Engine) -> None:
        """A rescue that comes late changes nothing."""
        claim = self.claimed(engine)
        assert engine.rescue(claim.uuid, claim.epoch, "lost", "gone")
        [again] = self.claim_all(engine, BOB)
        before = engine.datastore.read(claim.key)
        assert not engine.rescue(claim.uuid, claim.epoch, "lost", "gone")
        assert engine.datastore.read(claim.key) == before
        assert again.epoch == 3

    def test_a_released_run_is_not_charged(self, engine: Engine) -> None:
        """A run that had to end at a shutdown costs nothing, and its late writes are refused."""
        claim = self.claimed(engine)
        assert engine.release(claim.uuid, claim.epoch, "shutting down")
        head = self.head(engine, claim.uuid)
        assert (head["status"], head["attempts"], head["crashes"], head["lost"]) == ("queued", 0, 0, 0)
        assert engine.settle([Settlement(claim, "finish", 1, 200)]) == [False]

    @pytest.mark.parametrize("delay", [0, 60])
    def test_a_waiting_job_is_cancelled_at_once(self, engine: Engine, delay: float) -> None:
        """It never runs, even when its delivery comes."""
        uuid = self.submitted(engine, delay=delay)
        assert engine.cancel(uuid) == "cancelled"
        head = self.head(engine, uuid)
        assert (head["status"], head["resultCode"]) == ("cancelled", 410)
        self.pass_time(engine, 61)
        assert self.claim_all(engine) == []

    def test_a_running_job_is_told_at_its_next_write(self, engine: Engine) -> None:
        """Cancel of a running job is a mark that every run write answers; asking twice is harmless."""
        claim = self.claimed(engine)
        assert engine.cancel(claim.uuid) == "running"
        assert engine.cancel(claim.uuid) == "running"
        assert engine.datastore.mutate(claim.key, [Set("a", 1)], epoch=claim.epoch, seq=1).cancel_requested
        assert engine.settle([Settlement(claim, "finish", 2, 410, status="cancelled")]) == [True]
        assert self.head(engine, claim.uuid)["status"] == "cancelled"

    def test_a_cancelled_job_of_a_dead_owner_is_cancelled(self, engine: Engine) -> None:
        """Rescue of a job that was being cancelled ends it."""
        claim = self.claimed(engine)
        engine.cancel(claim.uuid)
        assert engine.rescue(claim.uuid, claim.epoch, "lost", "gone")
        assert self.head(engine, claim.uuid)["status"] == "cancelled"
        assert self.claim_all(engine, BOB) == []

    def test_ended_jobs_are_not_cancelled(self, engine: Engine) -> None:
        """Cancel of an ended job is refused with its status."""
        claim = self.claimed(engine)
        engine.settle([Settlement(claim, "finish", 1, 200)])
        with pytest.raises(JobStateError, match="succeeded"):
            engine.cancel(claim.uuid)

    def test_retry_takes_a_job_out_of_its_end(self, engine: Engine) -> None:
        """An operator's retry is recorded, resets the counters of trouble and runs the job again."""
        claim = self.claimed(engine)
        engine.settle([Settlement(claim, "finish", 1, 500, operations=[Add("errorCount", 3)])])
        engine.retry(claim.uuid, "fixed the disk")
        document = engine.datastore.read(claim.key)
        assert document is not None
        assert (document["status"], document["epoch"], document["resultCode"]) == ("queued", 2, -1)
        assert document["errorCount"] == 0
        assert "fixed the disk" in document["events"][-1]["msg"]
        assert [again.uuid for again in self.claim_all(engine, BOB)] == [claim.uuid]

    def test_only_ended_jobs_are_retried(self, engine: Engine) -> None:
        """Retry of a waiting or running job is refused."""
        uuid = self.submitted(engine)
        with pytest.raises(JobStateError, match="queued"):
            engine.retry(uuid)

    @pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled", "new"])
    def test_what_has_ended_is_discarded(self, engine: Engine, status: str) -> None:
        """The document is gone, its neighbours aren't; a second discard names the job."""
        neighbour = self.submitted(engine)
        uuid = self.ended(engine, status)
        engine.discard(uuid)
        assert engine.datastore.read(make_key(uuid)) is None
        assert engine.read(neighbour)
        with pytest.raises(JobNotFound, match=uuid):
            engine.discard(uuid)

    @pytest.mark.parametrize("delay", [0, 60])
    def test_what_waits_is_not_discarded(self, engine: Engine, delay: float) -> None:
        """It has to be cancelled first, as the error says."""
        uuid = self.submitted(engine, delay)
        before = engine.datastore.read(make_key(uuid))
        with pytest.raises(JobStateError, match="cancel it first"):
            engine.discard(uuid)
        assert engine.datastore.read(make_key(uuid)) == before

    def test_what_runs_is_not_discarded(self, engine: Engine) -> None:
        """Neither while it runs nor once it was told to stop; the run goes on and its result is stored."""
        claim = self.claimed(engine)
        with pytest.raises(JobStateError, match="running"):
            engine.discard(claim.uuid)
        engine.cancel(claim.uuid)
        with pytest.raises(JobStateError, match="running"):
            engine.discard(claim.uuid)
        assert engine.settle([Settlement(claim, "finish", 1, 200)]) == [True]
        engine.discard(claim.uuid)

    def test_a_newer_layout_is_not_discarded(self, engine: Engine) -> None:
        """What its status means is for newer code to say."""
        uuid = self.ended(engine, "succeeded")
        engine.datastore.mutate(make_key(uuid), [Set("format", 99)])
        with pytest.raises(SchemaTooNew, match=uuid):
            engine.discard(uuid)
        assert self.head(engine, uuid)["format"] == 99

    def test_a_delivery_after_the_discard_is_dropped(self, engine: Engine) -> None:
        """What a queue brings late makes nothing: no run, no document."""
        uuid = self.ended(engine, "cancelled")  # before anybody took it off the queue
        engine.discard(uuid)
        engine.queue.put(uuid)
        assert self.claim_all(engine) == []
        assert engine.datastore.read(make_key(uuid)) is None
        if self.lossless:
            assert engine.counters["dropped.unknown"] == 2

    def test_a_retry_is_quicker_than_a_discard(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        """What somebody sent on its way between look and deletion isn't removed."""
        uuid = self.ended(engine, "failed")
        delete = engine.datastore.delete

        def beaten(*args: Any, **kwargs: Any) -> Any:
            monkeypatch.undo()
            engine.retry(uuid)
            return delete(*args, **kwargs)

        monkeypatch.setattr(engine.datastore, "delete", beaten)
        with pytest.raises(JobStateError, match="queued"):
            engine.discard(uuid)
        assert uuid in [claim.uuid for claim in self.claim_all(engine)]

    def test_a_retry_and_a_discard_at_once(self, engine: Engine) -> None:
        """One of the two wins: the job is gone, or it waits again; never is one told that both were done."""
        uuids = [self.ended(engine, "cancelled") for _ in range(20)]
        barrier = threading.Barrier(2)

        def do(verb: Callable[[str], object]) -> list[bool]:
            done = []
            for uuid in uuids:
                barrier.wait()
                try:
                    verb(uuid)
                    done.append(True)
                except (JobNotFound, JobStateError):
                    done.append(False)
            return done

        with ThreadPoolExecutor(2) as pool:
            retried, discarded = pool.map(do, [engine.retry, engine.discard])
        for uuid, was_retried, was_discarded in zip(uuids, retried, discarded, strict=True):
            assert was_retried != was_discarded
            assert (engine.datastore.read(make_key(uuid)) is None) == was_discarded

    @pytest.mark.parametrize("point", ["discard.delete", "discard.deleted"])
    def test_a_discard_whose_answer_was_lost_is_read_back(self, engine: Engine, point: str) -> None:
        """Whether it had happened or not, the job is gone and no error is told."""
        uuid = self.ended(engine, "succeeded")
        crashpoints.arm(point, "unknown")
        try:
            engine.discard(uuid)
        finally:
            crashpoints.disarm()
        assert engine.datastore.read(make_key(uuid)) is None

    def ended(self, engine: Engine, status: str) -> str:
        """The uuid of a job that has that status, an end or ``new``."""
        if status == "new":
            document = self.new(engine)
            engine.datastore.create(make_key(document["uuid"]), document)
            return str(document["uuid"])
        if status == "cancelled":
            uuid = self.submitted(engine)
            engine.cancel(uuid)
            return uuid
        claim = self.claimed(engine)
        assert engine.settle([Settlement(claim, "finish", 1, 200 if status == "succeeded" else 500)]) == [True]
        return claim.uuid

    def test_unknown_jobs_are_named(self, engine: Engine) -> None:
        """Every verb on a uuid without document raises JobNotFound."""
        uuid = new_uuid()
        for verb in (engine.cancel, engine.retry, engine.enqueue, engine.read):
            with pytest.raises(JobNotFound, match=uuid):
                verb(uuid)

    def test_a_new_document_is_enqueued_later(self, engine: Engine) -> None:
        """A document saved as new goes its way once it is enqueued; enqueued again it just has two deliveries."""
        document = self.new(engine)
        engine.datastore.create(make_key(document["uuid"]), document)
        engine.enqueue(document["uuid"])
        engine.enqueue(document["uuid"])
        assert [claim.uuid for claim in self.claim_all(engine)] == [document["uuid"]]

    # workers

    def test_a_worker_record_is_renewed_and_retired(self, engine: Engine) -> None:
        """Renew moves the beat in one record; retire removes it."""
        engine.renew(ALICE, 1, {"host": "here"})
        engine.renew(ALICE, 2)
        record = engine.datastore.read(worker_key("alice"))
        assert record is not None
        assert (record["beat"], record["host"], record["worker"]) == (2, "here", "alice")
        engine.retire(ALICE)
        assert engine.datastore.read(worker_key("alice")) is None

    def test_waiting_for_work_ends_when_there_is_some(self, engine: Engine) -> None:
        """``wait_ready`` answers yes if something can be claimed."""
        if not self.lossless:
            pytest.skip("this queue loses deliveries")
        uuid = self.submitted(engine)
        assert engine.wait_ready(0.0)
        assert [claim.uuid for claim in self.claim_all(engine)] == [uuid]
        assert not engine.wait_ready(0.0)

    # reconcile

    def test_a_pending_document_is_put_on_the_queue(self, engine: Engine) -> None:
        """A job whose writer died before the put is delivered, and its events say why."""
        document = self.new(engine)
        changed = copy.deepcopy(document)
        for operation in transitions.waiting(to_text(engine.clock.now()), 0):
            assert isinstance(operation, Set)
            changed[operation.field] = operation.value
        engine.datastore.create(make_key(document["uuid"]), changed)
        self.sweep(engine)
        assert self.head(engine, document["uuid"])["queueState"] == "pending"
        self.pass_time(engine, 6)
        self.sweep(engine)
        stored = engine.datastore.read(make_key(document["uuid"]))
        assert stored is not None
        assert stored["queueState"] == "queued"
        assert "again" in stored["events"][-1]["msg"]
        assert [claim.uuid for claim in self.claim_all(engine)] == [document["uuid"]]

    def test_a_queue_out_of_reach_delays_but_does_not_lose(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A put that fails leaves an accepted, pending job, and reconcile delivers it."""
        claim = self.claimed(engine)
        with monkeypatch.context() as broken:
            broken.setattr(type(engine.queue), "put", _unreachable)
            broken.setattr(type(engine.queue), "insert", _unreachable, raising=False)
            try:
                engine.settle([Settlement(claim, "requeue", 1)])
            except QueueUnavailable:
                assert self.head(engine, claim.uuid)["owner"] is not None
                return  # one transaction: nothing happened, and the run still owns its job
        assert self.head(engine, claim.uuid)["queueState"] == "pending"
        self.pass_time(engine, 6)
        self.sweep(engine)
        assert [again.uuid for again in self.claim_all(engine, BOB)] == [claim.uuid]

    def test_the_jobs_of_a_silent_worker_are_rescued(self, engine: Engine) -> None:
        """After a lease without a beat, and not before, others get the job; the dead worker's record goes."""
        engine.renew(ALICE, 1)
        claim = self.claimed(engine)
        reconciler = self.sweep(engine, 3, 10)
        assert self.head(engine, claim.uuid)["owner"] is not None
        self.pass_time(engine, 1)
        report = reconciler.sweep(True)
        assert report.rescued == [claim.uuid]
        assert self.head(engine, claim.uuid)["lost"] == 1
        assert engine.datastore.read(worker_key("alice")) is None

    def test_a_worker_that_beats_keeps_its_jobs(self, engine: Engine) -> None:
        """However long a job takes, a living worker isn't robbed."""
        claim = self.claimed(engine)
        reconciler = Reconciler(engine, "sweeper", engine.clock)
        for beat in range(1, 20):
            engine.renew(ALICE, beat)
            assert not reconciler.sweep(True)
            self.pass_time(engine, 20)
        assert self.head(engine, claim.uuid)["epoch"] == 1

    def test_a_flushed_queue_is_filled_again(self, engine: Engine) -> None:
        """Jobs that wait while the queue has nothing to give are put again, each once."""
        uuids = {self.submitted(engine) for _ in range(30)}
        self.flush(engine)
        assert not self.lossless or engine.queue.size() == 0
        reconciler = Reconciler(engine, "sweeper", engine.clock)
        for _ in range(4):
            self.pass_time(engine, 15)
            reconciler.sweep()
        if self.lossless:
            assert engine.queue.size() == 30
        assert {claim.uuid for claim in self.claim_all(engine)} == uuids

    def test_an_overdue_cancel_is_carried_out(self, engine: Engine) -> None:
        """An owner that lives but doesn't stop a cancelled job loses it after the grace."""
        claim = self.claimed(engine)
        engine.cancel(claim.uuid)
        reconciler = Reconciler(engine, "sweeper", engine.clock)
        for beat in range(1, 8):
            engine.renew(ALICE, beat)
            reconciler.sweep(True)
            self.pass_time(engine, CANCEL_GRACE / 5)
        head = self.head(engine, claim.uuid)
        assert (head["status"], head["owner"]) == ("cancelled", None)

    # answers that get lost, and documents that make no sense

    def test_a_settlement_repeated_after_the_end_changes_nothing(self, engine: Engine) -> None:
        """The answer to a requeue was lost, the job was cancelled: settling again leaves the ended job alone."""
        claim = self.claimed(engine)
        settlement = Settlement(claim, "requeue", 1)
        assert engine.settle([settlement]) == [True]
        engine.cancel(claim.uuid)
        before = engine.datastore.read_with_cas(claim.key)
        engine.settle([settlement])
        assert engine.datastore.read_with_cas(claim.key) == before

    def test_a_requeue_repeated_is_put_once(self, engine: Engine) -> None:
        """A job that is on its queue already isn't put there again, and its document doesn't change."""
        settlement = Settlement(self.claimed(engine), "requeue", 1)
        assert engine.settle([settlement]) == [True]
        before = engine.datastore.read_with_cas(settlement.claim.key), engine.queue.size()
        assert engine.settle([settlement]) == [True]
        assert (engine.datastore.read_with_cas(settlement.claim.key), engine.queue.size()) == before

    @pytest.mark.parametrize("kind", ["requeue", "release"])
    def test_a_cancelled_job_that_is_given_back_has_ended(self, engine: Engine, kind: str) -> None:
        """A run that never heard of the cancellation gives its job back: it is cancelled and doesn't run again."""
        claim = self.claimed(engine)
        engine.cancel(claim.uuid)
        assert engine.settle([Settlement(claim, kind, 1, delay=3)]) == [True]
        head = self.head(engine, claim.uuid)
        assert (head["status"], head["resultCode"]) == ("cancelled", 410)
        self.pass_time(engine, 4)
        assert self.claim_all(engine) == []

    def test_a_waiting_job_that_was_cancelled_is_ended_by_who_sees_it(self, engine: Engine) -> None:
        """A crash between the two writes of the above leaves a waiting job: neither claim nor sweep lets it run."""
        delivered, pending = self.submitted(engine), self.submitted(engine)
        for uuid, more in ((delivered, []), (pending, transitions.waiting(to_text(engine.clock.now()), 0))):
            engine.datastore.mutate(make_key(uuid), [Set("cancelRequested", "2026-01-01T00:00:00+00:00"), *more])
        self.pass_time(engine, 6)
        self.sweep(engine)
        assert self.head(engine, pending)["status"] == "cancelled"
        assert self.claim_all(engine) == []
        assert self.head(engine, delivered)["status"] == "cancelled"

    @pytest.mark.parametrize(
        "nonsense", [{"notBefore": 5}, {"notBefore": "soon"}, {"queueKwargs": {"ttr": -1}}, {"epoch": "x"}]
    )
    def test_a_pending_document_that_makes_no_sense_stops_no_sweep(
        self, engine: Engine, nonsense: dict[str, Any]
    ) -> None:
        """It is left as it is and listed with a reason; others are repaired and claimed."""
        bad, good = self.submitted(engine), self.submitted(engine)
        pending = transitions.waiting(to_text(engine.clock.now()), 0)
        for uuid, more in ((bad, [Set(field, value) for field, value in nonsense.items()]), (good, [])):
            engine.datastore.mutate(make_key(uuid), [*pending, *more])
        self.flush(engine)
        self.pass_time(engine, 6)
        report = self.sweep(engine).sweep(True)
        assert bad in report.stuck
        assert self.head(engine, good)["queueState"] == "queued"
        engine.queue.put(bad)
        claims = [claim.uuid for claim in self.claim_all(engine)]
        assert good in claims
        if "queueKwargs" not in nonsense:  # which doesn't keep it from running, once it is delivered
            assert claims == [good]

    @pytest.mark.parametrize("owner", ["alice", 7, {"lease": "long"}, {"worker": "x", "lease": []}])
    def test_an_owner_that_makes_no_sense_stops_no_sweep(self, engine: Engine, owner: Any) -> None:
        """It is listed or, if it names a worker that is silent, rescued; the sweep goes on to the others."""
        bad, good = self.claimed(engine), self.claimed(engine)
        engine.datastore.mutate(bad.key, [Set("owner", owner)])
        self.sweep(engine, 5, 10)
        assert self.head(engine, good.uuid)["lost"] == 1
        stuck = self.sweep(engine).sweep(True).stuck
        assert bad.uuid in stuck or self.head(engine, bad.uuid)["lost"] == 1

    @pytest.mark.parametrize("applied", [True, False])
    @pytest.mark.parametrize("verb", ["enqueue", "retry", "cancel", "rescue"])
    def test_a_lost_answer_is_found_out(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch, verb: str, applied: bool
    ) -> None:
        """Whether the write was applied or not, the verb does its work exactly once and says so."""
        document = self.new(engine)
        engine.datastore.create(make_key(document["uuid"]), document)
        uuid = document["uuid"]
        if verb != "enqueue":
            uuid = (claim := self.claimed(engine)).uuid
        if verb == "retry":
            engine.settle([Settlement(claim, "finish", 1, 500)])
        mutate, calls = engine.datastore.mutate, []

        def lost(*args: Any, **kwargs: Any) -> Any:
            calls.append(args)
            if len(calls) > 1:
                return mutate(*args, **kwargs)
            if applied:
                mutate(*args, **kwargs)
            raise AmbiguousWrite("the answer was lost")

        with monkeypatch.context() as broken:
            broken.setattr(engine.datastore, "mutate", lost)
            if verb == "rescue":
                assert engine.rescue(uuid, claim.epoch, "lost", "gone")
            else:
                getattr(engine, verb)(uuid)
        stored = engine.datastore.read(make_key(uuid))
        assert stored is not None
        if verb == "cancel":
            assert (stored["status"], stored["cancelRequested"] is not None) == ("running", True)
            return
        assert (stored["status"], stored["epoch"]) == ("queued", {"enqueue": 0, "retry": 2, "rescue": 2}[verb])
        if self.lossless:  # otherwise a repair may have added an event
            assert len(stored["errors"]) + len(stored["events"]) == (verb != "enqueue")
        assert uuid in [claim.uuid for claim in self.claim_all(engine, BOB)]

    def test_a_lost_answer_does_not_take_another_job_for_the_new_one(self, engine: Engine) -> None:
        """What is read back under the same uuid may be an older job: then the new one is refused."""
        uuid = self.submitted(engine, colour="blue")
        self.pass_time(engine, 1)
        before = engine.datastore.read(make_key(uuid))
        crashpoints.arm("submit.create", "unknown")
        try:
            with pytest.raises(engine.datastore.casException):
                engine.submit([self.new(engine, uuid=uuid, colour="red")])
        finally:
            crashpoints.disarm()
        assert engine.datastore.read(make_key(uuid)) == before

    def test_a_claim_nobody_can_confirm_is_found_later(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        """Answer lost, reading back fails: the job is owned and no delivery brings it, so its worker finds it."""
        if not self.lossless:
            pytest.skip("this queue loses deliveries")
        uuid = self.submitted(engine)
        read = engine.datastore.read_with_cas
        lost: list[str] = []

        def lose(name: str) -> None:
            if name == "claim.written" and not lost:
                lost.append(name)
                raise AmbiguousWrite("the answer was lost")

        def failing(key: str, head: bool = False) -> Any:
            if lost:
                raise DatastoreUnavailable("out of reach")
            return read(key, head)

        crashpoints.watch(lose)
        with monkeypatch.context() as broken:
            broken.setattr(engine.datastore, "read_with_cas", failing)
            with suppress(DatastoreUnavailable):
                assert engine.claim(1, ALICE, accept) == []
        crashpoints.disarm()
        assert lost
        assert self.head(engine, uuid)["epoch"] == 1
        assert engine.claim(1, BOB, accept) == []
        [claim] = engine.claim(1, ALICE, accept)
        assert (claim.uuid, claim.loaded, engine.counters["claim.recovered"]) == (uuid, "test", 1)
        assert engine.settle([Settlement(claim, "finish", 1, 200)]) == [True]

    def test_trouble_in_the_middle_leaves_no_claim_that_nobody_has(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """If the store fails while several jobs are claimed, those that are owned by then are returned."""
        for _ in range(4):
            self.submitted(engine)
        mutate, calls = engine.datastore.mutate, []

        def failing(*args: Any, **kwargs: Any) -> Any:
            calls.append(args)
            if len(calls) > 2:
                raise DatastoreUnavailable("out of reach")
            return mutate(*args, **kwargs)

        with monkeypatch.context() as broken:
            broken.setattr(engine.datastore, "mutate", failing)
            claims = engine.claim(4, ALICE, accept)
        owned = {head["uuid"] for head in engine.datastore.find(status="running").heads}
        assert owned == {claim.uuid for claim in claims}

    def test_workers_are_named_until_they_leave_or_are_dead(self, engine: Engine) -> None:
        """The roster names every worker with a record; one that died idle is forgotten after its lease."""
        engine.renew(ALICE, 1)
        engine.renew(BOB, 1)
        assert set(engine.roster()) == {"alice", "bob"}
        engine.retire(BOB)
        assert set(engine.roster()) == {"alice"}
        reconciler = self.sweep(engine, 3, 10)
        assert set(engine.roster()) == {"alice"}
        self.pass_time(engine, 1)
        assert reconciler.sweep(True).forgotten == ["alice"]
        assert (engine.roster(), engine.datastore.read(worker_key("alice"))) == ({}, None)

    def test_every_counter_has_a_documented_name(self, engine: Engine) -> None:
        """What a flushed queue and a few late calls count is listed in COUNTERS."""
        claim = self.claimed(engine)
        self.submitted(engine)
        engine.queue.put(claim.uuid)
        engine.queue.put(new_uuid())
        self.claim_all(engine)
        engine.rescue(claim.uuid, 1, "lost", "gone")
        engine.settle([Settlement(claim, "finish", 1, 200)])
        assert engine.counters
        assert set(engine.counters) <= set(COUNTERS)

    def flush(self, engine: Engine) -> None:
        """Make the queue forget everything. Override it for a queue that can't be emptied by reserving."""
        while (reservation := engine.queue.reserve(0)) is not None:
            reservation.delete()


def _unreachable(*_args: object, **_kwargs: object) -> None:
    raise QueueUnavailable("the queue is out of reach")
