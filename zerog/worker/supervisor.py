"""Several worker processes, watched and replaced.

The supervisor runs no job and holds no connection. Each worker is a fresh ``zerog worker`` process with a link to its
supervisor, a socket: the worker reports its state through it, and ends when the supervisor requests that or is gone. A
worker that dies is replaced, unless it was drained for good, after a pause that grows while replacements die young; if
nothing stays up the supervisor gives up with a separate exit code.

To what watches the supervisor (systemd's watchdog, a probe of the heartbeat file) it reports for all its workers:
ready once all were ready, well while its own loop runs. It kills and replaces a worker process that stops sending
heartbeats, so that the other workers continue.
"""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from zerog.support.clock import SYSTEM, Clock
from zerog.worker.executors.forkserver import describe
from zerog.worker.health import EXTEND, PATIENCE_VARIABLE, RECYCLED, RETIRED, HealthReporter
from zerog.worker.settings import SIGNALS
from zerog.worker.signal_thread import STOPS, SignalThread

log = logging.getLogger("zerog")

LINK_VARIABLE = "ZEROG_SUPERVISOR_LINK"
"""Environment variable with the number of the link's file descriptor."""

BURIED_VARIABLE = "ZEROG_BURIED_WORKERS"
"""Environment variable with a JSON list of the workers that died since the last start: name, was it stopping."""

STOP = b"\n"
"""Message of the supervisor to a worker for each request to end. Not a signal: one that was sent to all processes, the
supervisor among them, must not count twice."""

NAMED = "X_ZEROG_WORKER="
"""Message of a worker to the supervisor, with its name, once it listens to the link."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
"""Seconds before a replacement for a worker that died young, doubled each time."""

YOUNG = 10.0
"""Seconds a worker must have lived for its death not to count as one of a crash loop."""

CRASH_LOOP = 8
"""Young deaths in a row after which the supervisor gives up."""

KILL_AFTER = 10.0
"""Seconds beyond their own grace that workers get at a shutdown before they are killed."""

OK, FAILED, MISUSED, GAVE_UP = 0, 1, 2, 3
"""Exit codes: ended as asked; a worker failed while ending; wrongly configured; crash loop."""


@dataclass
class _Process:
    """A worker process, the supervisor's end of the link to it, and what the worker reported."""

    popen: subprocess.Popen[bytes]
    link: socket.socket
    started: float
    name: str | None = None
    """The worker's name; None before it listens to the link."""
    is_ready: bool = False
    beat_at: float | None = None
    """Time of its last heartbeat; None if none is expected."""
    leaving: float | None = None
    """Time at which it reported that it ends."""
    patience: float = 0.0
    """Time until which it asked to be waited for at its end."""
    is_retired: bool = False
    """True if it was drained for good: it is not replaced."""
    is_recycled: bool = False
    """True if it has reached its number of jobs, or holds too much memory: it is replaced at once."""

    def stop(self) -> None:
        """Request its end; each call counts."""
        if self.name is None:  # it has no job yet
            self.popen.terminate()
            return
        with suppress(OSError):  # it is gone
            self.link.send(STOP, socket.MSG_DONTWAIT)

    def listen(self, now: float) -> None:
        """Read what the worker reported since the last call."""
        with suppress(OSError):  # nothing, or the worker is gone
            lines = self.link.recv(65_536, socket.MSG_DONTWAIT).decode(errors="replace").splitlines()
            names = [line.removeprefix(NAMED) for line in lines if line.startswith(NAMED)]
            self.name = names[0] if names else self.name
            self.is_ready = self.is_ready or "READY=1" in lines
            self.beat_at = None if "STOPPING=1" in lines else now if "WATCHDOG=1" in lines else self.beat_at
            self.leaving = now if self.leaving is None and "STOPPING=1" in lines else self.leaving
            asked = [line.removeprefix(EXTEND) for line in lines if line.startswith(EXTEND)]
            self.patience = max([self.patience, *(now + int(text) / 1e6 for text in asked if text.isdecimal())])
            self.is_retired = self.is_retired or RETIRED in lines
            self.is_recycled = self.is_recycled or RECYCLED in lines


