"""One SQLite file: connections per thread, transactions that wait their turn, errors in ZeroG's own names.

Writers of several processes take turns on a lock file beside the database before they begin a transaction: SQLite's
own waiting sleeps in growing steps and leaves the file idle meanwhile. The transaction itself stays SQLite's, so a
program that ignores the lock file does no harm.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zerog.clock import SYSTEM
from zerog.exceptions import AmbiguousWrite, ConfigurationError, DatastoreUnavailable
from zerog.lockholder import lock_holder

log = logging.getLogger("zerog")

BUSY_SECONDS = 60.0
"""How long a transaction waits for others before it gives up with DatastoreUnavailable."""

TELL_SECONDS = 5.0
"""After how long a transaction that waits for its turn says so, once."""

FORK_SECONDS = 5.0
"""How long a fork waits for another thread's statements."""

SYNCHRONOUS = {"full": "fsync", "normal": "process"}
"""The settings that may be asked for, and what survives a power cut with each. With ``normal`` a crash of processes
loses nothing, but a power cut may take the last commits (https://www.sqlite.org/pragma.html#pragma_synchronous)."""


class SqliteFile:
    """Connections to one database file. Safe to share between threads; a forked child opens its own."""

    def __init__(self, path: str | Path, synchronous: str = "full") -> None:
        if synchronous not in SYNCHRONOUS:
            raise ConfigurationError(f"synchronous={synchronous!r}; expected {' or '.join(SYNCHRONOUS)}")
        self.path = os.path.abspath(path)
        self.synchronous = synchronous
        self._local = threading.local()
        self._all: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self._was_there = self._was_writable = False
        with self.reading():
            pass  # a wrong path fails here, at the start
        self._was_there = True

    def require(self, schema: str) -> list[str]:
        """Make the tables and indexes of ``schema`` (statements ending in ;) unless they are there already.

        Returns the names of those it has made.
        """
        wanted = re.findall(r"IF NOT EXISTS (\w+)", schema)
        with self.reading() as sqlite:
            if not _missing(sqlite, wanted):
                return []
        with self.writing() as sqlite:
            missing = _missing(sqlite, wanted)
            for statement in schema.split(";"):
                sqlite.execute(statement)
        return missing

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection outside any transaction: each statement sees the latest committed state."""
        with self._translated():
            connection = self._enter()
            try:
                yield connection.sqlite
            finally:
                connection.leave()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is committed at the end, or undone if anything is raised."""
        with self._translated():
            connection = self._enter()
            try:
                connection.lock(self.path)
                sqlite = connection.sqlite
                sqlite.execute("BEGIN IMMEDIATE")
                self._was_writable = True
                try:
                    yield sqlite
                except BaseException:
                    self._undo(connection)
                    raise
                self._commit(connection)
            finally:
                connection.unlock()
                connection.leave()

    def close(self) -> None:
        """Close every connection of this process. A later call opens new ones."""
        for connection in list(self._all):
            with connection.using:
                if connection.pid == os.getpid():
                    connection.close()

    def _commit(self, connection: _Connection) -> None:
        try:
            connection.sqlite.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo(connection)
            name = getattr(error, "sqlite_errorname", "") or ""
            # The frame that makes a commit is written last: if a write failed, it isn't there. It may be, and survive
            # a power cut, if what failed came after it.
            if name.startswith("SQLITE_IOERR") and name != "SQLITE_IOERR_WRITE":
                raise AmbiguousWrite(f"{self.path}: {error} during commit; the write may have happened") from error
            raise

    def _undo(self, connection: _Connection) -> None:
        try:
            connection.sqlite.rollback()
        except sqlite3.Error:
            connection.sqlite.close()  # which rolls back, too; in this state it would refuse every later transaction
            connection.pid = 0

    def _enter(self) -> _Connection:
        """This thread's connection, which a fork won't close until it is left."""
        connection: _Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.using.acquire()
            if connection.pid == os.getpid():
                connection.depth += 1
                return connection
            connection.using.release()
        connection = self._local.connection = self._open()
        connection.depth += 1
        return connection

    def _open(self) -> _Connection:
        folder = os.path.dirname(self.path)
        if self._was_there and not os.path.exists(self.path):
            raise DatastoreUnavailable(f"{self.path} was there and is gone; nothing was written")
        if not os.path.isdir(folder):
            raise ConfigurationError(f"sqlite: the folder {folder} for {os.path.basename(self.path)} does not exist")
        if os.path.isdir(self.path):
            raise ConfigurationError(f"sqlite: {self.path} is a folder; expected the path of a file")
        if not os.path.exists(self.path):
            # SQLite would create it readable for everybody.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = _Connection(self.path)
        sqlite = connection.sqlite
        try:
            sqlite.execute(f"PRAGMA synchronous={self.synchronous}")
            if sqlite.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.lock(self.path)
                sqlite.execute("PRAGMA journal_mode=wal")
                connection.unlock()
        except BaseException:
            connection.close()
            connection.using.release()
            raise
        self._all.add(connection)
        return connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._named(error) from error
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
                text = f"{self.path} can't be opened for writing: {error.strerror}"
                raise self._refusal(text, self._was_writable) from error
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DatastoreUnavailable(f"{self.path}: the disk is full; nothing was written") from error
            raise DatastoreUnavailable(f"{self.path}: {error.strerror}; nothing was written") from error

    def _named(self, error: sqlite3.Error) -> Exception:
        name = getattr(error, "sqlite_errorname", None) or type(error).__name__
        if name == "SQLITE_FULL":
            return DatastoreUnavailable(f"{self.path}: the disk is full; nothing was written")
        if name.startswith("SQLITE_READONLY"):
            return self._refusal(f"{self.path} is read-only", self._was_writable)
        if name.startswith("SQLITE_NOTADB"):
            return self._refusal(f"{self.path} is not an SQLite database", self._was_there)
        if name.startswith("SQLITE_CANTOPEN"):
            return self._refusal(f"{self.path} can't be opened: {error}", self._was_there)
        if name.startswith("SQLITE_BUSY"):  # somebody who doesn't know the lock file
            holder = lock_holder(f"{self.path}-shm", self.path)
            return DatastoreUnavailable(f"{self.path} is locked by {holder}; nothing was written")
        return DatastoreUnavailable(f"{self.path}: {error} ({name}); nothing was written")

    def _refusal(self, text: str, was_possible: bool) -> Exception:
        """What never worked is configured wrongly. What did may work again: a mount comes back, descriptors free up."""
        kind = DatastoreUnavailable if was_possible else ConfigurationError
        return kind(f"sqlite: {text}; nothing was written")


