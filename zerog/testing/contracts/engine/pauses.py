"""Rules of engines: a job that is paused, and resumed."""

from __future__ import annotations

from typing import Any

import pytest

from zerog.engine.engine import Engine
from zerog.engine.transitions import Settlement, waiting
from zerog.exceptions import JobNotFound, JobStateError
from zerog.fleet.heartbeat import WorkerRecords
from zerog.records.commands import cancels_in, pause_name
from zerog.records.job import make_key, new_uuid
from zerog.records.keys import worker_key
from zerog.records.operations import Set
from zerog.support.clock import to_text
from zerog.testing.contracts.engine.builders import ALICE, BOB, EngineRules, accept


class PauseRules(EngineRules):
    """Rules for paused jobs. No sweep puts one on a queue, and no delivery runs it."""

    def stays_paused(self, engine: Engine, uuid: str) -> None:
        """Check that nothing takes or changes a paused job, however long it is paused and whatever is delivered."""
        before = engine.datastore.read(make_key(uuid))
        assert before is not None
        assert (before["status"], before["queueState"], before["due"], before["owner"]) == (
            "paused",
            "none",
            None,
            None,
        )
        engine.queue.put(uuid)
        self.pass_time(engine, 100_000)
        self.sweep(engine, 3, 70)
        assert uuid not in [claim.uuid for claim in self.claim_all(engine, BOB)]
        assert engine.datastore.read(make_key(uuid)) == before

    def pauses_of(self, engine: Engine, uuid: str) -> list[str]:
        """Return the texts of the events of pauses."""
        return [text for text in self.events(engine, uuid) if text.startswith(("paused", "resumed"))]

    @pytest.mark.parametrize("delay", [0, 60])
    def test_a_waiting_job_is_paused_at_once(self, engine: Engine, delay: float) -> None:
        """It shows by whom and why, and goes on once it is resumed."""
        uuid = self.submitted(engine, delay=delay)
        assert engine.pause(uuid, "the disk is full", "ann") == "paused"
        assert engine.pause(uuid, "another reason", "bob") == "paused"
        self.stays_paused(engine, uuid)
        paused = self.head(engine, uuid)["paused"]
        assert (paused["by"], paused["reason"]) == ("ann", "the disk is full")
        assert engine.resume(uuid, "bob") == "queued"
        assert self.head(engine, uuid)["paused"] is None
        assert self.pauses_of(engine, uuid) == ["paused by ann: the disk is full", "resumed by bob"]
        [claim] = self.claim_all(engine)
        assert (claim.uuid, claim.head["attempts"]) == (uuid, 1)

    def test_what_was_given_back_and_is_not_paused_yet_is_resumed(self, engine: Engine) -> None:
        """The write that follows the settlement was never made; the job waits, and goes on."""
        uuid = self.submitted(engine)
        [claim] = self.claim_all(engine)
        engine.pause(uuid)
        engine.datastore.mutate(claim.key, [*waiting(to_text(engine.now()), 0), Set("owner", None)])
        assert self.head(engine, uuid)["status"] == "queued"
        assert engine.resume(uuid) == "queued"
        head = self.head(engine, uuid)
        assert (head["status"], head["paused"], head["cancelRequested"]) == ("queued", None, None)
        assert [again.uuid for again in self.claim_all(engine)] == [uuid]

    def test_it_keeps_its_time(self, engine: Engine) -> None:
        """A job that may not start yet doesn't because it was paused."""
        uuid = self.submitted(engine, delay=500)
        engine.pause(uuid)
        self.pass_time(engine, 100)
        assert engine.resume(uuid) == "scheduled"
        assert [claim.uuid for claim in engine.claim(5, ALICE, accept)] == []
        self.pass_time(engine, 401)
        assert [claim.uuid for claim in self.claim_all(engine)] == [uuid]

    @pytest.mark.parametrize("has_had_its_turn", [False, True])
    def test_it_keeps_its_place(self, engine: Engine, has_had_its_turn: bool) -> None:
        """That of its entry, if that is still there; ahead of those that wait, if its turn came while it was paused."""
        if not self.lossless:
            pytest.skip("needs a queue that keeps its order")
        first, second = self.submitted(engine), self.submitted(engine)
        engine.pause(first)
        if has_had_its_turn:
            [claim] = engine.claim(1, ALICE, accept)
            assert claim.uuid == second
            second = self.submitted(engine)
        engine.resume(first)
        assert [claim.uuid for claim in engine.claim(5, ALICE, accept)] == [first, second]

    def test_a_running_job_is_paused_once_its_run_gives_it_back(self, engine: Engine) -> None:
        """The answer to its next write asks it to stop, its worker gets a hint, and the run costs it nothing."""
        claim = self.claimed(engine)
        WorkerRecords(engine).renew(ALICE, 1)
        assert engine.pause(claim.uuid, "later", "ann") == "running"
        assert engine.pause(claim.uuid, "again", "bob") == "running"
        record = engine.datastore.read(worker_key("alice"))
        assert record is not None
        assert cancels_in(record, 0)[0] == [pause_name(claim.uuid, claim.epoch)] * 2
        assert self.pauses_of(engine, claim.uuid) == ["paused by ann: later"]
        assert engine.datastore.mutate(claim.key, [Set("a", 1)], run=claim.run._replace(seq=1)).cancel_requested
        assert engine.settle([Settlement(claim, "release", 2)]) == [True]
        head = self.head(engine, claim.uuid)
        assert (head["status"], head["attempts"], head["cancelRequested"], head["a"]) == ("paused", 0, None, 1)
        self.stays_paused(engine, claim.uuid)
        engine.resume(claim.uuid)
        [again] = self.claim_all(engine)
        assert (again.uuid, again.head["a"]) == (claim.uuid, 1)

    @pytest.mark.parametrize("way", ["requeue", "release", "rescue", "free", "crash"])
    def test_however_the_run_ends_the_pause_holds(self, engine: Engine, way: str) -> None:
        """A rescue takes the job from its run, and counts that."""
        claim = self.claimed(engine)
        engine.pause(claim.uuid)
        ways: dict[str, Any] = {
            "requeue": lambda: engine.settle([Settlement(claim, "requeue", 1)]),
            "release": lambda: engine.settle([Settlement(claim, "release", 1)]),
            "rescue": lambda: engine.rescue(claim.uuid, claim.run, "lost", "it was silent"),
            "crash": lambda: engine.rescue(claim.uuid, claim.run, "crashes", "it died"),
            "free": lambda: engine.release(claim.uuid, claim.run, "its worker was stopped"),
        }
        assert ways[way]()
        head = self.head(engine, claim.uuid)
        assert (head["status"], head["lost"], head["crashes"]) == ("paused", way == "rescue", way == "crash")
        self.stays_paused(engine, claim.uuid)
        engine.resume(claim.uuid)
        assert [again.uuid for again in self.claim_all(engine)] == [claim.uuid]

    def test_a_run_that_ends_its_job_meanwhile_has_ended_it(self, engine: Engine) -> None:
        """And a retry of the job isn't paused."""
        claim = self.claimed(engine)
        engine.pause(claim.uuid)
        assert engine.settle([Settlement(claim, "finish", 1, 500)]) == [True]
        with pytest.raises(JobStateError, match="failed and not paused"):
            engine.resume(claim.uuid)
        engine.retry(claim.uuid)
        [again] = self.claim_all(engine)
        assert again.head["paused"] is None
        assert engine.settle([Settlement(again, "requeue", 1)]) == [True]
        assert self.head(engine, claim.uuid)["status"] == "queued"

    def test_a_running_job_that_is_resumed_before_it_stopped_goes_on(self, engine: Engine) -> None:
        """In the same run, or in another one if that gave it back all the same."""
        claim = self.claimed(engine)
        engine.pause(claim.uuid)
        assert engine.resume(claim.uuid) == "running"
        answer = engine.datastore.mutate(claim.key, [Set("a", 1)], run=claim.run._replace(seq=1))
        assert not answer.cancel_requested
        assert engine.settle([Settlement(claim, "release", 2)]) == [True]
        assert [again.uuid for again in self.claim_all(engine)] == [claim.uuid]

    def test_a_paused_job_can_be_cancelled(self, engine: Engine) -> None:
        """One whose run hasn't stopped yet is cancelled once it has, and not paused."""
        waiting, claim = self.submitted(engine, delay=10_000), self.claimed(engine)
        for uuid in (waiting, claim.uuid):
            engine.pause(uuid)
        assert [engine.cancel(uuid) for uuid in (waiting, claim.uuid)] == ["cancelled", "running"]
        assert engine.settle([Settlement(claim, "release", 1)]) == [True]
        for uuid in (waiting, claim.uuid):
            head = self.head(engine, uuid)
            assert (head["status"], head["resultCode"], head["paused"]) == ("cancelled", 410, None)
        engine.retry(waiting)
        assert [again.uuid for again in self.claim_all(engine)] == [waiting]

    def test_what_can_t_be_paused_or_resumed_is_refused(self, engine: Engine) -> None:
        """In words; and a paused job isn't retried, removed or enqueued."""
        with pytest.raises(JobNotFound):
            engine.pause(new_uuid())
        claim = self.claimed(engine)
        with pytest.raises(JobStateError, match="is running and not paused"):
            engine.resume(claim.uuid)
        engine.cancel(claim.uuid)
        with pytest.raises(JobStateError, match="is being cancelled"):
            engine.pause(claim.uuid)
        engine.settle([Settlement(claim, "finish", 1, 410, status="cancelled")])
        with pytest.raises(JobStateError, match="is cancelled and can't be paused"):
            engine.pause(claim.uuid)
        uuid = self.submitted(engine)
        engine.pause(uuid)
        with pytest.raises(JobStateError, match="resume lets it go on"):
            engine.retry(uuid)
        with pytest.raises(JobStateError, match="cancel it first"):
            engine.discard(uuid)
        with pytest.raises(JobStateError, match="is paused and can't be enqueued"):
            engine.enqueue(uuid)
