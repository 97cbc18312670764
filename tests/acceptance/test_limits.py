"""What a limit ends in which executor, with real workers: the table in docs/limits.md."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.harness import Workers
from tests.acceptance.limited import LIMIT
from tests.marks import wide
from tests.processes import stretched, until
from zerog.worker.supervisor import KILL_AFTER

LATE = 4.0
"""Seconds by which an end may be late beside other tests; alone it is less than one, see docs/limits.md."""


def seconds(job: Any) -> float:
    return float((job.finishedAt - job.startedAt).total_seconds())


def recorded(folder: Path, job: Any) -> str | None:
    path = (folder / job.uuid).with_suffix(".recorded")
    return path.read_text() if path.exists() else None


def is_gone(folder: Path, job: Any) -> bool:
    """True if what the job started has ended, and was reaped."""
    pid = int((folder / job.uuid).with_suffix(".pid").read_text())
    return not Path(f"/proc/{pid}").exists()


def ended(folder: Path, job_type: str, do: str, *options: str, module: str = "tests.acceptance.limited_soft") -> Any:
    with Workers(folder, *options, module=module) as w:
        uuid = w.app.submit(job_type, {"do": do, "marks": str(folder)}).uuid
        w.start()
        job = w.app.wait(uuid, 60)
        print(f"{job_type} {do} {' '.join(options)}: {seconds(job):.2f} s")
        if do == "children" and "thread" not in options and "async" not in options:
            until(lambda: is_gone(folder, job))
        elif do == "children":
            os.kill(int((folder / uuid).with_suffix(".pid").read_text()), 9)
        return job


@pytest.mark.parametrize("job_type", ["soft", *wide("soft_coroutine")])
@pytest.mark.parametrize("do", ["sleep", *wide("children", "deaf", "tick", "write")])
def test_a_soft_limit_in_a_process_interrupts_whatever_blocks(job_type: str, do: str, tmp_path: Path) -> None:
    job = ended(tmp_path, job_type, do, "--executor", "process")
    assert (job.status, [error.type for error in job.errors]) == ("failed", ["SoftTimeout"])
    assert recorded(tmp_path, job) == "SoftTimeout"
    assert LIMIT <= seconds(job) < stretched(LIMIT + LATE)
    if do == "write":
        assert job.output["number"] > 1


def test_a_soft_limit_interrupts_hooks(tmp_path: Path) -> None:
    """They surround ``run()`` and are no reason to wait."""
    job = ended(tmp_path, "hooked", "sleep", "--executor", "process")
    assert [error.type for error in job.errors] == ["SoftTimeout"]
    assert (tmp_path / job.uuid).with_suffix(".after").exists()
    assert seconds(job) < stretched(LIMIT + LATE)


@pytest.mark.parametrize("job_type", ["soft", "soft_coroutine"])
@pytest.mark.parametrize("executor", ["thread", "async", "process"])
@pytest.mark.wide
def test_a_soft_limit_waits_for_c_code(job_type: str, executor: str, tmp_path: Path) -> None:
    """No Python runs meanwhile. Afterwards a process is interrupted; elsewhere only a run that calls ZeroG."""
    job = ended(tmp_path, job_type, "compute", "--executor", executor)
    assert seconds(job) > LIMIT
    assert recorded(tmp_path, job) == ("SoftTimeout" if executor == "process" else None)
    assert job.status == ("failed" if executor == "process" else "succeeded")


@pytest.mark.parametrize(
    ("job_type", "do", "executor"),
    [
        ("soft", "tick", "thread"),
        ("soft", "write", "thread"),
        ("soft", "tick", "async"),
        ("soft_coroutine", "sleep", "async"),
        ("soft_coroutine", "children", "async"),
        ("soft_coroutine", "tick", "async"),
        ("soft_coroutine", "sleep", "thread"),
    ],
)
@pytest.mark.wide
def test_a_soft_limit_without_a_process(job_type: str, do: str, executor: str, tmp_path: Path) -> None:
    """A coroutine is interrupted where it awaits, a thread where it ticks or writes."""
    job = ended(tmp_path, job_type, do, "--executor", executor)
    assert (job.status, [error.type for error in job.errors]) == ("failed", ["SoftTimeout"])
    assert LIMIT <= seconds(job) < stretched(LIMIT + LATE)


@pytest.mark.parametrize("job_type", ["hard", *wide("hard_coroutine")])
@pytest.mark.parametrize("do", ["sleep", *wide("compute", "children", "deaf", "stubborn")])
def test_a_hard_limit_kills_a_process_whatever_it_does(job_type: str, do: str, tmp_path: Path) -> None:
    job = ended(tmp_path, job_type, do, "--executor", "process", module="tests.acceptance.limited_hard")
    assert (job.status, [error.type for error in job.errors]) == ("failed", ["Timeout"])
    assert recorded(tmp_path, job) is None
    assert LIMIT <= seconds(job) < stretched(LIMIT + LATE)


def test_a_run_that_ignores_the_soft_limit_meets_the_hard_one(tmp_path: Path) -> None:
    job = ended(tmp_path, "both", "stubborn", "--executor", "process", module="tests.acceptance.limited_hard")
    assert (job.status, [error.type for error in job.errors]) == ("failed", ["Timeout"])
    assert LIMIT <= seconds(job) < stretched(LIMIT + LATE)


# cancel


def cancelled(folder: Path, job_type: str, do: str, *options: str) -> tuple[Any, float]:
    """A job that is cancelled while it runs, and the seconds from then to its end."""
    with Workers(folder, *options, module="tests.acceptance.limited_soft") as w:
        uuid = w.app.submit(job_type, {"do": do, "marks": str(folder)}).uuid
        w.start()
        w.until(lambda: (folder / uuid).with_suffix(".pid" if do == "children" else "").exists())
        assert w.app.cancel(uuid) == "running"
        job = w.app.wait(uuid, 60)
        took = (job.finishedAt - job.cancelRequested).total_seconds()
        print(f"cancel {job_type} {do} {' '.join(options)}: {took:.2f} s")
        if do == "children" and "process" in options:
            until(lambda: is_gone(folder, job))
        assert (job.status, job.resultCode, job.errors) == ("cancelled", 410, [])
        return job, took


@pytest.mark.parametrize("job_type", ["plain", *wide("coroutine")])
@pytest.mark.parametrize("do", ["sleep", *wide("children", "deaf", "tick", "write")])
def test_a_cancelled_process_is_interrupted_at_once(job_type: str, do: str, tmp_path: Path) -> None:
    """Whether or not it ever writes; what it had started ends with it."""
    job, took = cancelled(tmp_path, job_type, do, "--executor", "process")
    assert recorded(tmp_path, job) == "Cancelled"
    assert took < stretched(1 + LATE)


@pytest.mark.parametrize("job_type", ["graceless", "graceless_coroutine"])
@pytest.mark.parametrize("do", ["compute", "stubborn"])
@pytest.mark.wide
def test_a_cancelled_process_that_doesnt_end_is_killed_after_its_grace(job_type: str, do: str, tmp_path: Path) -> None:
    job, took = cancelled(tmp_path, job_type, do, "--executor", "process")
    assert recorded(tmp_path, job) is None
    assert took < stretched(1 + LIMIT + LATE)
    assert "did not end within 1.0 s of being cancelled" in job.events[-1]["msg"]


@pytest.mark.parametrize(
    ("job_type", "do", "executor"),
    [
        ("plain", "tick", "thread"),
        ("coroutine", "sleep", "async"),
        ("coroutine", "sleep", "thread"),
        *wide(
            ("plain", "write", "thread"),
            ("coroutine", "children", "async"),
            ("coroutine", "tick", "async"),
            ("plain", "tick", "async"),
        ),
    ],
)
def test_a_cancelled_run_without_a_process(job_type: str, do: str, executor: str, tmp_path: Path) -> None:
    job, took = cancelled(tmp_path, job_type, do, "--executor", executor)
    assert recorded(tmp_path, job) == "Cancelled"
    assert took < stretched(1 + LATE)


@pytest.mark.parametrize(
    ("job_type", "do", "executor"),
    [
        ("graceless", "sleep", "thread"),
        ("graceless_coroutine", "stubborn", "async"),
        ("graceless", "sleep", "async"),
    ],
)
@pytest.mark.wide
def test_a_cancelled_thread_that_doesnt_listen_loses_its_job(
    job_type: str, do: str, executor: str, tmp_path: Path
) -> None:
    """The job has ended after its grace; the thread can't be ended."""
    job, took = cancelled(tmp_path, job_type, do, "--executor", executor)
    assert recorded(tmp_path, job) is None
    assert took < stretched(1 + LIMIT + LATE)


