"""A queue on a Redis server, the datastore's or another; its keys, and the work on them, are in ``script``.

Ready entries are in one sorted set, by priority and then by their number, which is lower for those that were put ahead;
delayed and reserved ones in another, by the time at which they return. That time is the server's.

An idle consumer waits in a blocking pop of a list that has at most one element. Each put adds that element if it is
missing, and so does each take that leaves entries behind: so one consumer after the other is woken as long as there is
work. A lost element costs only the wait for the end of that pop.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from zerog.backends.redis.script import ORDERS
from zerog.backends.redis.server import RedisServer, server_of
from zerog.backends.redis.url import PREFIX
from zerog.contracts.queue import DEFAULT, FAIR_SHARE, TTR, Entry, Queue, Reservation, check_delay, check_options
from zerog.exceptions import CorruptDocument, DatastoreError, InvalidValue, QueueUnavailable, ReservationLost
from zerog.records.job import check_uuid
from zerog.support.clock import SYSTEM, Clock


class RedisQueue(Queue):
    """The queue ``name`` on the server of a URL, for example ``redis://localhost:6379/0?prefix=shop``."""

    def __init__(
        self,
        server: RedisServer | str | None = None,
        name: str = DEFAULT,
        clock: Clock = SYSTEM,
        *,
        client: Any = None,
        prefix: str = PREFIX,
    ) -> None:
        """Take a URL, or the caller's own ``client`` and a ``prefix`` for it, as RedisDatastore does."""
        self.name = name
        self.server = server_of(server, clock, client, prefix)
        self.rejects = f"the list {self.server.prefix}q:{name}:rejected"
        self._waking = _Waking(self.server)

    def queue_named(self, name: str) -> RedisQueue:
        return self if name == self.name else RedisQueue(self.server, name)

    def put(self, uuid: str, delay: float = 0, priority: int = 0, ttr: float | None = None, front: bool = False) -> int:
        uuid = check_uuid(uuid)
        command = {"command": "put", "put": self.insert(uuid, delay, priority, ttr, front)}
        with translated(f"{uuid} was not put on {self.name}"):
            return int(self.server.one(command, f"queue {self.name}"))

    def reserve(self, timeout: float = 0) -> Reservation | None:
        deadline = self.server.clock.monotonic() + timeout
        while True:
            reservation = self._reserve_now()
            left = deadline - self.server.clock.monotonic()
            if reservation is not None or left <= 0:
                return reservation
            if self.wait(left, (self.name,)) is False:
                return self._reserve_now()

    def reserve_lowest(self) -> Reservation | None:
        return self._reserve_now(turn=str(FAIR_SHARE - 1))  # the turn in which the script takes the lowest priority

    def wake(self) -> None:
        self._waking.interrupt()

    def size(self) -> int:
        with translated(f"queue {self.name}"):
            return int(self.server.one({"command": "size", "queue": self.name}, f"queue {self.name}", writes=False))

    def holds(self, entry: Entry) -> bool | None:
        return self.holds_all([entry])[0]

    def holds_all(self, entries: Sequence[Entry]) -> list[bool | None]:
        command = {"command": "holds", "queue": self.name, "entries": [entry_of(entry) for entry in entries]}
        with translated(f"queue {self.name}"):
            answers = self.server.one(command, f"queue {self.name}", writes=False)
        return [answer == 1 for answer in answers]

    def withdraw(self, entry: Entry) -> bool:
        command = {"command": "withdraw", "queue": self.name, "entry": entry_of(entry)}
        with translated(f"queue {self.name}"):
            return bool(self.server.one(command, f"queue {self.name}"))

    def close(self) -> None:
        self.server.close()

    def insert(
        self, uuid: str, delay: float, priority: int, ttr: float | None = None, front: bool = False
    ) -> list[str]:
        """Return an entry as the script adds it, also within another command. Raises InvalidValue."""
        check_options(delay, priority, ttr)
        seconds = TTR if ttr is None else ttr
        return [self.name, uuid, repr(float(delay)), str(priority), repr(float(seconds)), "1" if front else ""]

    def wait(self, timeout: float, names: Sequence[str]) -> bool | None:
        """Wait until an entry of these queues may be ready (True) or ``wake`` is called (False).

        None if the time was over: ``timeout``, or that of a delayed entry.
        """
        is_ready, soonest = self._peek(names)
        if is_ready:
            return True
        if soonest >= 0:
            timeout = min(timeout, soonest / 1_000_000 + 0.001)
        with translated(f"queue {self.name}"):
            return self._waking.wait(timeout, [f"q:{name}:wake" for name in names])

    def is_ready(self, names: Sequence[str]) -> bool:
        """Return True if one of these queues has a ready entry."""
        return self._peek(names)[0]

    def _peek(self, names: Sequence[str]) -> tuple[bool, int]:
        with translated(f"queue {self.name}"):
            ready, soonest = self.server.one(
                {"command": "peek", "queues": list(names)}, f"queue {self.name}", writes=False
            )
        return ready == 1, int(soonest)

    def _reserve_now(self, **more: str) -> Reservation | None:
        token = new_reservation()
        with translated(f"queue {self.name}"):
            rejected, taken = self.server.one(taking([self.name], 1, reservation=token, **more), f"queue {self.name}")
        self.reject(rejected)
        return RedisReservation(self, taken[1].decode(), token) if taken else None


