"""Rules of engines: move a waiting job to another queue or priority."""

from __future__ import annotations

import pytest

from zerog.contracts.datastore import FindQuery
from zerog.contracts.queue import Queue
from zerog.engine.engine import Engine
from zerog.exceptions import AmbiguousWrite, InvalidValue, JobNotFound, JobStateError, SchemaTooNew
from zerog.records.job import make_key, new_uuid
from zerog.records.operations import Set
from zerog.support import failpoints
from zerog.support.failpoints import POINTS, InjectedFailure
from zerog.testing.contracts.engine.builders import ALICE, accept
from zerog.testing.contracts.engine.edits import EditRules
from zerog.testing.contracts.engine.turns import TurnRules

OTHER = "other"
MOVE_POINTS = [point for point in POINTS if point.startswith("move.")]


class MoveRules(TurnRules, EditRules):
    """Rules for moving a waiting job: it runs once, from its new place, whatever crashes."""

    def claimed_from(self, engine: Engine, queue: str) -> list[str]:
        """Return the jobs that a worker of one queue claims, with losses of the queue repaired."""
        uuids: list[str] = []
        for _ in range(1 if self.lossless else 20):
            uuids += [claim.uuid for claim in engine.claim(50, ALICE, accept, (queue,))]
            if not self.lossless:
                self.pass_time(engine, 70)
                self.sweep(engine, 2)
        return uuids

    @pytest.mark.parametrize("delay", [0, 60])
    def test_a_moved_job_runs_from_its_new_queue(self, engine: Engine, delay: float) -> None:
        """When it would have run, and never from the old one; its events record who moved it and why."""
        self.require_queues()
        uuid, stays = self.submitted(engine, delay), self.submitted(engine)
        before = self.head(engine, uuid)
        assert engine.move(uuid, OTHER, reason="the others wait", who="anna") is True
        assert self.events(engine, uuid)[-1] == (
            "moved by anna from queue default, priority 0 to queue other, priority 0: the others wait"
        )
        assert self.last_event(engine, uuid)["who"] == "anna"
        after = self.head(engine, uuid)
        assert [after[field] for field in ("status", "epoch", "notBefore", "attempts")] == [
            before[field] for field in ("status", "epoch", "notBefore", "attempts")
        ]
        assert self.claimed_from(engine, "default") == [stays]
        self.pass_time(engine, delay)
        assert self.claimed_from(engine, "default") == []
        assert self.claimed_from(engine, OTHER) == [uuid]

    def test_a_moved_job_is_found_on_its_new_queue(self, engine: Engine) -> None:
        """Lists by queue and by status name it once."""
        self.require_queues()
        if not engine.datastore.can_find:
            pytest.skip("this datastore can't list")
        uuid = self.submitted(engine)
        engine.move(uuid, OTHER)
        for query, expected in (
            (FindQuery("queued", queue=OTHER), [uuid]),
            (FindQuery("queued", queue="default"), []),
            (FindQuery("queued"), [uuid]),
        ):
            assert [head["uuid"] for head in engine.datastore.find(query).heads] == expected

    def test_a_job_of_another_priority_takes_that_turn(self, engine: Engine) -> None:
        """Raised it goes first, lowered it goes last, if the queue has an order and can withdraw entries."""
        lowered, first, raised = (self.submitted(engine) for _ in range(3))
        assert engine.move(lowered, priority=-5)
        assert engine.move(raised, priority=5)
        assert [self.head(engine, uuid)["priority"] for uuid in (first, lowered, raised)] == [0, -5, 5]
        claimed = [claim.uuid for claim in self.claim_all(engine)]
        assert sorted(claimed) == sorted([first, lowered, raised])
        can_withdraw = type(engine.queue).withdraw is not Queue.withdraw
        if self.lossless and self.has_shares and can_withdraw:
            assert claimed == [raised, first, lowered]

    def test_a_move_to_where_the_job_is_writes_nothing(self, engine: Engine) -> None:
        """The answer is False."""
        uuid = self.submitted(engine, priority=2)
        token = engine.read(uuid)[1]
        assert engine.move(uuid, "default", 2) is False
        assert engine.move(uuid) is False
        assert engine.read(uuid)[1] == token

    def test_only_a_waiting_job_is_moved(self, engine: Engine) -> None:
        """A running or an ended one, one that is not there, and a layout of newer code stay as they are."""
        claim = self.claimed(engine)
        ended = self.ended_with(engine, 500)
        for uuid, status in ((claim.uuid, "running"), (ended, "failed")):
            before = engine.datastore.read(make_key(uuid))
            with pytest.raises(JobStateError, match=status):
                engine.move(uuid, priority=3)
            assert engine.datastore.read(make_key(uuid)) == before
        with pytest.raises(JobNotFound):
            engine.move(new_uuid(), priority=3)
        newer = self.submitted(engine)
        engine.datastore.mutate(make_key(newer), [Set("format", 99)])
        with pytest.raises(SchemaTooNew):
            engine.move(newer, priority=3)

    @pytest.mark.parametrize("priority", [2**31, 1.5, True, "high"])
    def test_a_priority_that_no_queue_honours_is_refused(self, engine: Engine, priority: int) -> None:
        """Nothing is changed."""
        uuid = self.submitted(engine)
        token = engine.read(uuid)[1]
        with pytest.raises(InvalidValue, match="priority"):
            engine.move(uuid, priority=priority)
        assert engine.read(uuid)[1] == token

    def test_a_delivery_by_the_old_queue_is_dropped(self, engine: Engine) -> None:
        """One that was under way while the job was moved, and one that the queue has repeated."""
        self.require_queues()
        uuid = self.submitted(engine)
        reservation = engine.queue.reserve(0)
        engine.move(uuid, OTHER)
        if reservation is not None:
            reservation.queue = "default"
            assert engine.claim_one(reservation, ALICE, accept) is None
        assert self.claimed_from(engine, OTHER) == [uuid]

    @pytest.mark.parametrize("action", ["raise", "unknown"])
    @pytest.mark.parametrize("point", MOVE_POINTS)
    def test_a_job_survives_a_crash_of_its_move(self, engine: Engine, point: str, action: str) -> None:
        """It runs once, on the queue that its document names; a lost answer is found out about."""
        self.require_queues()
        uuid = self.submitted(engine)
        failpoints.arm(point, action)
        try:
            engine.move(uuid, OTHER)
        except (InjectedFailure, AmbiguousWrite):
            pass
        finally:
            failpoints.disarm()
        if action == "unknown" and point in ("move.write", "move.written"):
            assert self.head(engine, uuid)["queueName"] == OTHER
        self.pass_time(engine, 70)
        self.sweep(engine, 3, 70)
        name = self.head(engine, uuid)["queueName"]
        places = {queue: self.claimed_from(engine, queue) for queue in ("default", OTHER)}
        assert places == {queue: [uuid] if queue == name else [] for queue in places}
