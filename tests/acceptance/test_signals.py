"""Signals in large numbers and odd orders, to workers with running jobs. Real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.harness import ROOT, Workers
from tests.marks import wide
from tests.preloaded import StartedProgram


def checked_books(w: Workers, uuids: list[str]) -> None:
    """Every job has its result, and each run was either finished, or released at no cost, or lost with its worker."""
    for uuid in uuids:
        document = w.app.datastore.read(f"zerog_job_{uuid}")
        assert (document["status"], document["resultCode"], document["owner"]) == ("succeeded", 200, None)
        assert document["output"] == {"steps": 30}
        assert document["attempts"] == 1 + document["lost"] + document["crashes"]
        assert document["errorCount"] == 0


def storm(worker: StartedProgram, number: int = 100, seconds: float = 1.0) -> int:
    """Send SIGTERM again and again, as long as the process lives; return how many were sent."""
    for sent in range(number):
        if worker.poll() is not None:
            return sent
        worker.terminate()
        time.sleep(seconds / number)  # the pace of the storm
    return number


def steps(executor: str) -> str:
    """The type of job that counts steps and is made for this executor."""
    return "async_steps" if executor == "async" else "steps"


@pytest.mark.parametrize("executor", ["thread", *wide("process", "async")])
def test_a_storm_of_sigterm_ends_as_one_does(executor: str, tmp_path: Path) -> None:
    """Running jobs are released, nothing is settled twice, and the exit code is that of a clean end."""
    with Workers(tmp_path, "--executor", executor, "--concurrency", "4", "--lease", "5", "--log-level", "ERROR") as w:
        uuids = list(w.app.submit_many(steps(executor), ({"steps": 30, "seconds": 0.02} for _ in range(12))))
        for _ in range(3):
            worker = w.start()
            w.until(lambda: w.counts()["running"] > 0)
            assert storm(worker) > 1
            assert worker.wait(20) == 0
            assert w.counts()["running"] == 0
        w.start()
        w.until_ended(12)
        checked_books(w, uuids)
        assert w.log.read_text() == ""


@pytest.mark.parametrize("executor", ["thread", *wide("process", "async")])
@pytest.mark.wide
def test_sigterm_then_sigkill_at_any_moment_loses_nothing(executor: str, tmp_path: Path) -> None:
    """The kill follows 0, 50, 100 … ms after the SIGTERM: in the middle of releasing, settling, leaving."""
    with Workers(tmp_path, "--executor", executor, "--concurrency", "4", "--lease", "1", "--log-level", "ERROR") as w:
        uuids = list(w.app.submit_many(steps(executor), ({"steps": 30, "seconds": 0.02} for _ in range(24))))
        for step in range(6):
            worker = w.start()
            w.until(lambda: w.counts()["running"] > 0 or w.counts()["succeeded"] == 24)
            worker.terminate()
            try:
                worker.wait(step * 0.05)
            except subprocess.TimeoutExpired:
                w.kill(worker)
        w.start()
        w.until_ended(24)
        checked_books(w, uuids)


def test_ctrl_c_at_a_terminal_ends_a_supervisor_like_sigterm(tmp_path: Path) -> None:
    """SIGINT to the whole foreground group: jobs in children don't notice, save their work and are released."""
    options = ("--processes", "2", "--executor", "process", "--lease", "5", "--log-level", "WARNING")
    with Workers(tmp_path, *options) as w:
        marks = [tmp_path / "one", tmp_path / "two"]
        uuids = [w.app.submit("steps", {"steps": 30, "seconds": 0.1, "started": str(mark)}).uuid for mark in marks]
        command = [sys.executable, "-m", "zerog", "worker", "tests.acceptance.jobs:app", *options]
        with w.log.open("ab") as log:
            supervisor = subprocess.Popen(command, cwd=ROOT, process_group=0, stdout=log, stderr=log)
        w.running.append(supervisor)
        w.until(lambda: all(w.app.progress(uuid)["completeness"] > 0 for uuid in uuids))
        os.killpg(supervisor.pid, signal.SIGINT)
        assert supervisor.wait(20) == 0
        for uuid in uuids:
            head = w.app.datastore.read(f"zerog_job_{uuid}")
            assert (head["status"], head["attempts"], head["crashes"], head["lost"]) == ("queued", 0, 0, 0)
            assert head["step"] > 0
        assert "KeyboardInterrupt" not in w.log.read_text()


def test_children_ignore_the_signal_of_a_terminal(tmp_path: Path) -> None:
    """SIGINT straight to the process that runs the job changes nothing for it."""
    with Workers(tmp_path, "--executor", "process") as w:
        mark = tmp_path / "started"
        uuid = w.app.submit("steps", {"steps": 30, "seconds": 0.02, "started": str(mark)}).uuid
        w.start()
        w.until(lambda: w.app.progress(uuid)["completeness"] > 0)
        os.kill(int(mark.read_text()), signal.SIGINT)
        job = w.app.wait(uuid, 20)
        assert (job.output, job.attempts, job.errorCount) == ({"steps": 30}, 1, 0)