class Supervisor:
    """Keeps ``count`` workers up. ``command`` starts one; ``grace``: seconds that it gives its jobs at the end.

    ``reporter``: gets the heartbeats and states of the workers; by default there is none.
    """

    def __init__(
        self,
        command: Sequence[str],
        count: int,
        grace: float,
        burst: bool = False,
        clock: Clock = SYSTEM,
        reporter: HealthReporter | None = None,
    ) -> None:
        self._command = list(command)
        self._count = count
        self._grace = grace
        self._burst = burst
        self._clock = clock
        self._reporter = reporter or HealthReporter()
        self._patience = self._reporter.patience
        self._workers: dict[int, _Process] = {}
        self._due: list[float] = []
        """Times at which replacements are to be started."""
        self._signals = 0
        self._woken = threading.Event()
        """Set by each signal."""
        self._deaths = self._returns = self._failed_starts = 0
        """In a row: young deaths, regular ends of young workers, starts that failed."""
        self._was_ready = False
        """True once any worker was ready: what fails later is no mistake of how they are started."""
        self._buried: list[tuple[str, bool]] = []

    def run(self) -> int:
        """Keep the workers up until SIGTERM, SIGINT or SIGHUP; returns the exit code."""
        with SignalThread(SIGNALS, self._on_signal):
            try:
                for _ in range(self._count):
                    self._start()
                code = self._watch()
                return max(code, self._end())
            finally:
                for worker in self._workers.values():
                    worker.popen.kill()
                    worker.popen.wait()
                    worker.link.close()

    def _on_signal(self, _number: int) -> None:
        self._signals += 1
        self._woken.set()

    def _start(self) -> None:
        """Start a worker process, or try again after a pause: the system may have no process or descriptor to spare."""
        try:
            self._popen()
            self._failed_starts = 0
        except OSError as error:
            pause = _pause_after(self._failed_starts)
            self._failed_starts += 1
            log.error("a worker process could not be started, trying again in %.1f s: %s", pause, error)
            self._due.append(self._clock.monotonic() + pause)

    def _popen(self) -> None:
        ours, theirs = socket.socketpair()
        environment = {**os.environ, LINK_VARIABLE: str(theirs.fileno())}
        if self._buried:
            environment[BURIED_VARIABLE] = json.dumps(self._buried)
        if self._patience is not None:
            environment[PATIENCE_VARIABLE] = str(round(self._patience * 1e6))
        with theirs:
            try:
                worker = subprocess.Popen(
                    self._command,
                    env=environment,
                    pass_fds=[theirs.fileno()],
                    process_group=0,  # a terminal's Ctrl-C reaches the workers through this process alone
                )
            except BaseException:
                ours.close()
                raise
        self._buried = []
        self._workers[worker.pid] = _Process(worker, ours, self._clock.monotonic())
        log.info("worker process %d started", worker.pid)

    def _watch(self) -> int:
        """Replace what dies; returns when it is time to end."""
        while not self._signals:
            now = self._clock.monotonic()
            polled = [(pid, worker, worker.popen.poll()) for pid, worker in self._workers.items()]
            for _, worker, _ in polled:
                worker.listen(now)  # after the poll: what it reported before it ended has arrived by then
                self._was_ready = self._was_ready or worker.is_ready
            for pid, worker, code in polled:
                if code is None:
                    self._check(pid, worker, now)
                    continue
                self._forget(pid)
                verdict = self._bury(pid, code, now - worker.started, worker)
                if verdict is not None:
                    return verdict
            self._start_due(now)
            if not self._workers and not self._due:
                return OK
            self._report()
            self._woken.wait(min(0.1, self._reporter.pace))
        return OK

    def _check(self, pid: int, worker: _Process, now: float) -> None:
        """Kill a worker that stopped sending heartbeats; the next poll finds it dead and replaces it."""
        if self._patience is not None and worker.beat_at is not None and now - worker.beat_at > self._patience:
            log.error("worker process %d was silent for more than %.1f s and is killed", pid, self._patience)
            worker.popen.kill()
            worker.beat_at = None
        if worker.leaving is not None and now > max(worker.leaving + self._grace + KILL_AFTER, worker.patience):
            # Its jobs are settled or released; it is kept alive by a thread that one of them left.
            log.error("worker process %d did not end in time and is killed", pid)
            worker.popen.kill()
            worker.patience = math.inf

    def _start_due(self, now: float) -> None:
        self._due, due = [at for at in self._due if at > now], [at for at in self._due if at <= now]
        for _ in due:
            self._start()

    def _report(self) -> None:
        ready = sum(worker.is_ready for worker in self._workers.values())
        self._reporter.beat(f"{ready} of {self._count} worker processes are ready", is_ready=ready == self._count)

    def _forget(self, pid: int) -> None:
        self._workers.pop(pid).link.close()

    def _bury(self, pid: int, code: int, lived: float, worker: _Process) -> int | None:
        """Deal with a worker that ended; return an exit code if the supervisor is to end, too."""
        if code == OK:
            self._replace(pid, lived, worker)
            return None
        how = f"was {describe(-code)}" if code < 0 else f"ended with exit code {code}"
        if code == MISUSED and not self._was_ready:
            log.error("worker process %d %s: it can't be started like this", pid, how)
            return MISUSED
        if worker.name is not None:
            self._buried.append((worker.name, worker.leaving is not None))
        self._deaths = self._deaths + 1 if lived < YOUNG else 1
        if self._deaths >= CRASH_LOOP and not any(other.is_ready for other in self._workers.values()):
            log.error("worker process %d %s; %d died young in a row, giving up", pid, how, self._deaths)
            return GAVE_UP
        pause = _pause_after(self._deaths - 1)
        log.error("worker process %d %s after %.1f s; replaced in %.1f s", pid, how, lived, pause)
        self._due.append(self._clock.monotonic() + pause)
        return None

    def _replace(self, pid: int, lived: float, worker: _Process) -> None:
        """Replace a worker that ended regularly, unless that was the purpose."""
        if worker.is_retired:
            self._count -= 1
            log.info("worker process %d was drained for good and is not replaced; %d are left", pid, self._count)
        elif not self._burst:
            self._returns = 0 if lived >= YOUNG or worker.is_recycled else self._returns + 1
            pause = _pause_after(self._returns - 1) if self._returns else 0.0
            log.info("worker process %d exited after %.1f s; replaced in %.1f s", pid, lived, pause)
            self._due.append(self._clock.monotonic() + pause)

    def _end(self) -> int:
        """Stop the workers, hurry them at a second signal, and wait; what doesn't end is killed."""
        self._reporter.stopping("shutting down")
        passed = 0
        deadline = self._clock.monotonic() + self._grace + KILL_AFTER
        code = OK
        while self._workers:
            asked = max(self._signals, 1)
            if passed < asked:
                passed = asked
                for worker in self._workers.values():
                    worker.listen(self._clock.monotonic())
                    worker.stop()
            now = self._clock.monotonic()
            for pid, worker in list(self._workers.items()):
                worker.listen(now)
                ended = worker.popen.poll()
                if ended is not None:
                    self._forget(pid)
                    # One that was still starting had no handler for the signal yet, and no job either.
                    code = code if ended == OK or -ended in STOPS else FAILED
                elif worker.patience > now:
                    self._reporter.extend("waiting for worker processes that wait for their jobs")
                elif now > deadline:
                    log.error("worker process %d did not end in time and is killed", pid)
                    worker.popen.kill()
                    worker.popen.wait()
            self._woken.clear()
            if self._workers:
                self._woken.wait(0.05)
        return code


