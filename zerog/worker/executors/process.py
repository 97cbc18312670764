"""The process executor: each slot has a child process that runs its jobs, one at a time.

The child alone writes to the document while ``run()`` runs; then it hands back the outcome with the number of its
last write, and the worker settles. A child that dies is noticed by its socket closing, and its job is rescued at
once. Children exit when the worker's end of the socket closes, whatever they are doing.

A child's own side is in ``child``.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from zerog.engine.transitions import Claim
from zerog.exceptions import ZerogError
from zerog.jobs.limits import run_limits_of
from zerog.worker.executors import cleanup
from zerog.worker.executors.child import CLOSE_SECONDS
from zerog.worker.executors.forkserver import ForkServer, describe, kill_group
from zerog.worker.executors.slots import GIVE_UP_PAUSE, Done, Due, Executor
from zerog.worker.outcome import LOST, Outcome, not_begun
from zerog.worker.retry import expire_run
from zerog.worker.settings import JOBS_PER_CHILD
from zerog.worker.signal_thread import STOPS

if TYPE_CHECKING:
    from zerog.app import App
    from zerog.support.clock import Clock

log = logging.getLogger("zerog")

STOP_SECONDS = 5.0
"""Seconds after a child's death by one of STOPS within which the worker's own stop counts as the cause."""

DEATH_SECONDS = 2.0
"""Seconds that a child whose socket closed may take to exit; then it is killed."""


class ProcessExecutor(Executor):
    """Runs each job in the slot's child process."""

    def __init__(
        self,
        app: App,
        count: int,
        lease: float,
        done: Done,
        clock: Clock,
        forkserver: ForkServer | None,
        max_jobs: int = JOBS_PER_CHILD,
        max_memory: int | None = None,
    ) -> None:
        super().__init__(app, count, lease, done, clock)
        self._forkserver = forkserver
        self._max_jobs = max_jobs
        self._max_memory = max_memory
        self._local = threading.local()
        self._lock = threading.Lock()
        self._children: set[_Child] = set()

    def stop(self) -> None:
        super().stop()
        for child in self._all():
            child.send({"stop": True})

    def memory(self) -> int:
        return super().memory() + sum(cleanup.resident_memory(child.pid) for child in self._all())

    def _stop_run(self, claim: Claim, why: str) -> None:
        for child in self._all():
            if child.nonce == claim.nonce:
                child.kill()

    def _cancel_run(self, claim: Claim, is_pause: bool) -> None:
        for child in self._all():
            if child.nonce == claim.nonce:
                child.send({"cancel": claim.nonce, "is_pause": is_pause})

    def _is_for_child(self, claim: Claim) -> bool:
        return True

    def _end_from_outside(self, due: Due) -> None:
        if not self._is_for_child(due.claim):
            super()._end_from_outside(due)
            return
        self._ended_outside[due.claim.nonce] = due.write  # the slot takes the job away once its child is dead
        self._stop_run(due.claim, due.why)

    def close(self) -> None:
        super().close()
        self._close_children()

    @property
    def _forks(self) -> ForkServer:
        assert self._forkserver is not None
        return self._forkserver

    def _close_children(self) -> None:
        if self._forkserver is None:
            return
        children = self._all()
        for child in children:
            child.end()
        deadline = self.clock.monotonic() + CLOSE_SECONDS
        for child in children:
            if child.nonce is None:  # it closes its resources and flushes what its jobs printed
                self._forkserver.how_it_ended(child.pid, max(0.0, deadline - self.clock.monotonic()))
        self._forkserver.close()

    def _all(self) -> list[_Child]:
        with self._lock:
            return list(self._children)

    def _run(self, claim: Claim) -> Outcome | None:
        try:
            child = self._child()
        except ZerogError:  # the run has not begun, and the worker ends
            return not_begun(claim)
        except OSError as error:  # no descriptor, no process is free: no fault of the job's
            log.error("no process could be started for job %s, which is given back: %s", claim.uuid, error)
            return not_begun(claim, GIVE_UP_PAUSE)
        child.nonce = claim.nonce
        timeout = run_limits_of(claim.job[0], claim.head).timeout
        try:
            first = self._request(child, claim)
            has_begun = first is not None and "began" in first
            answer = child.answer(timeout) if has_begun else first
        except TimeoutError:
            child.kill()
            self._forget(child)
            self._forks.how_it_ended(child.pid, DEATH_SECONDS)  # with all that it had started
            message = f"the run took longer than its TIMEOUT of {timeout} s and was killed"
            self._until_answered(partial(expire_run, self.app, claim, message))
            return None
        finally:
            child.nonce = None
        if answer is not None:
            child.fit = self._is_fit(claim, child, answer)
            outcome = answer["outcome"]
            return not_begun(claim, GIVE_UP_PAUSE) if outcome is None else Outcome.from_json(outcome)
        end = self._died(claim, child, has_begun)
        self._forget(child)
        return end

    def _request(self, child: _Child, claim: Claim) -> dict[str, Any] | None:
        """Request a run from the child; returns its first message, None if it died before the job's own code ran."""
        request = {
            "run": claim.uuid,
            "epoch": claim.epoch,
            "nonce": claim.nonce,
            "lease": self.lease,
            "stopping": self.stopping.is_set(),
        }
        if not child.send(request):
            return None
        self._cancel_if_cancelled(claim)
        return child.answer(None)

    def _child(self) -> _Child:
        """Return this slot's child, a new one if there is none or it has reached its number of jobs."""
        child: _Child | None = getattr(self._local, "child", None)
        if child is not None and child.fit and not child.killed and not self._forks.has_ended(child.pid):
            child.jobs += 1
            return child
        if child is not None:
            self._forget(child)
            if self.app.resources:
                self._forks.how_it_ended(child.pid, CLOSE_SECONDS)
        child = self._local.child = _Child(self._forks)
        with self._lock:
            self._children.add(child)
        return child

    def _forget(self, child: _Child) -> None:
        with self._lock:
            self._children.discard(child)
        child.end()
        self._local.child = None

    def _is_fit(self, claim: Claim, child: _Child, answer: dict[str, Any]) -> bool:
        """Return True if the child can take another job after this one."""
        if answer["left"]:
            log.warning("job %s left %s; its process is replaced", claim.uuid, answer["left"])
            return False
        if answer["interrupted"]:
            log.debug("process %d is replaced: a run was interrupted in it", child.pid)
            return False
        if self._max_memory is not None and answer["memory"] > self._max_memory:
            log.info("process %d is replaced: it holds %d MiB", child.pid, answer["memory"] >> 20)
            return False
        return child.jobs < self._max_jobs

    def _died(self, claim: Claim, child: _Child, has_begun: bool) -> Outcome | None:
        """Return the outcome of a run whose child died; ``has_begun``: whether the job's own code ran in it."""
        status = self._forks.how_it_ended(child.pid, DEATH_SECONDS)
        if status is None:
            kill_group(child.pid)
            message = "the process that ran the job closed its connection to the worker, and was killed"
            self._forks.how_it_ended(child.pid, DEATH_SECONDS)
        else:
            message = f"the process that ran the job died: {describe(status)}"
        if (write := self._ended_outside.get(claim.nonce)) is not None:
            self._until_answered(write)
            return None
        if child.killed or self._is_abandoned(claim):
            return Outcome("claim lost", LOST)
        if not has_begun:
            log.warning("job %s did not begin and is given back: %s", claim.uuid, message)
            return not_begun(claim, GIVE_UP_PAUSE)
        engine = self.app.engine
        if self._was_stopped(status):
            self._until_answered(partial(engine.release, claim.uuid, claim.run, f"{message}; its worker was stopped"))
        else:
            self._until_answered(partial(engine.rescue, claim.uuid, claim.run, "crashes", message))
        return None

    def _was_stopped(self, status: int | None) -> bool:
        """Return True if a child died of a signal that stopped the worker, too, or does so within STOP_SECONDS."""
        is_stop = status is not None and os.WIFSIGNALED(status) and os.WTERMSIG(status) in STOPS
        return is_stop and self.clock.wait(self.stopping, STOP_SECONDS)


