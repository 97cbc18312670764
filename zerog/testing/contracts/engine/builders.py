"""Shared by the rules of engines: make jobs, claim them, advance the time."""

from __future__ import annotations

from typing import Any

import pytest

from zerog.engine.engine import Engine
from zerog.engine.transitions import Claim, WorkerIdentity
from zerog.exceptions import QueueUnavailable
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import Document, make_key, new_document
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock

KNOWN = (("test", 1.0),)
"""Kinds that their code writes, so that an engine may claim such jobs unread if it can."""

ALICE = WorkerIdentity("alice", 30.0, knows=KNOWN)
BOB = WorkerIdentity("bob", 30.0, knows=KNOWN)


def accept(head: Document) -> str:
    """Accept every job."""
    return str(head["jobType"])


class EngineRules:
    """Base of the rules. ``lossless``: True if the engine's queue delivers everything once and in order."""

    lossless = True

    @pytest.fixture
    def clock(self) -> ManualClock:
        """Return the clock of the engine and its queue."""
        return ManualClock()

    def new(self, engine: Engine, **fields: Any) -> Document:
        """Return a document that is not submitted yet."""
        return {**new_document("test", 1.0, to_text(engine.clock.now())), **fields}

    def submitted(self, engine: Engine, delay: float = 0, **fields: Any) -> str:
        """Submit a job and return its uuid."""
        document = self.new(engine, **fields)
        engine.submit([document], delay)
        return str(document["uuid"])

    def claimed(self, engine: Engine, worker: WorkerIdentity = ALICE, **fields: Any) -> Claim:
        """Submit a job and return a claim of it."""
        uuid = self.submitted(engine, **fields)
        claims = self.claim_all(engine, worker)
        return next(claim for claim in claims if claim.uuid == uuid)

    def claim_all(self, engine: Engine, worker: WorkerIdentity = ALICE) -> list[Claim]:
        """Claim everything that can be claimed now, with losses of the queue repaired."""
        claims: list[Claim] = []
        for _ in range(20):
            more = engine.claim(50, worker, accept)
            claims += more
            if self.lossless:
                break
            if not more:
                self.pass_time(engine, 70)
                self.sweep(engine, 2)
        return claims

    def head(self, engine: Engine, uuid: str) -> Document:
        """Return a job's head as stored."""
        return engine.read(uuid)[0]

    def events(self, engine: Engine, uuid: str) -> list[str]:
        """Return the texts of a job's events."""
        document = engine.datastore.read(make_key(uuid))
        assert document is not None
        return [event["msg"] for event in document["events"]]

    def pass_time(self, engine: Engine, seconds: float) -> None:
        """Advance the clock."""
        clock = engine.clock
        assert isinstance(clock, ManualClock)
        clock.advance(seconds)

    def sweep(self, engine: Engine, times: int = 1, seconds: float = 0) -> Reconciler:
        """Reconcile ``times`` times, ``seconds`` apart."""
        reconciler = Reconciler(engine, "sweeper", engine.clock)
        for _ in range(times):
            reconciler.sweep()
            self.pass_time(engine, seconds)
        return reconciler

    def flush(self, engine: Engine) -> None:
        """Make the queue lose everything. Override it for a queue that can't be emptied by reserving."""
        while (reservation := engine.queue.reserve(0)) is not None:
            reservation.delete()


def unreachable(*_args: object, **_kwargs: object) -> None:
    """Raise as a queue's ``put`` does while its server is gone."""
    raise QueueUnavailable("the queue is out of reach")
