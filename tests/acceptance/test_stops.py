"""Stops that reach more than the worker's own process: they cost no job anything. Real processes.

Platforms send SIGTERM to a process group or to every process at once, a closed terminal sends SIGHUP.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.harness import Workers
from tests.acceptance.test_recovery import descendants
from tests.acceptance.test_ways_out import document, pid_in
from tests.marks import wide
from tests.preloaded import StartedProgram

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux")

TARGETS = ("leader", "group", "all")


def send(worker: StartedProgram, target: str, number: int = signal.SIGTERM) -> None:
    """Send a signal to a worker, to its process group, or to each of its processes."""
    pids = descendants(worker.pid) if target == "all" else [-worker.pid] if target == "group" else [worker.pid]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def check_books(w: Workers, uuids: list[str]) -> None:
    """Every job succeeded, and no stop was counted."""
    for uuid in uuids:
        job = document(w, uuid)
        books = {name: job[name] for name in ("status", "attempts", "crashes", "lost", "errorCount")}
        assert books == {"status": "succeeded", "attempts": 1, "crashes": 0, "lost": 0, "errorCount": 0}, (
            w.log.read_text()
        )
        assert job["errors"] == []


@pytest.mark.parametrize(
    ("executor", "target", "processes", "number"),
    [
        ("process", "all", 2, signal.SIGTERM),
        *wide(
            ("thread", "group", 1, signal.SIGHUP),
            ("async", "all", 1, signal.SIGTERM),
            ("process", "group", 1, signal.SIGTERM),
            ("process", "all", 1, signal.SIGHUP),
        ),
    ],
)
@pytest.mark.wide
def test_a_stop_of_all_processes_costs_no_job_anything(
    executor: str, target: str, processes: int, number: int, tmp_path: Path
) -> None:
    """The worker ends with exit code 0, and its jobs wait as before."""
    options = ("--executor", executor, "--concurrency", "2", "--processes", str(processes), "--grace", "3")
    with Workers(tmp_path, *options) as w:
        kind = "async_steps" if executor == "async" else "steps"
        uuids = list(w.app.submit_many(kind, ({"steps": 40, "seconds": 0.02} for _ in range(4))))
        for _ in range(2):
            worker = w.start()
            w.until(lambda: w.counts()["running"] >= 2)
            send(worker, target, number)
            assert worker.wait(20) == 0
            assert w.counts()["running"] == 0
        w.start()
        w.until_ended(4)
        check_books(w, uuids)


def test_a_supervisor_does_not_hurry_workers_that_the_signal_has_reached(tmp_path: Path) -> None:
    """SIGTERM to them and then to their supervisor counts once for each worker, so running jobs have their grace."""
    with Workers(tmp_path, "--processes", "2", "--grace", "20") as w:
        marks = [tmp_path / "one", tmp_path / "two"]
        uuids = [w.app.submit("deaf", {"started": str(mark), "seconds": 2}).uuid for mark in marks]
        worker = w.start()
        w.until(lambda: all(map(pid_in, marks)))
        for pid in descendants(worker.pid)[1:]:
            os.kill(pid, signal.SIGTERM)
        w.until(lambda: w.log.read_text().count("is shutting down; its jobs have") == 2)
        worker.terminate()
        assert worker.wait(30) == 0
        assert [document(w, uuid)["status"] for uuid in uuids] == ["succeeded"] * 2


def test_sighup_stays_ignored_under_nohup(tmp_path: Path) -> None:
    with Workers(tmp_path) as w:
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            worker = w.start()
        finally:
            signal.signal(signal.SIGHUP, before)
        w.until(lambda: "at once; it knows" in w.log.read_text())
        worker.send_signal(signal.SIGHUP)
        assert w.app.wait(w.app.submit("square", {"number": 3}).uuid, 20).output == {"square": 9}
        assert worker.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, *wide(signal.SIGHUP)])
@pytest.mark.wide
def test_a_stop_signal_to_a_child_alone_is_a_crash(number: int, tmp_path: Path) -> None:
    """Its worker continues: the job may be what kills its process each time, and has to end some day."""
    with Workers(tmp_path, "--executor", "process") as w:
        mark = tmp_path / "started"
        uuid = w.app.submit("steps", {"steps": 40, "seconds": 0.02, "started": str(mark)}).uuid
        w.start()
        w.until(lambda: w.app.progress(uuid)["completeness"] > 0)
        os.kill(pid_in(mark) or 0, number)
        job = w.app.wait(uuid, 30)
        assert (job.output, job.crashes, job.attempts) == ({"steps": 40}, 1, 2)


def test_the_death_of_an_idle_child_costs_the_next_job_nothing(tmp_path: Path) -> None:
    with Workers(tmp_path, "--executor", "process") as w:
        marks = [tmp_path / "one", tmp_path / "two"]
        w.start()
        for mark in marks:
            uuid = w.app.submit("steps", {"steps": 1, "started": str(mark)}).uuid
            job = w.app.wait(uuid, 20)
            assert (job.crashes, job.attempts, job.errors) == (0, 1, [])
            os.kill(pid_in(mark) or 0, signal.SIGKILL)
        assert pid_in(marks[0]) != pid_in(marks[1])


def is_over(worker: StartedProgram, seconds: float) -> bool:
    """Return True if the worker ends within that time."""
    try:
        worker.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def storm(w: Workers, target: str, seconds: float, total: int) -> int:
    """Send SIGTERM every 2 s, to a worker that is started again each time; return how many ended."""
    deadline = time.monotonic() + seconds
    ended = 0
    while time.monotonic() < deadline and w.counts()["succeeded"] < total:
        worker = w.start()
        while not is_over(worker, 2):
            send(worker, target)
        # Before its handlers are in place, the signal itself ends it: it has no job yet.
        assert worker.returncode in (0, -signal.SIGTERM)
        w.running.remove(worker)
        ended += 1
    return ended


@pytest.mark.timeout(400)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("executor", "processes"), [("thread", 1), ("async", 1), ("process", 1), ("process", 2)])
@pytest.mark.parametrize(
    "seconds", [pytest.param(20, marks=pytest.mark.slow), pytest.param(120, marks=pytest.mark.long)]
)
def test_a_storm_of_deploys_costs_no_job_anything(
    seconds: float, executor: str, processes: int, target: str, tmp_path: Path, capsys: Any
) -> None:
    """SIGTERM every 2 s: nothing failed, crashes and lost stay 0."""
    options = ("--executor", executor, "--concurrency", "4", "--processes", str(processes), "--grace", "1")
    with Workers(tmp_path, *options, "--lease", "10") as w:
        kind = "async_steps" if executor == "async" else "steps"
        uuids = list(w.app.submit_many(kind, ({"steps": 100, "seconds": 0.05} for _ in range(40))))
        ended = storm(w, target, seconds, len(uuids))
        done = w.counts()["succeeded"]
        w.start("--concurrency", "64", "--executor", "thread")
        w.until_ended(len(uuids), 120)
        check_books(w, uuids)
        with capsys.disabled():
            setup = f"{executor}, {processes} processes, SIGTERM to {target}"
            print(f"\n{setup}: {ended} deploys, {done} jobs ended meanwhile")
