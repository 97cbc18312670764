"""Who holds a lock on a file, for messages: read off ``/proc/locks``, so known on Linux only."""

from __future__ import annotations

import os

LOCKS = "/proc/locks"


def lock_holder(*paths: str) -> str:
    """``process 4711 (stopped)``: who holds a write lock on one of these files; ``another process`` if that isn't told.

    The format is that of proc(5): number, kind, ADVISORY, READ or WRITE, pid, major:minor:inode, range.
    """
    wanted = {name for path in paths if (name := _name_of(path))}
    try:
        with open(LOCKS, encoding="ascii") as locks:
            lines = [line.split() for line in locks]
    except OSError:
        return "another process"
    for fields in lines:
        if len(fields) >= 6 and fields[3] == "WRITE" and fields[5] in wanted and fields[4] != str(os.getpid()):
            return f"process {fields[4]}{_state_of(fields[4])}"
    return "another process"


def _name_of(path: str) -> str | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"


def _state_of(pid: str) -> str:
    """What is worth telling: a stopped process won't let go by itself."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            state = stat.read().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
    return " (stopped)" if state in "Tt" else ""
