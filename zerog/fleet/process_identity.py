"""The identity of a process, by which a later process on the same host finds out that it is gone.

A name or a process id alone proves nothing: both are given again. A process is gone if this one runs in the same boot
of the kernel and in the same pid namespace, and no process there has its pid and its start time (``proc_pid_stat(5)``,
``pid_namespaces(7)``). Elsewhere, in another container for example, nothing is known of it, and its lease decides.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

PROC = Path("/proc")


def identity() -> dict[str, Any] | None:
    """Return this process's identity as JSON; None where the system has no ``/proc``."""
    pid = os.getpid()
    boot, namespace, started = _boot(), _namespace(), _started(pid)
    if not boot or not namespace or started is None:
        return None
    return {"boot": boot, "namespace": namespace, "pid": pid, "started": started}


def is_gone(stored: Any) -> bool:
    """Return True if the process of a stored identity is surely gone; False if it lives, or if that is unknown."""
    if not isinstance(stored, dict) or type(stored.get("pid")) is not int or type(stored.get("started")) is not int:
        return False
    own = identity()
    if own is None or (stored.get("boot"), stored.get("namespace")) != (own["boot"], own["namespace"]):
        return False
    try:
        os.kill(stored["pid"], 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):  # another user's process; its /proc files may be hidden
        pass
    started = _started(stored["pid"])
    return started is not None and started != stored["started"]


def _boot() -> str:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return os.readlink(PROC / "self/ns/pid")
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """Return the start time of a process in clock ticks since the boot; None if it can't be read."""
    try:
        return int((PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
