"""Limits: never more runs at once than slots, parked jobs in their turn, whatever dies between two writes."""

from __future__ import annotations

import pytest

from zerog.contracts.datastore import FindQuery
from zerog.engine.engine import Engine
from zerog.engine.operator import Change
from zerog.engine.transitions import Claim, Settlement
from zerog.records.attrs import ATTRS
from zerog.records.job import TERMINAL, make_key
from zerog.records.limits import Limit, parked_term
from zerog.records.operations import Set
from zerog.records.slots import WAKING
from zerog.support import failpoints
from zerog.support.clock import text_after, to_text
from zerog.support.failpoints import InjectedFailure
from zerog.testing.contracts.engine.builders import ALICE
from zerog.testing.contracts.engine.limited import LimitedJobs

POINTS = ("limit.take", "limit.taken", "limit.change", "limit.changed", "limit.wake", "limit.woken", "limit.put")
"""The crash points that every engine passes here."""


class LimitRules(LimitedJobs):
    """Rules of the slots of limits."""

    # the limit of a type

    def test_no_more_jobs_are_claimed_than_there_are_slots(self, engine: Engine) -> None:
        """The others are parked, at no cost, and each end lets the oldest of them run."""
        self.limit(engine, 2)
        uuids = self.of(engine, *"abcde")
        first, second = sorted(self.claim_all(engine), key=lambda claim: uuids.index(claim.uuid))
        if self.lossless:
            assert [first.uuid, second.uuid] == uuids[:2]
            assert self.parked(engine) == uuids[2:]
            attrs = (parked_term("2 at once of type test"),)
            assert engine.datastore.count(FindQuery(order="oldest", attrs=attrs)).number == 3
            assert [self.head(engine, uuid)["attempts"] for uuid in uuids] == [1, 1, 0, 0, 0]
            assert engine.place_of(self.head(engine, uuids[4])) is not None
        assert self.claim_all(engine) == []
        self.end(engine, first)
        [third] = self.claim_all(engine)
        assert self.claim_all(engine) == []
        self.end(engine, third)
        self.end(engine, second)
        assert len(self.claim_all(engine)) == 2

    def test_jobs_of_one_call_share_the_writes_of_a_limit(self, engine: Engine) -> None:
        """One write takes the slots of all that were claimed, one gives them back and keeps them for parked jobs."""
        if not self.lossless:
            pytest.skip("its deliveries come one by one")
        self.limit(engine, 4)
        self.of(engine, *"abcdefgh")
        points: list[str] = []
        failpoints.watch(points.append)
        claims = engine.claim(8, ALICE, lambda head: head)
        assert len(claims) == 4
        assert points.count("limit.taken") == 1
        points.clear()
        settlements = [Settlement(claim, "finish", claim.seq + 1, 200) for claim in claims]
        assert engine.settle(settlements) == [True] * 4
        engine.settle_slots(settlements)
        assert points.count("limit.changed") == 1
        assert len(engine.claim(8, ALICE, lambda head: head)) == 4

    def test_without_a_limit_nothing_is_stored(self, engine: Engine) -> None:
        """Nor after the last job of one that has a limit."""
        self.limit(engine)
        self.of(engine, "a", "b")
        assert len(self.order(engine, 2)) == 2
        if engine.datastore.can_delete:
            assert engine.datastore.read(Limit(("type", "test"), 1).key) is None

    @pytest.mark.parametrize("how", ["release", "requeue", "rescue", "unheld"])
    def test_a_run_that_is_over_gives_its_slot_back(self, engine: Engine, how: str) -> None:
        """However it ended; what it ran waits for its turn again."""
        self.limit(engine)
        uuids = self.of(engine, "a", "b")
        [claim] = self.claim_all(engine)
        if how in ("release", "requeue"):
            self.end(engine, claim, how)
        elif how == "rescue":
            assert engine.rescue(claim.uuid, claim.run, "lost", "gone")
        else:
            assert engine.release(claim.uuid, claim.run, "given back")
        [again] = self.claim_all(engine)
        assert again.uuid in uuids
        self.end(engine, again)
        assert len(self.order(engine, 1)) == 1

    def test_priorities_hold_among_the_parked(self, engine: Engine) -> None:
        """And so does age within one."""
        if not self.lossless:
            pytest.skip("the order of its deliveries is random")
        self.limit(engine)
        [first] = self.of(engine, "a")
        [claim] = self.claim_all(engine)
        low, middle = self.of(engine, "a", "a"), self.of(engine, "a", "a", priority=3)
        assert self.claim_all(engine) == []
        high = self.of(engine, "a", "a", priority=7)
        assert self.claim_all(engine) == []
        self.end(engine, claim)
        assert self.order(engine, 6) == [*high, *middle, *low]
        assert claim.uuid == first

    def test_keys_take_turns(self, engine: Engine) -> None:
        """Many jobs of one don't keep the one job of another waiting."""
        if not self.lossless:
            pytest.skip("the order of its deliveries is random")
        self.limit(engine)
        mine, theirs = self.of(engine, *"aaaaa"), self.of(engine, "b", "c")
        order = self.order(engine, 7)
        assert {*order[1:4]} == {mine[1], *theirs}
        assert [uuid for uuid in order if uuid in mine] == mine

    def test_each_key_has_its_own_slots(self, engine: Engine) -> None:
        """Those of the type come on top."""
        self.limit(engine, most=3, per_key=1)
        self.of(engine, *"aaabcdb")
        claims = self.claim_all(engine)
        customers = [claim.head[ATTRS]["customer"] for claim in claims]
        assert len(claims) == 3
        assert len({*customers}) == 3
        done = 0
        while claims:
            self.end(engine, claims.pop(0))
            done += 1
            claims += self.claim_all(engine)
            running = [claim.head[ATTRS]["customer"] for claim in claims]
            assert len(running) == len({*running}) <= 3
        assert done == 7

    def test_waits_for_two_limits_form_no_circle(self, engine: Engine) -> None:
        """Also if a woken job has lost the slot of its key to another one, which waits for the type then."""
        self.limit(engine, most=1, per_key=1)
        uuids = self.of(engine, "a")
        claims = self.claim_all(engine)
        uuids += self.of(engine, "b", "b")
        assert self.claim_all(engine) == []
        self.end(engine, claims[0])
        key = Limit(("key", "test", "customer", "b"), 1).key
        document = engine.datastore.read(key)
        assert document is not None
        engine.datastore.set(key, {**document, "kept": {}})
        self.sweep(engine)
        for _ in range(6):
            for claim in [*self.claim_all(engine), *self.claim_all(engine)]:
                self.end(engine, claim)
            self.pass_time(engine, WAKING + 1)
            self.sweep(engine)
        assert [self.head(engine, uuid)["status"] for uuid in uuids] == ["succeeded"] * 3

    # jobs that are parked

    def test_a_parked_job_can_be_cancelled(self, engine: Engine) -> None:
        """Another one gets the slot."""
        self.limit(engine)
        self.of(engine, "a", "b", "c")
        [claim] = self.claim_all(engine)
        gone, other = self.parked(engine)
        assert engine.cancel(gone) == "cancelled"
        assert self.parked(engine) == [other]
        self.end(engine, claim)
        assert [claim.uuid for claim in self.claim_all(engine)] == [other]

    def test_a_parked_job_expires(self, engine: Engine) -> None:
        """By a sweep."""
        self.limit(engine)
        self.of(engine, "a", "b", expiresAt=text_after(to_text(engine.now()), 5_000))
        [claim] = self.claim_all(engine)
        [late] = self.parked(engine)
        self.pass_time(engine, 5_001)
        self.sweep(engine)
        assert self.head(engine, late)["resultCode"] == 408
        assert self.parked(engine) == []
        assert self.head(engine, claim.uuid)["status"] == "running"

    def test_an_edited_job_gets_another_place(self, engine: Engine) -> None:
        """By its new priority."""
        if not self.lossless:
            pytest.skip("the order of its deliveries is random")
        self.limit(engine)
        _, second, third = self.of(engine, "a", "a", "a")
        [claim] = self.claim_all(engine)
        engine.edit(third, lambda _: Change([Set("priority", 5)], {"priority": {}}), "alice", "it is urgent")
        assert self.claim_all(engine) == []
        assert {*self.parked(engine)} == {second, third}
        self.end(engine, claim)
        assert self.order(engine, 2) == [third, second]

    def test_a_job_that_was_cancelled_when_it_is_parked_has_ended(self, engine: Engine) -> None:
        """It would be cancelled at its turn only."""
        self.limit(engine)
        [uuid] = self.of(engine, "a")
        assert len(self.claim_all(engine)) == 1
        [other] = self.of(engine, "b")

        def cancel(point: str) -> None:
            if point == "limit.taken":
                failpoints.disarm()
                engine.cancel(other)

        failpoints.watch(cancel)
        assert self.claim_all(engine) == []
        assert self.head(engine, other)["status"] == "cancelled"
        assert self.parked(engine) == []
        assert self.head(engine, uuid)["status"] == "running"

    @pytest.mark.parametrize(
        ("how", "moment"),
        [(how, "limit.changed") for how in ("removed", "damaged", "cancelled")]
        + [(how, "limit.wake") for how in ("cancelled", "paused")],
    )
    def test_a_parked_job_that_changes_while_it_is_woken_passes_its_slot_on(
        self, engine: Engine, how: str, moment: str
    ) -> None:
        """Whether before it is read for that, or between this and the write."""
        if how == "removed" and not engine.datastore.can_delete:
            pytest.skip("this adapter can't delete")
        self.limit(engine)
        self.of(engine, "a")
        [claim] = self.claim_all(engine)
        chosen, other = self.of(engine, "b", "c")
        assert self.claim_all(engine) == []

        def change(point: str) -> None:
            if point != moment:
                return
            failpoints.disarm()
            if how == "damaged":
                document, token = engine.datastore.read_with_cas(make_key(chosen))
                assert document is not None and token is not None
                engine.datastore.set_with_cas(make_key(chosen), {**document, "priority": "high"}, token)
                return
            if how == "paused":
                engine.pause(chosen)
                return
            engine.cancel(chosen)
            if how == "removed":
                engine.discard(chosen)

        failpoints.watch(change)
        self.end(engine, claim)
        taken = self.claim_all(engine)
        if not taken:  # its slot was kept for the job that changed
            self.pass_time(engine, WAKING + 1)
            self.sweep(engine, 2)
            taken = self.claim_all(engine)
        assert [claim.uuid for claim in taken] == [other]

    def test_a_woken_job_that_nothing_takes_passes_its_slot_on(self, engine: Engine) -> None:
        """With the second sweep."""
        self.limit(engine)
        self.of(engine, *"abc")
        [claim] = self.claim_all(engine)
        parked = self.parked(engine)
        self.end(engine, claim)
        [woken] = {*parked} - {*self.parked(engine)}
        engine.cancel(woken)
        self.pass_time(engine, WAKING + 1)
        self.sweep(engine)
        assert [claim.uuid for claim in self.claim_all(engine)] == [uuid for uuid in parked if uuid != woken]

    def test_a_limit_that_is_raised_or_removed_lets_more_go(self, engine: Engine) -> None:
        """From the next job on that meets it."""
        self.limit(engine)
        self.of(engine, *"abcdef")
        [claim] = self.claim_all(engine)
        self.limit(engine, 3)
        self.end(engine, claim)
        claims = self.claim_all(engine)
        claims += self.claim_all(engine)
        assert len(claims) == 3
        self.limit(engine, None)
        self.end(engine, claims.pop())
        self.pass_time(engine, WAKING + 1)
        self.sweep(engine)
        for _ in range(3):
            claims += self.claim_all(engine)
        assert len(claims) == 4

    # deaths and lost answers

    @pytest.mark.parametrize("action", ["raise", "unknown"])
    @pytest.mark.parametrize("point", POINTS)
    def test_a_death_between_two_writes_is_repaired(self, engine: Engine, point: str, action: str) -> None:
        """At any of them, and so is a lost answer: never more than the limit, and all jobs run."""
        for skip in range(6):
            self.limit(engine, most=2, per_key=1)
            uuids = self.of(engine, "a", "a", "b", "c")
            failpoints.arm(point, action, skip)
            live: list[Claim] = []
            for _ in range(30):
                live = self.step(engine, live)
                if all(self.head(engine, uuid)["status"] in TERMINAL for uuid in uuids):
                    break
            failpoints.disarm()
            assert [self.head(engine, uuid)["status"] for uuid in uuids] == ["succeeded"] * 4

    def step(self, engine: Engine, live: list[Claim]) -> list[Claim]:
        """Claim, check how many run, and end one; after a death all that ran is rescued. Return what runs then."""
        try:
            live += engine.claim(5, ALICE, lambda head: head)
            customers = [claim.head[ATTRS]["customer"] for claim in live]
            assert len(customers) == len({*customers}) <= 2
            if live:
                self.end(engine, live.pop(0))
            else:
                self.pass_time(engine, WAKING + 1)
                self.sweep(engine)
        except InjectedFailure:
            failpoints.disarm()
            for head in engine.datastore.find(FindQuery(status="running")).heads:
                claim = Claim("", head["uuid"], head["epoch"], head["owner"]["nonce"], 0, head)
                engine.rescue(claim.uuid, claim.run, "lost", "its worker is gone")
            return []
        return live
