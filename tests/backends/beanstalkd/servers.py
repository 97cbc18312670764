"""beanstalkd for tests: servers with the time of this machine, and one whose time moves with a test's clock."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakKeyDictionary

from tests.servers import PATIENCE, Server, missing
from zerog.backends.beanstalkd.queue import BeanstalkdQueue
from zerog.backends.beanstalkd.server import BeanstalkdServer, Connection
from zerog.support.clock import Clock

FOLDER_VARIABLE = "ZEROG_TEST_BEANSTALKD"
"""The folder of the shared server, for programs that tests start: it holds the server's port and its time."""

LARGEST_BODY = "2000000"

_numbers = itertools.count()
_started: list[RunningServer] = []
_seen: WeakKeyDictionary[Clock, float] = WeakKeyDictionary()
"""By clock, the time up to which the shared server's time has passed with it."""


class RunningServer(Server):
    """A beanstalkd; ``options``: those of its command, ``-b .`` for a log in its folder."""

    def __init__(self, *options: str, preload: str = "") -> None:
        self._options = options
        self._preload = preload
        super().__init__("beanstalkd")

    def command(self) -> list[str]:
        beanstalkd = shutil.which("beanstalkd")
        assert beanstalkd is not None
        command = [beanstalkd, "-l", "127.0.0.1", "-p", str(self.port), "-z", LARGEST_BODY, *self._options]
        if not self._preload:
            return command
        (self.folder / "port").write_text(str(self.port))
        return [
            "env",
            f"LD_PRELOAD={self._preload}",
            "FAKETIME_NO_CACHE=1",
            f"FAKETIME_TIMESTAMP_FILE={self.folder}/time",
            *command,
        ]

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), 1) as client:
            client.sendall(b"list-tube-used\r\n")
            return client.recv(64) == b"USING default\r\n"

    def url(self, **options: object) -> str:
        """Its URL, with a new prefix."""
        return url_at(self.port, **options)


def url_at(port: int, **options: object) -> str:
    options = {"prefix": f"test{os.getpid()}.{next(_numbers)}", **options}
    return f"beanstalkd://127.0.0.1:{port}?" + "&".join(f"{name}={value}" for name, value in options.items())


def started(*options: str, preload: str = "") -> RunningServer:
    """A separate server; its test is skipped where there is none, and fails in CI."""
    if shutil.which("beanstalkd") is None:
        missing("beanstalkd", "apt-get install beanstalkd")
    return RunningServer(*options, preload=preload)


def shared() -> Path:
    """The folder of the server that all tests of this run share; its time is moved by ``ClockedServer``."""
    if FOLDER_VARIABLE in os.environ:
        return Path(os.environ[FOLDER_VARIABLE])
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        missing("libfaketime", "apt-get install faketime")
    _started.append(started(preload=str(found[0])))
    os.environ[FOLDER_VARIABLE] = str(_started[0].folder)
    return _started[0].folder


def fresh_url() -> str:
    """The URL of the shared server, with a new prefix."""
    return url_at(int((shared() / "port").read_text()), timeout=PATIENCE)


def url_for(folder: Path) -> str:
    """A URL that belongs to a folder: the same tubes on every call, from another process too."""
    file = folder / "beanstalkd.url"
    if not file.exists():
        file.write_text(fresh_url())
    return file.read_text()


def clocked_queue(url: str, clock: Clock) -> BeanstalkdQueue:
    """A queue of the shared server."""
    return BeanstalkdQueue(ClockedServer(url, clock))


class ClockedServer(BeanstalkdServer):
    """The shared server, whose time passes whenever that of a test's clock has passed."""

    def __init__(self, url: str, clock: Clock) -> None:
        super().__init__(url)
        self._clock = clock
        _seen.setdefault(clock, clock.monotonic())

    @contextmanager
    def lent(self, connection: Connection, what: str) -> Iterator[Connection]:
        with super().lent(connection, what):
            now = self._clock.monotonic()
            if now > _seen[self._clock]:
                advance(now - _seen[self._clock])
            _seen[self._clock] = now
            yield connection


def advance(seconds: float) -> None:
    """Let time pass for the shared server."""
    file, new = shared() / "time", shared() / "time.new"
    offset = float(file.read_text()) if file.exists() else 0.0
    new.write_text(f"+{offset + seconds:.6f}\n")
    new.replace(file)
    with socket.create_connection(("127.0.0.1", int((shared() / "port").read_text()))) as client:
        client.sendall(b"list-tube-used\r\n")  # what is due becomes ready at the end of a command
        client.recv(64)
