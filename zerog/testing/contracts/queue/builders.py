"""Shared by the rules of queues."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from zerog.contracts.queue import Queue, Reservation
from zerog.records.job import new_uuid
from zerog.testing.clock import ManualClock

LIMIT = 20.0
"""Seconds after which a test fails that waits for an immediate event."""


class QueueRules:
    """Capabilities of a queue, making one busy, advancing the time.

    ``has_priorities``, ``has_names``: it has priorities, and queues of other names. ``can_wake``: ``wake`` ends a wait.
    ``can_put_ahead``: it heeds ``ahead``. ``knows_lowest``: ``reserve_lowest`` returns the oldest of the lowest
    priority. ``knows_what_it_holds``: ``holds`` sometimes returns True or False.
    """

    has_priorities = True
    has_names = True
    can_wake = True
    can_put_ahead = True
    knows_lowest = True
    knows_what_it_holds = True

    @pytest.fixture
    def clock(self) -> ManualClock:
        """Return the clock of the queue."""
        return ManualClock()

    @pytest.fixture
    def another(self, queue: Queue) -> Queue:
        """Return a second handle on the same entries; the same object if there can't be two."""
        return queue

    def pass_time(self, clock: ManualClock, seconds: float) -> None:
        """Advance the time for the queue."""
        clock.advance(seconds)

    def put_raw(self, queue: Queue, body: Any) -> None:
        """Put any body, as a foreign program could. Overridden for each adapter where that is possible."""
        pytest.skip("this adapter has no way to put another body")

    def bad_entries(self, queue: Queue) -> Mapping[str, Callable[[], Any]]:
        """Return, by fault, a function that writes a bad entry as a foreign program could.

        Wrong uuids, binary and huge bodies, options of the wrong kind or out of any range: anything that the server or
        file accepts. Overridden for each adapter where that is possible.
        """
        return {}

    def put(self, queue: Queue, count: int, **options: Any) -> list[str]:
        """Put so many new uuids."""
        uuids = [new_uuid() for _ in range(count)]
        for uuid in uuids:
            queue.put(uuid, **options)
        return uuids

    def drained(self, queue: Queue) -> list[str]:
        """Remove and return all ready uuids, in the order of delivery."""
        uuids = []
        while (reservation := queue.reserve()) is not None:
            uuids.append(reservation.uuid)
            reservation.delete()
        return uuids

    def reserved(self, queue: Queue) -> Reservation:
        """Reserve the next entry, which must exist."""
        reservation = queue.reserve()
        assert reservation is not None
        return reservation

    def together(self, count: int, call: Callable[[int], Any]) -> list[Any]:
        """Return the results of ``call(n)`` in each of so many threads that start together."""
        barrier = Barrier(count)

        def run(n: int) -> Any:
            barrier.wait()
            return call(n)

        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(run, range(count)))

    def require(self, capability: bool) -> None:
        """Skip the test if the adapter declares that it can't do this."""
        if not capability:
            pytest.skip("this adapter declares that it can't do this")
