"""How long a job waits when every process that ran it is killed at once. Real processes, real time."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.acceptance.harness import Workers
from tests.acceptance.test_ways_out import document
from tests.processes import alive, stretched


def descendants(pid: int) -> list[int]:
    """The pids of a process and of all its descendants."""
    found = [pid]
    for parent in found:
        with suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


@pytest.mark.parametrize(
    ("lease", "limit"),
    [(5, 20), pytest.param(30, 55, marks=pytest.mark.slow)],
)
@pytest.mark.wide
def test_every_process_of_the_only_worker_is_killed(
    lease: int, limit: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a quiet queue a new worker notices unprompted, and resumes at the checkpoint."""
    with Workers(tmp_path, "--executor", "process", "--lease", str(lease)) as w:
        uuid = w.app.submit("steps", {"steps": 10_000}).uuid
        worker = w.start()
        w.until(lambda: w.app.progress(uuid)["completeness"] >= 0.01)
        pids = descendants(worker.pid)
        assert len(pids) >= 3, "the worker, the process that forks, and the child"
        killed = time.monotonic()
        for pid in pids:
            with suppress(ProcessLookupError):  # a child ends once its worker is gone
                os.kill(pid, signal.SIGKILL)
        w.kill(worker)
        w.until(lambda: not any(map(alive, pids)), 5)
        reached = document(w, uuid)["step"]
        assert reached >= 100
        w.start()
        w.until(lambda: w.app.progress(uuid)["attempts"] == 2, limit + 10)
        seconds = time.monotonic() - killed
        with capsys.disabled():
            print(f"\nall processes killed, quiet queue, lease {lease} s: running again after {seconds:.1f} s")
        assert seconds < stretched(limit)
        w.until(lambda: document(w, uuid)["step"] > reached, 20)
        head = document(w, uuid)
        assert (head["lost"], head["crashes"], head["errorCount"]) == (1, 0, 0)
