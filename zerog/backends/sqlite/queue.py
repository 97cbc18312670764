"""A queue in an SQLite file, the datastore's or another.

Entries are rows, in the order of their ids, which are negative for those that were put ahead. ``due`` is 0 for an
entry that is ready, otherwise the wall-clock second at which it returns: because it was delayed, or because it is
reserved and its time to run may end. Two partial indexes keep both look-ups flat however many entries wait.

An idle consumer binds a datagram socket and writes its name into ``zerog_waiters``; each put sends a byte to each name
after the commit. A lost datagram costs only the wait for the next poll.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from zerog.backends.sqlite import troubles
from zerog.backends.sqlite.file import SqliteFile
from zerog.backends.sqlite.wakeups import Waiter, send
from zerog.contracts.queue import DEFAULT, TTR, Entry, Queue, Reservation, check_delay, check_options
from zerog.contracts.troubles import Trouble
from zerog.exceptions import DatastoreError, InvalidUuid, QueueUnavailable, ReservationLost
from zerog.records.job import check_uuid
from zerog.support.checks import LONGEST_DELAY
from zerog.support.clock import SYSTEM, Clock

POLL = 1.0
"""Seconds between two polls of the file while no datagram arrives."""

ODD = f"""
typeof(uuid) <> 'text' OR length(uuid) <> 36 OR typeof(priority) <> 'integer'
OR typeof(ttr) NOT IN ('real', 'integer') OR ttr <= 0 OR ttr > {LONGEST_DELAY}
OR typeof(due) NOT IN ('real', 'integer') OR due < 0 OR due > {100 * LONGEST_DELAY}
""".strip()
"""An invalid entry, as foreign programs may write them. An index holds these, so the check costs nothing."""

REJECTED = 1_000
"""Number of rejected entries kept for inspection."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS zerog_queue (
    id INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    uuid,
    priority INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,
    ttr REAL NOT NULL DEFAULT 60,
    token INTEGER
);
CREATE TABLE IF NOT EXISTS zerog_rejected (
    queue TEXT NOT NULL,
    body
);
CREATE TABLE IF NOT EXISTS zerog_waiters (
    address TEXT PRIMARY KEY
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS zerog_odd ON zerog_queue (id) WHERE {odd};
CREATE INDEX IF NOT EXISTS zerog_ready ON zerog_queue (queue, priority DESC, id) WHERE due = 0;
CREATE INDEX IF NOT EXISTS zerog_later ON zerog_queue (due) WHERE due > 0
""".replace("{odd}", ODD)

NEXT = "SELECT id, uuid, ttr FROM zerog_queue WHERE due = 0 AND queue = :queue ORDER BY priority DESC, id LIMIT :want"

ENDS = """
SELECT (SELECT priority FROM zerog_queue WHERE due = 0 AND queue = :queue ORDER BY priority DESC LIMIT 1),
    (SELECT priority FROM zerog_queue WHERE due = 0 AND queue = :queue ORDER BY priority LIMIT 1)
"""

PROMOTE = """
UPDATE zerog_queue SET due = 0, token = NULL
WHERE id IN (SELECT id FROM zerog_queue WHERE due > 0 AND due <= ? ORDER BY due LIMIT ?)
"""

PROMOTED = 200
"""Due entries that become ready in one transaction, at most: other processes wait for it."""

HELD = "SELECT id, CAST(uuid AS BLOB) FROM zerog_queue WHERE queue = ? AND id IN ({})"

WITHDRAW = "DELETE FROM zerog_queue WHERE id = ? AND queue = ? AND uuid = ?"

HELD_AT_ONCE = 500
"""Ids in one query at most."""

LOWEST = """
SELECT id, uuid, ttr FROM zerog_queue
WHERE due = 0 AND queue = :queue
    AND priority = (SELECT priority FROM zerog_queue WHERE due = 0 AND queue = :queue ORDER BY priority LIMIT 1)
ORDER BY id LIMIT :want
"""


class SqliteQueue(Queue):
    """The queue ``name`` in the file ``path``."""

    def __init__(
        self,
        path: str | Path,
        name: str = DEFAULT,
        synchronous: str = "full",
        clock: Clock = SYSTEM,
        file: SqliteFile | None = None,
    ) -> None:
        self.name = name
        self.file = file or SqliteFile(path, synchronous)
        self.rejects = f"the table zerog_rejected of {self.file.path}"
        self._made = self.file.require(SCHEMA)
        self._clock = clock
        self._waiter = Waiter(self.file)

    def queue_named(self, name: str) -> SqliteQueue:
        return self if name == self.name else SqliteQueue(self.file.path, name, clock=self._clock, file=self.file)

    def put(self, uuid: str, delay: float = 0, priority: int = 0, ttr: float | None = None, front: bool = False) -> int:
        uuid = check_uuid(uuid)
        with _translated(f"{uuid} was not put on {self.name}"), self.file.writing() as sqlite:
            identity = self.insert(sqlite, uuid, delay, priority, ttr, front)
            waiters = self.waiters(sqlite)
        self.notify(waiters)
        return identity

    def reserve(self, timeout: float = 0) -> Reservation | None:
        deadline = self._clock.monotonic() + timeout
        while True:
            reservation = self._reserve_now()
            left = deadline - self._clock.monotonic()
            if reservation is not None or left <= 0:
                return reservation
            if not self.wait(left):
                return self._reserve_now()

    def reserve_lowest(self) -> Reservation | None:
        return self._reserve_now(lowest=True)

    def wake(self) -> None:
        self._waiter.interrupt()

    def size(self) -> int:
        with _translated(f"queue {self.name}"), self.file.reading() as sqlite:
            return int(sqlite.execute("SELECT count(*) FROM zerog_queue WHERE queue = ?", (self.name,)).fetchone()[0])

    def holds(self, entry: Entry) -> bool | None:
        return self.holds_all([entry])[0]

    def holds_all(self, entries: Sequence[Entry]) -> list[bool | None]:
        held: dict[Any, bytes] = {}
        ids = [entry.id for entry in entries if type(entry.id) is int and -(2**63) <= entry.id < 2**63]
        with _translated(f"queue {self.name}"), self.file.reading() as sqlite:
            for start in range(0, len(ids), HELD_AT_ONCE):
                some = ids[start : start + HELD_AT_ONCE]
                held.update(sqlite.execute(HELD.format(", ".join("?" * len(some))), (self.name, *some)))
        return [type(entry.id) is int and held.get(entry.id) == entry.uuid.encode() for entry in entries]

    def withdraw(self, entry: Entry) -> bool:
        if type(entry.id) is not int or not -(2**63) <= entry.id < 2**63:
            return False
        with _translated(f"queue {self.name}"), self.file.writing() as sqlite:
            return sqlite.execute(WITHDRAW, (entry.id, self.name, entry.uuid)).rowcount > 0

    def setup(self) -> list[str]:
        made, self._made = self._made, []
        with _translated(f"queue {self.name}"):
            return made + self.file.require(SCHEMA)

    def troubles(self) -> list[Trouble]:
        return [*troubles.troubles(self.file.path)]

    def close(self) -> None:
        self._waiter.close()
        self.file.close()

    def _reserve_now(self, lowest: bool = False) -> Reservation | None:
        with _translated(f"queue {self.name}"):
            more = True
            while more:
                with self.file.reading() as sqlite:
                    if self.is_empty(sqlite):
                        return None
                with self.file.writing() as sqlite:
                    more = self.promote(sqlite)
                    rows = self.take(sqlite, 1, lowest)
                    if rows:
                        return self._reserve_row(sqlite, *rows[0])
        return None

    def _reserve_row(self, sqlite: sqlite3.Connection, identity: int, uuid: str, ttr: float) -> Reservation:
        token = random.SystemRandom().getrandbits(62)
        sqlite.execute(
            "UPDATE zerog_queue SET due = ?, token = ? WHERE id = ?",
            (self.now() + ttr, token, identity),
        )
        return _SqliteReservation(self, identity, uuid, token)

    # The rest is also for the engine of this backend.

    def is_empty(self, sqlite: sqlite3.Connection) -> bool:
        """Return True if nothing is ready or due, without taking the writers' lock."""
        query = (
            "SELECT EXISTS (SELECT 1 FROM zerog_queue WHERE due = 0 AND queue = ?)"
            " OR EXISTS (SELECT 1 FROM zerog_queue WHERE due > 0 AND due <= ?)"
        )
        return not sqlite.execute(query, (self.name, self.now())).fetchone()[0]

    def insert(
        self,
        sqlite: sqlite3.Connection,
        uuid: str,
        delay: float,
        priority: int,
        ttr: float | None = None,
        front: bool = False,
    ) -> int:
        """Add an entry within a transaction. Raises InvalidValue."""
        check_options(delay, priority, ttr)
        due = self.now() + delay if delay > 0 else 0
        values = (self.name, uuid, priority, due, TTR if ttr is None else ttr)
        # Neither -1 nor 0, which mean "not on a queue".
        place = "min(coalesce(min(id), 0), -1) - 1" if front else "max(coalesce(max(id), 0), 0) + 1"
        place = f"(SELECT {place} FROM zerog_queue)"
        statement = f"INSERT INTO zerog_queue (id, queue, uuid, priority, due, ttr) VALUES ({place}, ?, ?, ?, ?, ?)"
        identity = sqlite.execute(statement, values).lastrowid
        assert identity is not None
        return identity

    def promote(self, sqlite: sqlite3.Connection) -> bool:
        """Make due entries ready, on all queues of the file, first due first, and set invalid ones aside.

        True if there may be more.
        """
        self._reject_odd(sqlite)
        return sqlite.execute(PROMOTE, (self.now(), PROMOTED)).rowcount >= PROMOTED

    def ends(self, sqlite: sqlite3.Connection) -> tuple[int, ...]:
        """Return the highest and the lowest priority of the ready entries; empty if none is ready."""
        row = sqlite.execute(ENDS, {"queue": self.name}).fetchone()
        return () if row[0] is None else row

    def take(self, sqlite: sqlite3.Connection, want: int, lowest: bool = False) -> list[tuple[int, str, float]]:
        """Return the next ready entries as (id, uuid, ttr), still on the queue; bodies that are no uuid are set aside.

        ``lowest``: those of the lowest priority, the oldest first.
        """
        query = LOWEST if lowest else NEXT
        taken: list[tuple[int, str, float]] = []
        while len(taken) < want:
            try:
                rows = sqlite.execute(query, {"queue": self.name, "want": want}).fetchall()
            except sqlite3.OperationalError as error:
                if "decode" not in str(error):
                    raise
                self._reject_undecodable(sqlite)
                continue
            good = []
            for row in rows:
                try:
                    check_uuid(row[1])
                    good.append(row)
                except InvalidUuid:
                    self._reject(sqlite, row[0])
            taken = good
            if len(good) == len(rows):
                break
        return taken

    def waiters(self, sqlite: sqlite3.Connection) -> list[str]:
        """Return the addresses of the waiting consumers."""
        return [address for (address,) in sqlite.execute("SELECT address FROM zerog_waiters")]

    def notify(self, addresses: list[str]) -> None:
        """Wake those consumers; forget addresses without a listener."""
        dead = [address for address in addresses if not send(address)]
        if dead:
            with suppress(DatastoreError), self.file.writing() as sqlite:  # the entries are put in any case
                sqlite.executemany("DELETE FROM zerog_waiters WHERE address = ?", [(address,) for address in dead])

    def wait(self, timeout: float) -> bool:
        """Wait until an entry may be ready or ``timeout`` has passed; False if ``wake`` was called."""
        with _translated(f"queue {self.name}"):
            with self.file.reading() as sqlite:
                query = "SELECT min(due) FROM zerog_queue WHERE due > 0 AND due < ?"
                due = sqlite.execute(query, (100 * LONGEST_DELAY,)).fetchone()[0]
            longest = POLL if due is None else min(POLL, max(0.0, due - self.now()))
            return self._waiter.wait(min(timeout, longest))

    def _reject_undecodable(self, sqlite: sqlite3.Connection) -> None:
        """Set aside entries whose text is no UTF-8, which can't even be read as text."""
        query = "SELECT id, CAST(uuid AS BLOB), ttr FROM zerog_queue WHERE queue = ? AND typeof(uuid) = 'text'"
        for row in sqlite.execute(query, (self.name,)).fetchall():
            try:
                row[1].decode()
            except UnicodeDecodeError:
                self._reject(sqlite, row[0])

    def _reject_odd(self, sqlite: sqlite3.Connection) -> None:
        for (identity,) in sqlite.execute(f"SELECT id FROM zerog_queue WHERE {ODD} LIMIT {REJECTED}").fetchall():
            self._reject(sqlite, identity)

    def _reject(self, sqlite: sqlite3.Connection, identity: int) -> None:
        sqlite.execute("INSERT INTO zerog_rejected SELECT queue, uuid FROM zerog_queue WHERE id = ?", (identity,))
        sqlite.execute("DELETE FROM zerog_queue WHERE id = ?", (identity,))
        sqlite.execute(f"DELETE FROM zerog_rejected WHERE rowid <= last_insert_rowid() - {REJECTED}")
        self.reject(1)

    def now(self) -> float:
        """Return the seconds since the epoch by the clock of this queue."""
        return self._clock.now().timestamp()


class _SqliteReservation(Reservation):
    def __init__(self, queue: SqliteQueue, identity: int, uuid: str, token: int) -> None:
        self.uuid = uuid
        self._queue = queue
        self._id = identity
        self._token = token

    def delete(self) -> None:
        self._change("DELETE FROM zerog_queue WHERE id = ? AND token = ?", ())

    def release(self, delay: float = 0) -> None:
        check_delay(delay)
        due = self._queue.now() + delay if delay > 0 else 0
        self._change("UPDATE zerog_queue SET token = NULL, due = ? WHERE id = ? AND token = ?", (due,))
        if not delay:
            with suppress(DatastoreError), self._queue.file.reading() as sqlite:
                self._queue.notify(self._queue.waiters(sqlite))

    def _change(self, statement: str, values: tuple[Any, ...]) -> None:
        with _translated(self._name), self._queue.file.writing() as sqlite:
            changed = sqlite.execute(statement, (*values, self._id, self._token)).rowcount
        if not changed:
            raise self._lost()

    @property
    def _name(self) -> str:
        return f"entry {self._id} of queue {self._queue.name}"

    def _lost(self) -> ReservationLost:
        return ReservationLost(f"{self._name} is not reserved here any more")


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except DatastoreError as error:
        raise QueueUnavailable(f"{what}: {error}") from error
