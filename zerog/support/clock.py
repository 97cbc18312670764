"""Time: the wall clock for what is stored, the monotonic clock for durations.

The only module that asks the system for the time. Code that needs time takes a ``Clock``, so that tests can pass one
that they move.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta


class Clock:
    """The system's clocks."""

    _uptime = staticmethod(time.monotonic)
    """Kept where a library that freezes the time in tests doesn't replace it: waits would never end."""

    stands_for_servers = False
    """True if servers use this clock, too, instead of their own: for tests."""

    def now(self) -> datetime:
        """Return the wall clock, in UTC and timezone-aware."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never decrease; only differences have a meaning."""
        return self._uptime()

    def pause(self, seconds: float) -> None:
        """Do nothing for ``seconds``."""
        time.sleep(seconds)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until ``event`` is set or ``seconds`` have passed; return True if it is set."""
        return event.wait(seconds)


SYSTEM = Clock()


def to_text(moment: datetime) -> str:
    """Return a stored timestamp: ISO 8601 in UTC with microseconds, so that texts sort as the moments do.

    A moment without a timezone is taken as UTC, whatever the timezone of this machine.
    """
    moment = moment if moment.tzinfo is UTC else in_utc(moment)
    return moment.isoformat(timespec="microseconds")


def in_utc(moment: datetime) -> datetime:
    """Return the moment in UTC; one without a timezone is taken as UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def from_text(text: str) -> datetime:
    """Return the moment of a stored timestamp; without an offset it is taken as UTC."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def text_after(text: str, seconds: float) -> str:
    """Return the stored form of ``seconds`` after the moment of ``text``."""
    return to_text(from_text(text) + timedelta(seconds=seconds))


def seconds_between(earlier: str, later: str) -> float:
    """Return the seconds from one stored timestamp to another; negative if they are the other way round."""
    return (from_text(later) - from_text(earlier)).total_seconds()
