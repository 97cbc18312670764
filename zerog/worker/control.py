"""The channel by which a running worker hears what operators want of it: two documents, read about once a second.

Nobody needs to reach the worker for that, only the datastore, whichever it is. While the datastore is away the last
orders stay in force; the lease tells of the outage.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from zerog.clock import Clock
from zerog.datastores.base import Datastore
from zerog.document import Document
from zerog.exceptions import CorruptDocument, ZerogError
from zerog.orders import QUEUES, Orders, cancels_in, drain_in, paused_in
from zerog.presence import worker_key

log = logging.getLogger("zerog")

PERIOD = 1.0
"""Seconds between two looks; the two reads cost 0.03 ms in SQLite and 0.2 ms on Redis."""


class Control:
    """Looks in a thread of its own.

    ``changed`` is told the orders when they are others than before. ``cancel`` is told, once for each time that it was
    asked for, the run of a job that is to be cancelled, as ``named``; it must not block.
    """

    def __init__(
        self,
        datastore: Datastore,
        worker: str,
        changed: Callable[[Orders], None],
        clock: Clock,
        cancel: Callable[[str], None] | None = None,
    ) -> None:
        self._datastore = datastore
        self._worker = worker
        self._changed = changed
        self._clock = clock
        self._cancel = cancel
        self._cancels = 0
        self._complaint = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="zerog-control", daemon=True)
        self.orders = Orders()
        """What holds now."""

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; doesn't wait for a look that is under way."""
        self._stop.set()

    def kept(self) -> Document:
        """What a new record of this worker must say, should somebody have removed the old one while it was away."""
        return {} if self.orders.drain is None else {"drain": self.orders.drain}

    def turn(self) -> None:
        """Look once. Raises what the datastore raises; then everything stays as it was."""
        record = self._datastore.read_with_cas(worker_key(self._worker), head=True)[0]
        paused = frozenset(paused_in(self._datastore.read_with_cas(QUEUES, head=True)[0]))
        drain = self.orders.drain if record is None else drain_in(record)
        new, self._cancels = ([], self._cancels) if record is None else cancels_in(record, self._cancels)
        if (orders := Orders(drain, paused)) != self.orders:
            self.orders = orders
            self._changed(orders)
        if self._cancel is not None:
            for uuid in new:
                self._cancel(uuid)

    def _loop(self) -> None:
        while not self._clock.wait(self._stop, PERIOD):
            try:
                self.turn()
                self._complaint = ""
            except Exception as error:  # a driver's or the system's, too: without this thread nobody would listen
                self._complain(error)

    def _complain(self, error: Exception) -> None:
        """Say once what goes wrong here; that the datastore is away is the lease's to tell."""
        if isinstance(error, ZerogError) and not isinstance(error, CorruptDocument):
            log.debug("worker %s can't see its orders, the last ones hold: %s", self._worker, error)
        elif str(error) != self._complaint:
            self._complaint = str(error)
            unknown = None if isinstance(error, ZerogError) else error
            log.warning(
                "worker %s can't read its orders, the last ones hold: %s", self._worker, error, exc_info=unknown
            )
