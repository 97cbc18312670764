"""Rules of engines: lost answers, and corrupt documents."""

from __future__ import annotations

from typing import Any

import pytest

from zerog.contracts.datastore import FindQuery
from zerog.engine import transitions
from zerog.engine.base import COUNTERS
from zerog.engine.engine import Engine
from zerog.engine.transitions import Settlement
from zerog.exceptions import AmbiguousWrite, DatastoreUnavailable
from zerog.fleet.heartbeat import WorkerRecords
from zerog.records.job import make_key, new_uuid
from zerog.records.keys import worker_key
from zerog.records.operations import Set
from zerog.support import failpoints
from zerog.support.clock import to_text
from zerog.testing.contracts.engine.builders import ALICE, BOB, EngineRules, accept


class AnswerRules(EngineRules):
    """Rules for writes that may have happened, and for unexpected deliveries and documents."""

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
        """A job that is on its queue already isn't put again, and its document doesn't change."""
        settlement = Settlement(self.claimed(engine), "requeue", 1)
        assert engine.settle([settlement]) == [True]
        before = engine.datastore.read_with_cas(settlement.claim.key), engine.queue.size()
        assert engine.settle([settlement]) == [True]
        assert (engine.datastore.read_with_cas(settlement.claim.key), engine.queue.size()) == before

    @pytest.mark.parametrize("kind", ["requeue", "release"])
    def test_a_cancelled_job_that_is_given_back_has_ended(self, engine: Engine, kind: str) -> None:
        """A run that never noticed the cancellation releases its job: it is cancelled and doesn't run again."""
        claim = self.claimed(engine)
        engine.cancel(claim.uuid)
        assert engine.settle([Settlement(claim, kind, 1, delay=3)]) == [True]
        head = self.head(engine, claim.uuid)
        assert (head["status"], head["resultCode"]) == ("cancelled", 410)
        self.pass_time(engine, 4)
        assert self.claim_all(engine) == []

    def test_a_waiting_job_that_was_cancelled_is_ended_by_claims_and_sweeps(self, engine: Engine) -> None:
        """A crash between the two writes of that leaves a waiting job: neither claim nor sweep lets it run."""
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
        """It is left as it is and listed with a reason; sound documents are repaired and claimed."""
        bad, good = self.submitted(engine), self.submitted(engine)
        pending = transitions.waiting(to_text(engine.clock.now()), 0)
        for uuid, more in ((bad, [Set(field, value) for field, value in nonsense.items()]), (good, [])):
            engine.datastore.mutate(make_key(uuid), [*pending, *more])
        self.flush(engine)
        self.pass_time(engine, 6)
        report = self.sweep(engine).sweep()
        assert bad in report.stuck
        assert self.head(engine, good)["queueState"] == "queued"
        engine.queue.put(bad)
        claims = [claim.uuid for claim in self.claim_all(engine)]
        assert good in claims
        if "queueKwargs" not in nonsense:  # this one doesn't keep it from running, once it is delivered
            assert claims == [good]

    @pytest.mark.parametrize("owner", ["alice", 7, {"lease": "long"}, {"worker": "x", "lease": []}])
    def test_an_owner_that_makes_no_sense_stops_no_sweep(self, engine: Engine, owner: Any) -> None:
        """It is listed or, if it names a silent worker, rescued; the sweep continues with other documents."""
        bad, good = self.claimed(engine), self.claimed(engine)
        engine.datastore.mutate(bad.key, [Set("owner", owner)])
        self.sweep(engine, 5, 10)
        assert self.head(engine, good.uuid)["lost"] == 1
        stuck = self.sweep(engine).sweep().stuck
        assert bad.uuid in stuck or self.head(engine, bad.uuid)["lost"] == 1

    @pytest.mark.parametrize("applied", [True, False])
    @pytest.mark.parametrize("verb", ["enqueue", "retry", "cancel", "rescue"])
    def test_a_lost_answer_is_found_out(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch, verb: str, applied: bool
    ) -> None:
        """The verb does its work exactly once and returns that, whether or not the write was applied."""
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
                assert engine.rescue(uuid, claim.run, "lost", "gone")
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
        """A document read back under the same uuid may be an older job: then the new one is refused."""
        uuid = self.submitted(engine, colour="blue")
        self.pass_time(engine, 1)
        before = engine.datastore.read(make_key(uuid))
        failpoints.arm("submit.create", "unknown")
        try:
            with pytest.raises(engine.datastore.casException):
                engine.submit([self.new(engine, uuid=uuid, colour="red")])
        finally:
            failpoints.disarm()
        assert engine.datastore.read(make_key(uuid)) == before

    def test_trouble_in_the_middle_leaves_no_claim_without_a_holder(
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
        owned = {head["uuid"] for head in engine.datastore.find(FindQuery(status="running")).heads}
        assert owned == {claim.uuid for claim in claims}

    def test_workers_are_named_until_they_leave_or_are_dead(self, engine: Engine) -> None:
        """The directory names every worker with a record; one that died idle is forgotten after its lease."""
        WorkerRecords(engine).renew(ALICE, 1)
        WorkerRecords(engine).renew(BOB, 1)
        assert set(WorkerRecords(engine).directory()) == {"alice", "bob"}
        WorkerRecords(engine).forget(BOB.name)
        assert set(WorkerRecords(engine).directory()) == {"alice"}
        reconciler = self.sweep(engine, 3, 10)
        assert set(WorkerRecords(engine).directory()) == {"alice"}
        self.pass_time(engine, 1)
        assert reconciler.sweep().forgotten == ["alice"]
        assert (
            WorkerRecords(engine).directory(),
            engine.datastore.read(worker_key("alice")),
        ) == ({}, None)

    def test_every_counter_has_a_documented_name(self, engine: Engine) -> None:
        """The counters of a flushed queue and a few late calls are listed in COUNTERS."""
        claim = self.claimed(engine)
        self.submitted(engine)
        engine.queue.put(claim.uuid)
        engine.queue.put(new_uuid())
        self.claim_all(engine)
        engine.rescue(claim.uuid, claim.run, "lost", "gone")
        engine.settle([Settlement(claim, "finish", 1, 200)])
        assert engine.counters
        assert set(engine.counters) <= set(COUNTERS)
