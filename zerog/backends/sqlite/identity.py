"""Check that a path still leads to the files that SQLite has open, and read the database's header."""

from __future__ import annotations

import os
import sqlite3
from typing import NamedTuple

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
