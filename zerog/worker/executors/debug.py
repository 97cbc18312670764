"""The debug executor: jobs run one at a time in the thread that calls ``Worker.run``, without time limits.

So a debugger stops them where they are, for as long as it takes. Ctrl-C, or leaving the debugger, ends the run and the
worker; the job is released, uncounted.
"""

from __future__ import annotations

import bdb
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from zerog.engine.transitions import Claim
from zerog.jobs.base import BaseJob
from zerog.jobs.limits import Limits
from zerog.jobs.load import after_claim
from zerog.jobs.logfields import current_job
from zerog.records.fields import NO_RESULT
from zerog.worker.execute import conclude
from zerog.worker.executors.thread import ThreadExecutor
from zerog.worker.hooks import called
from zerog.worker.outcome import Outcome
from zerog.worker.start import begin, in_own_context, make_runnable

log = logging.getLogger("zerog")


class DebugExecutor(ThreadExecutor):
    """Runs each job where ``work`` is called."""

    def start(self) -> None:
        """Start nothing: there are no threads."""

    def work(self) -> bool:
        claim = self._todo.pop()
        if claim is None:
            return False
        if self._opens(claim):
            self._bring(claim)
        return True

    def _limits(self, claim: Claim) -> Limits:
        return super()._limits(claim)._replace(soft_timeout=None, timeout=None)

    def _due_in(self, seconds: float, claim: Claim, limit: str, why: str, write: Callable[[], object]) -> None:
        """End no run from outside: it may be at a breakpoint."""

    @in_own_context
    def run_here(self, claim: Claim) -> Outcome:
        run = self._begin(claim)
        try:
            job_class, loaded = claim.job
            job = make_runnable(self.app, job_class, after_claim(loaded, claim.head), claim.token, run)
            if isinstance(job, Outcome):
                return job
            token = current_job.set(job)
            try:
                return conclude(job, begin(job), lambda: self._called(job))
            finally:
                current_job.reset(token)
        finally:
            del self._runs[claim.nonce]

    def _called(self, job: BaseJob) -> Any:
        try:
            with _ctrl_c():
                return called(job)
        except (KeyboardInterrupt, bdb.BdbQuit) as error:
            log.info("%s the run of job %s was interrupted by %s", job.logId, job.uuid, type(error).__name__)
            self.stopping.set()  # so that the job runs again at no cost
            self.interrupted()
            return NO_RESULT


@contextmanager
def _ctrl_c() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt, if this is the main thread, rather than request the worker's end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
