"""Rules of engines: submit, claim, settle."""

from __future__ import annotations

from dataclasses import replace

import pytest

from zerog.engine.engine import Engine, Unsuitable
from zerog.engine.transitions import Settlement
from zerog.exceptions import ClaimLost, ConfigurationError, SchemaTooNew
from zerog.records.job import WAITING, Document, make_key, new_uuid
from zerog.records.operations import Add, Set
from zerog.testing.clock import ManualClock
from zerog.testing.contracts.engine.builders import ALICE, BOB, EngineRules, accept


class LifeRules(EngineRules):
    """Rules for a job's life from submit to its end."""

    # submit

    def test_a_submitted_job_waits_and_is_delivered(self, engine: Engine) -> None:
        """A submitted job can be claimed."""
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
        """Jobs of one call are delivered in its order, unless the queue reorders."""
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

    def test_a_connection_that_can_not_take_jobs_along_is_refused(self, engine: Engine) -> None:
        """Before anything is stored, whether the engine could submit on another connection or on none."""
        document = self.new(engine)
        with pytest.raises(ConfigurationError, match="connection="):
            engine.submit_within(object(), [document])
        assert engine.datastore.read(make_key(document["uuid"])) is None
        assert self.claim_all(engine) == []

    def test_a_delayed_job_is_delivered_when_it_is_due(self, engine: Engine) -> None:
        """A job with a delay is scheduled, isn't claimed early, and is claimed then."""
        uuid = self.submitted(engine, delay=60)
        assert self.head(engine, uuid)["status"] == "scheduled"
        assert engine.claim(5, ALICE, accept) == []
        self.pass_time(engine, 61)
        assert [claim.uuid for claim in self.claim_all(engine)] == [uuid]

    def test_higher_priority_is_delivered_first(self, engine: Engine) -> None:
        """Among ready jobs the higher priority is claimed first."""
        if not self.lossless:
            pytest.skip("this queue reorders")
        low, high = self.submitted(engine), self.submitted(engine, priority=5)
        assert [claim.uuid for claim in self.claim_all(engine)] == [high, low]

    # claim

    def test_a_claim_names_the_owner_and_raises_the_epoch(self, engine: Engine) -> None:
        """The document names the owner; the claim's head is the stored one."""
        claim = self.claimed(engine)
        head, token = engine.read(claim.uuid)
        assert head == claim.head
        assert (head["status"], head["epoch"], head["seq"], head["attempts"]) == ("running", 1, 0, 1)
        assert head["owner"] == {"worker": "alice", "nonce": claim.nonce, "lease": 30.0}
        assert (claim.epoch, claim.token, claim.job) == (1, token, "test")

    def test_no_more_is_claimed_than_wanted(self, engine: Engine) -> None:
        """``want`` is a limit, and the remaining jobs stay claimable."""
        for _ in range(5):
            self.submitted(engine)
        first = engine.claim(2, ALICE, accept)
        assert len(first) <= 2
        assert len(first) + len(self.claim_all(engine, BOB)) == 5

    def test_a_job_is_claimed_once(self, engine: Engine) -> None:
        """Repeated deliveries find an owner and are dropped."""
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
        """A uuid without a document is counted and dropped."""
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

    def test_what_a_run_makes_of_its_head_is_not_stored(self, engine: Engine) -> None:
        """The end of a run writes its operations, whatever became of the objects in the claim's head meanwhile."""
        uuid = self.submitted(engine, queueKwargs={"ttr": 60.0})
        engine.datastore.mutate(make_key(uuid), [Set("attrs", {"customer": "42"})])
        [claim] = self.claim_all(engine)
        for field in ("attrs", "queueKwargs"):
            claim.head[field]["spoilt"] = "yes"
        assert engine.settle([Settlement(claim, "finish", 1, 200)]) == [True]
        head = self.head(engine, uuid)
        assert (head["attrs"], head["queueKwargs"]) == ({"customer": "42"}, {"ttr": 60.0})

    def test_what_is_not_accepted_stays_untouched_and_is_delivered_again(self, engine: Engine) -> None:
        """A job that this code can't take is put back, unharmed and uncounted, and the reason is kept."""
        uuid = self.submitted(engine, jobType="another app's")
        before = engine.datastore.read(make_key(uuid))
        assert before is not None

        def refuse(head: Document) -> str:
            raise Unsuitable("too new for me")

        for _ in range(4):
            assert engine.claim(5, ALICE, refuse) == []
            self.pass_time(engine, 61)
        after = engine.datastore.read(make_key(uuid))
        # The queue of its kind may give the entry another id.
        assert after is not None and {**after, "queueJobId": before["queueJobId"]} == before
        knowing = replace(BOB, knows=(*BOB.knows, ("another app's", 1.0)))
        assert [claim.uuid for claim in self.claim_all(engine, knowing)] == [uuid]
        assert uuid not in engine.skipped

    def test_what_looked_acceptable_and_is_not_is_delivered_again_uncounted(self, engine: Engine) -> None:
        """Also if the engine claimed it before it was refused; other jobs run meanwhile."""
        uuid = self.submitted(engine)

        def refuse(head: Document) -> str:
            raise Unsuitable("not with these parameters")

        for _ in range(4):
            assert engine.claim(5, ALICE, refuse) == []
            self.pass_time(engine, 61)
        head = self.head(engine, uuid)
        assert (head["status"] in WAITING, head["owner"], head["attempts"], head["lost"]) == (True, None, 0, 0)
        assert engine.skipped == {uuid: "not with these parameters"}
        other = self.submitted(engine)
        assert {claim.uuid for claim in self.claim_all(engine, BOB)} == {uuid, other}
        assert engine.skipped == {}

    def test_a_corrupt_document_stops_no_other_job(self, engine: Engine) -> None:
        """A corrupt document is left as it is, listed with a reason, and other jobs are claimed."""
        bad, good = self.submitted(engine), self.submitted(engine)
        engine.datastore.mutate(make_key(bad), [Set("status", "sideways")])
        before = engine.datastore.read(make_key(bad))
        assert [claim.uuid for claim in self.claim_all(engine)] == [good]
        assert engine.datastore.read(make_key(bad)) == before
        if self.lossless:
            assert "sideways" in engine.skipped[bad]

    def test_a_newer_layout_is_distinguished_from_a_corrupt_document(self, engine: Engine) -> None:
        """Its fields and their values are for newer code to judge; it waits for that."""
        newer, good = self.submitted(engine), self.submitted(engine)
        engine.datastore.mutate(make_key(newer), [Set("format", 99), Set("queueKwargs", "another kind")])
        before = engine.datastore.read(make_key(newer))
        assert [claim.uuid for claim in self.claim_all(engine)] == [good]
        assert engine.datastore.read(make_key(newer)) == before
        with pytest.raises(SchemaTooNew, match="format 99"):
            engine.read(newer)
        if self.lossless:
            assert "format 99" in engine.skipped[newer]

    # settle

    def test_a_finished_job_is_terminal(self, engine: Engine) -> None:
        """Finish stores result, time and the run's pending changes, in one write."""
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
        """The same settlement twice is done once and answered yes twice."""
        claim = self.claimed(engine)
        settlement = Settlement(claim, "finish", 1, 200, operations=[Add("errorCount", 1)])
        assert engine.settle([settlement]) == [True]
        before = engine.datastore.read(claim.key)
        assert engine.settle([settlement]) == [True]
        assert engine.datastore.read(claim.key) == before

    def test_a_requeued_job_is_delivered_again(self, engine: Engine) -> None:
        """Requeue keeps the changes that the run stored, and the job runs again with a new epoch."""
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

    def test_a_released_job_keeps_its_place(self, engine: Engine) -> None:
        """A job released at a shutdown is delivered before those that waited behind it."""
        claim = self.claimed(engine)
        self.submitted(engine)
        engine.settle([Settlement(claim, "release", 1)])
        if self.lossless:
            assert self.claim_all(engine, BOB)[0].uuid == claim.uuid

    def test_released_jobs_keep_their_order(self, engine: Engine) -> None:
        """To release several jobs, name the last one first, since each is put ahead of all that wait."""
        uuids = [self.submitted(engine) for _ in range(5)]
        claims = engine.claim(3, ALICE, accept)
        engine.settle([Settlement(claim, "release", 1) for claim in reversed(claims)])
        if self.lossless:
            assert [claim.uuid for claim in self.claim_all(engine, BOB)] == uuids

    def test_times_do_not_go_back_when_the_clock_does(self, engine: Engine) -> None:
        """Whatever the clock is set to between two writes: the later one has a time that isn't earlier."""
        uuid = self.submitted(engine)
        times = [self.head(engine, uuid)["updatedAt"]]

        def set_back() -> None:
            times.append(self.head(engine, uuid)["updatedAt"])
            assert isinstance(engine.clock, ManualClock)
            engine.clock.shift(-3600)

        set_back()
        [claim] = self.claim_all(engine)
        set_back()
        engine.rescue(claim.uuid, claim.run, "lost", "it died")
        set_back()
        [claim] = self.claim_all(engine)
        set_back()
        engine.settle([Settlement(claim, "finish", 1, 500)])
        set_back()
        engine.retry(uuid)
        set_back()
        engine.cancel(uuid)
        set_back()
        document = engine.datastore.read(claim.key)
        assert document is not None
        assert times == sorted(times)
        assert document["createdAt"] <= document["startedAt"] <= document["finishedAt"] <= document["updatedAt"]
        stamps = [entry["timestamp"] for entry in (*document["errors"], *document["events"])]
        assert stamps == sorted(stamps) and min(stamps) >= document["createdAt"]

    def test_a_stale_settlement_is_refused(self, engine: Engine) -> None:
        """Once the job was taken away, its old run changes nothing any more."""
        claim = self.claimed(engine)
        assert engine.rescue(claim.uuid, claim.run, "lost", "gone")
        before = engine.datastore.read(claim.key)
        assert engine.settle([Settlement(claim, "finish", 1, 200), Settlement(claim, "requeue", 1)]) == [False, False]
        assert engine.datastore.read(claim.key) == before
        with pytest.raises(ClaimLost):
            engine.datastore.mutate(claim.key, [Set("colour", "stale")], run=claim.run._replace(seq=1))

    def test_one_stale_settlement_stops_no_other(self, engine: Engine) -> None:
        """Each settlement of a batch is separate."""
        lost, kept = self.claimed(engine), self.claimed(engine)
        engine.rescue(lost.uuid, lost.run, "lost", "gone")
        batch = [Settlement(lost, "finish", 1, 200), Settlement(kept, "finish", 1, 200)]
        assert engine.settle(batch) == [False, True]
        assert self.head(engine, kept.uuid)["status"] == "succeeded"

    def test_step_settles_and_claims(self, engine: Engine) -> None:
        """``step`` does both in one call."""
        claim = self.claimed(engine)
        uuid = self.submitted(engine)
        results, claims, _ = engine.step([Settlement(claim, "finish", 1, 200)], 5, ALICE, accept)
        assert results == [True]
        assert self.head(engine, claim.uuid)["status"] == "succeeded"
        assert [c.uuid for c in claims or self.claim_all(engine)] == [uuid]

    def test_step_claims_what_it_has_requeued(self, engine: Engine) -> None:
        """A step that claims too few jobs has seen those that it put: a worker without jobs may end then."""
        if not self.lossless:
            pytest.skip("this queue loses deliveries")
        claim = self.claimed(engine)
        results, claims, _ = engine.step([Settlement(claim, "requeue", 1)], 5, ALICE, accept)
        assert (results, [c.uuid for c in claims]) == ([True], [claim.uuid])
