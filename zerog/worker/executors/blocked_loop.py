"""Who holds up an event loop, told by somebody outside it: the loop itself can't say so."""

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
"""How long nothing else of a loop can go on until it is told."""

MOST_BETWEEN = 1.0
"""Seconds that count at most between two looks: a process that was stopped holds up nothing."""

FRAMES = 5
"""How many lines of the code that holds the loop are told, the innermost."""


class BlockedLoopDetector:
    """Asks an event loop for an answer, again and again, and tells once each time that it doesn't come.

    :param loop: the loop, which runs in ``thread``.
    :param whose: says which job a task belongs to; an empty string if none is known.
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
        self._is_told = False

    def look(self) -> None:
        """To be called from another thread, twice a second or faster."""
        now = self._clock.monotonic()
        since, self._looked = now - self._looked, now
        if self._is_answered:
            self._held, self._is_answered = 0.0, False
            self._loop.call_soon_threadsafe(self._answer)
            return
        self._held += min(since, MOST_BETWEEN)
        if self._held >= HELD_SECONDS and not self._is_told:
            self._is_told = True
            self._tell()

    def _answer(self) -> None:
        if self._is_told:
            self._is_told = False
            log.warning("the event loop goes on; it was held up for %.0f s", self._held)
        self._is_answered = True

    def _tell(self) -> None:
        frame = sys._current_frames().get(self._thread.ident or 0)
        where = "".join(traceback.format_list(traceback.extract_stack(frame)[-FRAMES:])) if frame else ""
        log.warning(
            "%s holds up the event loop, for %.0f s by now: no other job in it goes on, and none can be stopped."
            " An async def must await what takes time, say asyncio.to_thread(...), or be a plain def. It is here:\n%s",
            self._whose(asyncio.current_task(self._loop)) or "a task",
            self._held,
            where.rstrip(),
        )
