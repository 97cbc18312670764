"""Orders to real workers: obeyed within seconds, on every engine and executor, and nothing is lost by them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.harness import ROOT, Workers
from tests.backends.postgres.servers import url_for as postgres_url_for
from tests.backends.redis.servers import url_for as redis_url_for
from tests.backends.rq.queues import url_for as rq_url_for
from tests.marks import wide
from tests.preloaded import StartedProgram
from tests.processes import stretched
from tests.programs import python
from zerog.contracts.datastore import FindQuery

SOON = 5.0
"""Seconds within which an order is obeyed, on a machine that is busy with other tests."""

URLS = {
    "sqlite": lambda folder: None,
    "postgres": postgres_url_for,
    "redis": redis_url_for,
    "rq": lambda folder: f"rq+{rq_url_for(folder)}",
}


def workers(folder: Path, kind: str = "sqlite", *options: str) -> Workers:
    return Workers(folder, "--lease", "3", "--grace", "1", *options, url=URLS[kind](folder))


def shown(w: Workers) -> dict[int, dict[str, Any]]:
    """The workers by pid."""
    return {worker["pid"]: worker for worker in w.app.workers()}


def name_of(w: Workers, worker: StartedProgram) -> str:
    return str(w.until(lambda: shown(w).get(worker.pid))["name"])


def state_of(w: Workers, name: str) -> str | None:
    return next((worker["state"] for worker in w.app.workers() if worker["name"] == name), None)


def zerog(w: Workers, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command, as an operator gives it."""
    environment = {**os.environ, "ZEROG_URL": w.url, "PYTHONPATH": str(ROOT)}
    return python().run("-m", "zerog", *arguments, folder=ROOT, environment=environment)


@pytest.mark.parametrize(
    ("kind", "executor"),
    [
        ("sqlite", "thread"),
        pytest.param("sqlite", "async", marks=pytest.mark.slow),
        *wide(("redis", "process")),
        pytest.param("rq", "thread", marks=pytest.mark.slow),
    ],
)
def test_a_worker_is_drained_under_load_and_nothing_is_lost(tmp_path: Path, kind: str, executor: str) -> None:
    """Its running jobs end where they are; from then on the other one claims everything, until it may claim again."""
    with workers(tmp_path, kind, "--executor", executor, "--concurrency", "2") as w:
        first, second = w.start(), w.start()
        names = name_of(w, first), name_of(w, second)
        uuids = w.app.submit_many("square", ({"number": n, "seconds": 0.02} for n in range(400)))
        w.until(lambda: w.counts()["succeeded"] > 20)
        at = time.monotonic()
        [recorded] = w.app.fleet.drain(names[0])
        assert recorded["name"] == names[0]
        w.until(lambda: state_of(w, names[0]) == "drained", SOON)
        assert time.monotonic() - at < stretched(SOON)
        owners: set[str] = set()
        counts = w.counts()
        while counts["succeeded"] < 400:
            owners |= {head["owner"]["worker"] for head in w.app.datastore.find(FindQuery(status="running")).heads}
            counts = w.counts()
        assert names[0] not in owners
        assert w.until_ended(400)["succeeded"] == 400
        # Those that it released at once have cost their jobs nothing.
        assert [w.app.progress(uuid)["errorCount"] for uuid in uuids] == [0] * 400
        w.app.fleet.drain(names[1])
        w.until(lambda: state_of(w, names[1]) == "drained", SOON)
        late = w.app.submit("square", {"number": 7}).uuid
        w.app.fleet.undrain(names[0])
        assert w.app.wait(late, stretched(2 * SOON)).output == {"square": 49}


@pytest.mark.wide
def test_a_drained_worker_that_is_killed_costs_time_only(tmp_path: Path) -> None:
    """Its job continues elsewhere after the lease, and its record is removed."""
    with workers(tmp_path) as w:
        first = w.start()
        name = name_of(w, first)
        job = w.app.submit("steps", {"steps": 200, "seconds": 0.02})
        w.until(lambda: w.app.progress(job.uuid)["completeness"] > 0.05)
        w.app.fleet.drain(name)
        w.until(lambda: state_of(w, name) == "draining", SOON)
        w.kill(first)
        w.until(lambda: state_of(w, name) == "silent", 3 + SOON)
        answer = zerog(w, "workers", "drain", "tests.acceptance.jobs:app", name)
        assert (answer.returncode, answer.stderr) == (0, "")
        assert f"{name} is silent for " in answer.stdout and "if it comes back" in answer.stdout
        w.start()
        assert w.app.wait(job.uuid, 60).output == {"steps": 200}
        w.until(lambda: state_of(w, name) is None, 60)


