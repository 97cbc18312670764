"""Rules of engines about a datastore that was rolled back (a fail-over, a restored backup)."""

from __future__ import annotations

import pytest

from zerog.engine.engine import Engine
from zerog.engine.transitions import Claim, Settlement
from zerog.exceptions import ClaimLost
from zerog.records.job import make_key
from zerog.records.operations import Append
from zerog.testing.contracts.engine.builders import BOB, EngineRules


class SetbackRules(EngineRules):
    """Rules for epochs and numbers that are given a second time: a run is named by its nonce."""

    def claimed_twice(self, engine: Engine) -> tuple[Claim, Claim]:
        """Return two claims of one job with the same epoch: the datastore has lost the first one."""
        uuid = self.submitted(engine)
        before = engine.datastore.read(make_key(uuid))
        assert before is not None
        [old] = self.claim_all(engine)
        engine.datastore.set(old.key, before)
        engine.queue.put(uuid)
        new = next(claim for claim in self.claim_all(engine, BOB) if claim.uuid == uuid)
        assert (old.epoch, old.seq) == (new.epoch, new.seq)
        return old, new

    def test_a_run_that_the_datastore_has_forgotten_is_refused(self, engine: Engine) -> None:
        """Neither its writes nor its end, nor a verb that takes a job from it, touch the run that has its epoch now."""
        old, new = self.claimed_twice(engine)
        before = engine.datastore.read(new.key)
        with pytest.raises(ClaimLost):
            engine.datastore.mutate(old.key, [Append("events", "old")], run=old.run._replace(seq=1))
        for kind in ("finish", "requeue", "release"):
            assert engine.settle([Settlement(old, kind, 1, 200)]) == [False]
        assert not engine.rescue(old.uuid, old.run, "lost", "gone")
        assert not engine.release(old.uuid, old.run, "the worker leaves")
        assert engine.datastore.read(new.key) == before
        assert engine.settle([Settlement(new, "finish", 1, 200)]) == [True]

    @pytest.mark.parametrize("kind", ["finish", "requeue", "release"])
    def test_a_settlement_is_done_for_its_own_run_only(self, engine: Engine, kind: str) -> None:
        """Repeated it is done, also after the owner is gone; the same number of the forgotten run is refused."""
        old, new = self.claimed_twice(engine)
        assert engine.settle([Settlement(new, kind, 1, 200)]) == [True]
        settled = engine.datastore.read(new.key)
        assert engine.settle([Settlement(old, kind, 1, 500)]) == [False]
        assert engine.settle([Settlement(new, kind, 1, 200)]) == [True]
        assert engine.datastore.read(new.key) == settled

    def test_a_run_ahead_of_its_document_is_refused(self, engine: Engine) -> None:
        """When the datastore has lost a run's last writes, the next one has no place: the run ends, its job stays."""
        claim = self.claimed(engine)
        writes = [claim.run._replace(seq=seq) for seq in (1, 2, 3)]
        engine.datastore.mutate(claim.key, [Append("events", {"n": 1})], run=writes[0])
        before = engine.datastore.read(claim.key)
        assert before is not None
        engine.datastore.mutate(claim.key, [Append("events", {"n": 2})], run=writes[1])
        engine.datastore.set(claim.key, before)
        with pytest.raises(ClaimLost):
            engine.datastore.mutate(claim.key, [Append("events", {"n": 3})], run=writes[2])
        assert engine.settle([Settlement(claim, "finish", 3, 200)]) == [False]
        assert engine.datastore.read(claim.key) == before
        assert engine.rescue(claim.uuid, claim.run, "lost", "its writes were lost")
        [again] = self.claim_all(engine)
        assert engine.settle([Settlement(again, "finish", 1, 200)]) == [True]

    def test_a_run_of_an_earlier_version(self, engine: Engine) -> None:
        """A claim that didn't keep its nonce under ``run`` writes, and settles as often as requested."""
        claim = self.claimed(engine)
        head = engine.datastore.read(claim.key)
        assert head is not None and head.pop("run") == claim.nonce
        engine.datastore.set(claim.key, head)
        engine.datastore.mutate(claim.key, [Append("events", {"n": 1})], run=claim.run._replace(seq=1))
        for _ in range(2):
            assert engine.settle([Settlement(claim, "finish", 2, 200)]) == [True]
        assert self.head(engine, claim.uuid)["status"] == "succeeded"
