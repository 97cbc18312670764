"""How a worker learns that it shall end, and how urgent that is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType


class Ending:
    """Asked for by ``stop``, by signals, or by a worker that has done its share."""

    def __init__(self) -> None:
        self.event = threading.Event()
        """Set once the worker shall end."""
        self.urgency = 0
        """How often somebody asked: at the second time running jobs are not waited for any more."""
        self._received: set[int] = set()

    def ask(self) -> None:
        """Have the worker end in its own time; harmless when repeated."""
        self.urgency = max(self.urgency, 1)
        self.event.set()

    def hurry(self) -> None:
        """Ask once more."""
        self.urgency += 1
        self.event.set()

    @contextmanager
    def on_signals(self, numbers: Sequence[int]) -> Iterator[None]:
        """Have each of these signals ask, if this is the main thread, which alone may handle signals."""
        before = {}
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                # With the default handler, a further one of a storm would make a clean end look like a death.
                told_to_end = number == signal.SIGTERM and number in self._received
                signal.signal(number, signal.SIG_IGN if told_to_end else handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._received.add(number)
        self.hurry()