# shutdown


def shut_down(
    folder: Path, job_type: str, do: str, *options: str, go: Any = None, signals: int = 1
) -> tuple[Any, float, str]:
    """The job after its worker has shut down while it ran, the seconds that took, and the log."""
    with Workers(folder, *options, module="tests.acceptance.limited_soft") as w:
        uuid = w.app.submit(job_type, {"do": do, "marks": str(folder)}).uuid
        worker = w.start()
        w.until((folder / uuid).exists)
        started = time.monotonic()
        worker.terminate()
        if go is not None:
            w.until(lambda: go in w.log.read_text())
        for _ in range(signals - 1):
            worker.terminate()
        if go is not None and signals == 1:
            assert w.app.progress(uuid)["status"] == "running"
            (folder / "go").touch()
        assert worker.wait(60) == 0, w.log.read_text()
        took = time.monotonic() - started
        print(f"shutdown {job_type} {do} {' '.join(options)}: {took:.2f} s")
        job = w.app.get_job(uuid)
        if do == "children":
            until(lambda: is_gone(folder, job))
        return job, took, w.log.read_text()


@pytest.mark.parametrize(
    ("job_type", "do", "executor", "grace"),
    [
        ("stop", "sleep", "process", 60),
        ("stop", "children", "process", 60),
        ("stop", "deaf", "process", 60),
        ("stop", "compute", "process", 60),
        ("stop", "stubborn", "process", 60),
        ("stop", "tick", "thread", 60),
        ("stop_coroutine", "sleep", "async", 60),
        ("stop_coroutine", "stubborn", "async", 1),
        ("stop", "sleep", "thread", 1),
    ],
)
@pytest.mark.wide
def test_a_shutdown_cancels_what_it_stops(job_type: str, do: str, executor: str, grace: int, tmp_path: Path) -> None:
    """At once, and for good: a run that doesn't end within CANCEL_GRACE is ended, as with any cancellation."""
    job, took, _ = shut_down(tmp_path, job_type, do, "--executor", executor, "--grace", str(grace))
    assert (job.status, job.resultCode) == ("cancelled", 410)
    assert "stopped by the shutdown of worker" in job.events[0]["msg"]
    assert took < stretched(2 + LIMIT + LATE)


