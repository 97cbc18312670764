"""Limits after a kill: full again within a lease and two sweeps, and nothing stays parked."""

from __future__ import annotations

import pytest

from zerog.engine.engine import Engine
from zerog.engine.transitions import Claim
from zerog.fleet.heartbeat import WorkerRecords
from zerog.maintenance.reconcile import INTERVAL, Reconciler
from zerog.records.job import TERMINAL
from zerog.support import failpoints
from zerog.support.failpoints import InjectedFailure
from zerog.testing.contracts.engine.builders import ALICE, BOB
from zerog.testing.contracts.engine.limited import LimitedJobs

MOST = 2
"""Slots of the limit here."""

MOMENTS = ("", "limit.take", "limit.taken", "limit.change", "limit.changed", "limit.wake", "limit.woken", "limit.put")
"""Where the worker is killed: while it runs what it has claimed, or at a crash point."""


class LimitKillRules(LimitedJobs):
    """Rules of limits whose slots a killed worker has."""

    @pytest.mark.parametrize("moment", MOMENTS)
    def test_a_limit_is_full_again_soon_after_a_kill(self, engine: Engine, moment: str) -> None:
        """Within the lease of the killed worker and two sweeps, with never more at once; then all jobs run."""
        if not self.lossless:
            pytest.skip("its deliveries are late at random")
        self.limit(engine, MOST)
        uuids = self.of(engine, *"abcdef")
        sweeper = Reconciler(engine, BOB.name, engine.clock)
        WorkerRecords(engine).renew(ALICE, 1)
        sweeper.sweep()
        self.work_until_killed(engine, moment)
        WorkerRecords(engine).renew(ALICE, 2)
        killed, live = engine.clock.monotonic(), list[Claim]()
        while len(self.claim_more(engine, live)) < MOST:
            assert engine.clock.monotonic() - killed < ALICE.lease + 2 * INTERVAL
            self.sweep_later(engine, sweeper)
        self.end_all(engine, sweeper, uuids, live)

    def work_until_killed(self, engine: Engine, moment: str) -> None:
        """Fill the limit, park the other jobs and end one run, unless the worker is killed before."""
        if moment:
            failpoints.arm(moment, "raise")
        try:
            claims = engine.claim(5, ALICE, lambda head: head)
            if moment:
                self.end(engine, claims[0])
        except InjectedFailure:
            pass
        finally:
            failpoints.disarm()

    def claim_more(self, engine: Engine, live: list[Claim]) -> list[Claim]:
        """Add to what another worker runs all that it gets, and return that."""
        live += engine.claim(5, BOB, lambda head: head)
        assert len(live) <= MOST
        return live

    def sweep_later(self, engine: Engine, sweeper: Reconciler) -> None:
        """Sweep when the next one is due, by the worker that lives."""
        self.pass_time(engine, INTERVAL)
        WorkerRecords(engine).renew(BOB, int(engine.clock.monotonic()))
        sweeper.sweep()

    def end_all(self, engine: Engine, sweeper: Reconciler, uuids: list[str], live: list[Claim]) -> None:
        """End one run after the other until all jobs have ended, which they must."""
        for _ in range(len(uuids) + 6):
            if live:
                self.end(engine, live.pop())
            self.claim_more(engine, live)
            self.sweep_later(engine, sweeper)
        assert {self.head(engine, uuid)["status"] for uuid in uuids} <= {*TERMINAL}
        assert self.parked(engine) == []
