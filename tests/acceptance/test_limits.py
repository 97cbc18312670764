"""What a limit ends in which executor, by real workers; the table in docs/limits.md says the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.harness import Workers
from tests.acceptance.limited import COMPUTING, LIMIT
from tests.processes import until

LATE = float(os.environ.get("ZEROG_LATE", "5"))
"""Seconds by which a busy machine may be late; alone it is less than one, see docs/limits.md."""


def seconds(job: Any) -> float:
    return float((job.finishedAt - job.startedAt).total_seconds())


def told(folder: Path, job: Any) -> str | None:
    path = (folder / job.uuid).with_suffix(".told")
    return path.read_text() if path.exists() else None


def is_gone(folder: Path, job: Any) -> bool:
    """Whether what the job started has ended, and was reaped."""
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


@pytest.mark.parametrize("job_type", ["soft", "soft_coroutine"])
@pytest.mark.parametrize("do", ["sleep", "children", "deaf", "tick", "write"])
def test_a_soft_limit_in_a_process_comes_out_of_whatever_blocks(job_type: str, do: str, tmp_path: Path) -> None:
    job = ended(tmp_path, job_type, do, "--executor", "process")
    assert (job.status, [error.type for error in job.errors]) == ("failed", ["SoftTimeout"])
    assert told(tmp_path, job) == "SoftTimeout"
    assert LIMIT <= seconds(job) < LIMIT + LATE
    if do == "write":
        assert job.output["number"] > 1


@pytest.mark.parametrize("job_type", ["soft", "soft_coroutine"])
@pytest.mark.parametrize("executor", ["thread", "async", "process"])
def test_a_soft_limit_waits_for_c_code(job_type: str, executor: str, tmp_path: Path) -> None:
    """Nothing of Python runs meanwhile. Afterwards a process hears of it; what never calls ZeroG doesn't elsewhere."""
    job = ended(tmp_path, job_type, "compute", "--executor", executor)
    assert seconds(job) > COMPUTING / 2
    assert told(tmp_path, job) == ("SoftTimeout" if executor == "process" else None)
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
def test_a_soft_limit_without_a_process(job_type: str, do: str, executor: str, tmp_path: Path) -> None:
    """A coroutine hears of it where it awaits, a thread where it ticks or writes."""
    job = ended(tmp_path, job_type, do, "--executor", executor)
    assert (job.status, [error.type for error in job.errors]) == ("failed", ["SoftTimeout"])
    assert LIMIT <= seconds(job) < LIMIT + LATE


@pytest.mark.parametrize("job_type", ["hard", "hard_coroutine"])
@pytest.mark.parametrize("do", ["sleep", "compute", "children", "deaf", "stubborn"])
def test_a_hard_limit_kills_a_process_whatever_it_does(job_type: str, do: str, tmp_path: Path) -> None:
    job = ended(tmp_path, job_type, do, "--executor", "process", module="tests.acceptance.limited_hard")
    assert (job.status, [error.type for error in job.errors]) == ("failed", ["Timeout"])
    assert told(tmp_path, job) is None
    assert LIMIT <= seconds(job) < LIMIT + LATE


def test_who_shrugs_off_the_soft_limit_meets_the_hard_one(tmp_path: Path) -> None:
    job = ended(tmp_path, "both", "stubborn", "--executor", "process", module="tests.acceptance.limited_hard")
    assert (job.status, [error.type for error in job.errors]) == ("failed", ["Timeout"])
    assert LIMIT <= seconds(job) < LIMIT + LATE
