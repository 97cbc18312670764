"""Python programs in separate processes, for what threads can't show."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any


@contextmanager
def program(source: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A running program; it is killed at the end of the block if it hasn't ended."""
    command = [sys.executable, "-c", dedent(source), *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()
    finally:
        assert process.returncode is not None


def output(source: str, *arguments: object, timeout: float = 60) -> str:
    """Return a program's output; fail if the program does."""
    with program(source, *arguments) as process:
        printed, _ = process.communicate(timeout=timeout)
        assert process.returncode == 0, printed
        return printed.strip()


def stretched(seconds: float) -> float:
    """The bound of a time that a user is promised, on this machine as it is: longer by the load of each core.

    A process that shares its core with nine others gets a tenth of it. ``seconds`` is what must hold alone.
    """
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def until(condition: Callable[[], Any], seconds: float = 20, what: str = "") -> Any:
    """Wait until ``condition()`` is true and return what it gave; ``what`` is in the error if it never is."""
    deadline = time.monotonic() + stretched(seconds)
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what or condition}: not within stretched({seconds}) s"
        time.sleep(0.005)
    return value


def leave(file: Path | str, text: str = "") -> None:
    """Write a file for another process to find: it is there with the whole of its text, or it isn't there."""
    part = Path(f"{file}.part-{os.getpid()}")
    part.write_text(text)
    part.rename(file)


def stat_of(pid: int) -> list[str]:
    """The fields of a Linux process, from its state on (``proc_pid_stat(5)``); empty when there is no such process.

    One that ends between the opening of its file and the reading is gone as well: its number is no process then.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def alive(pid: int) -> bool:
    """True if a process exists and isn't a zombie."""
    return stat_of(pid)[:1] not in ([], ["Z"])