@pytest.mark.parametrize("kind", ["sqlite", *wide("redis")])
@pytest.mark.wide
def test_drained_for_good_a_worker_ends_once_its_job_has(tmp_path: Path, kind: str) -> None:
    """No grace cuts the job short; then it ends with 0."""
    with workers(tmp_path, kind) as w:
        worker = w.start()
        name = name_of(w, worker)
        started = tmp_path / "started"
        job = w.app.submit("deaf", {"started": str(started), "seconds": 6.0})
        w.until(started.exists)
        w.app.fleet.drain(name, for_good=True)
        w.until(lambda: state_of(w, name) == "draining", SOON)
        assert w.app.wait(job.uuid, 20).status == "succeeded"
        assert worker.wait(stretched(SOON)) == 0
        assert w.app.workers() == []


@pytest.mark.wide
def test_a_supervisor_does_not_replace_what_was_drained_for_good(tmp_path: Path) -> None:
    """One of two ends and the other works on; after the second one the supervisor ends, too, with 0."""
    with workers(tmp_path, "sqlite", "--processes", "2", "--build-id", "7") as w:
        supervisor = w.start()
        first, second = w.until(lambda: len(found := sorted(shown(w))) == 2 and found)
        assert {worker["build"] for worker in w.app.workers()} == {"7"}
        name = shown(w)[first]["name"]
        answer = zerog(w, "workers", "drain", "tests.acceptance.jobs:app", name, "--for-good")
        assert f"{name} drains for good; it runs 0 jobs." in answer.stdout
        w.until(lambda: f"worker process {first} was drained for good and is not replaced" in w.log.read_text())
        assert w.app.wait(w.app.submit("square", {"number": 3}).uuid, 20).output == {"square": 9}
        assert list(shown(w)) == [second]
        os.kill(second, signal.SIGKILL)  # a death is no retirement
        third = w.until(lambda: next((pid for pid in shown(w) if pid not in (first, second)), None))
        w.until(lambda: shown(w)[third]["state"] == "running")
        w.app.fleet.drain(everyone=True, for_good=True)
        assert supervisor.wait(20) == 0


@pytest.mark.parametrize(
    ("kind", "executor"),
    [
        ("sqlite", "thread"),
        pytest.param("redis", "async", marks=pytest.mark.slow),
        pytest.param("rq", "process", marks=pytest.mark.slow),
    ],
)
@pytest.mark.wide
def test_no_worker_claims_from_a_paused_queue(tmp_path: Path, kind: str, executor: str) -> None:
    """With several workers; the other queue is served, submissions are taken, and all of it runs once resumed."""
    with workers(tmp_path, kind, "--queues", "slow,fast", "--executor", executor) as w:
        for _ in range(2):
            w.start()
        w.until(lambda: len(shown(w)) == 2)
        slow = w.app.submit_many("square", ({"number": n, "seconds": 0.02} for n in range(300)), queue="slow")
        w.until(lambda: w.counts()["succeeded"] > 10)
        app = "tests.acceptance.jobs:app"
        answer = zerog(w, "queues", "pause", app, "slow", "--reason", "the disk is full")
        assert answer.stdout == "Queue slow is paused.\n"
        w.until(lambda: w.log.read_text().count("claims nothing from paused queues: slow") == 2, SOON)
        w.until(lambda: not w.counts()["running"], SOON)  # what ran continues to its end
        before = w.counts()["succeeded"]
        assert before < 300
        slow += w.app.submit_many("square", ({"number": n} for n in range(5)), queue="slow")
        fast = w.app.submit_many("square", ({"number": n} for n in range(20)), queue="fast")
        w.start()  # one that has never served the queue
        w.until(lambda: all(w.app.progress(uuid)["status"] == "succeeded" for uuid in fast))
        w.until(lambda: len(shown(w)) == 3)
        assert w.counts()["succeeded"] == before + 20
        [line] = [json.loads(line) for line in zerog(w, "queues", app, "--json").stdout.splitlines() if "slow" in line]
        assert line["paused"]["reason"] == "the disk is full" and line["paused"]["by"]
        assert line["waiting"] == 305 - before and line["workers"] == 3
        doctor = zerog(w, "doctor", app)
        assert "wait on queue slow, which is paused" in doctor.stdout and doctor.returncode == 0
        assert zerog(w, "queues", "resume", app, "slow").stdout == "Queue slow is served again.\n"
        assert w.until_ended(325)["succeeded"] == 325
        assert {w.app.progress(uuid)["attempts"] for uuid in fast} == {1}


