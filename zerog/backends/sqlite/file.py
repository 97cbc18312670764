"""One SQLite file: connections per thread, transactions that take turns, errors translated to ZeroG's."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import stat
import threading
import weakref
from collections.abc import Generator
from pathlib import Path

from zerog.backends.sqlite import connection as connections
from zerog.backends.sqlite.connection import RESTORE, Connection, Content, identity_of, size_of
from zerog.exceptions import AmbiguousWrite, ConfigurationError, DatastoreUnavailable
from zerog.support.blocks import block
from zerog.support.ownership import check_owner

SYNCHRONOUS = {"full": "fsync", "normal": "process"}
"""The allowed settings, and what survives a power cut with each. With ``normal`` a crash of processes
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
        self._content = Content()
        with self.reading():
            pass  # a wrong path fails here, at the start
        self._was_there = True

    def require(self, schema: str) -> list[str]:
        """Create the tables and indexes of ``schema`` (statements ending in ;) that are missing.

        Returns the names of those it has created.
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
        """Yield a connection outside any transaction: each statement sees the latest committed state."""
        try:
            connection = self._connection()
            with connection.using:
                sqlite = self._checked(connection)
                connection.wait(connections.BUSY_SECONDS)
                yield sqlite
        except (sqlite3.Error, OSError) as error:
            raise self.translated(error) from error

    @block
    def snapshot(self) -> Generator[sqlite3.Connection]:
        """Yield a connection whose statements all see one state."""
        with self.reading() as sqlite:
            if sqlite.in_transaction:
                yield sqlite
                return
            with sqlite:
                sqlite.execute("BEGIN")
                yield sqlite

    @block
    def writing(self) -> Generator[sqlite3.Connection]:
        """Yield a transaction that is committed at the end, or rolled back if anything is raised."""
        committing = False
        try:
            connection = self._connection()
            with connection.using:
                sqlite = self._checked(connection)
                if sqlite.in_transaction:
                    raise RuntimeError(f"{self.path}: a transaction within a transaction; nothing was written")
                try:
                    with sqlite:  # commits or rolls back
                        connection.insist("BEGIN IMMEDIATE")
                        self._check_log(connection)
                        if self._content.is_new:
                            self._content.mark(sqlite)
                        yield sqlite
                        committing = True
                    self._was_writable = True
                finally:
                    connection.close_if_unfinished()
        except (sqlite3.Error, OSError) as error:
            raise self.translated(error, committing) from error

    def close(self) -> None:
        """Close every connection of this process. A later call opens new ones."""
        for connection in list(self._all):
            with connection.using:
                if connection.pid == os.getpid():
                    connection.close()

    def _connection(self) -> Connection:
        """Return this thread's connection."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = Connection(self.path, self.synchronous)
            self._all.add(connection)
            self._local.connection = connection
        return connection

    def _checked(self, connection: Connection) -> sqlite3.Connection:
        """Return a thread's connection, opened. Raises DatastoreUnavailable if the path leads to another file now."""
        if connection.pid != os.getpid():
            for name in (self.path, f"{self.path}-wal", f"{self.path}-shm"):
                check_owner(name)
        try:
            status = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            self._make()
            status = os.stat(self.path)
        if stat.S_ISDIR(status.st_mode):
            raise ConfigurationError(f"sqlite: {self.path} is a folder; expected the path of a file")
        identity = status.st_dev, status.st_ino
        if connection.pid != os.getpid():
            others = [other for other in list(self._all) if other.pid == os.getpid()]
            if not others:
                if status.st_size == 0 and size_of(f"{self.path}-wal"):
                    raise self._changed(f"{self.path} is empty, its log isn't: it was truncated while it was in use")
                self._content = Content()
            elif any(other.opened_another(identity) for other in others):
                raise self._changed(f"{self.path} was replaced: another thread has the earlier file open")
            else:
                self._check_content(status)
            connection.opened()
        if connection.opened_another(identity):
            raise self._changed(f"{self.path} is no longer the file that this process has open: it was replaced")
        self._check_content(status)
        return connection.opened()

    def _check_content(self, status: os.stat_result) -> None:
        self._content.check(self.path, status)
        if self._content.fault:
            raise self._changed(self._content.fault)

    def _check_log(self, connection: Connection) -> None:
        """Check, in a begun transaction, that other processes would see its writes."""
        log = f"{self.path}-wal"
        if connection.files is not None and identity_of(log) != connection.files.log:
            raise self._changed(f"{log} was removed or replaced while it was in use")

    def _changed(self, what: str) -> DatastoreUnavailable:
        return DatastoreUnavailable(f"{what}; nothing was written. Put the file back, or {RESTORE}")

    def _make(self) -> None:
        folder = os.path.dirname(self.path)
        if self._was_there:
            raise self._changed(f"{self.path} was there and is gone")
        if not os.path.isdir(folder):
            raise ConfigurationError(f"sqlite: the folder {folder} for {os.path.basename(self.path)} does not exist")
        # SQLite would create it readable for all users.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))

    def translated(self, error: sqlite3.Error | OSError, committing: bool = False) -> Exception:
        """Return the error of ZeroG for one of SQLite or the system."""
        if isinstance(error, sqlite3.Error):
            return self._named_by_sqlite(error, committing)
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            return self._refusal(f"{self.path} can't be opened for writing: {error.strerror}", self._was_writable)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return DatastoreUnavailable(f"{self.path}: the disk is full; nothing was written")
        return DatastoreUnavailable(f"{self.path}: {error.strerror}; nothing was written")

    def _named_by_sqlite(self, error: sqlite3.Error, committing: bool) -> Exception:
        name = getattr(error, "sqlite_errorname", None) or type(error).__name__
        # The frame that makes a commit is written last: if a write failed, it is missing. It may exist, and survive a
        # power cut, if a later step failed.
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
            return DatastoreUnavailable(f"{connections.locked(self.path)}; nothing was written")
        return DatastoreUnavailable(f"{self.path}: {error} ({name}); nothing was written")

    def _refusal(self, text: str, was_possible: bool) -> Exception:
        """Return the error: what never worked is misconfigured; what once did may recover (mounts, descriptors)."""
        kind = DatastoreUnavailable if was_possible else ConfigurationError
        return kind(f"sqlite: {text}; nothing was written")


def _missing(sqlite: sqlite3.Connection, wanted: list[str]) -> list[str]:
    there = {name for (name,) in sqlite.execute("SELECT name FROM sqlite_master")}
    return [name for name in wanted if name not in there]
