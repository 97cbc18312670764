"""Private servers on free loopback ports, with their data in a temporary folder; ended by process id."""

from __future__ import annotations

import glob
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

START_SECONDS = 30
STOP_SECONDS = 10


def wait_for(test: Callable[[], T], seconds: float, step: float = 0.02) -> T:
    """Call again and again until the answer is true or ``seconds`` have passed; return the last answer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got = test()
        if got:
            return got
        time.sleep(step)
    return test()


class Server:
    """A server of one kind, started when made."""

    kind = ""
    end_signal = signal.SIGTERM
    kill_signal = signal.SIGKILL

    def __init__(self, folder: Path) -> None:
        self.folder = folder / self.kind
        self.folder.mkdir()
        self.port = free_port()
        self.user: str | None = None
        self.prepare()
        self.start()

    def prepare(self) -> None:
        """Make the data folder ready, before the first start."""

    @property
    def url(self) -> str:
        """The URL that an adapter connects to."""
        raise NotImplementedError

    def argv(self) -> list[str]:
        """The server's command."""
        raise NotImplementedError

    def answers(self, connection: socket.socket) -> bool:
        """True if a server that takes connections also serves."""
        return True

    def start(self) -> None:
        """Start it, or start it again, on the same port with the same data."""
        self.process = subprocess.Popen(
            self.argv(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=self.user,
            cwd=self.folder,
            start_new_session=True,
        )
        if not wait_for(self._ready, START_SECONDS):
            raise RuntimeError(f"{self.kind} did not start")

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        self.process.send_signal(self.kill_signal)
        self.process.wait()

    def stop(self) -> None:
        """End it as a supervisor would."""
        self.process.send_signal(self.end_signal)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def _ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                return self.answers(connection)
        except OSError:
            return False


class Redis(Server):
    """Redis that writes its log once a second."""

    kind = "redis"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def argv(self) -> list[str]:
        where = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        return [*where, "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--daemonize", "no"]

    def answers(self, connection: socket.socket) -> bool:
        connection.sendall(b"PING\r\n")
        return connection.recv(64).startswith(b"+PONG")


class Secantus(Server):
    """A stand-in for MongoDB, from the environment that runs the program."""

    kind = "secantus"

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/soak"

    def argv(self) -> list[str]:
        program = Path(sys.executable).with_name("secantusd-py")
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--storage-path", str(self.folder / "data")]
        return [str(program), *where, "--cache-size", "64M"]


class Postgres(Server):
    """PostgreSQL with ``synchronous_commit=off``: it may lose a moment, as Redis may with ``everysec``."""

    kind = "postgres"
    end_signal = signal.SIGINT
    kill_signal = signal.SIGQUIT  # its own "as if crashed", which ends its children, too

    def prepare(self) -> None:
        self.bin = postgres_folder()
        if os.geteuid() == 0:  # it refuses to run as root
            self.user = "postgres"
            shutil.chown(self.folder, "postgres")
        make = [f"{self.bin}/initdb", "-D", str(self.folder), "-A", "trust", "-U", "bench", "-E", "UTF8", "--no-sync"]
        quiet = subprocess.DEVNULL
        subprocess.run(make, check=True, stdout=quiet, stderr=quiet, user=self.user, cwd=self.folder.parent)

    @property
    def url(self) -> str:
        return f"postgresql://bench@127.0.0.1:{self.port}/postgres"

    def argv(self) -> list[str]:
        settings = ("listen_addresses=127.0.0.1", "synchronous_commit=off", "shared_buffers=256MB")
        where = [f"{self.bin}/postgres", "-D", str(self.folder), "-p", str(self.port), "-k", str(self.folder)]
        return [*where, *(part for setting in (*settings, "max_connections=200") for part in ("-c", setting))]

    def answers(self, connection: socket.socket) -> bool:
        ask = [f"{self.bin}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ask, check=False).returncode == 0


class Beanstalkd(Server):
    """beanstalkd that writes its log once a second."""

    kind = "beanstalkd"

    @property
    def url(self) -> str:
        return f"beanstalk://127.0.0.1:{self.port}"

    def argv(self) -> list[str]:
        return ["beanstalkd", "-l", "127.0.0.1", "-p", str(self.port), "-b", str(self.folder), "-f", "1000"]


SERVERS: dict[str, type[Server]] = {server.kind: server for server in (Redis, Postgres, Beanstalkd)}


def server_versions(kinds: Iterable[str]) -> dict[str, str]:
    """The version text of each kind of server; SQLite, which is no server, always among them."""
    commands = {"redis": ["redis-server", "--version"], "beanstalkd": ["beanstalkd", "-v"]}
    found = {"sqlite": sqlite3.sqlite_version}
    for kind in sorted(set(kinds)):
        argv = commands.get(kind) or [f"{postgres_folder()}/postgres", "--version"]
        found[kind] = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
    return found


def postgres_folder() -> str:
    """Where PostgreSQL's programs are. Raises SystemExit if it isn't installed."""
    which = shutil.which("initdb")
    if which:
        return os.path.dirname(os.path.realpath(which))
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))  # where Debian puts it
    if not found:
        raise SystemExit("PostgreSQL is not installed")
    return found[-1]


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