def test_workers_show_what_they_do(tmp_path: Path) -> None:
    """State, host, build, jobs, memory and settings; in a table and as JSON."""
    with workers(tmp_path, "sqlite", "--executor", "process", "--concurrency", "2", "--name", "web1") as w:
        worker = w.start("--build-id", "1f2e3d")
        name = name_of(w, worker)
        assert name.startswith(f"web1-{worker.pid}-")
        uuids = {w.app.submit("steps", {"steps": 1_000}).uuid for _ in range(2)}
        seen = w.until(lambda: (found := shown(w)[worker.pid])["jobs"] == 2 and found)
        assert set(seen["uuids"]) == uuids
        assert (seen["state"], seen["build"], seen["executor"], seen["queues"]) == (
            "running",
            "1f2e3d",
            "process",
            ["default"],
        )
        assert 10 << 20 < seen["memory"] < 1 << 30
        assert seen["config"]["concurrency"] == 2 and seen["config"]["lease"] == 3.0
        assert {w.app.get_job(uuid).dump()["owner"]["build"] for uuid in uuids} == {"1f2e3d"}
        table = zerog(w, "workers", "tests.acceptance.jobs:app").stdout
        assert table.splitlines()[0].split()[:5] == ["NAME", "STATE", "HOST", "PID", "BUILD"]
        assert table.splitlines()[1].split()[:2] == [name, "running"]
        worker.send_signal(signal.SIGTERM)
        w.until(lambda: state_of(w, name) in ("stopping", None), SOON)
        assert worker.wait(20) == 0


def test_orders_that_can_not_be_given_are_refused(tmp_path: Path) -> None:
    with workers(tmp_path) as w:
        app = "tests.acceptance.jobs:app"
        name = name_of(w, w.start())
        for arguments, code, words in [
            (["workers", "drain", app, "unknown"], 1, f"there is no worker called 'unknown'; known: {name}"),
            (["workers", "drain", app, "--host", "moon"], 1, "there is no worker on host 'moon'"),
            (["workers", "drain", app], 2, "name workers, or give a host, or choose all of them"),
            (["queues", "pause", app, ""], 2, "queue=''; expected a name"),
        ]:
            answer = zerog(w, *arguments)
            assert (answer.returncode, words in answer.stderr) == (code, True), answer
        assert state_of(w, name) == "running"


def test_a_worker_that_starts_without_its_datastore_waits_for_it(tmp_path: Path) -> None:
    """A locked file stands for a server that is away; with --connect-retries it gives up, with exit code 1."""
    with workers(tmp_path) as w:
        w.app.submit("square", {"number": 3})
        other = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        script = tmp_path / "impatient.py"
        script.write_text(
            "from zerog.backends.sqlite import connection\nconnection.BUSY_SECONDS = 0.2\n"
            "from tests.acceptance.jobs import app\n"
        )
        waiting = w.start(code=script)
        giving_up = w.start("--connect-retries", "1", code=script)
        w.until(lambda: "waits for the datastore, try 3" in w.log.read_text())
        assert giving_up.wait(20) == 1
        assert "tried 2 times to reach the datastore and gives up" in w.log.read_text()
        assert waiting.poll() is None
        other.execute("ROLLBACK")
        other.close()
        assert w.until_ended(1)["succeeded"] == 1
