"""Several worker processes, watched and replaced.

The supervisor runs no job and holds no connection. Each worker is a fresh ``zerog worker`` process, told through a pipe
that it holds open whether its supervisor lives: when the pipe closes the worker shuts down as on SIGTERM. A worker
that dies is replaced, after a pause that grows while replacements die young; if nothing stays up the supervisor gives
up, loudly, so that whatever supervises *it* can see.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from types import FrameType

from zerog.clock import SYSTEM, Clock

log = logging.getLogger("zerog")

LINK_VARIABLE = "ZEROG_SUPERVISOR_LINK"
"""Environment variable with the number of the file descriptor that closes when the supervisor dies."""

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


class Supervisor:
    """Keeps ``count`` workers up. ``command`` starts one; ``grace``: seconds that it gives its jobs at the end."""

    def __init__(
        self, command: Sequence[str], count: int, grace: float, burst: bool = False, clock: Clock = SYSTEM
    ) -> None:
        self._command = list(command)
        self._count = count
        self._grace = grace
        self._burst = burst
        self._clock = clock
        self._workers: dict[int, tuple[subprocess.Popen[bytes], float]] = {}
        self._signals = 0
        self._woken = threading.Event()
        self._deaths = 0

    def run(self) -> int:
        """Keep the workers up until SIGTERM or SIGINT; returns the exit code."""
        reading, writing = os.pipe()
        self._link = reading
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            for _ in range(self._count):
                self._start()
            code = self._watch()
            return max(code, self._end())
        finally:
            for worker, _ in self._workers.values():
                worker.kill()
                worker.wait()
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(reading)
            os.close(writing)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        self._woken.set()

    def _start(self) -> None:
        worker = subprocess.Popen(
            self._command,
            env={**os.environ, LINK_VARIABLE: str(self._link)},
            pass_fds=[self._link],
            process_group=0,  # a terminal's Ctrl-C reaches the workers through this process alone
        )
        self._workers[worker.pid] = worker, self._clock.monotonic()
        log.info("worker process %d started", worker.pid)

    def _watch(self) -> int:
        """Replace what dies; returns when it is time to end."""
        while not self._signals:
            for pid, (worker, started) in list(self._workers.items()):
                code = worker.poll()
                if code is None:
                    continue
                del self._workers[pid]
                verdict = self._bury(pid, code, self._clock.monotonic() - started)
                if verdict is not None:
                    return verdict
            if not self._workers:
                return OK
            self._woken.wait(0.1)
        return OK

    def _bury(self, pid: int, code: int, lived: float) -> int | None:
        """Deal with a worker that ended; an exit code if that is the end of everything."""
        if code == OK:
            if not self._burst:
                log.info("worker process %d ended by itself and is replaced", pid)
                self._start()
            return None
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if code == MISUSED:
            log.error("worker process %d %s: it can't be started like this", pid, how)
            return MISUSED
        self._deaths = self._deaths + 1 if lived < YOUNG else 1
        if self._deaths >= CRASH_LOOP:
            log.error("worker process %d %s; %d died young in a row, giving up", pid, how, self._deaths)
            return GAVE_UP
        pause = min(FIRST_PAUSE * 2 ** (self._deaths - 1), LONGEST_PAUSE)
        log.error("worker process %d %s after %.1f s; replaced in %.1f s", pid, how, lived, pause)
        self._clock.wait(self._woken, pause)
        if not self._signals:
            self._start()
        return None

    def _end(self) -> int:
        """Pass the signal on, a second one too, and wait; what doesn't end is killed."""
        passed = 0
        deadline = self._clock.monotonic() + self._grace + KILL_AFTER
        code = OK
        while self._workers:
            asked = max(self._signals, 1)
            if passed < asked:
                passed = asked
                for worker, _ in self._workers.values():
                    worker.terminate()
            for pid, (worker, _) in list(self._workers.items()):
                ended = worker.poll()
                if ended is not None:
                    del self._workers[pid]
                    # One that was still starting had no handler for the signal yet, and no job either.
                    code = code if ended in (OK, -signal.SIGTERM) else FAILED
            if self._clock.monotonic() > deadline:
                log.error("%d worker processes did not end in time and are killed", len(self._workers))
                return FAILED
            self._woken.clear()
            if self._workers:
                self._woken.wait(0.05)
        return code


def watch_supervisor(lost: Callable[[], None]) -> None:
    """In a worker process: call ``lost`` once the supervisor that started it is gone. Without one nothing happens."""
    descriptor = os.environ.pop(LINK_VARIABLE, None)
    if descriptor is None:
        return

    def listen(number: int) -> None:
        os.read(number, 1)  # nobody writes: this returns when the other end closes
        log.warning("the supervisor is gone; this worker shuts down")
        lost()

    threading.Thread(target=listen, args=(int(descriptor),), name="zerog-supervisor-link", daemon=True).start()
