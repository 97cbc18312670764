"""Server programs for tests: each on its own port and in its own folder, gone with the process that started it."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from tests.processes import stretched, until

WITHIN = 30.0
"""Seconds within which a server must answer."""

PATIENCE = 30
"""Seconds for an answer in URLs of shared servers: on a busy machine one is late, and no test of them is about that."""

ATTEMPTS = 3
"""How many ports are tried: between looking for a free one and using it, another process may take it."""


class Server(ABC):
    """A program that listens on loopback. The subclasses define which one, and when it answers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = Path(tempfile.mkdtemp(prefix=f"zerog-{name.replace(' ', '-')}-"))
        self.process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        at_exit(self._remove)
        for _ in range(ATTEMPTS):
            if self._came_up():
                return
            self.port = free_port()
        self._complain()

    @abstractmethod
    def command(self) -> list[str]:
        """The command that starts it, on ``port`` and in ``folder``."""

    @abstractmethod
    def answers(self) -> bool:
        """True if it answers at its port; an ``OSError`` means no."""

    def start(self) -> None:
        """Start it again, at the same port, and wait until it answers."""
        if not self._came_up():
            self._complain()

    def signal(self, number: int) -> None:
        """Send it a signal; return once it has stopped if that is SIGSTOP, for until then it answers."""
        assert self.process is not None
        self.process.send_signal(number)
        if number == signal.SIGSTOP:
            threads = Path(f"/proc/{self.process.pid}/task")
            until(lambda: all(state_of(thread) == "T" for thread in threads.iterdir()), what=f"{self.name} stops")

    def kill(self) -> None:
        """End it as a power cut would, as far as a process can."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait(stretched(10))

    def _came_up(self) -> bool:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(bound(*self.command()), cwd=self.folder, stdout=log, stderr=log)
        until(lambda: self._has_ended() or self._is_there(), WITHIN, f"{self.name} answers")
        return not self._has_ended()  # else another server answered

    def _has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _is_there(self) -> bool:
        try:
            return self.answers()
        except OSError:
            return False

    def _complain(self) -> NoReturn:
        raise AssertionError(f"{self.name} did not start: {(self.folder / 'server.log').read_text()}")

    def _remove(self) -> None:
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def bound(*command: str) -> list[str]:
    """A command that the kernel kills when this process ends, even by a kill: then nothing else would.

    It is bound to the thread that starts it, so that has to be the main thread.
    """
    assert threading.current_thread() is threading.main_thread()
    return ["setpriv", "--pdeathsig", "KILL", *command]


def state_of(thread: Path) -> str:
    """The state of a thread by its folder in /proc: T if it is stopped or gone."""
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "T"


def at_exit(end: Callable[[], None]) -> None:
    """Register a function to be called when this process ends, and not when a forked child does."""
    owner = os.getpid()
    atexit.register(lambda: end() if os.getpid() == owner else None)


def missing(what: str, remedy: str) -> NoReturn:
    """Skip, for lack of a program; where CI is set it must be there."""
    reason = f"there is no {what} here: {remedy}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    """A free loopback port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
