"""One SQLite file: connections per thread, transactions that wait their turn, errors in ZeroG's own names."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import threading
import weakref
from collections.abc import Generator
from pathlib import Path

from zerog import sqliteconnection
from zerog.blocks import block
from zerog.exceptions import AmbiguousWrite, ConfigurationError, DatastoreUnavailable
from zerog.lockholder import lock_holder
from zerog.sqliteconnection import Connection

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
        self._all: weakref.WeakSet[Connection] = weakref.WeakSet()
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

    @block
    def reading(self) -> Generator[sqlite3.Connection]:
        """A connection outside any transaction: each statement sees the latest committed state."""
        try:
            connection = self._connection()
            with connection.using:
                self._check_path()
                connection.wait(sqliteconnection.BUSY_SECONDS)
                yield connection.opened()
        except (sqlite3.Error, OSError) as error:
            raise self._named(error) from error

    @block
    def snapshot(self) -> Generator[sqlite3.Connection]:
        """A connection whose statements all see one state."""
        with self.reading() as sqlite:
            if sqlite.in_transaction:
                yield sqlite
                return
            with sqlite:
                sqlite.execute("BEGIN")
                yield sqlite

    @block
    def writing(self) -> Generator[sqlite3.Connection]:
        """A transaction that is committed at the end, or undone if anything is raised."""
        committing = False
        try:
            connection = self._connection()
            with connection.using:
                self._check_path()
                sqlite = connection.opened()
                if sqlite.in_transaction:
                    raise RuntimeError(f"{self.path}: a transaction within a transaction; nothing was written")
                try:
                    with sqlite:  # commits or rolls back
                        connection.insist("BEGIN IMMEDIATE")
                        yield sqlite
                        committing = True
                    self._was_writable = True
                finally:
                    connection.close_if_unfinished()
        except (sqlite3.Error, OSError) as error:
            raise self._named(error, committing) from error

    def close(self) -> None:
        """Close every connection of this process. A later call opens new ones."""
        for connection in list(self._all):
            with connection.using:
                if connection.pid == os.getpid():
                    connection.close()

    def _connection(self) -> Connection:
        """This thread's connection."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = Connection(self.path, self.synchronous)
            self._all.add(connection)
            self._local.connection = connection
        return connection

    def _check_path(self) -> None:
        folder = os.path.dirname(self.path)
        if os.path.isfile(self.path):
            return
        if self._was_there:
            raise DatastoreUnavailable(f"{self.path} was there and is gone; nothing was written")
        if not os.path.isdir(folder):
            raise ConfigurationError(f"sqlite: the folder {folder} for {os.path.basename(self.path)} does not exist")
        if os.path.isdir(self.path):
            raise ConfigurationError(f"sqlite: {self.path} is a folder; expected the path of a file")
        # SQLite would create it readable for everybody.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))

    def _named(self, error: sqlite3.Error | OSError, committing: bool = False) -> Exception:
        if isinstance(error, sqlite3.Error):
            return self._named_by_sqlite(error, committing)
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            return self._refusal(f"{self.path} can't be opened for writing: {error.strerror}", self._was_writable)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return DatastoreUnavailable(f"{self.path}: the disk is full; nothing was written")
        return DatastoreUnavailable(f"{self.path}: {error.strerror}; nothing was written")

    def _named_by_sqlite(self, error: sqlite3.Error, committing: bool) -> Exception:
        name = getattr(error, "sqlite_errorname", None) or type(error).__name__
        # The frame that makes a commit is written last: if a write failed, it isn't there. It may be, and survive a
        # power cut, if what failed came after it.
        if committing and name.startswith("SQLITE_IOERR") and name != "SQLITE_IOERR_WRITE":
            return AmbiguousWrite(f"{self.path}: {error} during commit; the write may have happened")
        if name == "SQLITE_FULL":
            return DatastoreUnavailable(f"{self.path}: the disk is full; nothing was written")
        if name.startswith("SQLITE_READONLY"):
            return self._refusal(f"{self.path} is read-only", self._was_writable)
        if name.startswith("SQLITE_NOTADB"):
            return self._refusal(f"{self.path} is not an SQLite database", self._was_there)
        if name.startswith("SQLITE_CANTOPEN"):
            return self._refusal(f"{self.path} can't be opened: {error}", self._was_there)
        if name.startswith("SQLITE_BUSY"):
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
