"""A clock for tests that moves only on request."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from zerog.support.clock import Clock


class ManualClock(Clock):
    """Both clocks stand still until ``advance``; pauses and waits move them instead of taking time.

    Code that asks a server for the time uses this clock instead.
    """

    stands_for_servers = True

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start
        self._monotonic = 1_000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def shift(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an operator or a time server may; durations are unaffected."""
        self._now += timedelta(seconds=seconds)

    def pause(self, seconds: float) -> None:
        self.advance(seconds)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        if not event.is_set():
            self.advance(seconds)
        return event.is_set()
