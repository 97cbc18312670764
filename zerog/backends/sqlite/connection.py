"""One thread's connection to an SQLite file: the files that it has open, and its closing before a fork."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import weakref
from typing import NamedTuple

from zerog.backends.sqlite.locks import LockOwner, lock_owner
from zerog.exceptions import DatastoreUnavailable
from zerog.support.clock import SYSTEM

MAGIC = b"SQLite format 3\0"
HEADER = 100
"""Bytes of the header (https://www.sqlite.org/fileformat.html, section 1.3)."""

RESTORE = "stop all processes that use it, restore it (docs: Back up, restore, move) and start them again"


class Opened(NamedTuple):
    """The identities of a database and its log when they were opened."""

    database: tuple[int, int]
    log: tuple[int, int] | None


class Content:
    """The last header read from an open database.

    The header's change counter never falls, but SQLite doesn't raise it with each checkpoint of a log. So the first
    write after a checkpoint raises the database's ``user_version``, too. If the two together fall, another program has
    written to the file.
    """

    def __init__(self) -> None:
        self._stamp: tuple[int, int] | None = None
        self._version = (0, 0)
        self.is_new = False
        """True if the file was written since ``mark`` was called."""
        self.fault: str | None = None
        """The fault found, kept for good: SQLite may repair the header, but not what was lost."""

    def mark(self, sqlite: sqlite3.Connection) -> None:
        """Make the next checkpoint show a higher version; call it in a transaction."""
        (version,) = sqlite.execute("PRAGMA user_version").fetchone()
        sqlite.execute(f"PRAGMA user_version={(version + 1) % 2**31}")
        self.is_new = False

    def check(self, path: str, status: os.stat_result) -> None:
        """Check the header if the file was written since the last check."""
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp == self._stamp:
            return
        before = self._version  # read before the next line: another thread may be here, too
        header = header_of((status.st_dev, status.st_ino))
        if header is None:
            return
        if not header.startswith(MAGIC):
            self.fault = f"{path} was truncated or overwritten while it was in use"
        elif _version(header) < before:
            self.fault = f"{path} was overwritten with another copy while it was in use"
        self._version, self._stamp, self.is_new = _version(header), stamp, True


def identity_of(path: str) -> tuple[int, int] | None:
    """Return device and inode; None if there is no such file."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def size_of(path: str) -> int:
    """Return the size in bytes; 0 if there is no such file."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def header_of(identity: tuple[int, int]) -> bytes | None:
    """Return the header of a file that SQLite has open in this process; None if the system doesn't show it.

    Read through SQLite's own descriptor: to close another one would drop SQLite's locks.
    """
    for name in os.listdir("/dev/fd"):
        try:
            if _is(int(name), identity):
                header = os.pread(int(name), HEADER, 0)
                if _is(int(name), identity):  # checked again: another thread may have closed it
                    return header
        except OSError:
            continue
    return None


def _is(descriptor: int, identity: tuple[int, int]) -> bool:
    status = os.fstat(descriptor)
    return (status.st_dev, status.st_ino) == identity


def _version(header: bytes) -> tuple[int, int]:
    """Return the change counter and ``user_version``."""
    return int.from_bytes(header[24:28], "big"), int.from_bytes(header[60:64], "big")


log = logging.getLogger("zerog")

BUSY_SECONDS = 60.0
"""Seconds for which a transaction waits for the file's lock before it raises DatastoreUnavailable."""

WARN_SECONDS = 5.0
"""Seconds of waiting after which a transaction logs the holder of the file's lock, once for each holder."""

FORK_SECONDS = 5.0
"""Seconds for which a fork waits for another thread's statements."""


LOG_LIMIT = 16 * 2**20
"""Bytes to which the log is cut when it is restarted; usually it is 4 MiB long."""


_logged: dict[str, LockOwner | None] = {}
"""By file, the last lock holder that was logged, until something could be written again."""


class Connection:
    """A connection to one file, for one thread. Use it, and open it, only within ``with connection.using``."""

    pid = 0
    """Process that may use it; 0 while it is closed."""

    def __init__(self, path: str, synchronous: str) -> None:
        self.using = threading.RLock()
        """Held while statements may run; a fork waits for it."""
        self._path = path
        self._synchronous = synchronous
        self._sqlite: sqlite3.Connection | None = None
        self._closing: weakref.finalize[..., Connection] | None = None
        """Closes it once this object is collected, or the process ends."""
        self.files: Opened | None = None
        """The files that it has open."""
        self._patience: float | None = None
        _forking.add(self)

    def opened(self) -> sqlite3.Connection:
        """Return the SQLite connection, opened if it wasn't open in this process."""
        if self.pid != os.getpid() or self._sqlite is None:
            self._open()
        assert self._sqlite is not None
        return self._sqlite

    def opened_another(self, identity: tuple[int, int]) -> bool:
        """True if the open file is not the one with this device and inode."""
        return self.files is not None and self.files.database != identity

    def close(self) -> None:
        """Close the connection; ``opened`` opens it again."""
        self.pid = 0
        if self._closing is not None:
            self._closing()
        self._sqlite = self._closing = self.files = None

    def close_if_unfinished(self) -> None:
        """Close the connection if a transaction is open: one that can't be rolled back would refuse all later ones."""
        if self._sqlite is not None and self._sqlite.in_transaction:
            self.close()

    def abandon(self) -> None:
        """Forget, in a forked child, a connection that the parent couldn't close. Closing it here would do harm."""
        if self._closing is not None:
            self._closing.detach()
            _abandoned.append(self._sqlite)
        self._sqlite, self._closing, self.pid = None, None, 0

    def wait(self, seconds: float) -> None:
        """Set the seconds for which SQLite waits for locks within a statement."""
        if self._patience != seconds:
            self._patience = None
            self.opened().execute(f"PRAGMA busy_timeout={seconds * 1_000:.0f}")
            self._patience = seconds

    def insist(self, statement: str) -> None:
        """Execute a statement again and again until the file's lock is free.

        SQLite's own waiting pauses in growing steps, which leaves the file idle meanwhile, and no signal ends it.
        Raises DatastoreUnavailable after BUSY_SECONDS.
        """
        sqlite = self.opened()
        self.wait(0)
        began = None
        look_at = WARN_SECONDS
        pause = 0.0001
        while True:
            try:
                sqlite.execute(statement)
                if _logged and sqlite.in_transaction:  # else it has only read
                    _logged.pop(self._path, None)
                return
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
            began = began or SYSTEM.monotonic()
            waited = SYSTEM.monotonic() - began
            if waited > BUSY_SECONDS:
                raise DatastoreUnavailable(f"{locked(self._path, f' for {waited:.0f} s')}; nothing was written")
            if waited > look_at:
                self._log_holder()
                look_at = 2 * waited
            SYSTEM.pause(pause)
            pause = min(pause * 1.5, 0.002)

    def _log_holder(self) -> None:
        """Log the process that has the file locked, unless that was logged already."""
        holder = lock_owner(self._path)
        if self._path not in _logged or _logged[self._path] != holder:
            _logged[self._path] = holder
            log.warning("waiting to write: %s", locked(self._path))

    def _open(self) -> None:
        self.close()
        self._patience = None
        before = identity_of(self._path)
        self._sqlite = sqlite = sqlite3.connect(
            self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        # When a thread ends; a server with a thread for each request would soon run out of descriptors. Not by __del__:
        # where this object is part of a cycle, sqlite3 might warn of the connection first.
        self._closing = weakref.finalize(self, _close, sqlite, os.getpid(), self.using)
        try:
            self.pid = os.getpid()
            sqlite.execute(f"PRAGMA synchronous={self._synchronous}")
            if sqlite.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                self.insist("PRAGMA journal_mode=wal")
            sqlite.execute(f"PRAGMA journal_size_limit={LOG_LIMIT}").fetchone()
            self.insist("PRAGMA schema_version")  # opens the log
            self.files = Opened(self._identity(before), identity_of(f"{self._path}-wal"))
        except BaseException:
            self.close()
            raise

    def _identity(self, before: tuple[int, int] | None) -> tuple[int, int]:
        after = identity_of(self._path)
        if after is None or after != before:
            raise DatastoreUnavailable(f"{self._path} was moved or replaced while it was opened; nothing was written")
        return after


def _close(sqlite: sqlite3.Connection, pid: int, using: threading.RLock) -> None:
    """Close a connection in the process that opened it, unless a thread that outlives the process's end uses it."""
    if pid == os.getpid() and using.acquire(blocking=False):
        try:
            sqlite.close()
        finally:
            using.release()


def locked(path: str, how_long: str = "") -> str:
    """Return text that names a locked file, the process that has it locked, and the command that ends that process."""
    holder = lock_owner(path)
    if holder is None:
        return f"{path} has been locked by another process{how_long}"
    mend = "" if holder.pid == os.getpid() else f"; if it doesn't continue: {holder.mend}"
    return f"{path} has been locked by {holder}{how_long}{mend}"


def is_busy(error: sqlite3.Error) -> bool:
    """True if a statement failed because another connection has the file locked."""
    return (getattr(error, "sqlite_errorname", None) or "").startswith("SQLITE_BUSY")


class _Forking:
    """Keeps connections from crossing a fork.

    SQLite assumes that a lock of a process is still held in the child; it isn't, and neither using nor
    closing an inherited connection, nor opening a new one beside it, is safe there
    (https://www.sqlite.org/howtocorrupt.html, section 2.6). So a fork waits until no statement runs and closes all
    connections; parent and child open new ones when they need them.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._held: list[Connection] = []
        os.register_at_fork(before=self._before, after_in_parent=self._after, after_in_child=self._after_in_child)

    def add(self, connection: Connection) -> None:
        with self._lock:
            self._connections.add(connection)

    def _before(self) -> None:
        self._lock.acquire()
        for connection in list(self._connections):
            if connection.using._is_owned():  # type: ignore[attr-defined]
                continue  # this very thread uses it, further up its stack
            if connection.using.acquire(timeout=FORK_SECONDS):
                self._held.append(connection)
                if connection.pid == os.getpid():
                    connection.close()

    def _after(self) -> None:
        while self._held:
            self._held.pop().using.release()
        self._lock.release()

    def _after_in_child(self) -> None:
        self._after()
        for connection in list(self._connections):
            connection.abandon()


_abandoned: list[sqlite3.Connection | None] = []
_forking = _Forking()
