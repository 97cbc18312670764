"""The request that a worker shall end, and how urgent it is."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from zerog.worker.signalthread import SignalThread


class Ending:
    """Requested by ``stop``, by a supervisor, by signals, or by a worker that has done its share."""

    def __init__(self) -> None:
        self.event = threading.Event()
        """Set once the worker shall end."""
        self._asked = self._signals = self._hurried = 0

    @property
    def urgency(self) -> int:
        """How often the end was requested: at the second time running jobs are not waited for any more.

        A signal that reached both this process and its supervisor, which passes it on, counts once.
        """
        return max(self._asked, self._signals) + self._hurried

    def ask(self, times: int = 1) -> None:
        """Request the end, for the ``times``-th time; harmless when repeated."""
        self._asked = max(self._asked, times)
        self.event.set()

    def hurry(self) -> None:
        """Request it once more."""
        self._hurried += 1
        self.event.set()

    def on_signals(self, numbers: Sequence[int]) -> AbstractContextManager[object]:
        """Have each of these signals request it, if this is the main thread, which alone may handle signals."""
        if threading.current_thread() is threading.main_thread():
            return SignalThread(numbers, self._on_signal)
        return nullcontext()

    def _on_signal(self, _number: int) -> None:
        self._signals += 1
        self.event.set()
