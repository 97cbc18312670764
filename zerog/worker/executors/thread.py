"""The thread executor: each slot runs its jobs in its own thread, those with a hard limit in a child process.

A thread can't be ended from outside. Where there are no children, a run that exceeds its limit loses its job and keeps
its slot until it returns.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from zerog.engine.run import Run
from zerog.engine.transitions import Claim
from zerog.jobs.limits import Limits, run_limits_of
from zerog.jobs.load import after_claim
from zerog.support.clock import Clock
from zerog.worker.execute import run_loaded
from zerog.worker.executors.forkserver import ForkServer
from zerog.worker.executors.process import ProcessExecutor
from zerog.worker.executors.slots import Done, only_here
from zerog.worker.outcome import LOST, Outcome
from zerog.worker.retry import expire_run
from zerog.worker.settings import JOBS_PER_CHILD

if TYPE_CHECKING:
    from zerog.app import App


class ThreadExecutor(ProcessExecutor):
    """Runs each job in the slot's own thread, or in the slot's child if it has a hard limit and there may be one."""

    def __init__(
        self,
        app: App,
        count: int,
        lease: float,
        done: Done,
        clock: Clock,
        forkserver: ForkServer | None = None,
        max_jobs: int = JOBS_PER_CHILD,
        max_memory: int | None = None,
    ) -> None:
        super().__init__(app, count, lease, done, clock, forkserver, max_jobs, max_memory)
        self._runs: dict[str, Run] = {}

    def add(self, claims: list[Claim], are_short: bool = False) -> None:
        self._todo.add(claims, for_few=are_short)

    def _is_for_child(self, claim: Claim) -> bool:
        return self._forkserver is not None and self._limits(claim).timeout is not None

    def _limits(self, claim: Claim) -> Limits:
        return run_limits_of(claim.job[0], claim.head)

    def _stop_run(self, claim: Claim, why: str) -> None:
        run = self._runs.get(claim.nonce)
        if run is not None:
            run.revoke(why)
        else:
            super()._stop_run(claim, why)

    def _cancel_run(self, claim: Claim, is_pause: bool) -> None:
        run = self._runs.get(claim.nonce)
        if run is not None:
            run.cancel(is_pause)
        else:
            super()._cancel_run(claim, is_pause)

    def _run(self, claim: Claim) -> Outcome | None:
        if self._is_for_child(claim):
            return super()._run(claim)
        return self.run_here(claim)

    def run_here(self, claim: Claim) -> Outcome:
        """Run a claimed job in the calling thread, whatever its limit."""
        job_class, loaded = claim.job
        run = self._begin(claim)
        try:
            if run.is_revoked:
                return Outcome("claim lost", LOST)
            return run_loaded(self.app, job_class, after_claim(loaded, claim.head), claim.token, run)
        finally:
            del self._runs[claim.nonce]

    def _begin(self, claim: Claim) -> Run:
        """Return the right to write to a claimed job; ``revoke`` can withdraw it until it is deleted from ``_runs``."""
        limits = self._limits(claim)
        run = Run(
            self.app.engine.datastore,
            claim.key,
            claim.run,
            claim.seq,
            patience=self.lease * 2 / 3,
            clock=self.clock,
            stopping=self.stopping,
            soft_limit=limits.soft_timeout,
            build=self.app.build_id,
        )
        self._runs[claim.nonce] = only_here(run)
        self._cancel_if_cancelled(claim)
        if self._is_abandoned(claim):  # just now: ``revoke`` may have been too early for it
            run.revoke("the worker is shutting down")
        if limits.timeout is not None:
            message = f"the run took longer than its TIMEOUT of {limits.timeout} s; it can't write to the job any more"
            self._due_in(limits.timeout, claim, "timeout", message, partial(expire_run, self.app, claim, message))
        return run
