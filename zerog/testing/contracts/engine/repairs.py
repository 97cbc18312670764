"""Rules of engines: rescue, cancel, retry, workers' records, reconcile."""

from __future__ import annotations

import copy

import pytest

from zerog.engine import transitions
from zerog.engine.engine import Engine
from zerog.engine.transitions import Settlement, WorkerIdentity
from zerog.exceptions import JobNotFound, JobStateError, QueueUnavailable
from zerog.fleet.heartbeat import WorkerRecords
from zerog.maintenance.reconcile import CANCEL_GRACE, Reconciler
from zerog.records.commands import cancels_in, run_name
from zerog.records.job import make_key, new_uuid
from zerog.records.keys import worker_key
from zerog.records.operations import Add, Append, Operation, Set, apply, dropped_field
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock
from zerog.testing.contracts.engine.builders import ALICE, BOB, EngineRules, accept, unreachable


class RepairRules(EngineRules):
    """Rules for verbs that don't need the owner of a job."""

    # rescue, cancel, retry

    @pytest.mark.parametrize("counter", ["crashes", "lost"])
    def test_a_rescued_job_runs_again(self, engine: Engine, counter: str) -> None:
        """Rescue raises the epoch, counts, records reason and build, and requeues the job."""
        claim = self.claimed(engine, WorkerIdentity("alice", 30.0, build="7"))
        assert engine.rescue(claim.uuid, claim.run, counter, "it died")
        document = engine.datastore.read(claim.key)
        assert document is not None
        assert (document["status"], document["epoch"], document["owner"], document[counter]) == ("queued", 2, None, 1)
        assert document["errorCount"] == 0
        assert [(error["msg"], error["attempt"], error["build"]) for error in document["errors"]] == [
            ("it died", 1, "7")
        ]
        [again] = self.claim_all(engine, BOB)
        assert (again.uuid, again.epoch) == (claim.uuid, 3)

    def test_a_rescued_job_keeps_its_place_once(self, engine: Engine) -> None:
        """It had its turn; but a job that dies again and again may kill its workers, and waits behind the rest."""
        if not self.lossless:
            pytest.skip("needs a queue that keeps its order")
        claim = self.claimed(engine)
        other = self.submitted(engine)
        engine.rescue(claim.uuid, claim.run, "lost", "it died")
        [again] = engine.claim(1, ALICE, accept)
        assert again.uuid == claim.uuid
        engine.rescue(again.uuid, again.run, "lost", "it died again")
        assert [claim.uuid for claim in self.claim_all(engine)] == [other, again.uuid]

    def test_the_jobs_of_a_dead_worker_keep_their_order(self, engine: Engine) -> None:
        """Jobs that one sweep rescues keep their order, ahead of those that waited behind them."""
        if not self.lossless:
            pytest.skip("needs a queue that keeps its order")
        uuids = [self.submitted(engine) for _ in range(5)]
        WorkerRecords(engine).renew(ALICE, 1)
        assert len(engine.claim(3, ALICE, accept)) == 3
        reconciler = Reconciler(engine, "sweeper", engine.clock)
        for _ in range(3):
            reconciler.sweep()
            self.pass_time(engine, ALICE.lease + 1)
        assert [claim.uuid for claim in self.claim_all(engine, BOB)] == uuids

    @pytest.mark.parametrize("step", [86_400, -86_400], ids=["forward", "back"])
    def test_a_step_of_a_clock_takes_no_job(self, engine: Engine, step: float) -> None:
        """Whichever clock is set, the server's or a worker's: a worker that continues to beat keeps its jobs."""
        clock = engine.clock
        assert isinstance(clock, ManualClock)
        WorkerRecords(engine).renew(ALICE, 1)
        claim = self.claimed(engine)
        reconciler = Reconciler(engine, "sweeper", clock)
        for beat in range(2, 7):
            clock.shift(step)
            assert reconciler.sweep().rescued == []
            clock.advance(ALICE.lease / 3)
            WorkerRecords(engine).renew(ALICE, beat)
        assert reconciler.sweep().rescued == []
        assert self.head(engine, claim.uuid)["owner"]["worker"] == ALICE.name

    def test_a_step_of_a_clock_moves_a_start_by_no_more(self, engine: Engine) -> None:
        """Forward by 20 seconds: a delay of 60 ends after 40 at the earliest, and after 60 at the latest."""
        if not self.lossless:
            pytest.skip("needs a queue that keeps its times")
        clock = engine.clock
        assert isinstance(clock, ManualClock)
        uuid = self.submitted(engine, delay=60)
        clock.shift(20)
        clock.advance(39)
        assert engine.claim(1, ALICE, accept) == []
        clock.advance(21)
        assert [claim.uuid for claim in engine.claim(1, ALICE, accept)] == [uuid]

    def test_only_the_named_epoch_is_rescued(self, engine: Engine) -> None:
        """A late rescue changes nothing."""
        claim = self.claimed(engine)
        assert engine.rescue(claim.uuid, claim.run, "lost", "gone")
        [again] = self.claim_all(engine, BOB)
        before = engine.datastore.read(claim.key)
        assert not engine.rescue(claim.uuid, claim.run, "lost", "gone")
        assert engine.datastore.read(claim.key) == before
        assert again.epoch == 3

    def test_a_released_run_is_not_charged(self, engine: Engine) -> None:
        """A run that had to end at a shutdown costs nothing, and its late writes are refused."""
        claim = self.claimed(engine)
        assert engine.release(claim.uuid, claim.run, "shutting down")
        head = self.head(engine, claim.uuid)
        assert (head["status"], head["attempts"], head["crashes"], head["lost"]) == ("queued", 0, 0, 0)
        assert engine.settle([Settlement(claim, "finish", 1, 200)]) == [False]

    @pytest.mark.parametrize("delay", [0, 60])
    def test_a_waiting_job_is_cancelled_at_once(self, engine: Engine, delay: float) -> None:
        """It never runs, even when its delivery arrives."""
        uuid = self.submitted(engine, delay=delay)
        assert engine.cancel(uuid) == "cancelled"
        head = self.head(engine, uuid)
        assert (head["status"], head["resultCode"]) == ("cancelled", 410)
        self.pass_time(engine, 61)
        assert self.claim_all(engine) == []

    def test_a_running_job_is_notified_at_its_next_write(self, engine: Engine) -> None:
        """Cancel of a running job is a mark in the answer of every run write; repeating it is harmless."""
        claim = self.claimed(engine)
        assert engine.cancel(claim.uuid) == "running"
        assert engine.cancel(claim.uuid) == "running"
        assert engine.datastore.mutate(claim.key, [Set("a", 1)], run=claim.run._replace(seq=1)).cancel_requested
        assert engine.settle([Settlement(claim, "finish", 2, 410, status="cancelled")]) == [True]
        assert self.head(engine, claim.uuid)["status"] == "cancelled"

    def test_the_worker_of_a_cancelled_job_is_given_a_hint(self, engine: Engine) -> None:
        """Its record names the run, once per request; only the mark in the document counts."""
        claim = self.claimed(engine)
        WorkerRecords(engine).renew(ALICE, 1)
        for _ in range(2):
            assert engine.cancel(claim.uuid, "not wanted") == "running"
        record = engine.datastore.read(worker_key("alice"))
        assert record is not None
        assert cancels_in(record, 0) == ([run_name(claim.uuid, claim.epoch)] * 2, 2)
        assert self.events(engine, claim.uuid) == ["not wanted"]
        waiting = self.submitted(engine)
        engine.cancel(waiting, "not wanted either")
        assert self.events(engine, waiting) == ["not wanted either"]

    def test_a_cancelled_job_of_a_dead_owner_is_cancelled(self, engine: Engine) -> None:
        """Rescue of a job that was being cancelled ends it."""
        claim = self.claimed(engine)
        engine.cancel(claim.uuid)
        assert engine.rescue(claim.uuid, claim.run, "lost", "gone")
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

    def test_a_retry_may_let_errors_count_on(self, engine: Engine) -> None:
        """What would keep the job from running at all is reset all the same; the event says so."""
        claim = self.claimed(engine)
        spent: list[Operation] = [Add(counter, 3) for counter in ("errorCount", "continues", "crashes", "lost")]
        engine.settle([Settlement(claim, "finish", 1, 500, operations=spent)])
        engine.retry(claim.uuid, "once more", reset=False)
        document = engine.datastore.read(claim.key)
        assert document is not None
        assert [document[name] for name in ("errorCount", "continues", "crashes", "lost")] == [3, 3, 0, 0]
        assert "3 errors count on: once more" in document["events"][-1]["msg"]
        assert [again.uuid for again in self.claim_all(engine, BOB)] == [claim.uuid]

    def test_only_ended_jobs_are_retried(self, engine: Engine) -> None:
        """Retry of a waiting or running job is refused."""
        uuid = self.submitted(engine)
        with pytest.raises(JobStateError, match="queued"):
            engine.retry(uuid)

    def test_unknown_jobs_are_named(self, engine: Engine) -> None:
        """Every verb on a uuid without document raises JobNotFound."""
        uuid = new_uuid()
        for verb in (engine.cancel, engine.retry, engine.enqueue, engine.read):
            with pytest.raises(JobNotFound, match=uuid):
                verb(uuid)

    def test_a_new_document_is_enqueued_later(self, engine: Engine) -> None:
        """A document saved as new is delivered once it is enqueued; enqueued again it just has two deliveries."""
        document = self.new(engine)
        engine.datastore.create(make_key(document["uuid"]), document)
        engine.enqueue(document["uuid"])
        engine.enqueue(document["uuid"])
        assert [claim.uuid for claim in self.claim_all(engine)] == [document["uuid"]]

    # workers

    def test_a_worker_record_is_renewed_and_retired(self, engine: Engine) -> None:
        """Renew moves the beat in one record; retire removes it."""
        WorkerRecords(engine).renew(ALICE, 1, lambda: {"host": "here"})
        WorkerRecords(engine).renew(ALICE, 2)
        record = engine.datastore.read(worker_key("alice"))
        assert record is not None
        assert (record["beat"], record["host"], record["worker"]) == (2, "here", "alice")
        WorkerRecords(engine).forget(ALICE.name)
        assert engine.datastore.read(worker_key("alice")) is None

    def test_renewals_keep_what_other_programs_wrote_into_the_record(self, engine: Engine) -> None:
        """Operators command workers by fields of their records, while the workers renew them."""
        WorkerRecords(engine).renew(ALICE, 1, lambda: {"state": "running"}, lambda: {"host": "here"})
        key, sure = worker_key("alice"), range(5)
        for beat in sure:
            engine.datastore.mutate(key, [Append("cancels", f"job {beat}", 3), Set("drain", {"forGood": False})])
            WorkerRecords(engine).renew(ALICE, beat + 2, lambda: {"state": "draining"}, lambda: {"host": "elsewhere"})
        record = engine.datastore.read_with_cas(key, head=True)[0]
        assert record is not None
        assert (record["beat"], record["state"], record["host"]) == (6, "draining", "here")
        assert (record["drain"], record["cancels"]) == ({"forGood": False}, ["job 2", "job 3", "job 4"])
        assert record[dropped_field("cancels")] == 2

    def test_what_was_reserved_while_waiting_can_be_given_back(self, engine: Engine) -> None:
        """A drained worker must not withhold an entry from other workers."""
        if not self.lossless:
            pytest.skip("this queue loses deliveries")
        uuid = self.submitted(engine)
        assert engine.wait_ready(0.0)
        engine.unreserve()
        assert [claim.uuid for claim in engine.claim(1, BOB, accept)] == [uuid]

    def test_waiting_for_work_ends_when_there_is_some(self, engine: Engine) -> None:
        """``wait_ready`` returns True if something can be claimed; that may be too late, but not again and again."""
        if not self.lossless:
            pytest.skip("this queue loses deliveries")
        uuid = self.submitted(engine)
        assert engine.wait_ready(0.0)
        assert [claim.uuid for claim in self.claim_all(engine)] == [uuid]
        assert not (engine.wait_ready(0.0) and engine.wait_ready(0.0))

    # reconcile

    def test_a_pending_document_is_put_on_the_queue(self, engine: Engine) -> None:
        """A job whose writer died before the put is delivered, and its events record why."""
        document = self.new(engine)
        changed = copy.deepcopy(document)
        apply(changed, transitions.waiting(to_text(engine.clock.now()), 0))
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
            broken.setattr(type(engine.queue), "put", unreachable)
            broken.setattr(type(engine.queue), "insert", unreachable, raising=False)
            [answer] = engine.settle([Settlement(claim, "requeue", 1)])
            if isinstance(answer, QueueUnavailable):
                assert self.head(engine, claim.uuid)["owner"] is not None
                return  # one transaction: nothing happened, and the run still owns its job
        assert self.head(engine, claim.uuid)["queueState"] == "pending"
        self.pass_time(engine, 6)
        self.sweep(engine)
        assert [again.uuid for again in self.claim_all(engine, BOB)] == [claim.uuid]

    def test_the_jobs_of_a_silent_worker_are_rescued(self, engine: Engine) -> None:
        """After a lease without a beat, and not before, another worker gets the job; the dead one's record is gone."""
        WorkerRecords(engine).renew(ALICE, 1)
        claim = self.claimed(engine)
        reconciler = self.sweep(engine, 3, 10)
        assert self.head(engine, claim.uuid)["owner"] is not None
        self.pass_time(engine, 1)
        report = reconciler.sweep()
        assert report.rescued == [claim.uuid]
        assert self.head(engine, claim.uuid)["lost"] == 1
        assert engine.datastore.read(worker_key("alice")) is None

    def test_a_worker_that_beats_keeps_its_jobs(self, engine: Engine) -> None:
        """However long a job takes, a living worker keeps it."""
        claim = self.claimed(engine)
        reconciler = Reconciler(engine, "sweeper", engine.clock)
        for beat in range(1, 20):
            WorkerRecords(engine).renew(ALICE, beat)
            assert not reconciler.sweep()
            self.pass_time(engine, 20)
        assert self.head(engine, claim.uuid)["epoch"] == 1

    def test_a_flushed_queue_is_filled_again(self, engine: Engine) -> None:
        """Jobs that wait while the queue is empty are put again, each once."""
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
        """A living owner that doesn't stop a cancelled job loses it after the grace."""
        claim = self.claimed(engine)
        engine.cancel(claim.uuid)
        reconciler = Reconciler(engine, "sweeper", engine.clock)
        for beat in range(1, 8):
            WorkerRecords(engine).renew(ALICE, beat)
            reconciler.sweep()
            self.pass_time(engine, CANCEL_GRACE / 5)
        head = self.head(engine, claim.uuid)
        assert (head["status"], head["owner"]) == ("cancelled", None)
