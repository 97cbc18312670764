"""Running jobs when their process, their worker or their supervisor misbehaves. Real processes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.harness import Workers
from tests.marks import wide
from tests.processes import alive, stat_of, stretched


def pid_in(file: Path) -> int | None:
    return int(file.read_text()) if file.exists() else None


def document(w: Workers, uuid: str) -> dict[str, Any]:
    stored: dict[str, Any] = w.app.datastore.read(f"zerog_job_{uuid}")
    return stored


FORMS = [("thread", ""), *wide(("process", ""), ("async", "async_"))]
"""Executors, and what the names of the jobs begin with that they run here: ``async_`` are coroutines."""


@pytest.mark.parametrize(("executor", "form"), FORMS)
def test_sigterm_lets_a_job_save_its_work(executor: str, form: str, tmp_path: Path) -> None:
    """A job that looks at ``stopping`` is released with its checkpoint, uncounted, and resumes elsewhere."""
    with Workers(tmp_path, "--executor", executor, "--lease", "5") as w:
        uuid = w.app.submit(f"{form}steps", {"steps": 400}).uuid
        worker = w.start()
        w.until(lambda: w.app.progress(uuid)["completeness"] >= 0.1)
        worker.terminate()
        assert worker.wait(stretched(10)) == 0
        head = document(w, uuid)
        assert (head["status"], head["attempts"], head["lost"], head["continues"]) == ("queued", 0, 0, 0)
        reached = head["step"]
        assert reached >= 40
        w.start()
        assert w.app.wait(uuid, 30).output == {"steps": 400}
        head = document(w, uuid)
        assert (head["attempts"], head["errorCount"]) == (1, 0)


@pytest.mark.parametrize(("executor", "form"), FORMS)
def test_a_job_that_ignores_the_shutdown_is_released_after_the_grace(executor: str, form: str, tmp_path: Path) -> None:
    """It costs the job nothing, the worker ends in time, and nothing of it runs on."""
    with Workers(tmp_path, "--executor", executor, "--grace", "0.5") as w:
        started = tmp_path / "started"
        uuid = w.app.submit(f"{form}deaf", {"started": str(started)}).uuid
        worker = w.start()
        pid = w.until(lambda: pid_in(started))
        before = time.monotonic()
        worker.terminate()
        assert worker.wait(stretched(10)) == 0
        assert time.monotonic() - before < stretched(5)
        head = document(w, uuid)
        assert (head["status"], head["attempts"], head["crashes"], head["lost"]) == ("queued", 0, 0, 0)
        assert "shutdown" in head["events"][-1]["msg"]
        w.until(lambda: not alive(pid), 5)


def test_a_second_signal_hurries(tmp_path: Path) -> None:
    """The first SIGTERM waits for the job, the second one doesn't."""
    with Workers(tmp_path, "--executor", "process", "--grace", "60") as w:
        started = tmp_path / "started"
        uuid = w.app.submit("deaf", {"started": str(started)}).uuid
        worker = w.start()
        w.until(lambda: pid_in(started))
        worker.terminate()
        w.until(lambda: "shutting down" in w.log.read_text())
        assert worker.poll() is None
        worker.terminate()
        assert worker.wait(stretched(10)) == 0
        assert document(w, uuid)["status"] == "queued"


def test_a_killed_child_is_noticed_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The job of a killed child process runs again within 2 s, and its error names the signal."""
    with Workers(tmp_path, "--executor", "process") as w:
        started = tmp_path / "started"
        uuid = w.app.submit("steps", {"steps": 100, "started": str(started)}).uuid
        w.start()
        w.until(lambda: w.app.progress(uuid)["completeness"] >= 0.1)
        pid = pid_in(started)
        assert pid is not None
        before = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        w.until(lambda: w.app.progress(uuid)["attempts"] == 2, 10)
        seconds = time.monotonic() - before
        with capsys.disabled():
            print(f"\nchild killed: running again after {seconds:.2f} s")
        assert seconds < stretched(2)
        job = w.app.wait(uuid, 30)
        assert job.output == {"steps": 100}
        assert (job.crashes, job.errorCount) == (1, 0)
        assert "SIGKILL" in job.errors[0].msg


@pytest.mark.parametrize(
    ("how", "named"),
    [("exit", "exit code 7"), ("kill", "SIGKILL"), *wide(("segfault", "SIGSEGV"), ("abort", "SIGABRT"))],
)
def test_a_job_that_kills_its_process_ends(how: str, named: str, tmp_path: Path) -> None:
    """A poison job fails after three runs with a reason that names what happened; other jobs aren't affected."""
    with Workers(tmp_path, "--executor", "process", "--concurrency", "2") as w:
        others = w.app.submit_many("square", ({"number": n, "seconds": 0.02} for n in range(20)))
        uuid = w.app.submit("poison", {"how": how}).uuid
        w.start()
        job = w.app.wait(uuid, 30)
        assert (job.status, job.crashes, job.attempts) == ("failed", 3, 3)
        assert [named in error.msg for error in job.errors[:3]] == [True] * 3
        assert "MAX_CRASHES" in job.errors[3].msg
        for other in others:
            assert w.app.wait(other, 30).status == "succeeded"
            assert w.app.progress(other)["attempts"] == 1


def test_children_go_when_their_worker_is_killed(tmp_path: Path) -> None:
    """Killing only the worker leaves no child that works on."""
    with Workers(tmp_path, "--executor", "process", "--lease", "2") as w:
        started = tmp_path / "started"
        w.app.submit("deaf", {"started": str(started)})
        worker = w.start()
        pid = w.until(lambda: pid_in(started))
        w.kill(worker)
        w.until(lambda: not alive(pid), 5)


def test_a_stopped_worker_that_returns_changes_nothing(tmp_path: Path) -> None:
    """SIGSTOP past the lease, another worker finishes the job, SIGCONT: the late one's writes are refused."""
    with Workers(tmp_path, "--executor", "thread", "--lease", "1", "--log-level", "WARNING") as w:
        uuid = w.app.submit("steps", {"steps": 150}).uuid
        late = w.start()
        w.until(lambda: w.app.progress(uuid)["completeness"] >= 0.1)
        with w.app.datastore.file.writing():  # so that it stops outside its own transaction
            os.kill(late.pid, signal.SIGSTOP)
            w.until(lambda: stat_of(late.pid)[:1] == ["T"])
        w.start()
        job = w.app.wait(uuid, 30)
        finished = document(w, uuid)
        assert (job.status, job.lost, job.attempts) == ("succeeded", 1, 2)
        os.kill(late.pid, signal.SIGCONT)
        w.until(lambda: "must not write" in w.log.read_text() or "could not renew" in w.log.read_text(), 10)
        late.terminate()
        assert late.wait(stretched(10)) == 0
        assert document(w, uuid) == finished


@pytest.mark.parametrize(("executor", "form"), [*FORMS, *wide(("process", "async_"), ("async", ""))])
def test_a_running_job_is_cancelled(executor: str, form: str, tmp_path: Path) -> None:
    """Cancel reaches a running job at its next write, and its progress stays where it was."""
    with Workers(tmp_path, "--executor", executor) as w:
        uuid = w.app.submit(f"{form}steps", {"steps": 5_000}).uuid
        w.start()
        w.until(lambda: w.app.progress(uuid)["completeness"] > 0)
        assert w.app.cancel(uuid) == "running"
        job = w.app.wait(uuid, stretched(10))
        assert (job.status, job.resultCode) == ("cancelled", 410)
        assert 0 < job.completeness < 1


@pytest.mark.parametrize(("executor", "form"), [("thread", ""), *wide(("async", "async_"))])
@pytest.mark.wide
def test_a_job_longer_than_many_leases_runs_once(executor: str, form: str, tmp_path: Path) -> None:
    """The worker's heartbeat keeps the job, however long it takes."""
    with Workers(tmp_path, "--lease", "1", "--executor", executor) as w:
        uuid = w.app.submit(f"{form}steps", {"steps": 50, "seconds": 0.1}).uuid
        for _ in range(2):
            w.start()
        job = w.app.wait(uuid, 30)
        assert (job.output, job.attempts, job.lost) == ({"steps": 50}, 1, 0)


def test_a_worker_wakes_for_a_job_at_once(tmp_path: Path) -> None:
    """An idle worker starts a submitted job without waiting for its next poll."""
    with Workers(tmp_path) as w:
        w.start()
        first = w.app.submit("square", {"number": 1}).uuid
        w.app.wait(first, 20)
        waits = []
        for n in range(10):
            job = w.app.wait(w.app.submit("square", {"number": n}).uuid, 10)
            assert job.startedAt is not None
            waits.append((job.startedAt - job.createdAt).total_seconds())
        assert sorted(waits)[5] < 0.25, waits


@pytest.mark.parametrize("executor", ["thread", pytest.param("process", marks=pytest.mark.wide)])
def test_a_run_over_its_timeout_is_killed_and_counted(tmp_path: Path, executor: str) -> None:
    """A hard limit costs one error; the class decides about another try, and the second one counts."""
    with Workers(tmp_path, "--executor", executor, module="tests.acceptance.timed") as w:
        failing = w.app.submit("slow", {"marks": str(tmp_path)}).uuid
        worker = w.start()
        job = w.app.wait(failing, 20)
        assert (job.status, job.resultCode, job.errorCount, job.crashes) == ("failed", 500, 2, 0)
        assert ["TIMEOUT of 0.5 s" in error.msg for error in job.errors] == [True, True]
        good = w.app.submit("slow", {"marks": str(tmp_path), "good_at": 2}).uuid
        assert w.app.wait(good, 20).status == "succeeded"
        assert worker.poll() is None