class _Child:
    """The worker's side of one child process."""

    def __init__(self, forkserver: ForkServer) -> None:
        self.pid, self._socket = forkserver.fork()
        self._lines = self._socket.makefile("rb")
        self._sending = threading.Lock()
        self.jobs = 1
        self.nonce: str | None = None
        """Nonce of the claim that it runs now."""
        self.killed = False
        self.fit = True
        """True while it can take another job."""

    def send(self, message: dict[str, Any]) -> bool:
        """Send a message; False if the child is gone."""
        try:
            with self._sending:
                self._socket.sendall(json.dumps(message).encode() + b"\n")
            return True
        except OSError:
            self.fit = False
            return False

    def answer(self, timeout: float | None) -> dict[str, Any] | None:
        """Return the next message of the child, None if it is gone. Raises TimeoutError."""
        try:
            self._socket.settimeout(timeout)
            line = self._lines.readline()
            self._socket.settimeout(None)
        except TimeoutError:
            self.fit = False
            raise
        except (OSError, ValueError):  # of a connection that has been closed here
            line = b""
        if not line.endswith(b"\n"):
            self.fit = False
            return None
        return json.loads(line)  # type: ignore[no-any-return]

    def kill(self) -> None:
        """Kill the child and everything it started."""
        self.killed = True
        kill_group(self.pid)

    def end(self) -> None:
        """Close the socket, at which the child exits."""
        self.fit = False
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # which ends a read that another thread waits in
        self._lines.close()
        self._socket.close()
