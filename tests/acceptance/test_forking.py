"""Processes that jobs fork in a worker's own process are like any other program's: signals end them. Real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.harness import Workers
from tests.processes import alive


@pytest.mark.parametrize("executor", ["thread", "async", "process"])
def test_a_job_can_end_what_it_forks_and_keeps_no_worker_up(executor: str, tmp_path: Path) -> None:
    """``Process.terminate`` and pools work; a daemon that ignores SIGTERM doesn't outlive the worker."""
    with Workers(tmp_path, "--executor", executor, module="tests.acceptance.forking") as w:
        worker = w.start()
        for how in ("terminate", "pool", "daemon"):
            started = tmp_path / how
            job = w.app.wait(w.app.submit("forks", {"how": how, "started": str(started)}).uuid, 30)
            assert (how, job.resultCode, job.errors) == (how, 200, [])
        pid = int((tmp_path / "daemon").read_text())
        worker.terminate()
        assert worker.wait(20) == 0
        w.until(lambda: not alive(pid), 5)
