"""Find the processes that have a file locked or open, for messages; read from ``/proc``, so on Linux only."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LOCKS = "/proc/locks"

WRITING, READING = range(120, 123), range(123, 128)
"""The bytes of an SQLite ``-shm`` file that are locks: of a writer, a checkpoint and recovery; and of readers."""


@dataclass(frozen=True)
class LockOwner:
    """A process that has a file locked or open."""

    pid: int
    command: str
    is_stopped: bool

    def __str__(self) -> str:
        if self.pid == os.getpid():
            return "another thread of this process"
        about = [self.command] if self.command else []
        about += ["stopped"] if self.is_stopped else []
        return f"process {self.pid} ({', '.join(about)})" if about else f"process {self.pid}"

    @property
    def mend(self) -> str:
        """Return the shell command that makes the process release the lock."""
        return f"kill -CONT {self.pid}" if self.is_stopped else f"kill {self.pid}"


def lock_owner(path: str) -> LockOwner | None:
    """Return the process that has an SQLite database locked for writing; None if unknown."""
    locks = _locks(f"{path}-shm", "WRITE", WRITING) + _locks(path, "WRITE")
    return _holder(locks[0]) if locks else None


def readers(path: str) -> set[LockOwner]:
    """Return the known processes that are reading a state of an SQLite database at this moment."""
    return {_holder(pid) for pid in set(_locks(f"{path}-shm", "READ", READING))}


def _locks(path: str, kind: str, bytes_locked: range | None = None) -> list[int]:
    """Return the processes that have such a lock on a file.

    The format is that of proc(5): number, POSIX, ADVISORY, READ or WRITE, pid, major:minor:inode, first and last byte.
    """
    try:
        status = os.stat(path)
        with open(LOCKS, encoding="ascii") as file:
            lines = [line.split() for line in file]
    except OSError:
        return []
    name = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    found = [line for line in lines if len(line) >= 8 and line[3] == kind and line[5] == name]
    return [int(line[4]) for line in found if bytes_locked is None or int(line[6]) in bytes_locked]


def holders_of_deleted(*paths: str) -> list[LockOwner]:
    """Return the processes with an open file that was one of these paths and was deleted or replaced."""
    deleted = {f"{path} (deleted)" for path in paths}
    pids = [int(name) for name in _listed("/proc") if name.isdigit()]
    return [_holder(pid) for pid in pids if not deleted.isdisjoint(_open_files(pid))]


def _open_files(pid: int) -> Iterator[str]:
    folder = f"/proc/{pid}/fd"
    for name in _listed(folder):
        try:
            yield os.readlink(f"{folder}/{name}")
        except OSError:
            continue


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _holder(pid: int) -> LockOwner:
    """Return a process with its command, and whether it is stopped: then it doesn't release the lock."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode(errors="replace").split("\0")
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return LockOwner(pid, "", False)
    command = " ".join(shlex.join(words).split())
    return LockOwner(pid, command if len(command) <= 80 else f"{command[:77]}...", state in "Tt")