@pytest.mark.parametrize("do", ["sleep", "compute", "children", "deaf"])
@pytest.mark.wide
def test_a_shutdown_gives_back_what_doesnt_end_within_the_grace(do: str, tmp_path: Path) -> None:
    """The default: the job waits again, and the run has cost it nothing."""
    job, took, _ = shut_down(tmp_path, "plain", do, "--executor", "process", "--grace", "1")
    assert (job.status, job.attempts, job.errors) == ("queued", 0, [])
    assert 1 <= took < stretched(2 + LATE)


@pytest.mark.parametrize(
    ("job_type", "executor"), [("finish", "thread"), ("finish", "process"), ("finish_coroutine", "async")]
)
@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.wide
def test_a_shutdown_waits_for_what_it_finishes(job_type: str, executor: str, processes: str, tmp_path: Path) -> None:
    """Beyond the grace, and under a supervisor, too."""
    options = ("--executor", executor, "--grace", "0", "--processes", processes)
    job, _, _ = shut_down(tmp_path, job_type, "wait", *options, go="is shutting down")
    assert (job.status, job.attempts) == ("succeeded", 1)


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.wide
def test_a_second_signal_hurries_what_a_shutdown_waits_for(processes: str, tmp_path: Path) -> None:
    options = ("--executor", "process", "--grace", "0", "--processes", processes)
    job, took, _ = shut_down(tmp_path, "finish", "sleep", *options, go="is shutting down", signals=2)
    assert (job.status, job.attempts) == ("queued", 0)
    assert took < stretched(2 + LATE)


@pytest.mark.slow
def test_a_supervisor_waits_as_long_as_its_workers_wait(tmp_path: Path) -> None:
    """Longer than the ten seconds after which it kills a silent worker."""
    options = ("--executor", "process", "--grace", "0", "--processes", "2")
    with Workers(tmp_path, *options, module="tests.acceptance.limited_soft") as w:
        uuid = w.app.submit("finish", {"do": "wait", "marks": str(tmp_path)}).uuid
        worker = w.start()
        w.until((tmp_path / uuid).exists)
        worker.terminate()
        ended = time.monotonic() + KILL_AFTER + 5
        w.until(lambda: time.monotonic() > ended or worker.poll() is not None)
        assert w.app.progress(uuid)["status"] == "running"
        (tmp_path / "go").touch()
        assert worker.wait(60) == 0, w.log.read_text()
        assert w.app.progress(uuid)["status"] == "succeeded"
