"""Poll the orders that operators give a running worker: a few documents, read about once a second.

Operators need no connection to the worker for that, only to the datastore, whichever it is. While the datastore is
unavailable the last orders stay in force; the lease logs the outage.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from zerog.contracts.datastore import Datastore
from zerog.exceptions import CorruptDocument, DatastoreError, ZerogError
from zerog.records.commands import WorkerCommands, cancels_in, drain_in, held_in, paused_in
from zerog.records.job import Document
from zerog.records.keys import QUEUES, TYPES, worker_key
from zerog.records.settings import read_settings
from zerog.records.worker import read_record
from zerog.support.clock import Clock

log = logging.getLogger("zerog")

T = TypeVar("T")

HELD = "jobs of type {} are held by an operator"
"""Reason for which a job is left."""

PERIOD = 1.0
"""Seconds between two polls; the three reads cost 0.05 ms in SQLite and 0.3 ms on Redis."""


class CommandPoller:
    """Polls the orders in a separate thread.

    ``changed`` is called with the orders when they have changed. ``cancel`` is called, once for each request, with the
    run of a job that is to be cancelled, as ``run_name`` makes it; it must not block.
    """

    def __init__(
        self,
        datastore: Datastore,
        worker: str,
        changed: Callable[[WorkerCommands], None],
        clock: Clock,
        cancel: Callable[[str], None] | None = None,
        role: str | None = None,
    ) -> None:
        self._datastore = datastore
        self._worker = worker
        self._changed = changed
        self._clock = clock
        self._cancel = cancel
        self._role = role
        self._cancels = 0
        self._complaint = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="zerog-control", daemon=True)
        self.orders = WorkerCommands()
        """The orders in force."""

    def start(self) -> None:
        """Start polling."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """True while its thread runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop polling; doesn't wait for a poll that is under way."""
        self._stop.set()

    def kept(self) -> Document:
        """Return what a new record of this worker must contain, if the old one was removed while it was unreachable."""
        return {} if self.orders.drain is None else {"drain": self.orders.drain}

    def turn(self) -> None:
        """Poll once. A part of the orders that can't be read stays as it was, and is logged once.

        Raises what the datastore raises when it is unavailable; then everything stays as it was.
        """
        record, wrong, _ = read_record(self._datastore, worker_key(self._worker))
        queues, wrong_queues, _ = read_record(self._datastore, QUEUES)
        types, wrong_types, _ = read_record(self._datastore, TYPES)
        damage = [*wrong, *wrong_queues, *wrong_types]
        if wrong:  # other workers would see no heartbeat in it; the next beat makes a new record
            with suppress(DatastoreError):
                self._datastore.delete(worker_key(self._worker))
        drain, paused, held, new = self.orders.drain, self.orders.paused, self.orders.held, list[str]()
        if not wrong and record is not None:
            drain = _part(lambda: drain_in(record), drain, damage)
            new, self._cancels = _part(lambda: cancels_in(record, self._cancels), (new, self._cancels), damage)
        if not wrong_queues:
            paused = _part(lambda: frozenset(paused_in(queues)), paused, damage)
        if not wrong_types:
            held = _part(lambda: frozenset(held_in(types)), held, damage)
        role_queues = _part(self._role_queues, self.orders.queues, damage)
        self._note_damage("; ".join(damage))
        if (orders := WorkerCommands(drain, paused, held, role_queues)) != self.orders:
            self.orders = orders
            self._changed(orders)
        if self._cancel is not None:
            for uuid in new:
                self._cancel(uuid)

    def _role_queues(self) -> tuple[str, ...] | None:
        """Return the queues of the role; those that it had if nothing is set any more. Raises CorruptDocument."""
        if self._role is None:
            return None
        return read_settings(self._datastore).roles.get(self._role, self.orders.queues)

    def _loop(self) -> None:
        while not self._clock.wait(self._stop, PERIOD):
            try:
                self.turn()
            except Exception as error:  # a driver's or the system's, too: no other thread polls the orders
                self._complain(error)

    def _note_damage(self, damage: str) -> None:
        """Log what is damaged in the orders, once for as long as it is the same."""
        if damage and damage != self._complaint:
            log.warning("worker %s can't read its orders, the last ones hold: %s", self._worker, damage)
        self._complaint = damage

    def _complain(self, error: Exception) -> None:
        """Log an unexpected error once; outages of the datastore are logged by the lease."""
        if isinstance(error, ZerogError):
            log.debug("worker %s can't see its orders, the last ones hold: %s", self._worker, error)
        elif str(error) != self._complaint:
            self._complaint = str(error)
            log.warning("worker %s can't read its orders, the last ones hold: %s", self._worker, error, exc_info=error)


def _part(read: Callable[[], T], last: T, damage: list[str]) -> T:
    """Return one part of the orders, or its last value if it is damaged, which is added to ``damage``."""
    try:
        return read()
    except CorruptDocument as error:
        damage.append(str(error))
        return last