def link_to_supervisor() -> socket.socket | None:
    """Return, in a worker process, the link to the supervisor that started it, or None."""
    descriptor = os.environ.pop(LINK_VARIABLE, None)
    return None if descriptor is None else socket.socket(fileno=int(descriptor))


def _pause_after(times: int) -> float:
    """Return the seconds until the next start, after so many that failed."""
    return min(FIRST_PAUSE * 2.0 ** min(times, 20), LONGEST_PAUSE)


def buried_workers() -> list[tuple[str, bool]]:
    """Return, in a worker process, the workers that it replaces, and whether each was stopping."""
    return [(name, was_stopping) for name, was_stopping in json.loads(os.environ.pop(BURIED_VARIABLE, "[]"))]


def watch_supervisor(link: socket.socket, name: str, stop: Callable[[int], None]) -> None:
    """Report the worker's name; call ``stop`` with the number of requests to end, and once the supervisor is gone."""

    def listen() -> None:
        asked = 0
        with suppress(ConnectionError):
            link.send(f"{NAMED}{name}\n".encode())
            while sent := link.recv(64):
                asked += sent.count(STOP)
                stop(asked)
        log.warning("the supervisor is gone; this worker shuts down")
        stop(1)

    threading.Thread(target=listen, name="zerog-supervisor-link", daemon=True).start()
