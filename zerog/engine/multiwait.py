"""Wait for several queues at once, where each can only be waited for separately.

Each queue has its own thread during a wait. The thread reserves what arrives, and releases it at once if no wait is
active any more: its caller may be busy for hours. Threads outlive the pause between two waits, so an idle worker
doesn't start new ones all the time, and end soon after the last.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from zerog.contracts.queue import Queue, Reservation, delivered_by
from zerog.exceptions import DatastoreError, QueueError

TURN = 1.0
"""Seconds for which a thread waits before it checks whether it is still needed."""

PAUSE, TRIES = 0.05, 100
"""Seconds between two tries of ``close`` to wake a thread, and how many it makes: a queue may not answer."""


class MultiQueueWaiter:
    """Reserves from the first of several queues that has an entry; ``named`` returns the queue of a name."""

    def __init__(self, named: Callable[[str], Queue]) -> None:
        self._named = named
        self._changed = threading.Condition()
        self._wanted: frozenset[str] = frozenset()
        self._listening: dict[str, threading.Thread] = {}
        self._reserved: list[Reservation] = []
        self._trouble: Exception | None = None
        self._woken = False

    def wait(self, timeout: float, names: Sequence[str]) -> list[Reservation]:
        """Return the reservations made, mostly one; none after ``timeout`` seconds or a ``wake``.

        For one thread at a time. Raises the error of a queue that can't be reached.
        """
        listening = self._threads() if timeout > 0 else {}  # those look at their queues themselves
        for name in names:
            reservation = None if name in listening else delivered_by(name, self._named(name).reserve(0))
            if reservation is not None:
                return [reservation]
        with self._changed:
            self._woken = False
            self._wanted = frozenset(names)
            for name in self._wanted.difference(self._listening):
                thread = threading.Thread(target=self._listen, args=(name,), name=f"zerog-listener-{name}", daemon=True)
                self._listening[name] = thread
                thread.start()
            self._changed.wait_for(lambda: self._reserved or self._trouble or self._woken, timeout)
            self._wanted = frozenset()
            reserved, self._reserved = self._reserved, []
            trouble, self._trouble = self._trouble, None
        if trouble is not None and not reserved:
            raise trouble
        return reserved

    def wake(self) -> None:
        """End a ``wait``, and those of the threads on their queues."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()
        for name in self._threads():
            self._named(name).wake()

    def close(self) -> None:
        """End the threads; ``wait`` must not be called any more."""
        for name, thread in self._threads().items():
            for _ in range(TRIES):  # a thread that is about to wait notices the next one
                self._named(name).wake()
                thread.join(PAUSE)
                if not thread.is_alive():
                    break

    def _threads(self) -> dict[str, threading.Thread]:
        with self._changed:
            return dict(self._listening)

    def _listen(self, name: str) -> None:
        while self._is_wanted(name):
            try:
                reservation = delivered_by(name, self._named(name).reserve(TURN))
            except (DatastoreError, QueueError) as error:
                self._fail(error)
                continue
            if reservation is not None and not self._hand_over(name, reservation):
                with suppress(QueueError):  # the entry returns later anyway
                    reservation.release()

    def _is_wanted(self, name: str) -> bool:
        with self._changed:
            if name not in self._wanted:
                self._listening.pop(name, None)
            return name in self._wanted

    def _hand_over(self, name: str, reservation: Reservation) -> bool:
        with self._changed:
            if name not in self._wanted:
                return False
            self._reserved.append(reservation)
            self._changed.notify_all()
            return True

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._trouble = error
            self._wanted = frozenset()
            self._changed.notify_all()
