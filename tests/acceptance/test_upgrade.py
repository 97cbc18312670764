"""Workers of an earlier version of ZeroG beside present ones on one store, killed in turns: as in every upgrade."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from io import BytesIO
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.harness import ROOT, Workers
from tests.backends.redis.servers import started
from zerog.contracts.datastore import FindQuery

EARLIER = "2bf3123"
"""The commit whose workers are started. Its runs keep no nonce once they are settled, its workers' records list no
runs, its entries have no kinds."""

JOBS = 500
KILLS = 6
LEASE = "4"

CODE = """
import os
import time

from marshmallow import Schema, fields

import zerog

BY = os.environ["CODE"]
app = zerog.App(os.environ["ZEROG_URL"])


class Parcel(zerog.BaseJob):
    JOB_TYPE = "parcel"

    class Params(Schema):
        sender = fields.String(required=True)

    class State(Schema):
        leg = fields.Integer(load_default=0)

    def run(self):
        self.record_event(f"{BY} began")
        self.set_completeness(0.5)
        time.sleep(0.1)
        if self.leg == 0:
            self.update_attrs(leg=1)
            self.raise_warning_continue(202, "on its way", delay=0.5)
        return {"sender": self.sender, "leg": self.leg}


app.register(Parcel)
"""

SUBMIT = """
import parcels
parcels.app.submit_many(parcels.Parcel, [{"sender": parcels.BY}] * NUMBER)
"""


class Upgrade:
    """Workers of both versions, which run the job in CODE."""

    def __init__(self, workers: Workers, folder: Path, earlier: Path) -> None:
        self.workers = workers
        self.running: dict[str, list[subprocess.Popen[bytes]]] = {"earlier": [], "present": []}
        self._roots = {"earlier": earlier, "present": ROOT}
        self._code = folder / "parcels.py"
        self._code.write_text(CODE)

    def start(self, version: str) -> None:
        worker = self.workers.start_elsewhere(self._code, self._path(version), CODE=version)
        self.running[version].append(worker)

    def kill(self, version: str) -> None:
        self.workers.kill(self.running[version].pop(0))

    def submit(self, version: str, number: int) -> None:
        """Submit jobs by a client of that version."""
        subprocess.run(
            [sys.executable, "-c", SUBMIT.replace("NUMBER", str(number))],
            cwd=self._code.parent,
            env={**os.environ, "CODE": version, "PYTHONPATH": self._path(version)},
            check=True,
        )

    def imported(self, version: str) -> Path:
        """The folder of the package that a process of that version imports."""
        found = subprocess.run(
            [sys.executable, "-c", "import zerog; print(zerog.__file__)"],
            env={**os.environ, "PYTHONPATH": self._path(version)},
            cwd=self._code.parent,
            check=True,
            capture_output=True,
            text=True,
        )
        return Path(found.stdout.strip()).parents[1]

    def _path(self, version: str) -> str:
        return f"{self._roots[version]}:{self._code.parent}"


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the earlier version, from the repository's own history."""
    command = ["git", "-C", str(ROOT), "archive", "--format=tar", EARLIER, "zerog"]
    try:
        archive = subprocess.run(command, capture_output=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"an installed copy or a shallow clone has no history to take the earlier version from: {error}")
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder


@pytest.fixture(params=["sqlite", "redis"])
def upgrade(request: pytest.FixtureRequest, tmp_path: Path, earlier: Path) -> Iterator[Upgrade]:
    server = started("valkey", "--appendonly", "yes") if request.param == "redis" else None
    url = None if server is None else server.url()
    options = ("--lease", LEASE, "--concurrency", "4", "--log-level", "WARNING")
    with Workers(tmp_path, *options, module=None, url=url) as workers:
        yield Upgrade(workers, tmp_path, earlier)
    if server is not None:
        server.kill()


def began(document: dict[str, Any]) -> list[str]:
    """Which version began each run of a job, in order."""
    recorded = [event["msg"].split() for event in document["events"]]
    return [words[0] for words in recorded if words[1:] == ["began"]]


@pytest.mark.slow
def test_old_and_new_workers_on_one_store(upgrade: Upgrade) -> None:
    """Each version claims, resumes and takes over the jobs of the other; none is lost and none fails."""
    workers = upgrade.workers
    assert upgrade.imported("earlier") != upgrade.imported("present") == ROOT
    upgrade.start("earlier")
    for version in ("earlier", "present"):
        upgrade.submit(version, JOBS // 2)
    workers.until(lambda: workers.counts()["running"] > 0)
    for version in ("earlier", "present", "present"):
        upgrade.start(version)
    for number, version in zip(range(1, KILLS + 1), cycle(("earlier", "present")), strict=False):
        workers.until(lambda least=number * JOBS // KILLS // 2: workers.counts()["succeeded"] >= least, 120)
        upgrade.kill(version)
        upgrade.start(version)
        assert workers.counts()["failed"] == 0, f"after kill {number}"
    counts = workers.until_ended(JOBS, 120)
    assert {status: count for status, count in counts.items() if count} == {"succeeded": JOBS}
    workers.app.setup()  # on Redis the earlier version lists no job by its creation or its end
    keys = [f"zerog_job_{job['uuid']}" for job in workers.app.jobs()]
    documents = [workers.app.datastore.read(key) for key in keys]
    assert len(documents) == JOBS
    assert all(job["output"] == {"sender": job["sender"], "leg": 1} for job in documents)
    assert all(job["errorCount"] == job["crashes"] == 0 for job in documents)
    both = {"earlier", "present"}
    assert {(job["sender"], began(job)[0]) for job in documents} == {(a, b) for a in both for b in both}
    followed = {pair for job in documents for pair in pairwise(began(job))}
    assert {("earlier", "present"), ("present", "earlier")} <= followed
    assert any(job["lost"] for job in documents)
    due = workers.app.datastore.find(FindQuery(status="succeeded", job_type="parcel", until="9", limit=2 * JOBS))
    assert len(due.heads) == JOBS
