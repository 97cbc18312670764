"""Worker processes of both kinds on one RQ queue, ended by this test, each by its pid."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import zerog
from tests.backends.rq.queues import raw_client, real_url
from tests.processes import stretched
from zerog.records.job import TERMINAL

ROOT = Path(__file__).parents[3]


class Site:
    """A datastore, an RQ queue on a real server, and the processes that serve them."""

    def __init__(self, folder: Path, url: str) -> None:
        self.url = url
        self.folder = folder
        self.redis: redis.Redis = raw_client(url)
        self.log = folder / "workers.log"
        self.lines = folder / "lines"
        self.flag = folder / "flag"
        self._environment = {
            **os.environ,
            "ZEROG_TEST_DATASTORE": f"sqlite:///{folder}/jobs.db",
            "ZEROG_TEST_QUEUE": f"rq+{url}",
            "ZEROG_APP": "tests.backends.rq.jobs:app",
            "ZEROG_LEASE": "2",
            "PYTHONPATH": str(ROOT),
        }
        self.app = zerog.App(datastore=f"sqlite:///{folder}/jobs.db", queue=f"rq+{url}")
        self._running: list[subprocess.Popen[bytes]] = []
        os.environ["ZEROG_TEST_DATASTORE"] = f"sqlite:///{folder}/jobs.db"
        os.environ["ZEROG_TEST_QUEUE"] = f"rq+{url}"
        from tests.backends.rq import jobs

        self.app.register(*jobs.app.registry.get_registered_classes().values())

    def rq(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a command of RQ's."""
        command, *rest = arguments
        return self._start(["-m", "rq.cli", command, "--url", self.url, *rest], environment)

    def worker(self, kind: str = "rq.Worker", *options: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start one of RQ's workers."""
        return self.rq("worker", "-S", "json", "-w", kind, *options, **environment)

    def zerog_worker(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a worker of ZeroG's."""
        return self._start(["-m", "zerog", "worker", "tests.backends.rq.jobs:app", "--lease", "2", *options], {})

    def rq_output(self, *arguments: str) -> str:
        """What a command of RQ's prints."""
        command, *rest = arguments
        result = subprocess.run(
            [sys.executable, "-m", "rq.cli", command, "--url", self.url, *rest],
            env=self._environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return result.stdout

    def line(self, **params: Any) -> str:
        """Submit a job that leaves a line."""
        return self.app.submit("line", {"path": str(self.lines), **params}).uuid

    def written(self) -> list[list[str]]:
        """The lines so far: uuid, process, its parent."""
        return [line.split() for line in self.lines.read_text().splitlines()] if self.lines.exists() else []

    def status(self, uuid: str) -> str:
        """The status of a job."""
        return str(self.app.progress(uuid)["status"])

    def until(self, condition: Callable[[], Any], seconds: float = 30) -> Any:
        """Return what ``condition`` answers once it is true; fail with the workers' output."""
        deadline = time.monotonic() + stretched(seconds)
        while not (answer := condition()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s:\n{self.log.read_text()[-6000:]}")
            time.sleep(0.02)  # the pace of polling
        return answer

    def until_ended(self, *uuids: str, seconds: float = 30) -> list[str]:
        """Their status, once all have ended."""
        self.until(lambda: all(self.status(uuid) in TERMINAL for uuid in uuids), seconds)
        return [self.status(uuid) for uuid in uuids]

    def registries(self, queue: str = "default") -> dict[str, int]:
        """The number of entries that RQ's registries of a queue really hold, without RQ cleaning them first."""
        names = ("wip", "failed", "finished", "deferred", "canceled", "scheduled", "ready")
        counts = {name: int(self.redis.zcard(f"rq:{name}:{queue}")) for name in names}
        counts["waiting"] = int(self.redis.llen(f"rq:queue:{queue}"))
        counts["intermediate"] = int(self.redis.llen(f"rq:queue:{queue}:intermediate"))
        counts["jobs"] = len(self.redis.keys("rq:job:*"))
        return counts

    def is_clean(self) -> bool:
        """True if nothing is left in any of them."""
        return not any(self.registries().values())

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        """Send SIGTERM, once the worker runs a job or waits for one: RQ's loses one while it logs. Return the code."""
        if "rq.cli" in process.args:  # type: ignore[operator]
            self.until(lambda: self.app.count(status="running").number or self._a_worker_waits())
        process.terminate()
        return process.wait(stretched(20))

    def _a_worker_waits(self) -> bool:
        own = self.redis.client_info()["db"]
        return any(int(each["db"]) == own and "b" in each["flags"] for each in self.redis.client_list())

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Send SIGKILL."""
        process.kill()
        process.wait(stretched(10))

    def close(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.wait(stretched(10))
        for _, pid, parent in self.written():
            if int(parent) in {process.pid for process in self._running}:
                try:  # a fork of a killed worker continues alone
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
        self.app.close()
        self.redis.close()

    def _start(self, arguments: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env={**self._environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._running.append(process)
        return process


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, real_url())
    try:
        yield site
    finally:
        site.close()
