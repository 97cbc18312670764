"""Rates, and the limits that an operator sets of a queue."""

from __future__ import annotations

from datetime import timedelta

import pytest

from zerog.engine.engine import Engine
from zerog.engine.live import LOOK
from zerog.fleet.settings import LiveSettings
from zerog.records.limits import Limit, Limits
from zerog.records.settings import Rate
from zerog.records.slots import burst_of
from zerog.support.clock import from_text
from zerog.testing.contracts.engine.limited import LimitedJobs


class StartRules(LimitedJobs):
    """Rules of starts in a time, and of queues."""

    @pytest.mark.parametrize(
        "text", ["10/minute", *(pytest.param(text, marks=pytest.mark.wide) for text in ("60/minute", "5/second"))]
    )
    def test_jobs_start_at_their_rate(self, engine: Engine, text: str) -> None:
        """Over a minute within 5 %, and in no time by more than the burst above it."""
        if not self.lossless:
            pytest.skip("its deliveries are late at random")
        rate = Rate.read(text)
        per_second, burst = rate.number / rate.seconds, burst_of(rate)
        self.limit_starts(engine, rate)
        due = round(60 * per_second)
        for _ in range(due + 3 * burst):
            self.submitted(engine)
        starts: list[float] = []
        begin = engine.clock.now()
        tick, swept = 0.1, 0.0
        while (engine.clock.now() - begin).total_seconds() < 60:
            for claim in self.claim_all(engine):
                starts.append(from_text(claim.head["startedAt"]).timestamp() - begin.timestamp())
                self.end(engine, claim)
            self.pass_time(engine, tick)
            swept += tick
            if swept >= 10:
                self.sweep(engine)
                swept = 0.0
        assert 0.95 * due - burst <= len(starts) <= 1.05 * due + burst
        for number, start in enumerate(starts):
            for seconds in (1.0, 10.0):
                within = sum(start <= other < start + seconds for other in starts[number:])
                assert within <= seconds * per_second + burst + 1

    def test_a_clock_that_was_set_back_stops_no_starts(self, engine: Engine) -> None:
        """For longer than between two of them."""
        rate = Rate.read("60/minute")
        self.limit_starts(engine, rate)
        limit = Limit(("type", "test", "rate"), rate=rate)
        ahead = (engine.clock.now() + timedelta(days=365)).timestamp()
        engine.datastore.create(limit.key, {"documentType": "zerog_limit", "rate": [60, 60], "next": ahead})
        uuid = self.submitted(engine)
        started = []
        for _ in range(10):
            started += self.claim_all(engine)
            self.pass_time(engine, 5)
            self.sweep(engine)
        assert [claim.uuid for claim in started] == [uuid]

    def limit_starts(self, engine: Engine, rate: Rate) -> None:
        """Give the type of all jobs a rate."""
        self.skip_unless_parked(engine)
        limits = Limits((Limit(("type", "test", "rate"), rate=rate),))
        engine.limits_of = lambda head: limits

    def test_a_queue_is_limited_while_workers_run(self, engine: Engine) -> None:
        """By its settings, which are read again soon; without them all of its jobs go."""
        self.skip_unless_parked(engine)
        settings = LiveSettings(engine)
        settings.set_queue(engine.queue.name, max_running=1)
        uuids = [self.submitted(engine, queueName=engine.queue.name) for _ in range(4)]
        [claim] = self.claim_all(engine)
        self.end(engine, claim)
        claims = self.claim_all(engine)
        assert len(claims) == 1
        settings.set_queue(engine.queue.name, max_running=None)
        self.pass_time(engine, LOOK + 0.1)
        self.end(engine, claims[0])
        self.pass_time(engine, 12)
        self.sweep(engine)
        for _ in range(3):
            claims += self.claim_all(engine)
        assert {claim.uuid for claim in claims} | {claim.uuid} <= {*uuids}
        assert len(claims) == 3
