"""MongoDB for tests: SecantusDB, which speaks its protocol, and a real one if ZEROG_TEST_MONGODB has its URL.

SecantusDB is part of the test extra and is started once per run. It is not MongoDB: what passes there has been tried
against the protocol and the meaning of the commands, not against ``mongod``.
"""

from __future__ import annotations

import itertools
import os
import socket
import sys
from pathlib import Path

import pymongo

from tests.servers import Server, missing
from zerog.backends.mongo.datastore import MongoDatastore

VARIABLE = "ZEROG_TEST_MONGODB"
"""The URL of a real server, with a database that tests may fill."""

SHARED_VARIABLE = "ZEROG_TEST_MONGODB_STAND_IN"
"""Where the shared server is, for programs that tests start."""

NAMES = ("secantus", *(("mongodb",) if os.environ.get(VARIABLE) else ()))
"""The servers that the suites cover."""

PATIENT = {"socketTimeoutMS": 60_000}
"""Options for the shared server, which is slow where the machine is busy: no test of it is about that."""

_numbers = itertools.count()
_started: dict[str, RunningServer] = {}


class RunningServer(Server):
    """A SecantusDB."""

    def __init__(self, *options: str) -> None:
        self.options = options
        super().__init__("secantus")

    def command(self) -> list[str]:
        command = [str(_program()), "--host", "127.0.0.1", "--port", str(self.port), "--cache-size", "64M"]
        return [*command, "--storage-path", str(self.folder / "data"), *self.options]

    def answers(self) -> bool:
        socket.create_connection(("127.0.0.1", self.port), 1).close()
        return True

    def url(self, user: str = "", database: str = "test", **options: object) -> str:
        """Its URL, with a new collection."""
        return with_options(f"mongodb://{user}127.0.0.1:{self.port}/{database}", **options)


def with_options(url: str, **options: object) -> str:
    """A URL with these options, and a new collection unless they name one."""
    options = {"collection": f"c{os.getpid()}_{next(_numbers)}", **options}
    return f"{url}{'&' if '?' in url else '?'}" + "&".join(f"{name}={value}" for name, value in options.items())


def _program() -> Path:
    return Path(sys.executable).with_name("secantusd-py")


def started(*options: str) -> RunningServer:
    """A separate server; its test is skipped where there is none, and fails in CI."""
    if not _program().exists():
        missing("SecantusDB", "pip install -e '.[test]' brings it")
    return RunningServer(*options)


def shared() -> RunningServer:
    """The SecantusDB that all tests of this run share."""
    if "secantus" not in _started:
        _started["secantus"] = started()
        os.environ[SHARED_VARIABLE] = f"mongodb://127.0.0.1:{_started['secantus'].port}/test"
    return _started["secantus"]


def url_of(name: str, **options: object) -> str:
    """A URL of one of NAMES, with a new collection."""
    return shared().url(**PATIENT, **options) if name == "secantus" else with_options(os.environ[VARIABLE], **options)


def url_for(folder: Path) -> str:
    """A URL that belongs to a folder: the same documents on every call, from another process too.

    A program that a test starts, to be killed perhaps, finds the test's own server by SHARED_VARIABLE.
    """
    file = folder / "mongodb.url"
    if not file.exists():
        url = os.environ.get(SHARED_VARIABLE)
        file.write_text(with_options(url, **PATIENT) if url else shared().url(**PATIENT))
    return file.read_text()


def forget(datastore: MongoDatastore) -> None:
    """Drop what a test has stored, and close."""
    try:
        with pymongo.timeout(5):
            datastore.server.collection.drop()
    finally:
        datastore.close()