def _missing(sqlite: sqlite3.Connection, wanted: list[str]) -> list[str]:
    there = {name for (name,) in sqlite.execute("SELECT name FROM sqlite_master")}
    return [name for name in wanted if name not in there]


class _Connection:
    """One thread's connection and its handle on the lock file."""

    def __init__(self, path: str) -> None:
        """Open it; the calling thread is using it until it leaves."""
        self.pid = os.getpid()
        """The process that may use it; 0 once it is closed."""
        self.using = threading.RLock()
        self.depth = 0
        """How many blocks of its thread are using it."""
        self._lock = -1
        self.using.acquire()
        _forking.add(self)  # first, or a fork might miss it
        try:
            self.sqlite = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        except BaseException:
            self.pid = 0
            self.using.release()
            raise

    def __del__(self) -> None:
        # Its thread has ended. A server with a thread for each request would soon be out of descriptors.
        if self.pid == os.getpid():
            self.close()

    def leave(self) -> None:
        self.depth -= 1
        self.using.release()

    def abandon(self) -> None:
        """In a forked child: let go of the parent's lock file, which would stay locked if the parent were killed."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def lock(self, path: str) -> None:
        """Wait for this writer's turn. Raises DatastoreUnavailable after BUSY_SECONDS."""
        if self._lock < 0:
            self._lock = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        began = None
        told = False
        pause = 0.0001
        while True:
            try:
                return fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            began = began or SYSTEM.monotonic()
            waited = SYSTEM.monotonic() - began
            if waited > BUSY_SECONDS:
                raise DatastoreUnavailable(
                    f"{path} has been locked by {lock_holder(f'{path}-lock')} for {BUSY_SECONDS:.0f} s; nothing was "
                    "written"
                )
            if waited > TELL_SECONDS and not told:
                log.warning("waiting to write to %s, which %s has locked", path, lock_holder(f"{path}-lock"))
                told = True
            SYSTEM.pause(pause)
            pause = min(pause * 1.5, 0.002)

    def unlock(self) -> None:
        if self._lock >= 0:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        self.pid = 0
        self.sqlite.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class _Forking:
    """Lets no connection cross a fork.

    SQLite believes that what a process has locked, it still holds in the child; it doesn't, and neither using nor
    closing an inherited connection, nor opening a new one beside it, is safe there
    (https://www.sqlite.org/howtocorrupt.html, section 2.6). So a fork waits until no statement runs and closes all
    connections; parent and child open new ones when they need them.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._connections: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self._held: list[_Connection] = []
        os.register_at_fork(before=self._before, after_in_parent=self._after, after_in_child=self._after_in_child)

    def add(self, connection: _Connection) -> None:
        with self._lock:
            self._connections.add(connection)

    def _before(self) -> None:
        self._lock.acquire()
        for connection in list(self._connections):
            if connection.pid == os.getpid() and connection.using.acquire(timeout=FORK_SECONDS):
                self._held.append(connection)
                if not connection.depth:  # or else it is this very thread that is using it
                    connection.close()

    def _after(self) -> None:
        for connection in self._held:
            connection.using.release()
        del self._held[:]
        self._lock.release()

    def _after_in_child(self) -> None:
        self._after()
        for connection in list(self._connections):
            connection.abandon()


_forking = _Forking()
