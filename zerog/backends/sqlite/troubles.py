"""Find faults of an SQLite file that many processes have open, for ``zerog doctor``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from zerog.backends.sqlite.connection import RESTORE
from zerog.backends.sqlite.locks import LockOwner, holders_of_deleted, lock_owner, readers
from zerog.contracts.troubles import Trouble
from zerog.support.clock import SYSTEM

WATCHED_SECONDS = 1.0
"""Seconds for which a lock is watched before its holder is reported."""

LARGE_LOG = 64 * 2**20
"""Size of a log, in bytes, from which on it is reported."""


def troubles(path: str) -> Iterator[Trouble]:
    """Check the files and their locks. Changes nothing."""
    yield from _deleted(path)
    yield from _locked(path)
    yield from _large_log(path)


def _deleted(path: str) -> Iterator[Trouble]:
    for holder in holders_of_deleted(path, f"{path}-wal", f"{path}-shm"):
        what = f"{holder} has {path} open as it was before it was deleted or replaced, and can't write"
        mend = f"end that process and start it again; if its jobs are missed, {RESTORE}"
        yield Trouble(what, mend, f"kill {holder.pid}")


def _locked(path: str) -> Iterator[Trouble]:
    log = f"{path}-wal"
    before = _status(log)
    found = lock_owner(path)
    if found is None or (not found.is_stopped and not _stays(lambda: {lock_owner(path)})):
        return
    status = _status(log)
    if status is None or before is None or status.st_mtime_ns != before.st_mtime_ns:
        return  # it writes
    since = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(" ", "seconds")
    what = f"{path} is locked by {found}; nothing has been written since {since}"
    yield Trouble(what, "continue the process, or end it: what it has not committed is undone", found.mend)


def _large_log(path: str) -> Iterator[Trouble]:
    status = _status(f"{path}-wal")
    if status is None or status.st_size <= LARGE_LOG:
        return
    what = f"{path}-wal has grown to {status.st_size / 2**20:.0f} MiB"
    long = sorted(_stays(lambda: {*readers(path)}), key=str)
    if long:
        named = ", ".join(map(str, long))
        yield Trouble(f"{what}: {named} reads an old state all the time", "end that read", f"kill {long[0].pid}")
    else:
        yield Trouble(what, "nothing, if it is smaller after the next writes; else end what reads the file for long")


def _stays(look: Callable[[], set[LockOwner | None]]) -> set[LockOwner]:
    """Return those found by every look within WATCHED_SECONDS."""
    found = look()
    ends = SYSTEM.monotonic() + WATCHED_SECONDS
    while found - {None} and SYSTEM.monotonic() < ends:
        SYSTEM.pause(0.02)
        found &= look()
    return {holder for holder in found if holder is not None}


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None
