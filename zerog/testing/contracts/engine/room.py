"""Rules about full documents, and how much of a history is kept; for ``zerog.testing.contracts.engine``."""

from __future__ import annotations

import pytest

from zerog.engine import transitions
from zerog.engine.engine import Engine
from zerog.engine.transitions import Settlement
from zerog.testing.contracts.datastore.room import fill, long_error
from zerog.testing.contracts.engine.builders import EngineRules


class RoomRules(EngineRules):
    """Rules for a job whose document accepts nothing more from it."""

    def test_a_full_job_moves(self, engine: Engine) -> None:
        """It is rescued, released, ended with an error, retried, cancelled while it runs and while it waits."""
        claim = self.claimed(engine)
        fill(engine.datastore, claim.key, claim.run)
        assert engine.rescue(claim.uuid, claim.run, "lost", "its worker was silent")
        [claim] = self.claim_all(engine)
        assert engine.release(claim.uuid, claim.run, "the worker leaves")
        [claim] = self.claim_all(engine)
        error = long_error()
        ended = Settlement(claim, "finish", 1, 500, operations=transitions.erred(error, 10))
        assert engine.settle([ended]) == [True]
        document = engine.datastore.read(claim.key) or {}
        assert (document["status"], document["errors"][-1]) == ("failed", error)
        engine.retry(claim.uuid, "once more")
        assert self.events(engine, claim.uuid)[-1] == "retried after failed with 500: once more"
        [claim] = self.claim_all(engine)
        assert engine.cancel(claim.uuid, "by its user") == "running"
        assert engine.settle([Settlement(claim, "finish", 1, 410, status="cancelled")]) == [True]
        engine.retry(claim.uuid)
        assert engine.cancel(claim.uuid) == "cancelled"

    @pytest.mark.parametrize("more", [-997, 10])
    def test_a_history_is_as_long_as_its_class_allows(self, engine: Engine, more: int) -> None:
        """Entries of the engine are bounded by the document's limit, be it less than the datastore's or more."""
        bound = engine.datastore.history_limit + more
        before = bound if more < 0 else bound - 5
        entries = [{"timestamp": "2026", "msg": "x"}] * before
        claim = self.claimed(engine, events=entries, errors=entries, maxEvents=bound)
        assert engine.rescue(claim.uuid, claim.run, "lost", "gone")
        [again] = self.claim_all(engine)
        assert engine.release(again.uuid, again.run, "the worker leaves")
        document = engine.datastore.read(again.key) or {}
        assert len(document["errors"]) == min(bound, before + 1)
        assert document.get("errorsDropped", 0) == max(0, before + 1 - bound)
        assert before < len(document["events"]) <= bound or (more < 0 and len(document["events"]) == bound)
        assert "the worker leaves" in self.events(engine, again.uuid)
