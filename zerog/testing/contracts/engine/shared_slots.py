"""Slots that short jobs of one worker share, one after the other: never more of them than the limit allows."""

from __future__ import annotations

import pytest

from zerog.engine.engine import Engine
from zerog.engine.transitions import Claim, WorkerIdentity
from zerog.records.limits import Limit
from zerog.records.slots import WAKING, Sharing
from zerog.testing.contracts.engine.builders import ALICE, BOB
from zerog.testing.contracts.engine.limited import LimitedJobs


class SharedSlotRules(LimitedJobs):
    """Rules of runs that wait in their worker for another one, whose slot they share."""

    def test_runs_of_one_worker_share_its_slots(self, engine: Engine) -> None:
        """No other worker's do, and a slot is free with the last of its runs."""
        self.limit(engine, 2)
        self.of(engine, *"abcdef")
        mine = self.claim_shared(engine, ALICE)
        assert len(mine) == 6
        assert len({claim.slot for claim in mine}) == self.taken(engine, 2) == 2
        theirs = self.of(engine, "g")
        assert self.claim_shared(engine, BOB) == []
        assert self.parked(engine) == theirs
        first = [claim for claim in mine if claim.slot == mine[0].slot]
        for claim in first[:-1]:
            self.end(engine, claim)
            assert self.taken(engine, 2) == 2
        assert self.claim_shared(engine, BOB) == []
        self.end(engine, first[-1])
        assert [claim.uuid for claim in self.claim_shared(engine, BOB)] == theirs
        assert self.taken(engine, 2) == 2

    def test_no_more_wait_for_one_run_than_may(self, engine: Engine) -> None:
        """The others are parked."""
        self.limit(engine, 2)
        uuids = self.of(engine, *"abcdef")
        assert len(self.claim_shared(engine, ALICE, behind=1)) == 4
        assert len(self.parked(engine)) == len(uuids) - 4

    def test_those_that_are_parked_come_first(self, engine: Engine) -> None:
        """A job that comes later shares no slot meanwhile, though its worker has one."""
        self.limit(engine, 1)
        self.of(engine, "a")
        [claim] = mine = self.claim_shared(engine, ALICE)
        held = {claim.nonce}
        [other] = self.of(engine, "b")
        assert self.claim_shared(engine, BOB) == []
        self.of(engine, "c")
        assert self.claim_shared(engine, ALICE, held) == []
        assert len(self.parked(engine)) == 2
        self.end(engine, mine[0])
        assert self.claim_shared(engine, BOB)[0].uuid == other

    def test_a_rescue_of_one_frees_no_slot_that_others_share(self, engine: Engine) -> None:
        """Nor does a sweep; all of a killed worker's runs that are rescued do."""
        self.limit(engine, 1)
        self.of(engine, *"abc")
        mine = self.claim_shared(engine, ALICE)
        assert len(mine) == 3
        for claim in mine:
            assert self.claim_shared(engine, BOB) == []
            self.sweep(engine)
            assert self.taken(engine, 1) == 1
            assert engine.rescue(claim.uuid, claim.run, "lost", "its worker is gone")
        assert len(self.claim_all(engine)) == 1

    def test_more_are_woken_than_there_are_slots_where_they_may_share_them(self, engine: Engine) -> None:
        """No more than the slots run at once elsewhere; those without one are parked again, and none is lost."""
        self.limit(engine, 1)
        self.of(engine, "a")
        [claim] = self.claim_shared(engine, ALICE)
        uuids = self.of(engine, *"bcde")
        assert self.claim_shared(engine, BOB) == []
        assert len(self.parked(engine)) == 4
        self.end(engine, claim)
        assert self.parked(engine) == []
        live, done = list[Claim](), list[str]()
        for _ in range(12):
            live += self.claim_all(engine)
            assert len(live) <= 1
            if live:
                done.append(live[0].uuid)
                self.end(engine, live.pop())
            else:
                self.pass_time(engine, WAKING + 1)
                self.sweep(engine)
        assert sorted(done) == sorted(uuids)

    def claim_shared(
        self, engine: Engine, worker: WorkerIdentity, held: set[str] | None = None, behind: int = 8
    ) -> list[Claim]:
        """Claim as a worker whose jobs are short: they may share the slots of the runs that it has ``held``."""
        if not engine.claims_ahead:
            pytest.skip("it claims no jobs ahead of their runs")
        claims = engine.step([], 10, worker, lambda head: head, deferred=True).claims
        nonces = {claim.nonce for claim in claims} | (held or set())
        for claim in claims:
            claim.sharing = Sharing(nonces.__contains__, lambda _: behind)
        engine.load_limited(claims, lambda head: head)
        engine.settle_given_back([claim for claim in claims if claim.ending is not None])
        return [claim for claim in claims if claim.ending is None]

    def taken(self, engine: Engine, most: int) -> int:
        """Return how many slots of the limit runs have."""
        return engine.slots_of(Limit(("type", "test"), most)).taken
