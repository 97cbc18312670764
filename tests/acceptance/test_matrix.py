"""Any datastore with any queue: jobs of every kind of ending, and a worker killed in the middle."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import zerog
from tests.acceptance.harness import ROOT
from tests.backends.beanstalkd.servers import url_for as beanstalkd_url_for
from tests.backends.couchbase.servers import url_for as couchbase_url_for
from tests.backends.mongo.servers import url_for as mongo_url_for
from tests.backends.postgres.servers import url_for as postgres_url_for
from tests.backends.redis.servers import shared
from tests.backends.rq.queues import real_url
from tests.processes import until
from zerog.records.job import TERMINAL

JOBS = 200

DATASTORES: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda folder: f"sqlite:///{folder}/documents.db",
    "postgres": postgres_url_for,
    "redis": lambda _: shared("valkey").url(),
    "couchbase": couchbase_url_for,
    "mongodb": mongo_url_for,
}
QUEUES: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda folder: f"sqlite:///{folder}/queue.db",
    "postgres": postgres_url_for,
    "redis": lambda _: shared("valkey").url(),
    "rq": lambda _: f"rq+{real_url()}",
    "beanstalkd": beanstalkd_url_for,
}


class OneWorker:
    """A worker process on the app of ``endings``, to be killed and replaced."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "zerog", "worker", "tests.acceptance.endings:app"]
        options = ["--concurrency", "8", "--lease", "2"]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([*command, *options], cwd=ROOT, stdout=log, stderr=log)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def statuses(app: zerog.App, uuids: list[str]) -> list[str]:
    return [app.progress(uuid)["status"] for uuid in uuids]


@pytest.mark.slow
@pytest.mark.parametrize("queue", QUEUES)
@pytest.mark.parametrize("datastore", DATASTORES)
def test_every_pair(
    datastore: str,
    queue: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """All jobs reach the ends of their kinds, with right results, although the worker dies half-way."""
    monkeypatch.delenv("ZEROG_URL", raising=False)
    monkeypatch.setenv("ZEROG_DATASTORE", DATASTORES[datastore](tmp_path))
    monkeypatch.setenv("ZEROG_QUEUE", QUEUES[queue](tmp_path))
    sys.modules.pop("tests.acceptance.endings", None)  # its app is on the backends that the environment names now
    endings = importlib.import_module("tests.acceptance.endings")
    app = endings.app
    request.addfinalizer(app.close)
    app.setup()
    kinds = [list(endings.ENDS)[n % len(endings.ENDS)] for n in range(JOBS)]
    uuids = []
    for number, kind in enumerate(kinds):
        delay = {"later": 1.0, "withdrawn": 600.0}.get(kind, 0.0)
        uuids.append(app.submit(endings.Ending, {"kind": kind, "number": number}, delay=delay).uuid)
        if kind == "withdrawn":
            assert app.cancel(uuids[-1]) == "cancelled"
    worker = OneWorker(tmp_path / "worker.log")
    try:
        until(lambda: sum(status in ("succeeded", "failed") for status in statuses(app, uuids)) > JOBS // 4, 60)
        worker.kill()
        before = statuses(app, uuids)
        worker.start()
        left = [*uuids]

        def none_left() -> bool:
            while left and app.progress(left[-1])["status"] in TERMINAL:
                left.pop()
            return not left

        until(none_left, 120, "all jobs end")
    finally:
        worker.kill()
    assert {"queued", "scheduled", "running"} & set(before), "nothing was left when the worker died"
    for uuid, kind, number in zip(uuids, kinds, range(JOBS), strict=True):
        endings.check(app, uuid, kind, number)
    assert not app.reconcile()
