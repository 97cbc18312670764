"""Processes that a job started and left behind are gone when its run is over, however it ended."""

from __future__ import annotations

import importlib
import os
import signal
from pathlib import Path

import pytest

from tests.acceptance.harness import Workers
from tests.processes import alive

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux")

NAMES = ("plain", "session", "daemon")


def left(marks: Path) -> list[str]:
    """The names of the processes that still live, once all have been started."""
    return [name for name in NAMES if alive(int((marks / f"{name}.pid").read_text()))]


@pytest.fixture
def w(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workers:
    monkeypatch.setenv("ZEROG_TEST_LIMITS", "1")
    options = ("--executor", "process", "--lease", "2", "--grace", "0.5")
    return Workers(tmp_path, *options, module="tests.acceptance.misbehaving_jobs")


def started(w: Workers, marks: Path) -> list[str]:
    w.until((marks / "job.pid").exists)
    return left(marks)


def test_nothing_is_left_when_the_job_is_settled(w: Workers, tmp_path: Path) -> None:
    """No moment later: the outcome is reported after all are gone. The next job gets a fresh process."""
    with w:
        uuid = w.app.submit("leaving", {"marks": str(tmp_path)}).uuid
        w.start()
        assert w.app.wait(uuid, 20).status == "succeeded"
        assert left(tmp_path) == []
        looked = w.app.wait(w.app.submit("look").uuid, 20)
        assert looked.output["pid"] != int((tmp_path / "job.pid").read_text())
        assert "left processes" in w.log.read_text()


def test_nothing_is_left_when_the_run_timed_out(w: Workers, tmp_path: Path) -> None:
    with w:
        w.app.register(importlib.import_module("tests.acceptance.misbehaving_jobs").LeavingLate)
        uuid = w.app.submit("leaving_late", {"marks": str(tmp_path), "then": "wait"}).uuid
        w.start()
        assert started(w, tmp_path) == list(NAMES)
        job = w.app.wait(uuid, 20)
        assert job.status == "failed" and "TIMEOUT" in job.errors[0].msg
        assert left(tmp_path) == []


def test_nothing_is_left_when_the_process_of_the_job_died(w: Workers, tmp_path: Path) -> None:
    with w:
        uuid = w.app.submit("leaving", {"marks": str(tmp_path), "then": "die"}).uuid
        w.start()
        w.until(lambda: w.app.progress(uuid)["attempts"] == 2)
        assert left(tmp_path) == []
        assert w.app.wait(uuid, 20).status == "succeeded"


def test_nothing_is_left_when_the_worker_shut_down(w: Workers, tmp_path: Path) -> None:
    with w:
        w.app.submit("leaving", {"marks": str(tmp_path), "then": "wait"})
        worker = w.start()
        assert started(w, tmp_path) == list(NAMES)
        worker.terminate()
        assert worker.wait(20) == 0
        w.until(lambda: left(tmp_path) == [], 5)


def test_nothing_is_left_when_the_worker_was_killed(w: Workers, tmp_path: Path) -> None:
    with w:
        w.app.submit("leaving", {"marks": str(tmp_path), "then": "wait"})
        worker = w.start()
        assert started(w, tmp_path) == list(NAMES)
        w.kill(worker)
        w.until(lambda: left(tmp_path) == [], 5)
        assert not alive(int((tmp_path / "job.pid").read_text()))


def test_a_stopped_process_is_ended_with_its_worker(w: Workers, tmp_path: Path) -> None:
    """Even a child that can't notice anything ends, by the process that had forked it."""
    with w:
        w.app.submit("leaving", {"marks": str(tmp_path), "then": "wait"})
        worker = w.start()
        started(w, tmp_path)
        job = int((tmp_path / "job.pid").read_text())
        os.kill(job, signal.SIGSTOP)
        w.kill(worker)
        w.until(lambda: not alive(job) and left(tmp_path) == [], 5)
