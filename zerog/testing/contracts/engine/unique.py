"""Unique jobs: at most one job of a key is live, and every submit returns it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from zerog.engine.engine import Engine
from zerog.engine.submit_unique import Submitted
from zerog.engine.transitions import Settlement, begun, given_back
from zerog.exceptions import AmbiguousWrite
from zerog.records.operations import Set
from zerog.records.unique import lock_document, lock_key, unique_lock
from zerog.support import failpoints
from zerog.support.clock import text_after, to_text
from zerog.testing.contracts.engine.builders import ALICE, accept
from zerog.testing.contracts.engine.unique_jobs import UniqueJobs

EVERY = ("unique.lock", "unique.locked", "submit.create", "submit.created")
"""The crash points of a submit that are passed before its answer."""


class UniqueRules(UniqueJobs):
    """Rules of the lock, for jobs of any time for which it holds."""

    # until it has ended

    def test_a_waiting_job_is_joined(self, engine: Engine) -> None:
        """By whatever uuid the other one would have had."""
        first, second = self.unique(engine), self.unique(engine)
        assert (first.is_new, second.is_new) == (True, False)
        assert self.uuid_of(first) == self.uuid_of(second) == self.named(engine)
        assert self.live(engine) == [self.uuid_of(first)]

    def test_a_running_job_is_joined(self, engine: Engine) -> None:
        """Also after its run was given back, requeued or rescued."""
        first = self.unique(engine)
        [claim] = self.claim_all(engine)
        assert not self.unique(engine).is_new
        assert engine.settle([given_back(claim, 0)]) == [True]
        assert not self.unique(engine).is_new
        [claim] = self.claim_all(engine)
        assert engine.settle([Settlement(claim, "requeue", 1, operations=begun(claim.head))]) == [True]
        assert not self.unique(engine).is_new
        [claim] = self.claim_all(engine)
        assert engine.rescue(claim.uuid, claim.run, "lost", "gone")
        assert not self.unique(engine).is_new
        assert self.live(engine) == [self.uuid_of(first)]

    @pytest.mark.parametrize("code", [200, 500])
    def test_an_ended_job_is_not_joined(self, engine: Engine, code: int) -> None:
        """However it ended."""
        first = self.unique(engine)
        [claim] = self.claim_all(engine)
        self.finish(engine, claim, code)
        second = self.unique(engine)
        assert second.is_new
        assert self.named(engine) == self.uuid_of(second) != self.uuid_of(first)
        assert self.live(engine) == [self.uuid_of(second)]

    def test_a_cancelled_job_is_not_joined(self, engine: Engine) -> None:
        """Nor one whose time has expired."""
        first = self.unique(engine)
        engine.cancel(self.uuid_of(first))
        second = self.unique(engine, expiresAt=text_after(to_text(engine.now()), 60))
        assert second.is_new
        self.pass_time(engine, 61)
        assert engine.expire(self.uuid_of(second))
        assert self.unique(engine).is_new

    def test_other_keys_and_types_are_other_jobs(self, engine: Engine) -> None:
        """Values of other types, too."""
        keys: list[list[Any]] = [["k"], ["k", 1], ["k", "1"], ["k", True], ["k", None], ["l"]]
        uuids = [self.uuid_of(self.unique(engine, *values)) for values in keys]
        other = self.new(engine, uniqueLock=unique_lock("other", ["k"], "ended"))
        [of_other_type] = engine.submit_unique([other])
        assert of_other_type.is_new
        assert len({*uuids, self.uuid_of(of_other_type)}) == len(keys) + 1

    def test_many_in_one_call(self, engine: Engine) -> None:
        """The answers are in the order of the documents; equal keys get one job."""
        values = [5, 3, 5, 1, 3]
        documents = [self.keyed(engine, value) for value in values]
        answers = engine.submit_unique(documents)
        assert [answer.is_new for answer in answers] == [True, True, False, True, False]
        assert len({self.uuid_of(answer) for answer in answers}) == 3
        assert [answer.document["uniqueLock"]["shown"] for answer in answers] == [str(value) for value in values]

    def test_a_job_without_a_key_has_no_lock(self, engine: Engine) -> None:
        """And runs as ever."""
        claim = self.claimed(engine)
        assert "uniqueLock" not in claim.head
        assert self.uuid_of(self.unique(engine)) != claim.uuid

    # until it has started, or for a time

    def test_until_started_a_claimed_job_is_not_joined(self, engine: Engine) -> None:
        """The waiting one is."""
        first = self.unique(engine, until="started")
        assert not self.unique(engine, until="started").is_new
        [claim] = self.claim_all(engine)
        second = self.unique(engine, until="started")
        assert second.is_new
        assert engine.settle([Settlement(claim, "requeue", 1, operations=begun(claim.head))]) == [True]
        assert not self.unique(engine, until="started").is_new
        assert self.live(engine) == sorted([self.uuid_of(first), self.uuid_of(second)])

    def test_until_started_a_claim_that_is_given_back_makes_room(self, engine: Engine) -> None:
        """Its run had not begun, so that of two waiting jobs the later one counts."""
        first = self.unique(engine, until="started")
        [claim] = self.claim_all(engine)
        second = self.unique(engine, until="started")
        assert engine.settle([given_back(claim, 0)]) == [True]
        claims = [claim.uuid for _ in range(3) for claim in engine.claim(1, ALICE, accept)]
        if self.lossless:
            assert claims == [self.uuid_of(second)]
            self.assert_ended_for(engine, self.uuid_of(first), self.uuid_of(second))

    def test_for_a_time_an_ended_job_is_joined(self, engine: Engine) -> None:
        """And after it, one that waits isn't: both run."""
        until = text_after(to_text(engine.now()), 3600)
        first = self.unique(engine, until=until)
        [claim] = self.claim_all(engine)
        self.finish(engine, claim)
        assert self.uuid_of(self.unique(engine, until=until)) == self.uuid_of(first)
        self.pass_time(engine, 3601)
        second = self.unique(engine, until=text_after(to_text(engine.now()), 3600))
        assert second.is_new
        self.pass_time(engine, 3601)
        third = self.unique(engine, until=text_after(to_text(engine.now()), 3600))
        assert self.live(engine) == sorted([self.uuid_of(second), self.uuid_of(third)])

    # crashes

    @pytest.mark.parametrize("point", EVERY)
    @pytest.mark.parametrize("action", ["raise", "unknown"])
    def test_a_submit_that_dies_leaves_one_job(self, engine: Engine, point: str, action: str) -> None:
        """The next one gets it, or makes it; an answer that is lost is found."""
        failpoints.arm(point, action)
        mine = None
        try:
            mine = self.unique(engine)
        except (failpoints.InjectedFailure, AmbiguousWrite):
            assert action == "raise" or point == "submit.create"
        failpoints.disarm()
        again = self.unique(engine)
        if mine is not None:
            assert (self.uuid_of(mine), again.is_new) == (self.uuid_of(again), False)
        self.pass_time(engine, 10)
        self.sweep(engine)
        assert self.live(engine) == [self.uuid_of(again)]

    def test_who_finds_a_lock_without_a_job_makes_it(self, engine: Engine) -> None:
        """Under the uuid that the lock names, so that its maker gets the job, too, however late it is."""
        failpoints.arm("submit.create", "raise")
        slow = self.keyed(engine)
        with pytest.raises(failpoints.InjectedFailure):
            engine.submit_unique([slow])
        quick = self.unique(engine)
        assert (quick.is_new, self.uuid_of(quick)) == (True, slow["uuid"])
        assert quick.document["logId"] == slow["uuid"][-8:]
        with pytest.raises(engine.datastore.casException):
            engine.submit([slow])

    def test_a_lock_of_a_stranger_is_taken_over(self, engine: Engine) -> None:
        """One that names a job of another key, or nothing that makes sense."""
        stranger = self.submitted(engine, delay=60)
        key = str(lock_key(self.keyed(engine)))
        engine.datastore.create(key, lock_document(stranger))
        first = self.unique(engine)
        assert (first.is_new, self.named(engine)) == (True, self.uuid_of(first))
        engine.cancel(self.uuid_of(first))
        engine.datastore.set(key, {"uuid": 5})
        assert self.unique(engine).is_new

    # the first claim

    def test_a_job_that_the_lock_does_not_name_ends(self, engine: Engine) -> None:
        """It names the other; that one runs, and both are counted and seen."""
        first = self.unique(engine)
        double = self.keyed(engine)
        engine.submit([double])  # as a crash could have left it
        assert self.live(engine) == [self.uuid_of(first)]
        self.assert_ended_for(engine, double["uuid"], self.uuid_of(first))
        assert engine.counters["cancelled.duplicate"] == 1

    def test_a_job_whose_lock_is_gone_gets_it(self, engine: Engine) -> None:
        """And one whose lock names a job that has ended or doesn't exist."""
        first = self.unique(engine)
        key = str(lock_key(first.document))
        engine.datastore.delete(key)
        [claim] = self.claim_all(engine)
        assert self.named(engine) == claim.uuid
        engine.settle([given_back(claim, 0)])
        engine.datastore.set(key, lock_document(str(self.new(engine)["uuid"])))
        assert self.live(engine) == [self.uuid_of(first)]
        assert self.named(engine) == self.uuid_of(first)

    def test_a_claim_makes_a_lock_firm(self, engine: Engine) -> None:
        """Unless the submit has done so: then it only reads. A job that has begun doesn't look at its lock again."""
        key = str(lock_key(self.unique(engine).document))
        before = engine.datastore.read_with_cas(key)[1]
        [claim] = self.claim_all(engine)
        assert engine.datastore.read_with_cas(key)[1] == before
        engine.datastore.set(key, lock_document(claim.uuid))
        engine.settle([given_back(claim, 0)])
        [claim] = self.claim_all(engine)
        lock = engine.datastore.read(key)
        assert lock == lock_document(claim.uuid, is_firm=True)
        engine.settle([Settlement(claim, "requeue", 1, operations=begun(claim.head))])
        engine.datastore.delete(key)
        [claim] = self.claim_all(engine)
        assert engine.datastore.read(key) is None

    @pytest.mark.parametrize("point", ["unique.lock", "unique.locked"])
    def test_a_lost_answer_at_the_claim(self, engine: Engine, point: str) -> None:
        """The lock is written again, and the job runs."""
        first = self.unique(engine)
        engine.datastore.delete(str(lock_key(first.document)))
        failpoints.arm(point, "unknown")
        assert self.live(engine) == [self.uuid_of(first)]

    def test_a_lock_that_cant_be_read_gives_the_claim_back(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The job waits and runs later."""
        first = self.unique(engine)
        with monkeypatch.context() as patch:
            patch.setattr(engine, "_secure", _fail)
            assert engine.claim(5, ALICE, accept) == []
        assert self.head(engine, self.uuid_of(first))["status"] in ("queued", "scheduled")
        self.pass_time(engine, 10)
        assert self.live(engine) == [self.uuid_of(first)]

    # at once

    def test_submits_at_once_get_one_job(self, engine: Engine) -> None:
        """Also when the one before them has just ended."""
        self.done(engine)
        answers: list[Submitted] = []
        start = threading.Barrier(6)

        def submit() -> None:
            start.wait()
            answers.append(self.unique(engine))

        threads = [threading.Thread(target=submit) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answer.is_new for answer in answers) == [False] * 5 + [True]
        assert self.live(engine) == [*{self.uuid_of(answer) for answer in answers}]

    # replacing

    def test_a_waiting_job_is_replaced(self, engine: Engine) -> None:
        """Its time to start moves, in either direction; one that runs is left alone."""

        def submit(value: int, delay: float) -> Submitted:
            document = self.keyed(engine, until="started", path=value)
            [answer] = engine.submit_unique([document], delay, replace=lambda head, index: [Set("path", value)])
            return answer

        first = submit(1, 60)
        for value, delay in ((2, 120), (3, 300), (4, 5)):
            assert self.uuid_of(submit(value, delay)) == self.uuid_of(first)
        self.pass_time(engine, 6)
        [claim] = self.claim_all(engine)
        assert claim.head["path"] == 4
        later = submit(5, 0)
        assert later.is_new
        assert self.head(engine, claim.uuid)["path"] == 4
        submit(6, 60)
        if self.lossless:  # otherwise repairs take time, in which it starts
            assert self.live(engine) == []
            self.pass_time(engine, 61)
            assert self.live(engine) == [self.uuid_of(later)]
        assert self.head(engine, self.uuid_of(later))["path"] == 6


def _fail(*_args: object, **_kwargs: object) -> None:
    raise AmbiguousWrite("the lock is out of reach")
