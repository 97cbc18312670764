"""The queue contract: uuids to be delivered, at least once.

A queue may lose, repeat, reorder or delay anything without a job being lost: the documents are the truth, and
``reconcile`` puts missing entries again. It must not invent a uuid. ``zerog.testing.contracts.queue`` defines all this
by tests.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import isfinite
from typing import Any, ClassVar, NamedTuple

from zerog.contracts.troubles import Trouble
from zerog.exceptions import ConfigurationError, InvalidValue, QueueUnavailable, ZerogError
from zerog.records.job import check_uuid
from zerog.support.callables import takes_keyword

log = logging.getLogger("zerog")

DEFAULT = "default"
"""The queue of a job unless another is named."""

LONGEST_IDENTITY = 200
"""Characters kept of an entry's id from a foreign queue object."""

TTR = 60.0
"""Seconds for which a reserved entry is withheld from other consumers."""

FAIR_SHARE = 10
"""Every FAIR_SHARE-th claim takes the oldest job of the lowest priority, of the last queue that has any, so that low
priorities don't starve."""

PUT_TAKES = frozenset(["uuid", "delay", "priority", "ttr", "front"])
"""Parameters that the ``put`` of every queue takes."""


class Entry(NamedTuple):
    """The identity of an entry: the answer of its ``put``, and the arguments."""

    id: Any
    uuid: str
    priority: int = 0
    ttr: float | None = None


class Reservation:
    """One delivery, withheld from other consumers until it is deleted, released or its time is over."""

    uuid: str
    queue: str | None = None
    """The name of the queue that delivered it; None if the engine doesn't know."""

    def delete(self) -> None:
        """Remove the entry from the queue. Raises ReservationLost if another consumer has reserved it by now."""
        raise NotImplementedError

    def release(self, delay: float = 0) -> None:
        """Release the entry, to be delivered again after ``delay`` seconds.

        Raises ReservationLost, InvalidValue (a negative delay).
        """
        raise NotImplementedError


class Queue:
    """One named queue. Calls may be made from any thread and, after a fork, from the child."""

    name: str = DEFAULT
    shared: ClassVar[bool] = True
    """True if other processes see the same entries."""
    sets_aside: ClassVar[bool] = True
    """True if entries that a worker refuses may be moved to other queues here: only ZeroG's workers serve it."""
    rejected: int = 0
    """Number of entries that this object rejected because they lead to no job: no uuid, or invalid options."""
    rejects: str = ""
    """Place of the latest rejected entries, for inspection."""

    def put(
        self, uuid: str, delay: float = 0, priority: int = 0, ttr: float | None = None, front: bool = False
    ) -> int | str:
        """Add an entry, deliverable after ``delay`` seconds, higher ``priority`` first, then oldest first.

        ``front``: ahead of other entries of its priority, for a job that had its turn and lost it; a queue without an
        order may ignore it. Returns the queue's own id of the entry. Raises InvalidUuid, InvalidValue (a negative
        delay, a time to run of 0), QueueUnavailable (nothing was put).
        """
        raise NotImplementedError

    def takes(self, option: str) -> bool:
        """True if ``put`` takes an option of this name beside those of the contract, for options of ``enqueue``."""
        return takes_keyword(self.put, option)

    def reserve(self, timeout: float = 0) -> Reservation | None:
        """Return the next entry, or None if none arrives within ``timeout`` seconds. Reject bodies that are no uuid."""
        raise NotImplementedError

    def reserve_lowest(self) -> Reservation | None:
        """Return the oldest entry of the lowest priority, without waiting, so that low priorities don't starve.

        An adapter that can't determine that entry returns the next one, as ``reserve``.
        """
        return self.reserve(0)

    def wake(self) -> None:
        """Make a ``reserve`` that waits in another thread return early. An adapter without it just waits longer."""

    def size(self) -> int:
        """Return the number of entries on the queue: waiting, delayed and reserved."""
        raise NotImplementedError

    def holds(self, entry: Entry) -> bool | None:
        """Return True if an entry is on the queue: ready, delayed or reserved. None if the queue can't find out.

        False makes reconcile put the job again at once. An entry with invalid fields is on no queue. Raises
        QueueUnavailable.
        """
        return None

    def holds_all(self, entries: Sequence[Entry]) -> list[bool | None]:
        """Return the result of ``holds`` for each entry, in one round trip where the server can."""
        return [self.holds(entry) for entry in entries]

    def withdraw(self, entry: Entry) -> bool:
        """Take an entry off the queue, reserved or not; False if it isn't there, or if the queue can't.

        A consumer that has reserved it gets ReservationLost. Raises QueueUnavailable.
        """
        return False

    def reject(self, count: int) -> None:
        """Count entries that were rejected because they can lead to no job, and log where they are kept."""
        if count:
            self.rejected += count
            kept = f"kept in {self.rejects}" if self.rejects else "not kept"
            log.warning("queue %s: %d entries that lead to no job were set aside, %s", self.name, count, kept)

    def setup(self) -> list[str]:
        """Create what the server lacks before its first use.

        Safe to repeat, and to run concurrently. Returns the names of what this object has created, now or when it was
        opened, and has not returned yet. Raises QueueUnavailable.
        """
        return []

    def troubles(self) -> Sequence[Trouble]:
        """Return faults of the store of the entries, for ``zerog doctor``. Raises QueueUnavailable."""
        return []

    def queue_named(self, name: str) -> Queue:
        """Return the queue of another name on the same server. Raises ConfigurationError if there can be only one."""
        if name == self.name:
            return self
        raise ConfigurationError(f"{type(self).__name__} has the one queue {self.name!r}, not {name!r}")

    def close(self) -> None:
        """Close the connections. Harmless when repeated."""


