"""Rules of engines: a run that its worker doesn't hold is released, whatever became of its claim."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from zerog.engine.engine import Engine
from zerog.engine.transitions import Claim, Settlement
from zerog.exceptions import AmbiguousWrite, DatastoreUnavailable, InvalidValue
from zerog.fleet.heartbeat import WorkerRecords
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import Document
from zerog.records.operations import Add, Max, Set
from zerog.support import failpoints
from zerog.testing.contracts.engine.builders import ALICE, BOB, EngineRules, accept


class Beats:
    """The record of ALICE, whose beat grows between sweeps."""

    def __init__(self, engine: Engine, **record: Any) -> None:
        self.engine = engine
        self.record: Document = record
        self.reconciler = Reconciler(engine, "sweeper", engine.clock)
        self._beat = 0
        self.grow()

    def grow(self) -> None:
        """Store the next beat."""
        self._beat = WorkerRecords(self.engine).renew(ALICE, self._beat + 1, lambda: self.record)

    def sweep(self, times: int = 1) -> list[str]:
        """Sweep, each time after another beat; return the jobs that were released."""
        given_back: list[str] = []
        for _ in range(times):
            given_back += self.reconciler.sweep().given_back
            self.grow()
        return given_back


class AuditRules(EngineRules):
    """Rules for jobs that a living worker owns by their documents and doesn't hold: they are requeued, uncounted."""

    def test_a_run_that_its_worker_does_not_list_is_given_back(self, engine: Engine) -> None:
        """Not before the beat has grown twice; then another worker claims the job, at no cost to it."""
        claim = self.claimed(engine)
        beats = Beats(engine, held=[], claiming=None)
        assert beats.sweep(2) == []
        assert self.head(engine, claim.uuid)["status"] == "running"
        assert beats.sweep() == [claim.uuid]
        head = self.head(engine, claim.uuid)
        assert (head["status"], head["attempts"], head["lost"], head["crashes"]) == ("queued", 0, 0, 0)
        assert engine.counters["released.unheld"] == 1
        assert "does not hold" in " ".join(self.events(engine, claim.uuid))
        assert claim.uuid in [mine.uuid for mine in self.claim_all(engine, BOB)]
        assert engine.settle([Settlement(claim, "finish", 1, 200)]) == [False]

    def test_a_run_that_its_worker_lists_is_left_alone(self, engine: Engine) -> None:
        """By its nonce, or by the prefix of the nonces that the worker is claiming."""
        held, asked = self.claimed(engine), self.claimed(engine)
        beats = Beats(engine, held=[held.nonce], claiming=asked.nonce[:12])
        assert beats.sweep(6) == []

    @pytest.mark.parametrize("record", [{}, {"held": None}, {"held": "all"}])
    def test_a_record_without_a_list_proves_nothing(self, engine: Engine, record: Document) -> None:
        """Older workers store no list: they keep their jobs while they beat."""
        claim = self.claimed(engine)
        assert Beats(engine, **record).sweep(6) == []
        assert self.head(engine, claim.uuid)["status"] == "running"

    def test_a_beat_that_stands_still_proves_nothing(self, engine: Engine) -> None:
        """The list may have been made before the claim."""
        self.claimed(engine)
        beats = Beats(engine, held=[], claiming=None)
        for _ in range(5):
            assert beats.reconciler.sweep().given_back == []

    def test_a_beat_that_fell_starts_the_watch_over(self, engine: Engine) -> None:
        """The datastore was rolled back: earlier observations of the record don't count."""
        claim = self.claimed(engine)
        beats = Beats(engine, held=[], claiming=None)
        for _ in range(8):
            beats.grow()
        assert beats.sweep(2) == []
        engine.datastore.mutate("zerog_worker_alice", [Set("beat", 2)])
        assert beats.reconciler.sweep().given_back == []
        beats.grow()
        assert beats.sweep() == []
        assert beats.sweep(2) == [claim.uuid]

    def test_a_run_that_writes_is_left_alone(self, engine: Engine) -> None:
        """A write since the first observation shows that the run is alive, whatever the record lists."""
        claim = self.claimed(engine)
        beats = Beats(engine, held=[], claiming=None)
        for seq in range(1, 7):
            assert beats.sweep() == []
            engine.datastore.mutate(claim.key, [Set("completeness", seq / 10)], run=claim.run._replace(seq=seq))
        assert beats.sweep(4) == [claim.uuid]

    def test_a_cancelled_run_that_is_not_held_ends(self, engine: Engine) -> None:
        """It isn't requeued."""
        claim = self.claimed(engine)
        engine.cancel(claim.uuid)
        assert Beats(engine, held=[], claiming=None).sweep(3) == [claim.uuid]
        assert self.head(engine, claim.uuid)["status"] == "cancelled"

    def test_claims_without_an_answer_come_back(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        """The answer is lost and reading back fails: no worker has the job, whose document names a living one."""
        if not self.lossless:
            pytest.skip("this queue loses deliveries")
        uuid = self.submitted(engine)
        self._lose_claims(engine, monkeypatch)
        assert self.head(engine, uuid)["epoch"] == 1
        assert engine.claim(1, ALICE, accept) == engine.claim(1, BOB, accept) == []
        assert Beats(engine, held=[], claiming=None).sweep(3) == [uuid]
        [claim] = engine.claim(1, BOB, accept)
        assert (claim.uuid, claim.head["attempts"], claim.head["lost"]) == (uuid, 1, 0)

    def test_a_claim_without_an_answer_is_read_back_at_once(self, engine: Engine) -> None:
        """If the claimed job can be determined, the claim is returned as if it had been answered."""
        if not self.lossless:
            pytest.skip("this queue loses deliveries")
        uuid = self.submitted(engine)
        failpoints.arm("claim.written", "unknown")
        claims: list[Claim] = []
        try:
            with suppress(AmbiguousWrite):
                claims = engine.claim(1, replace(ALICE, knows=()), accept)
        finally:
            failpoints.disarm()
        assert [claim.uuid for claim in claims] == [uuid]
        assert engine.counters["claim.recovered"] == 1
        assert engine.settle([Settlement(claims[0], "finish", 1, 200)]) == [True]

    def _lose_claims(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        read = engine.datastore.read_with_cas
        lost: list[str] = []

        def lose(name: str) -> None:
            if name == "claim.written" and not lost:
                lost.append(name)
                raise AmbiguousWrite("the answer was lost")

        def failing(key: str, head: bool = False) -> Any:
            if lost:
                raise DatastoreUnavailable("out of reach")
            return read(key, head)

        failpoints.watch(lose)
        with monkeypatch.context() as broken:
            broken.setattr(engine.datastore, "read_with_cas", failing)
            with suppress(DatastoreUnavailable, AmbiguousWrite):
                assert engine.claim(1, ALICE, accept) == []
        failpoints.disarm()
        assert lost


class SettlementRules(EngineRules):
    """Rules for the separate answers of settlements."""

    def test_a_settlement_that_is_refused_keeps_no_other(self, engine: Engine) -> None:
        """Of three runs the second one's document refuses its end: the other two have ended."""
        claims = [self.claimed(engine) for _ in range(3)]
        bad = Settlement(claims[1], "finish", 1, 500, operations=[Add("resultCode", 1), Max("jobType", 5)])
        settled = engine.settle([Settlement(claims[0], "finish", 1, 200), bad, Settlement(claims[2], "finish", 1, 200)])
        assert (settled[0], settled[2]) == (True, True)
        assert isinstance(settled[1], InvalidValue)
        assert [self.head(engine, claim.uuid)["status"] for claim in claims] == ["succeeded", "running", "succeeded"]

    def test_a_settlement_that_is_refused_keeps_no_claim(self, engine: Engine) -> None:
        """Settling and claiming fail separately."""
        claim = self.claimed(engine)
        uuid = self.submitted(engine)
        bad = Settlement(claim, "finish", 1, 500, operations=[Max("jobType", 5)])
        step = engine.step([bad], 1, BOB, accept)
        assert isinstance(step.settled[0], InvalidValue)
        claims = step.claims or self.claim_all(engine, BOB)
        assert uuid in [mine.uuid for mine in claims]

    @pytest.mark.parametrize("is_release", [False, True])
    def test_a_run_whose_end_is_refused_can_be_given_up(self, engine: Engine, is_release: bool) -> None:
        """Its job fails for the reason in the head, or waits again after a release."""
        claim = self.claimed(engine)
        engine.datastore.mutate(claim.key, [Set("errors", "no list"), Set("events", 7)])
        assert engine.give_up(claim, "its end could not be stored", is_release)
        head = engine.datastore.read_with_cas(claim.key, head=True)[0]
        assert head is not None and head["owner"] is None
        if is_release:
            assert (head["status"], head["queueState"]) == ("queued", "queued")
        else:
            assert (head["status"], head["resultCode"]) == ("failed", 500)
            assert "could not be stored" in head["lastError"]["msg"]
        assert not engine.give_up(claim, "again", is_release)
