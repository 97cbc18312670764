"""Interrupt a run in the main thread of its process, whatever it is doing there.

A signal makes the main thread check for an interruption that is due. That ends a blocking call at once, but C code
that doesn't return to Python only when it returns. While ZeroG itself or a logging handler is on the stack nothing is
raised: a write, or a lock, is not to be left half-way. The signal is then sent again a moment later.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from zerog.engine.run import Run

SIGNAL = getattr(signal, "SIGRTMIN", signal.SIGUSR2)
"""A real-time signal where there are any: jobs and libraries use the standard ones."""

PAUSE = 0.02
"""Seconds between two signals until the run could be interrupted."""


BETWEEN = ("zerog.worker.hooks", "zerog.jobs.function")
"""Modules of ZeroG between the caller of the job and the job's own code."""

_ROOTS = {("zerog.worker.hooks", "called"), ("zerog.worker.executors.coroutines", "_driven")}
"""Functions whose callees are the job's own code."""


class Interrupts:
    """Interrupts the runs of one process, which runs one job at a time. To be made in its main thread."""

    def __init__(self) -> None:
        self._run: Run | None = None
        self._nonce = self._cancelled = ""
        """Nonces of the latest claim that runs here, and of the latest that was cancelled or paused."""
        self._is_pause = False
        self.has_raised = False
        """True if the latest run was interrupted."""
        signal.signal(SIGNAL, self._on_signal)

    @contextmanager
    def during(self, run: Run, nonce: str) -> Iterator[None]:
        """Interrupt ``run`` within this block, at its limit or when it is cancelled."""
        self._run, self._nonce, self.has_raised = run, nonce, False
        if self._cancelled == nonce:
            self.cancel(nonce, self._is_pause)
        left = run.seconds_left()
        timer = None if left is None else threading.Timer(left, self._knock, [run])
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            yield
        finally:
            self._run = None
            if timer is not None:
                timer.cancel()

    def cancel(self, nonce: str, is_pause: bool = False) -> None:
        """Notify the run of this claim, now or once it begins, that its job is cancelled or paused. From any thread."""
        self._cancelled, self._is_pause = nonce, is_pause
        run = self._run
        if run is not None and self._nonce == nonce:
            run.cancel(is_pause)
            threading.Thread(target=self._knock, args=(run,), name="zerog-interrupt", daemon=True).start()

    def _knock(self, run: Run) -> None:
        main = threading.main_thread().ident
        assert main is not None
        while self._run is run and run.is_due:
            signal.pthread_kill(main, SIGNAL)
            time.sleep(PAUSE)

    def _on_signal(self, _number: int, frame: FrameType | None) -> None:
        run = self._run
        if run is None or not run.is_due or not _is_in_the_job(frame):
            return
        interruption = run.interruption()
        if interruption is not None:
            self.has_raised = True
            raise interruption


def _is_in_the_job(frame: FrameType | None) -> bool:
    """Return True if the job's own code runs here, or what it calls, but nothing that must complete first.

    An event loop that waits is not the job's code: its coroutines are interrupted by the loop (``coroutines``).
    """
    if frame is not None and frame.f_globals.get("__name__") == "contextlib":
        return False  # on its way into a context manager, or out of one
    has_job = False
    while frame is not None:
        module, name = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        if (module, name) in _ROOTS:
            return has_job
        if _must_end_first(module):
            return False
        has_job = has_job or module not in BETWEEN
        frame = frame.f_back
    return False


def _must_end_first(module: str) -> bool:
    if module in BETWEEN or module.startswith(("zerog.cli.demo", "zerog.testing")):
        return False
    return module.split(".")[0] in ("zerog", "logging")
