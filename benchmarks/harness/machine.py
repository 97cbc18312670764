"""The machine a measurement runs on: other work on it, cores kept awake, a lock between harnesses."""

from __future__ import annotations

import fcntl
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

TICKS: int = os.sysconf("SC_CLK_TCK")

_SPIN = "import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile True: pass"


def stat(pid: int) -> tuple[int, int, int]:
    """The parent of a process, its clock ticks of CPU time, and those of its children that were waited for."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[1]), int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])


def memory(pids: list[int]) -> tuple[float, float]:
    """Resident and proportional set size of processes together, in MiB."""
    sizes = {"Rss:": 0, "Pss:": 0}
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                for line in file:
                    name, *rest = line.split()
                    if name in sizes:
                        sizes[name] += int(rest[0])
        except OSError:
            continue  # it has ended
    return sizes["Rss:"] / 1024, sizes["Pss:"] / 1024


@contextmanager
def awake(wanted: bool) -> Iterator[None]:
    """Keep every core from going idle, by spinning at the lowest priority.

    On a virtual machine waking a core can cost more than the round trip that is measured, and it does so only when
    nothing else runs.
    """
    count = (os.cpu_count() or 1) if wanted else 0
    Foreign.spinners = [subprocess.Popen([sys.executable, "-c", _SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for spinner in Foreign.spinners:
            spinner.kill()
            spinner.wait()
        Foreign.spinners = []


class Foreign:
    """The share of the machine's CPU time that other work took since this was made."""

    spinners: ClassVar[list[subprocess.Popen[bytes]]] = []
    orphans: ClassVar[int] = 0
    """Ticks of own processes that no process here will wait for, because their parent died first."""

    def __init__(self) -> None:
        self._start = self._times()

    def share(self) -> float:
        """From 0.0 to 1.0."""
        total, busy, own = (now - before for before, now in zip(self._start, self._times(), strict=True))
        return max(0.0, (busy - own) / total) if total else 0.0

    @classmethod
    def _times(cls) -> tuple[float, float, float]:
        with open("/proc/stat") as file:
            ticks = [int(value) for value in file.readline().split()[1:9]]
        own = sum(os.times()[:4]) * TICKS + cls.orphans
        own += sum(stat(spinner.pid)[1] for spinner in cls.spinners)
        idle = ticks[3] + ticks[4]
        return sum(ticks), sum(ticks) - idle, own


def await_quiet(limit: float, seconds: float) -> None:
    """Wait until other work takes less than ``limit`` of the CPU, at most ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        foreign = Foreign()
        time.sleep(1)
        if foreign.share() < limit:
            break


@contextmanager
def locked(path: str | None) -> Iterator[None]:
    """Hold a file locked, so that two harnesses never measure at once."""
    if not path:
        yield
        return
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cpu_name() -> str:
    """The processor and the number of cores, for the report."""
    with open("/proc/cpuinfo") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores"
