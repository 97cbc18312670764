"""The slots of a worker: threads that take claimed jobs and run each to its outcome.

A slot either runs the job itself (``thread``) or has a child process run it (``process``). Slots that are tasks of one
event loop are in ``async_``.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from zerog.engine.base import LEAVE_ALONE
from zerog.engine.run import Run
from zerog.engine.transitions import Claim
from zerog.exceptions import DatastoreError, ZerogError
from zerog.jobs.checks import STOP, WAIT
from zerog.maintenance.losses import take_back
from zerog.records.commands import Stop, pause_name, run_name
from zerog.support.clock import Clock
from zerog.worker.executors.cleanup import resident_memory
from zerog.worker.executors.handoff import ClaimQueue
from zerog.worker.outcome import LOST, Outcome

if TYPE_CHECKING:
    from zerog.app import App

log = logging.getLogger("zerog")

GIVE_UP_PAUSE = 1.0
"""Seconds until a run that this worker could not continue is released for other workers."""

Done = Callable[[Claim, Outcome | None, float], None]
"""Called with the outcome of a run and its seconds; no outcome means that the document is dealt with already."""

_RUNS: weakref.WeakSet[Run] = weakref.WeakSet()


def only_here(run: Run) -> Run:
    """Revoke ``run``'s right to write in every copy of this process that the job forks.

    If two processes counted the writes of one run, their writes would count as repetitions of each other.
    """
    _RUNS.add(run)
    return run


def _disown() -> None:
    for run in list(_RUNS):
        run.revoke("this process is a copy that the job forked; only the original can write to the job")


os.register_at_fork(after_in_child=_disown)


def _finishes(claim: Claim) -> bool:
    return bool(claim.job[0].ON_SHUTDOWN == WAIT)


def _nothing() -> None:
    """Write nothing: the caller of ``abandon`` writes the document."""


class Due(NamedTuple):
    """A run that is to be ended at a time of the monotonic clock."""

    at: float
    claim: Claim
    why: str
    write: Callable[[], object]


class Executor:
    """``count`` threads that work off claimed jobs, oldest first."""

    def __init__(self, app: App, count: int, lease: float, done: Done, clock: Clock) -> None:
        self.app = app
        self.lease = lease
        self.clock = clock
        self.stopping = threading.Event()
        self.opened: Callable[[Claim], bool] = lambda _claim: True
        """Called before anything is done with a claim; one for which it returns False has been dealt with."""
        self.interrupted: Callable[[], object] = lambda: None
        """Called when a run was ended by Ctrl-C or a debugger, in debug mode."""
        self._done = done
        self._count = count
        self._todo = ClaimQueue()
        self._threads: list[threading.Thread] = []
        self._current: dict[str, Claim] = {}
        self._dues: dict[tuple[str, str], Due] = {}
        self._ended_outside: dict[str, Callable[[], object]] = {}
        self._cut_off: set[str] = set()
        """Nonces of runs that were revoked because the datastore was unavailable."""
        self._cancelled: deque[str] = deque(maxlen=1_000)
        self._spares_finishing = False
        self._abandoned = False
        self._pid = os.getpid()

    def start(self) -> None:
        """Start the threads."""
        for number in range(self._count):
            self._todo.join()
            thread = threading.Thread(target=self._loop, name=f"zerog-slot-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def work(self) -> bool:
        """Run a job in the calling thread; False if there is none for it, as always where slots have their own."""
        return False

    def add(self, claims: list[Claim], are_short: bool = False) -> None:
        """Run these jobs as slots get free. ``are_short``: recent ones took next to no time."""
        self._todo.add(claims)

    def take_unstarted(self, before: float = inf) -> list[Claim]:
        """Remove and return the claimed jobs that no slot has begun.

        ``before`` a time: only those that were claimed earlier and wait for a run with which they share a limit's slot.
        """
        return self._todo.remove(before)

    def unstarted(self) -> int:
        """Return the number of claimed jobs that wait for a slot."""
        return len(self._todo)

    def stop_of(self, claim: Claim) -> Stop | None:
        """Return why the run of a claim is to stop, as far as this worker was notified; None if it is not."""
        if not self._cancelled:
            return None
        if run_name(claim.uuid, claim.epoch) in self._cancelled:
            return Stop.CANCEL
        return Stop.PAUSE if pause_name(claim.uuid, claim.epoch) in self._cancelled else None

    def stop(self) -> None:
        """Notify running jobs that the worker is shutting down."""
        self.stopping.set()

    def running(self) -> list[Claim]:
        """Return the jobs that are in a slot now."""
        return list(self._current.values())

    def memory(self) -> int:
        """Return the resident bytes of the worker and the processes of its slots; shared pages count for each."""
        return resident_memory()

    def dead_thread(self) -> str | None:
        """Return the name of a thread that should run jobs and has ended, or None."""
        return next((thread.name for thread in self._threads if not thread.is_alive()), None)

    def revoke(self, why: str, is_outage: bool = False) -> None:
        """Stop every run from writing, at once; ``is_outage``: the datastore is unavailable, which isn't counted."""
        for claim in self.running():
            if is_outage:
                self._cut_off.add(claim.nonce)
            self._stop_run(claim, why)

    def enforce(self) -> None:
        """End the runs whose time limit has expired. To be called twice a second or faster."""
        now = self.clock.monotonic()
        for key, due in list(self._dues.items()):
            if now >= due.at and self._dues.pop(key, None) is not None:
                log.warning("job %s: %s", due.claim.uuid, due.why)
                self._end_from_outside(due)

    def cancel(self, run: str) -> None:
        """Notify a run that its job is cancelled (``run_name``) or paused (``pause_name``).

        It has its class's CANCEL_GRACE to end.
        """
        self._cancelled.append(run)  # first: a run that enters a slot during the loop below checks this list
        for claim in self.running():
            self._cancel_if_cancelled(claim)

    def cancel_stopped(self, claims: list[Claim], worker: str) -> None:
        """Cancel those of the claimed jobs whose ON_SHUTDOWN is STOP. The datastore may be unavailable."""
        for claim in claims:
            if claim.job[0].ON_SHUTDOWN == STOP:
                try:
                    self.app.engine.cancel(claim.uuid, f"stopped by the shutdown of worker {worker}")
                except ZerogError as error:
                    log.warning("job %s could not be marked as cancelled: %s", claim.uuid, error)
                self.cancel(run_name(claim.uuid, claim.epoch))

    def finishing(self) -> list[Claim]:
        """Return the jobs in a slot that a shutdown waits for."""
        return [claim for claim in self.running() if _finishes(claim) and claim.nonce not in self._ended_outside]

    def abandon(self, why: str, but_finishing: bool = False) -> list[Claim]:
        """Revoke the runs of a worker that shuts down, which deals with the documents of the returned claims itself.

        ``but_finishing``: except those that a shutdown waits for.
        """
        self._abandoned, self._spares_finishing = True, but_finishing
        left = [c for c in self.running() if self._is_abandoned(c) and c.nonce not in self._ended_outside]
        for claim in left:
            self._ended_outside[claim.nonce] = _nothing
            self._stop_run(claim, why)
        return left

    def _is_abandoned(self, claim: Claim) -> bool:
        return self._abandoned and not (self._spares_finishing and _finishes(claim))

    def close(self) -> None:
        """End the threads; those that are still in a job are left behind."""
        self._todo.close()

    def _loop(self) -> None:
        while (claim := self._todo.get()) is not None:
            if self._opens(claim):
                self._bring(claim)

    def _opens(self, claim: Claim) -> bool:
        is_open = self.opened(claim)
        if not is_open:
            self._todo.over(claim)
        return is_open

    def _bring(self, claim: Claim) -> None:
        """Run one job to its outcome, in this thread."""
        started = self.clock.monotonic()
        self._current[claim.nonce] = claim
        try:
            outcome = self._run(claim)
        except BaseException:
            log.exception("the slot could not run job %s", claim.uuid)
            outcome = Outcome("claim lost", LOST)
        self._pass_on(claim, outcome, started)

    def _pass_on(self, claim: Claim, outcome: Outcome | None, started: float) -> None:
        """Report the outcome of a run that began at ``started``."""
        self._end_copy()
        for key in [key for key in list(self._dues) if key[0] == claim.nonce]:
            self._dues.pop(key, None)
        was_ended = self._ended_outside.pop(claim.nonce, None) is not None
        if outcome is not None and outcome.kind == LOST:
            if not was_ended and not self._is_abandoned(claim):
                self._give_up(claim)
            outcome = None
        self._cut_off.discard(claim.nonce)
        del self._current[claim.nonce]
        self._todo.over(claim)
        self._done(claim, outcome, self.clock.monotonic() - started)

    def _end_copy(self) -> None:
        if os.getpid() != self._pid:
            os._exit(0)  # a copy that the job forked returned from run(), too: the original settles

    def _run(self, claim: Claim) -> Outcome | None:
        raise NotImplementedError

    def _stop_run(self, claim: Claim, why: str) -> None:
        """Stop one run from writing, at once."""
        raise NotImplementedError

    def _cancel_run(self, claim: Claim, is_pause: bool) -> None:
        """Notify one run, if it has begun, that its job is cancelled or paused."""
        raise NotImplementedError

    def _cancel_if_cancelled(self, claim: Claim) -> None:
        stop = self.stop_of(claim)
        if stop is None:
            return
        self._cancel_run(claim, stop is Stop.PAUSE)
        grace = claim.job[0].CANCEL_GRACE
        why = f"the run did not end within {grace} s of being {stop.value}"
        self._due_in(grace, claim, "cancel", why, partial(self.app.engine.release, claim.uuid, claim.run, why))

    def _due_in(self, seconds: float, claim: Claim, limit: str, why: str, write: Callable[[], object]) -> None:
        """End the run in ``seconds``, unless it has ended by then; ``write`` takes the job from it."""
        self._dues.setdefault((claim.nonce, limit), Due(self.clock.monotonic() + seconds, claim, why, write))

    def _end_from_outside(self, due: Due) -> None:
        """End a run here and take its job away, whether or not the slot notices."""
        self._ended_outside[due.claim.nonce] = due.write
        self._stop_run(due.claim, due.why)
        threading.Thread(target=self._until_answered, args=(due.write,), name="zerog-end", daemon=True).start()

    def _give_up(self, claim: Claim) -> None:
        """Rescue or release the job after a lost claim, if the document still names this run."""
        # What fails at once fails at once again: without this pause the next run would follow in no time.
        self.clock.wait(self.stopping, GIVE_UP_PAUSE)
        why = "the worker could not keep the claim of this run"
        if claim.nonce in self._cut_off:
            self._until_answered(partial(self._return, claim, why))
        else:
            self._until_answered(partial(self.app.engine.rescue, claim.uuid, claim.run, "lost", why))

    def _return(self, claim: Claim, why: str) -> None:
        """Release, uncounted, a run that an outage has cut off; also if another worker has rescued it meanwhile."""
        engine = self.app.engine
        if not engine.release(claim.uuid, claim.run, f"{why}: the datastore was away"):
            back = f"worker {claim.head['owner']['worker']} was cut off from the datastore and is back"
            take_back(engine, claim.uuid, claim.nonce, f"{back}; its run does not count as lost")

    def _until_answered(self, write: Callable[[], object]) -> None:
        """Repeat an idempotent write until the datastore answers; the slot has nothing else to do."""
        pause = 0.05
        while True:
            try:
                write()
                return
            except LEAVE_ALONE as error:
                log.error("%s", error)
                return
            except DatastoreError as error:
                log.warning("waiting for the datastore: %s", error)
            if self.stopping.is_set() and pause > 2:
                return
            self.clock.pause(pause)
            pause = min(pause * 2, 5.0)
