"""Couchbase for tests: stand-ins that are started in separate processes, or the real one that a variable names.

No real Couchbase Server is available from a package registry, so everything runs on
``tests.backends.couchbase.standin``, through the real SDK. What must also hold on a real server runs there if
``ZEROG_TEST_COUCHBASE`` is a URL of one, with a bucket or a collection for tests only, for example
``couchbase://user@host/bucket/scope/collection``; its password is in ``ZEROG_COUCHBASE_PASSWORD``.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from tests.processes import stretched
from tests.servers import PATIENCE, at_exit, bound

PASSWORD_VARIABLE = "ZEROG_COUCHBASE_PASSWORD"
REAL_VARIABLE = "ZEROG_TEST_COUCHBASE"
"""The URL of a real server."""

PASSWORD = "password"

_numbers = itertools.count()
_started: dict[bool, RunningStandIn] = {}


class RunningStandIn:
    """A stand-in in its own process."""

    def __init__(self, *options: str, port: int = 0) -> None:
        self._options = options
        self._talking = threading.Lock()
        self.port = port
        self.process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Start it, also again, and wait until it listens."""
        command = [sys.executable, "-m", "tests.backends.couchbase.standin", "--port", str(self.port), *self._options]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            bound(*command), stdin=pipe, stdout=pipe, text=True, cwd=Path(__file__).parents[3]
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().rpartition(":")[2])

    def ask(self, **what: Any) -> dict[str, int]:
        """Set ``faults``; return what was counted since the last call."""
        assert self.process is not None and self.process.stdin is not None and self.process.stdout is not None
        with self._talking:
            self.process.stdin.write(json.dumps(what) + "\n")
            self.process.stdin.flush()
            answer: dict[str, int] = json.loads(self.process.stdout.readline())
            return answer

    def fail(self, kind: str, **how: Any) -> None:
        """Set one fault (see ``standin.faults.Fault``) in place of all earlier ones."""
        self.ask(faults=[{"kind": kind, **how}])

    def new_collection(self) -> str:
        """The path of a new collection."""
        name = f"c{next(_numbers)}"
        self.ask(collection=f"test.{name}")
        return f"default/test/{name}"

    def heal(self) -> dict[str, int]:
        """Remove all faults; return what was counted."""
        return self.ask(faults=[])

    def kill(self) -> None:
        """End it; its documents are lost."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(stretched(10))
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    def url(self, path: str = "default", password: str = f":{PASSWORD}", **options: object) -> str:
        """Its URL."""
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"couchbase://Administrator{password}@127.0.0.1:{self.port}/{path}" + (f"?{query}" if query else "")


def started(*options: str) -> RunningStandIn:
    """A private stand-in, which may be broken; it ends with this process at the latest."""
    server = RunningStandIn(*options)
    at_exit(lambda: server.kill() if server.process is not None and server.process.poll() is None else None)
    return server


def shared(query: bool = True) -> RunningStandIn:
    """The stand-in that all tests of this run share, with or without a query service."""
    if query not in _started:
        _started[query] = started(*(["--query"] if query else []))
    return _started[query]


def fresh_url(query: bool = True, **options: object) -> str:
    """The URL of a new collection on a shared stand-in."""
    server = shared(query)
    return server.url(server.new_collection(), **options)


def url_for(folder: Path) -> str:
    """A URL that belongs to a folder: the same documents on every call, from another process too."""
    file = folder / "couchbase.url"
    if not file.exists():
        file.write_text(fresh_url(timeout=PATIENCE))
    return file.read_text()
