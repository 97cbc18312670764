"""A queue in a PostgreSQL database, the datastore's or another; ``tables`` describes its table.

Each verb is one statement. An entry is withheld by its ``due``, not by a lock: consumers that are stopped keep nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from zerog.backends.postgres import statements
from zerog.backends.postgres.listener import Listener
from zerog.backends.postgres.server import PostgresServer, Rows
from zerog.contracts.queue import DEFAULT, TTR, Entry, Queue, Reservation, check_delay, check_options
from zerog.exceptions import DatastoreError, QueueUnavailable, ReservationLost
from zerog.records.job import check_uuid
from zerog.support.clock import SYSTEM, Clock

PROMOTED = 200
"""Due entries that become ready in one statement, at most."""


class PostgresQueue(Queue):
    """The queue ``name`` in the database of a URL, for example ``postgresql://user@host/database?schema=zerog``."""

    def __init__(
        self,
        server: PostgresServer | str,
        name: str = DEFAULT,
        clock: Clock = SYSTEM,
        listener: Listener | None = None,
    ) -> None:
        self.name = name
        self.server = PostgresServer(server, clock) if isinstance(server, str) else server
        self._listener = listener or Listener(self.server)

    def queue_named(self, name: str) -> PostgresQueue:
        return self if name == self.name else PostgresQueue(self.server, name)

    def put(self, uuid: str, delay: float = 0, priority: int = 0, ttr: float | None = None, front: bool = False) -> int:
        uuid = check_uuid(uuid)
        names = ("queue", "uuid", "priority", "due", "ttr")
        columns = dict(zip(names, self.insert(uuid, delay, priority, ttr), strict=True))
        with translated(f"{uuid} was not put on {self.name}"):
            ((identity, _notified),) = self.server.write(
                statements.PUT, {**columns, "ahead": front}, f"queue {self.name}"
            )
        return int(identity)

    def reserve(self, timeout: float = 0) -> Reservation | None:
        clock = self.server.clock
        deadline = clock.monotonic() + timeout
        while True:
            reservation = self._reserve_now()
            left = deadline - clock.monotonic()
            if reservation is not None or left <= 0:
                return reservation
            names = (self.name,)
            if self.wait(left, names, self.look(names)[1]) is False:
                return self._reserve_now()

    def reserve_lowest(self) -> Reservation | None:
        return self._reserve_now(statements.RESERVE_LOWEST)

    def wake(self) -> None:
        self._listener.wake()

    def size(self) -> int:
        ((size,),) = self.run(statements.SIZE, {"queue": self.name}, writes=False)
        return int(size)

    def holds(self, entry: Entry) -> bool | None:
        return self.holds_all([entry])[0]

    def holds_all(self, entries: Sequence[Entry]) -> list[bool | None]:
        ids = [entry.id for entry in entries if type(entry.id) is int and -(2**63) <= entry.id < 2**63]
        held: dict[int, str] = dict(self.run(statements.HELD, {"queue": self.name, "ids": ids}, writes=False))
        return [type(entry.id) is int and held.get(entry.id) == entry.uuid for entry in entries]

    def withdraw(self, entry: Entry) -> bool:
        if type(entry.id) is not int or not -(2**63) <= entry.id < 2**63:
            return False
        place = {"id": entry.id, "queue": self.name, "uuid": entry.uuid}
        return bool(self.run(statements.WITHDRAW_ENTRY, place, writes=True))

    def setup(self) -> list[str]:
        with translated(f"queue {self.name}"):
            return self.server.setup()

    def close(self) -> None:
        self._listener.close()
        self.server.close()

    # The rest is also for the engine of this backend.

    def insert(self, uuid: str, delay: float, priority: int, ttr: float | None) -> tuple[str, str, int, float, float]:
        """Return the columns of a new entry. Raises InvalidValue."""
        check_options(delay, priority, ttr)
        return self.name, uuid, priority, self.due_after(delay), TTR if ttr is None else float(ttr)

    def due_after(self, delay: float) -> float:
        """Return the ``due`` of an entry that returns after ``delay`` seconds."""
        return self.time() + delay if delay > 0 else 0.0

    def time(self) -> float:
        """Return the second of the server's clock."""
        return self.server.now().timestamp()

    def promote(self) -> bool:
        """Make due entries of all queues ready, first due first; True if there may be more."""
        made = self.run(statements.PROMOTE, {"now": self.time(), "most": PROMOTED}, writes=True)
        return len(made) >= PROMOTED

    def look(self, queues: Sequence[str]) -> tuple[bool, float | None]:
        """Return if one of the queues has something ready, or any queue something due; and when the next one is due."""
        ((is_ready, due),) = self.run(statements.READY, {"queues": list(queues)}, writes=False)
        return is_ready or (due is not None and due <= self.time()), due

    def wait(self, timeout: float, queues: Sequence[str], due: float | None) -> bool | None:
        """Wait until one of the queues may have an entry, until ``due``, or for ``timeout`` seconds.

        True if something was put, None if that isn't known, False if ``wake`` was called.
        """
        longest = self._listener.poll
        if due is not None:
            longest = min(longest, max(0.0, due - self.time()))
        return self._listener.wait(min(timeout, longest), queues)

    def _reserve_now(self, statement: str = statements.RESERVE_NEXT) -> Reservation | None:
        with translated(f"queue {self.name}"):
            ((is_due,),) = self.run(statements.IS_DUE, {"now": self.time()}, writes=False)
            while is_due:
                is_due = self.promote()
        token = random.SystemRandom().getrandbits(62)
        taken = self.run(statement, {"queue": self.name, "now": self.time(), "token": token}, writes=True)
        if not taken:
            return None
        ((identity, uuid),) = taken
        return _PostgresReservation(self, identity, uuid, token)

    def run(self, statement: str, parameters: Mapping[str, Any], writes: bool) -> Rows:
        """Execute a statement, with the errors of a queue."""
        with translated(f"queue {self.name}"):
            return self.server.run(statement, parameters, f"queue {self.name}", writes)


class _PostgresReservation(Reservation):
    def __init__(self, queue: PostgresQueue, identity: int, uuid: str, token: int) -> None:
        self.uuid = uuid
        self._queue = queue
        self._id = identity
        self._token = token

    def delete(self) -> None:
        self._change(statements.DELETE_ENTRY)

    def release(self, delay: float = 0) -> None:
        check_delay(delay)
        self._change(statements.RELEASE_ENTRY, due=self._queue.due_after(delay))

    def _change(self, statement: str, **parameters: Any) -> None:
        values = {"id": self._id, "token": self._token, **parameters}
        if not self._queue.run(statement, values, writes=True):
            raise self._lost()

    def _lost(self) -> ReservationLost:
        return ReservationLost(f"entry {self._id} of queue {self._queue.name} is not reserved here any more")


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Translate the datastore's errors to the queue's."""
    try:
        yield
    except DatastoreError as error:
        raise QueueUnavailable(f"{what}: {error}") from error