class RedisReservation(Reservation):
    """An entry that is withheld from other consumers under a reservation's name."""

    def __init__(self, queue: RedisQueue, entry: str, token: str) -> None:
        self.uuid = uuid_of(entry)
        self._queue = queue
        self._place = [queue.name, entry, token]

    def delete(self) -> None:
        self._change({"command": "drop", "entry": self._place})

    def release(self, delay: float = 0) -> None:
        check_delay(delay)
        self._change({"command": "release", "entry": self._place, "delay": repr(float(delay))})

    def _change(self, command: dict[str, Any]) -> Any:
        name = f"an entry of {self.uuid} on queue {self._queue.name}"
        with translated(name):
            answer = self._queue.server.one(command, name)
        if answer == 0:
            raise ReservationLost(f"{name} is not reserved here any more")
        return answer


def taking(names: Sequence[str], want: int, **more: str) -> dict[str, Any]:
    """Return the command that reserves up to ``want`` entries, from the first queues first."""
    return {"command": "take", "queues": list(names), "want": str(want), **more}


def entry_of(entry: Entry) -> str:
    """Return an entry as the script makes it at its put; an empty text if it is impossible."""
    number, uuid, priority, ttr = entry
    if type(number) is not int or abs(number) > ORDERS:
        return ""
    try:
        check_options(0, priority, ttr)
    except InvalidValue:
        return ""
    order = f"n{number:015d}" if number >= 0 else f"a{ORDERS + number + 1:015d}"
    return f"{order}:{priority}:{float(TTR if ttr is None else ttr)!r}:{uuid}"


def uuid_of(entry: str) -> str:
    """Return the uuid at the end of an entry."""
    return entry[-36:]


def new_reservation() -> str:
    """Return a name for one reservation, which distinguishes a late consumer from the present one."""
    return os.urandom(6).hex()


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Translate failures of the server, and keys there that are no queue's, into errors of a queue."""
    try:
        yield
    except (DatastoreError, CorruptDocument) as error:
        raise QueueUnavailable(f"{what}: {error}") from error


class _Waking:
    """A blocking pop that another thread can end, through a list that only this object pops from."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._list = f"wake:{os.getpid()}-{os.urandom(6).hex()}"
        self._waiting = 0
        self._lock = threading.Lock()

    def wait(self, timeout: float, lists: Sequence[str]) -> bool | None:
        """Wait for an element of the lists; False if ``interrupt`` was called, None if ``timeout`` was over."""
        if self._pid != os.getpid():
            self._begin()
        with self._lock:
            self._waiting += 1
        try:
            popped = self._server.wait([self._list, *lists], timeout)
            return None if popped is None else popped != self._list
        finally:
            with self._lock:
                self._waiting -= 1

    def interrupt(self) -> None:
        """Make a ``wait`` in another thread return."""
        if self._pid == os.getpid() and self._waiting:
            with suppress(DatastoreError):  # an unreachable server also ends the wait
                self._server.wake(self._list)
