"""The async executor: one event loop in a separate thread; each ``async def run`` is a task of it.

A plain ``def run`` would block all the other tasks, so it runs as with the thread executor; both count as slots. The
lease is renewed by another thread, so a job that blocks the loop delays the other jobs, but costs none its claim.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context
from typing import Any

from zerog.engine.run import Run
from zerog.engine.transitions import Claim
from zerog.jobs.load import after_claim
from zerog.jobs.logfields import current_job
from zerog.worker.execute import conclude
from zerog.worker.executors.blocked_loop import BlockedLoopDetector
from zerog.worker.executors.coroutines import ended
from zerog.worker.executors.pool import DaemonThreadPool
from zerog.worker.executors.slots import GIVE_UP_PAUSE
from zerog.worker.executors.thread import ThreadExecutor
from zerog.worker.hooks import awaited
from zerog.worker.outcome import LOST, Outcome, not_begun
from zerog.worker.start import begin, make_runnable

log = logging.getLogger("zerog")

CALLS = 32
"""Threads for ``asyncio.to_thread`` in jobs, at least; as many as slots, if that is more."""

END_SECONDS = 5.0
"""Seconds that an idle loop may take to end."""


class AsyncExecutor(ThreadExecutor):
    """Runs up to ``count`` jobs at once as tasks of one event loop."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._pool = DaemonThreadPool(self._count, "zerog-slot")
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._busy = 0
        self._closing = False

    def start(self) -> None:
        """Start the loop's thread."""
        self._jobs_loop = asyncio.new_event_loop()
        self._jobs_loop.set_default_executor(DaemonThreadPool(max(CALLS, self._count), "zerog-call"))
        self._thread = threading.Thread(target=self._live, name="zerog-event-loop", daemon=True)
        self._thread.start()
        self._threads.append(self._thread)
        self._held = BlockedLoopDetector(self._jobs_loop, self._thread, self.clock, self._whose)

    def enforce(self) -> None:
        super().enforce()
        self._held.look()

    def add(self, claims: list[Claim], are_short: bool = False) -> None:
        super().add(claims, are_short)
        if claims:
            self._soon(self._fill)

    def _is_for_child(self, claim: Claim) -> bool:
        return super()._is_for_child(claim) and not inspect.iscoroutinefunction(claim.job[0].run)

    def _stop_run(self, claim: Claim, why: str) -> None:
        super()._stop_run(claim, why)
        task = self._tasks.get(claim.nonce)
        if task is not None:
            self._soon(task.cancel)

    def close(self) -> None:
        """End the loop; tasks that don't end are left behind in its thread."""
        self._soon(self._close)
        if not self._current:
            self._thread.join(END_SECONDS)
        self._close_children()

    def _whose(self, task: asyncio.Task[object] | None) -> str:
        """Return the job that runs as this task, for a log line; empty for further tasks that a job started."""
        claims = (self._current.get(nonce) for nonce, own in list(self._tasks.items()) if own is task)
        return next((f"job {claim.uuid}" for claim in claims if claim is not None), "")

    def _soon(self, call: Callable[[], object]) -> None:
        self._jobs_loop.call_soon_threadsafe(call)

    # in the loop's thread

    def _live(self) -> None:
        loop = self._jobs_loop
        with asyncio.Runner(loop_factory=lambda: loop):  # at its end it cancels what jobs left in the loop
            while not (self._closing and not self._busy):
                try:
                    loop.run_forever()
                except BaseException:  # SystemExit passes through the loop, from whatever task raised it
                    log.exception("a task that a job started raised this through the event loop, which continues")
            self._pool.shutdown()

    def _close(self) -> None:
        self._closing = True
        if not self._busy:
            self._jobs_loop.stop()

    def _fill(self) -> None:
        """Begin jobs while there are free slots."""
        while self._busy < self._count:
            claim = self._todo.pop()
            if claim is None:
                return
            if not self._opens(claim):
                continue
            self._busy += 1
            self._current[claim.nonce] = claim
            if inspect.iscoroutinefunction(claim.job[0].run):
                run = self._begin(claim)  # here, so that ``revoke`` finds it before its task has begun
                self._jobs_loop.create_task(self._work(claim, run), context=Context())
                continue
            try:
                self._pool.submit(self._bring, claim).add_done_callback(self._soon_freed)
            except RuntimeError:
                log.exception("no thread could be started for job %s, which is given back", claim.uuid)
                self._busy -= 1
                del self._current[claim.nonce]
                self._todo.over(claim)
                self._done(claim, not_begun(claim, GIVE_UP_PAUSE), 0.0)

    def _soon_freed(self, _future: Future[None]) -> None:
        self._soon(self._freed)

    def _freed(self) -> None:
        self._busy -= 1
        self._fill()
        if self._closing and not self._busy:
            self._jobs_loop.stop()

    async def _work(self, claim: Claim, run: Run) -> None:
        """Run one job, from its beginning to its settlement.

        Awaits nothing but ``run()`` and its hooks: the job may have its own task cancelled, and what follows the run
        must not be.
        """
        started = self.clock.monotonic()
        task = asyncio.current_task()
        assert task is not None
        self._tasks[claim.nonce] = task  # not before: a task that is cancelled before its first step never begins
        try:
            outcome = Outcome("claim lost", LOST) if run.is_revoked else await self._awaited(claim, run)
        except BaseException:
            log.exception("the slot could not run job %s", claim.uuid)
            outcome = Outcome("claim lost", LOST)
        finally:
            del self._runs[claim.nonce]
            del self._tasks[claim.nonce]
        self._end_copy()
        if outcome.kind == LOST:  # giving a job up may wait for the datastore
            with suppress(RuntimeError):  # no thread can be started
                self._pool.submit(self._pass_on, claim, outcome, started).add_done_callback(self._soon_freed)
                return
        self._pass_on(claim, outcome, started)
        self._freed()

    async def _awaited(self, claim: Claim, run: Run) -> Outcome:
        job_class, loaded = claim.job
        job = make_runnable(self.app, job_class, after_claim(loaded, claim.head), claim.token, run)
        if isinstance(job, Outcome):
            return job
        current_job.set(job)  # in the task's own context
        start = begin(job)
        call = await ended(awaited(job), run) if start.may_run else _never
        return conclude(job, start, call)


def _never() -> None:
    raise AssertionError("this run was not to begin")
