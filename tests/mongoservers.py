"""MongoDB for tests: SecantusDB, which speaks its protocol, and a real one if ZEROG_TEST_MONGODB has its URL.

SecantusDB comes with the test extra and is started once per run. It is not MongoDB: what passes there has been tried
against the protocol and the meaning of the commands, not against ``mongod``.
"""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pymongo
import pytest

from zerog.datastores.mongo import MongoDatastore

VARIABLE = "ZEROG_TEST_MONGODB"
"""The URL of a real server, with a database that tests may fill."""

SHARED_VARIABLE = "ZEROG_TEST_MONGODB_STAND_IN"
"""Where the shared server is, for programs that tests start."""

NAMES = ("secantus", *(("mongodb",) if os.environ.get(VARIABLE) else ()))
"""What the suites go over."""

_numbers = itertools.count()
_started: dict[str, RunningServer] = {}


class RunningServer:
    """A SecantusDB on a port and in a folder of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, also again, and wait until it answers."""
        program = Path(sys.executable).with_name("secantusd-py")
        command = [str(program), "--host", "127.0.0.1", "--port", str(self.port), "--cache-size", "64M"]
        log = (self.folder / "server.log").open("ab")
        self.process = subprocess.Popen(
            [*command, "--storage-path", str(self.folder / "data"), *self.options],
            cwd=self.folder,  # where it looks for settings
            stdout=log,
            stderr=log,
        )
        log.close()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"SecantusDB did not start: {(self.folder / 'server.log').read_text()}")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut would, as far as a process can."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait(10)

    def url(self, user: str = "", database: str = "test", **options: object) -> str:
        """Its URL, with a collection that nobody else uses."""
        return with_options(f"mongodb://{user}127.0.0.1:{self.port}/{database}", **options)


def with_options(url: str, **options: object) -> str:
    """A URL with these options, and a collection that nobody else uses unless they name one."""
    options = {"collection": f"c{os.getpid()}_{next(_numbers)}", **options}
    return f"{url}{'&' if '?' in url else '?'}" + "&".join(f"{name}={value}" for name, value in options.items())


def is_there() -> bool:
    """Whether the server of the test extra is installed."""
    return Path(sys.executable).with_name("secantusd-py").exists()


def started(*options: str) -> RunningServer:
    """A server of its own. Skips where there is none; it must be there in CI."""
    if not is_there():
        if os.environ.get("CI"):
            pytest.fail("there is no SecantusDB here")
        pytest.skip("there is no SecantusDB here; pip install 'zerog[test]' brings it")
    folder = Path(tempfile.mkdtemp(prefix="zerog-mongodb-"))
    server = RunningServer(folder, *options)
    owner = os.getpid()

    def end() -> None:
        if os.getpid() == owner:  # a forked child leaves it alone
            server.kill()
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return server


def shared() -> RunningServer:
    """The SecantusDB that all tests of this run share."""
    if "secantus" not in _started:
        _started["secantus"] = started()
        os.environ[SHARED_VARIABLE] = f"mongodb://127.0.0.1:{_started['secantus'].port}/test"
    return _started["secantus"]


def url_of(name: str, **options: object) -> str:
    """A URL of one of NAMES, with a collection that nobody else uses."""
    return shared().url(**options) if name == "secantus" else with_options(os.environ[VARIABLE], **options)


def url_for(folder: Path) -> str:
    """A URL that belongs to a folder: whoever asks again, from another process too, gets the same documents.

    A program that a test starts, to be killed perhaps, finds the test's own server by SHARED_VARIABLE.
    """
    file = folder / "mongodb.url"
    if not file.exists():
        url = os.environ.get(SHARED_VARIABLE)
        file.write_text(with_options(url) if url else shared().url())
    return file.read_text()


def forget(datastore: MongoDatastore) -> None:
    """Drop what a test has stored, and close."""
    try:
        with pymongo.timeout(5):
            datastore.server.collection.drop()
    finally:
        datastore.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
