"""Rules of engines: a job of which no run has begun in time ends, once, whatever it waits for."""

from __future__ import annotations

from typing import Any

import pytest

from zerog.engine.engine import Engine
from zerog.engine.followers import follower_of
from zerog.engine.transitions import Settlement, begun, given_back
from zerog.records.job import Document, make_key
from zerog.support import failpoints
from zerog.support.clock import text_after, to_text
from zerog.testing.contracts.engine.builders import ALICE, EngineRules, accept, unreachable

SOON = 10_000.0
"""Seconds after which the jobs of these rules expire."""


class ExpiryRules(EngineRules):
    """Rules for jobs with ``expiresAt``."""

    def expiring(self, engine: Engine, delay: float = 0, **fields: Any) -> str:
        """Submit a job that expires after SOON seconds; return its uuid."""
        return self.submitted(engine, delay, expiresAt=text_after(to_text(engine.now()), SOON), **fields)

    def end_of(self, engine: Engine, uuid: str) -> tuple[Any, ...]:
        """Return what shows how a job has ended."""
        head = self.head(engine, uuid)
        return head["status"], head["resultCode"], head["attempts"], head["finishedAt"] is not None, head["due"]

    def only_claim(self, engine: Engine, uuid: str) -> Any:
        """Claim what can be claimed; return the claim of this job."""
        return next(claim for claim in self.claim_all(engine) if claim.uuid == uuid)

    @pytest.mark.parametrize("delay", [0, 10, 20_000])
    def test_it_ends_at_its_time_and_not_before(self, engine: Engine, delay: float) -> None:
        """As cancelled, with 408 and an event; its delivery is dropped, and another sweep finds nothing to do."""
        uuid, other = self.expiring(engine, delay), self.submitted(engine, 30_000)
        assert self.head(engine, uuid)["due"] == self.head(engine, uuid)["expiresAt"]
        self.pass_time(engine, SOON - 1)
        self.sweep(engine)
        assert self.head(engine, uuid)["resultCode"] == -1
        self.pass_time(engine, 2)
        reconciler = self.sweep(engine)
        assert self.end_of(engine, uuid) == ("cancelled", 408, 0, True, None)
        assert [text for text in self.events(engine, uuid) if "expired" in text] == [
            f"expired: no run had begun by {self.head(engine, uuid)['expiresAt']}"
        ]
        assert engine.counters["expired.waiting"] == 1
        assert reconciler.sweep().expired == []
        self.pass_time(engine, delay)
        assert uuid not in [claim.uuid for claim in self.claim_all(engine)]
        assert self.head(engine, other)["resultCode"] == -1

    def test_it_ends_though_its_entry_is_lost(self, engine: Engine) -> None:
        """The sweep doesn't need the queue."""
        uuid = self.expiring(engine)
        self.flush(engine)
        self.pass_time(engine, SOON + 1)
        self.sweep(engine)
        assert self.end_of(engine, uuid) == ("cancelled", 408, 0, True, None)

    def test_it_ends_though_it_was_never_put(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        """A pending job ends instead of being put."""
        monkeypatch.setattr(engine, "_deliver", lambda key, head, token, *_: (head, token))
        document = self.new(engine, expiresAt=text_after(to_text(engine.now()), SOON))
        document |= {"status": "queued", "queueState": "pending", "due": to_text(engine.now())}
        engine.datastore.create(make_key(document["uuid"]), document)
        self.pass_time(engine, SOON + 1)
        report = self.sweep(engine).sweep()
        assert (report.expired, report.put_again) == ([], [])
        assert self.end_of(engine, document["uuid"]) == ("cancelled", 408, 0, True, None)

    def test_it_still_expires_after_a_failed_put(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        """What a sweep puts again keeps its time."""
        monkeypatch.setattr(type(engine.queue), "put", unreachable)
        uuid = self.expiring(engine)
        monkeypatch.undo()
        self.pass_time(engine, 10)
        self.sweep(engine)
        assert self.head(engine, uuid)["due"] == self.head(engine, uuid)["expiresAt"]

    def test_a_run_is_not_ended(self, engine: Engine) -> None:
        """Neither while it runs nor when its job waits for another run."""
        uuid = self.expiring(engine)
        claim = self.only_claim(engine, uuid)
        self.pass_time(engine, SOON + 1)
        engine.expire(uuid)
        assert self.head(engine, uuid)["status"] == "running"
        operations = begun(claim.head)
        claim.head["expiresAt"] = None  # as an outcome does
        assert engine.settle([Settlement(claim, "requeue", 1, operations=operations)]) == [True]
        assert not engine.expire(uuid)
        head = self.head(engine, uuid)
        assert (head["status"], head["expiresAt"], head["due"]) == ("queued", None, None)

    def test_a_claim_that_is_given_back_expires(self, engine: Engine) -> None:
        """No run has begun by it."""
        uuid = self.expiring(engine)
        claim = self.only_claim(engine, uuid)
        assert engine.settle([given_back(claim, 0)]) == [True]
        assert self.head(engine, uuid)["due"] == self.head(engine, uuid)["expiresAt"]
        self.pass_time(engine, SOON + 1)
        self.sweep(engine)
        assert self.end_of(engine, uuid) == ("cancelled", 408, 0, True, None)

    def test_what_a_dead_worker_held_counts_as_begun(self, engine: Engine) -> None:
        """It can't be known whether its run had begun."""
        uuid = self.expiring(engine)
        claim = self.only_claim(engine, uuid)
        assert engine.rescue(uuid, claim.run, "lost", "gone")
        self.pass_time(engine, SOON + 1)
        self.sweep(engine)
        head = self.head(engine, uuid)
        assert (head["status"], head["expiresAt"]) == ("queued", None)

    def test_a_retry_has_all_the_time(self, engine: Engine) -> None:
        """It is a person's decision that the job is still wanted."""
        uuid = self.expiring(engine)
        self.pass_time(engine, SOON + 1)
        self.sweep(engine)
        engine.retry(uuid)
        self.sweep(engine)
        head = self.head(engine, uuid)
        assert (head["status"], head["expiresAt"], head["due"]) == ("queued", None, None)
        assert self.only_claim(engine, uuid).head["attempts"] == 1

    @pytest.mark.parametrize("point", ["expire.write", "expire.written"])
    def test_a_lost_answer_ends_it_once(self, engine: Engine, point: str) -> None:
        """With one event."""
        uuid = self.expiring(engine)
        self.pass_time(engine, SOON + 1)
        failpoints.arm(point, "unknown")
        assert engine.expire(uuid)
        assert len([text for text in self.events(engine, uuid) if "expired" in text]) == 1
        assert not engine.expire(uuid)

    @pytest.mark.parametrize("point", ["expire.write", "expire.written"])
    def test_a_sweep_that_dies_at_it_is_repeated(self, engine: Engine, point: str) -> None:
        """The job has ended once, and its end has one follower."""
        uuid = self.expiring(engine, follower="test.on_end")
        self.pass_time(engine, SOON + 1)
        failpoints.arm(point, "raise")
        with pytest.raises(failpoints.InjectedFailure):
            engine.expire(uuid)
        self.sweep(engine, 3)
        assert self.end_of(engine, uuid) == ("cancelled", 408, 0, True, None)
        assert len([text for text in self.events(engine, uuid) if "expired" in text]) == 1
        follower: Document | None = engine.datastore.read(make_key(follower_of(self.head(engine, uuid))))
        assert follower is not None
        assert follower["ended"] == "cancelled"

    def test_a_cancelled_job_stays_cancelled(self, engine: Engine) -> None:
        """With 410, whatever its time."""
        uuid = self.expiring(engine)
        engine.cancel(uuid)
        self.pass_time(engine, SOON + 1)
        self.sweep(engine)
        assert self.end_of(engine, uuid)[:2] == ("cancelled", 410)

    def test_a_claim_and_an_end_at_once(self, engine: Engine) -> None:
        """The job that was claimed at the last moment is that worker's."""
        uuid = self.expiring(engine)
        self.pass_time(engine, SOON + 1)
        claims = engine.claim(5, ALICE, accept)
        ended = engine.expire(uuid)
        assert ended != (uuid in [claim.uuid for claim in claims])
