"""Clean up after a job in a child process: end what it started; detect what it changed, to replace the child."""

from __future__ import annotations

import ctypes
import locale
import logging
import os
import resource
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

log = logging.getLogger("zerog")

PR_SET_CHILD_SUBREAPER = 36

_PAGE = os.sysconf("SC_PAGESIZE")
_SIGNALS = [
    getattr(signal, f"SIG{name}")
    for name in ["HUP", "INT", "QUIT", "ALRM", "TERM", "USR1", "USR2", "CHLD", "PIPE", "CONT", "TSTP"]
]
_LIMITS = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]


def adopt_orphans() -> None:
    """Adopt descendants whose parent dies as children of this process, whatever group or session they made.

    Linux only; elsewhere the process group is all that holds them together.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> set[int]:
    """Return the pids of this process's children, dead and unreaped ones among them."""
    pids: set[int] = set()
    with suppress(FileNotFoundError):  # elsewhere than on Linux
        for thread in os.listdir("/proc/self/task"):
            with suppress(OSError), open(f"/proc/self/task/{thread}/children") as file:  # unless it has just ended
                pids.update(map(int, file.read().split()))
    return pids


def end_children(spared: set[int] | frozenset[int] = frozenset()) -> int:
    """Kill and reap the children of this process, and those that it inherits by that, until none is left.

    Returns how many there were. A process of another user, which this one may not kill, keeps running.
    """
    ended: set[int] = set()
    immune: set[int] = set()
    while left := children() - spared - immune:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            except PermissionError:
                immune.add(pid)
        for pid in left - immune:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
        ended |= left
    if immune:
        log.warning(
            "processes of another user, which a job left, are still running: %s", ", ".join(map(str, sorted(immune)))
        )
    return len(ended)


def end_daemons() -> None:
    """Kill the daemon processes that jobs started here by ``multiprocessing``, which waits for them at exit."""
    if "multiprocessing" in sys.modules:
        import multiprocessing

        for process in multiprocessing.active_children():
            if process.daemon:
                process.kill()


def resident_memory(pid: int | None = None) -> int:
    """Return the resident bytes of a process, by default this one; 0 if it is gone or the system has no figure."""
    try:
        return int(Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0


def process_state() -> dict[str, Any]:
    """Return what a job may change about its process that affects the next job, as far as it is cheap to read."""
    mask = os.umask(0o077)
    os.umask(mask)
    return {
        "working directory": _directory(),
        "umask": mask,
        "locale": locale.setlocale(locale.LC_ALL),
        "signal handlers": [signal.getsignal(number) for number in _SIGNALS],
        "blocked signals": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "alarm": signal.getitimer(signal.ITIMER_REAL)[0] > 0,
        "standard files": [_file(number) for number in range(3)],
        "resource limits": [resource.getrlimit(limit) for limit in _LIMITS],
        "recursion limit": sys.getrecursionlimit(),
        # Daemon threads are libraries' housekeeping; non-daemon threads are work that continues.
        "threads": {thread.ident for thread in threading.enumerate() if not thread.daemon},
    }


def _directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


def _file(number: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino
