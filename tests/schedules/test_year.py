"""A year in several timezones, with leaders that die between any two writes and clocks that are off by a minute."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import zerog
from tests.marks import wide
from tests.schedules.desk import ALICE, Report
from tests.schedules.oracle import ticks_of
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.contracts.find import FindQuery
from zerog.engine.engine import Engine
from zerog.engine.transitions import Settlement
from zerog.maintenance.reconcile import Reconciler
from zerog.support.clock import from_text
from zerog.testing.clock import ManualClock

START, END = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")
CRONS = ("30 2 * * *", "0 */6 * * *", "15,45 1-3 * * 0")
"""Within the hours that a change of clocks skips or repeats; by elapsed time; several on the Sundays of changes."""


class Died(BaseException):
    """The process is killed: nothing handles it."""


class MortalDatastore(MemoryDatastore):
    """Lets the process die before or after one of its next writes."""

    left: float = float("inf")
    """Halves of writes until then: the write itself comes between two halves."""

    def _mortal(self, write: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._pass()
        answer = write(*args, **kwargs)
        self._pass()
        return answer

    def _pass(self) -> None:
        self.left -= 1
        if self.left <= 0:
            self.left = float("inf")
            raise Died

    def create(self, *args: Any, **kwargs: Any) -> Any:
        return self._mortal(super().create, *args, **kwargs)

    def set_with_cas(self, *args: Any, **kwargs: Any) -> Any:
        return self._mortal(super().set_with_cas, *args, **kwargs)

    def mutate(self, *args: Any, **kwargs: Any) -> Any:
        return self._mortal(super().mutate, *args, **kwargs)


class Year:
    """Two processes over one datastore, each with a clock of its own."""

    def __init__(self, cron: str, timezone: str, seed: int) -> None:
        self.random = random.Random(seed)
        self.clock = ManualClock(START)
        self.datastore, self.queue = MortalDatastore(), MemoryQueue(clock=self.clock)
        self.ledger: Counter[str] = Counter()
        self.deaths = 0
        true = self.app(self.clock)
        self.engine, self.registry = true.engine, true.registry
        self.sweeps = Reconciler(self.engine, "sweeper", self.clock, 10.0, self.registry.kept)
        definition = true.schedule_definition(cron, Report, timezone=timezone)
        true.schedules.add("s", definition)
        self.leaders = [self.leader(), self.leader()]

    def app(self, clock: ManualClock) -> zerog.App:
        app = zerog.App("memory://", clock=clock)
        app.engine = Engine(self.datastore, self.queue, clock)
        app.register(Report)
        return app

    def leader(self) -> tuple[zerog.App, ManualClock, float]:
        """A new process, whose clock is up to a minute off."""
        off = self.random.uniform(-60, 60)
        clock = ManualClock(self.clock.now() + timedelta(seconds=off))
        app = self.app(clock)
        return app, clock, off

    def turn(self) -> float:
        """Let one of the processes lead; return the seconds until it does again, or until another one takes over."""
        number = self.random.randrange(2) if self.random.random() < 0.2 else 0
        app, clock, off = self.leaders[number]
        clock.advance((self.clock.now() + timedelta(seconds=off) - clock.now()).total_seconds())
        if self.random.random() < 0.3:
            self.datastore.left = self.random.randint(1, 8)
        try:
            return app.schedules.leader().turn()
        except Died:
            self.deaths += 1
            self.leaders[number] = self.leader()
            return self.random.uniform(0, 40)
        finally:
            self.datastore.left = float("inf")

    def work(self) -> None:
        """Repair what a death left, as soon as any clock allows, and run every job that waits to its end."""
        while True:
            self.sweeps.sweep()
            for claim in self.engine.claim(10, ALICE, self.registry.load_head):
                self.ledger[self.datastore.read(f"zerog_job_{claim.uuid}")["headers"]["tick"]] += 1
                self.engine.settle([Settlement(claim, "finish", 1, 200)])
            if not self.datastore.count(FindQuery(status="queued")).number:
                return
            self.clock.advance(20)

    def live(self) -> None:
        while self.clock.now() < END:
            seconds = self.turn()
            self.work()
            left = (END - self.clock.now()).total_seconds() + 1
            self.clock.advance(min(max(seconds, 0.1), 6 * 3600.0, max(left, 1)))
        self.leaders = [(*self.leader()[:2], 0.0)] * 2
        self.turn()
        self.work()


@pytest.mark.parametrize(
    ("timezone", "cron"),
    [
        (ZONES[0], CRONS[0]),
        *wide(*((zone, cron) for zone in ZONES for cron in CRONS if (zone, cron) != (ZONES[0], CRONS[0]))),
    ],
)
def test_each_tick_of_a_year_gets_one_job(timezone: str, cron: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a ledger outside: what ran, against the ticks by a second reading of Debian's rules. RETAIN removes jobs."""
    monkeypatch.setattr(Report, "RETAIN", 3600)
    year = Year(cron, timezone, seed=len(timezone) + len(cron))
    year.live()
    expected = Counter(dict.fromkeys(ticks_of(cron, timezone, START, END), 1))
    ran = Counter({from_text(tick): count for tick, count in year.ledger.items()})
    assert ran == expected
    assert year.deaths > 20
    assert len(list(year.app(year.clock).jobs())) < 30
