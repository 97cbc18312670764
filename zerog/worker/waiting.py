"""A thread that waits for work while a worker has room for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from zerog.engine.engine import Engine
from zerog.support.clock import Clock

log = logging.getLogger("zerog")

POLL = 1.0
"""Seconds that one wait lasts at most; then the worker polls for work all the same."""

END_SECONDS = 2.0
"""Seconds within which the thread ends, unless a call to a server blocks it."""


class Waiter:
    """Waits once for each ``ask``, and calls ``come`` with the queues that it waited for.

    ``queues`` returns those to wait for; it doesn't wait if there are none. ``guarded`` runs its loop and handles the
    error that ends it.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        queues: Callable[[], Sequence[str]],
        come: Callable[[Sequence[str]], None],
        guarded: Callable[[Callable[[], None]], None],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._queues = queues
        self._come = come
        self._asked = threading.Event()
        self._ends = False
        self._thread = threading.Thread(target=guarded, args=(self._loop,), name="zerog-listener", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def ask(self) -> None:
        """Wait for work from now on."""
        self._asked.set()

    def stop(self) -> None:
        """End the thread, and wait for its end for a moment: afterwards the queue may be closed."""
        self._ends = True
        self._asked.set()
        self._engine.wake(self._queues())
        self._thread.join(END_SECONDS)

    def _loop(self) -> None:
        while self._asked.wait():
            self._asked.clear()
            if self._ends:
                return
            queues = self._queues()
            if not queues:
                continue
            try:
                self._engine.wait_ready(POLL, queues)
            except Exception as error:  # a driver's, too: the loop has to continue
                log.debug("could not wait for work: %s", error)
                self._clock.pause(POLL)
            self._come(queues)
