"""Unique jobs for the rules of engines: submitted, ended and looked at."""

from __future__ import annotations

from typing import Any

from zerog.engine.engine import Engine
from zerog.engine.submit_unique import Submitted
from zerog.engine.transitions import Claim, Settlement
from zerog.records.job import CANCELLED, Document
from zerog.records.unique import lock_key, unique_lock
from zerog.support import failpoints
from zerog.testing.contracts.engine.builders import EngineRules


class UniqueJobs(EngineRules):
    """Makes jobs of a key for the rules, and shows their state."""

    def unique(self, engine: Engine, *values: Any, until: str = "ended", delay: float = 0, **more: Any) -> Submitted:
        """Submit a job of a key, ``("k",)`` unless given."""
        [submitted] = engine.submit_unique([self.keyed(engine, *values, until=until, **more)], delay)
        return submitted

    def keyed(self, engine: Engine, *values: Any, until: str = "ended", **more: Any) -> Document:
        """Return a document of a key that is not submitted yet."""
        return self.new(engine, uniqueLock=unique_lock("test", [*values] or ["k"], until), **more)

    def uuid_of(self, submitted: Submitted) -> str:
        """Return the job's uuid."""
        return str(submitted.document["uuid"])

    def finish(self, engine: Engine, claim: Claim, code: int = 200) -> None:
        """End a claimed job."""
        assert engine.settle([Settlement(claim, "finish", claim.seq + 1, code)]) == [True]

    def done(self, engine: Engine) -> Submitted:
        """Submit a job, and let it run and end."""
        first = self.unique(engine)
        [claim] = self.claim_all(engine)
        self.finish(engine, claim)
        return first

    def named(self, engine: Engine) -> str | None:
        """Return the uuid that the lock names."""
        document = engine.datastore.read(str(lock_key(self.keyed(engine))))
        return None if document is None else str(document["uuid"])

    def live(self, engine: Engine) -> list[str]:
        """Return the uuids of the jobs that can be claimed."""
        return sorted(claim.uuid for claim in self.claim_all(engine))

    def assert_ended_for(self, engine: Engine, uuid: str, other: str) -> None:
        """Check that a job has ended without a run and names the other one."""
        self.claim_all(engine)
        head = self.head(engine, uuid)
        assert (head["status"], head["resultCode"], head["owner"]) == ("cancelled", CANCELLED, None)
        assert any(other in text for text in self.events(engine, uuid))


class Once:
    """Calls a function once, when a crash point is reached."""

    def __init__(self, point: str, function: Any) -> None:
        self.results: list[Any] = []

        def hook(reached: str) -> None:
            if reached == point:
                failpoints.disarm()
                self.results.append(function())

        failpoints.watch(hook)