class _Wrapped(Queue):
    """A queue around an object that has only ``put`` (enough to submit) and perhaps ``reserve``."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self.name = getattr(queue, "name", DEFAULT)

    def put(
        self,
        uuid: str,
        delay: float = 0,
        priority: int = 0,
        ttr: float | None = None,
        front: bool = False,
        **options: Any,
    ) -> int | str:
        uuid = check_uuid(uuid)
        check_options(delay, priority, ttr)
        given = {"delay": delay, "priority": priority, "ttr": ttr}
        options.update((name, value) for name, value in given.items() if value)
        with _translated(f"{uuid} was not put on {self._queue!r}"):
            identity: object = self._queue.put(uuid, **options)
        if identity is None or identity is False:
            raise QueueUnavailable(f"{uuid} was not put on {self._queue!r}: its put answered {identity}")
        if isinstance(identity, (int, str)) and identity is not True:
            return identity
        return str(identity)[:LONGEST_IDENTITY]

    def takes(self, option: str) -> bool:
        return takes_keyword(self._queue.put, option)

    def reserve(self, timeout: float = 0) -> Reservation | None:
        if not callable(getattr(self._queue, "reserve", None)):
            raise QueueUnavailable(f"{self._queue!r} has no reserve(timeout), so nothing can be taken from it here")
        with _translated(f"nothing was taken from {self._queue!r}"):
            reservation = self._queue.reserve(timeout)
        return None if reservation is None else _WrappedReservation(reservation)

    def size(self) -> int:
        if not callable(getattr(self._queue, "size", None)):
            raise QueueUnavailable(f"{self._queue!r} has no size(), so its length is unknown")
        with _translated(f"the size of {self._queue!r} is unknown"):
            return int(self._queue.size())


class _WrappedReservation(Reservation):
    """A delivery of a foreign object."""

    def __init__(self, reservation: Any) -> None:
        self._reservation = reservation
        self.uuid = reservation.uuid

    def delete(self) -> None:
        with _translated(f"the delivery of {self.uuid} was perhaps not deleted"):
            self._reservation.delete()

    def release(self, delay: float = 0) -> None:
        with _translated(f"the delivery of {self.uuid} was perhaps not released"):
            self._reservation.release(delay)


def delivered_by(name: str, reservation: Reservation | None) -> Reservation | None:
    """Note on a delivery the name of the queue that made it."""
    if reservation is not None:
        reservation.queue = name
    return reservation


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Translate a driver's errors to QueueUnavailable; ZeroG's own exceptions stay as they are."""
    try:
        yield
    except ZerogError:
        raise
    except Exception as error:
        raise QueueUnavailable(f"{what}: {error!r:.200}") from error


def as_queue(queue: Any) -> Queue:
    """Return ``queue`` itself, or a queue around an object that has ``put``."""
    if isinstance(queue, Queue):
        return queue
    if not callable(getattr(queue, "put", None)):
        raise TypeError(f"{queue!r} is no queue: it has no put(uuid)")
    return _Wrapped(queue)


def check_delay(delay: float) -> None:
    """Refuse a delay that isn't a number of seconds. Raises InvalidValue."""
    if type(delay) not in (int, float) or not delay >= 0 or not isfinite(delay):
        raise InvalidValue(f"a delay of {delay!r:.80} seconds; expected 0 or more. The queue was not changed.")


def check_options(delay: float, priority: int, ttr: float | None) -> None:
    """Refuse arguments that ``put`` can't honour. Raises InvalidValue."""
    check_delay(delay)
    if type(priority) is not int or not -(2**31) <= priority < 2**31:
        raise InvalidValue(f"a priority of {priority!r:.80}; expected an integer of 32 bits. Nothing was put.")
    if ttr is not None and (type(ttr) not in (int, float) or not ttr > 0 or not isfinite(ttr)):
        raise InvalidValue(f"a ttr (time to run) of {ttr!r:.80} seconds; expected more than 0. Nothing was put.")
