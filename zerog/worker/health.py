"""Whether a worker is well, told to whoever started it."""

from __future__ import annotations

import logging

from zerog.clock import Clock
from zerog.transitions import Worker
from zerog.worker.lease import Lease
from zerog.worker.notify import Notifier
from zerog.worker.store import Store

log = logging.getLogger("zerog")

STUCK_AFTER = 180.0
"""Seconds after which a thread that didn't come round is stuck. A call of the datastore or the queue may take long
while they can't be reached, but their adapters give up by themselves: SQLite, the slowest, within two minutes."""


class Health:
    """Looks at the threads that a worker can't do without."""

    def __init__(self, worker: Worker, store: Store, lease: Lease, notifier: Notifier, clock: Clock) -> None:
        self._worker = worker
        self._store = store
        self._lease = lease
        self._notifier = notifier
        self._clock = clock
        self._stuck: str | None = None

    def report(self) -> None:
        """Tell who started this worker that it is well, unless one of its threads is stuck."""
        stuck = self._find_stuck()
        if stuck is None:
            self._notifier.beat(self._status(), is_ready=self._store.answered and self._lease.held)
        elif self._stuck is None:
            log.error("worker %s: %s has not come round for more than %.0f s", self._worker.name, stuck, STUCK_AFTER)
        self._stuck = stuck

    def _find_stuck(self) -> str | None:
        """A thread that doesn't come round although nothing keeps it. Waiting for a datastore that is away is no fault.

        While the lease can't be renewed the datastore is away, and the store thread may wait for it for any time.
        """
        now = self._clock.monotonic()
        if now - self._lease.turned > self._worker.lease / 3 + STUCK_AFTER:
            return "the thread that renews the lease"
        if self._lease.held and now - max(self._store.turned, self._lease.held_since) > STUCK_AFTER:
            return "the thread that settles and claims"
        return None

    def _status(self) -> str:
        store = self._store
        if not (store.answered and self._lease.held):
            return "waiting for the datastore"
        ended = ", ".join(f"{store.counts[name]} {name}" for name in ("succeeded", "failed", "requeued", "lost"))
        return f"{store.in_flight()} jobs claimed; {ended}"
