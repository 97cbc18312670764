"""Jobs with limits for the rules of engines: limited, submitted, ended and looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from zerog.contracts.datastore import FindQuery
from zerog.engine.engine import Engine
from zerog.engine.transitions import Claim, Settlement
from zerog.records.attrs import ATTRS
from zerog.records.fields import PARKED
from zerog.records.job import Document
from zerog.records.limits import PARKED_ATTR, Limit, Limits
from zerog.support import failpoints
from zerog.testing.contracts.engine.builders import EngineRules


class LimitedJobs(EngineRules):
    """Makes jobs with limits for the rules, and shows their state."""

    @pytest.fixture(autouse=True)
    def disarmed(self) -> Iterator[None]:
        """Disarm the crash points after each rule."""
        yield
        failpoints.disarm()

    def limit(self, engine: Engine, most: int | None = 1, per_key: int | None = None) -> None:
        """Give the type of all jobs a limit, or those of one ``customer``; skip where nothing is parked."""
        self.skip_unless_parked(engine)

        def limits_of(head: Document) -> Limits:
            attrs, each = head.get(ATTRS) or {}, list[Limit]()
            if per_key is not None:
                each.append(Limit(("key", "test", "customer", attrs["customer"]), per_key))
            if most is not None:
                each.append(Limit(("type", "test"), most))
            return Limits(tuple(each), attrs.get("customer", ""))

        engine.limits_of = limits_of

    def of(self, engine: Engine, *customers: str, **fields: Any) -> list[str]:
        """Submit a job for each of these customers, a second apart."""
        uuids = []
        for customer in customers:
            self.pass_time(engine, 1)
            uuids.append(self.submitted(engine, attrs={"customer": customer}, **fields))
        return uuids

    def end(self, engine: Engine, claim: Claim, kind: str = "finish") -> None:
        """End a run as a worker does."""
        settlement = Settlement(claim, kind, claim.seq + 1, 200)
        assert engine.settle([settlement]) == [True]
        engine.settle_slots([settlement])

    def order(self, engine: Engine, jobs: int) -> list[str]:
        """Run all jobs, those first that were claimed first; return their uuids in this order."""
        done: list[str] = []
        while claims := self.claim_all(engine):
            for claim in claims:
                done.append(claim.uuid)
                self.end(engine, claim)
        assert len(done) == jobs
        return done

    def parked(self, engine: Engine) -> list[str]:
        """Return the uuids of the jobs that are found as parked."""
        heads = engine.datastore.find(FindQuery(order="oldest", attrs=((PARKED_ATTR, "1"),))).heads
        assert all(head["queueState"] == PARKED and head["status"] == "queued" for head in heads)
        return [head["uuid"] for head in heads]

    def skip_unless_parked(self, engine: Engine) -> None:
        """Skip a rule where jobs without a slot are put back."""
        if not engine.parks:
            pytest.skip("this datastore can't find parked jobs, so none is parked")
