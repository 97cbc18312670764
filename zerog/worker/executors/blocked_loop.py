"""Detect a blocked event loop from another thread and log the task that blocks it."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Callable

from zerog.support.clock import Clock

log = logging.getLogger("zerog")

HELD_SECONDS = 5.0
"""Seconds for which a loop is blocked before that is logged."""

MOST_BETWEEN = 1.0
"""Seconds that count at most between two checks: a process that was stopped blocks nothing."""

FRAMES = 5
"""Innermost stack frames of the blocking code that are logged."""


class BlockedLoopDetector:
    """Pings an event loop again and again, and logs once each time that it is blocked.

    :param loop: the loop, which runs in ``thread``.
    :param whose: returns the job that a task belongs to; an empty string if none is known.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        thread: threading.Thread,
        clock: Clock,
        whose: Callable[[asyncio.Task[object] | None], str],
    ) -> None:
        self._loop = loop
        self._thread = thread
        self._clock = clock
        self._whose = whose
        self._looked = clock.monotonic()
        self._held = 0.0
        self._is_answered = True
        self._is_logged = False

    def look(self) -> None:
        """Check the loop. To be called from another thread, twice a second or faster."""
        now = self._clock.monotonic()
        since, self._looked = now - self._looked, now
        if self._is_answered:
            self._held, self._is_answered = 0.0, False
            self._loop.call_soon_threadsafe(self._answer)
            return
        self._held += min(since, MOST_BETWEEN)
        if self._held >= HELD_SECONDS and not self._is_logged:
            self._is_logged = True
            self._log()

    def _answer(self) -> None:
        if self._is_logged:
            self._is_logged = False
            log.warning("the event loop is no longer blocked; it was blocked for %.0f s", self._held)
        self._is_answered = True

    def _log(self) -> None:
        frame = sys._current_frames().get(self._thread.ident or 0)
        where = "".join(traceback.format_list(traceback.extract_stack(frame)[-FRAMES:])) if frame else ""
        log.warning(
            "%s blocks the event loop, for %.0f s by now: no other job in it runs on, and none can be stopped."
            " An async def must await what takes time, say asyncio.to_thread(...), or be a plain def. It is here:\n%s",
            self._whose(asyncio.current_task(self._loop)) or "a task",
            self._held,
            where.rstrip(),
        )
