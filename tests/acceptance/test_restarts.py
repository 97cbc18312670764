"""A job that is longer than many lives of its workers. Real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.harness import Workers
from tests.acceptance.test_ways_out import document, pid_in
from zerog.records.operations import Set


@pytest.mark.wide
@pytest.mark.parametrize(
    "restarts",
    [20, pytest.param(100, marks=pytest.mark.slow)],
)
def test_a_rolling_restart_costs_a_job_nothing(restarts: int, tmp_path: Path) -> None:
    """Each worker is ended by SIGTERM in the middle of the job, and the next one resumes where it was."""
    with Workers(tmp_path, "--lease", "5") as w:
        started = tmp_path / "started"
        # Longer than all restarts together: each of them lets it do a few dozen steps, and at least one.
        uuid = w.app.submit("steps", {"steps": 300 * restarts, "seconds": 0.002, "started": str(started)}).uuid
        step = 0
        for restart in range(restarts):
            worker = w.start("--executor", ("thread", "process")[restart % 2])
            w.until(lambda: pid_in(started))
            worker.terminate()
            assert worker.wait(20) == 0
            started.unlink()
            head = document(w, uuid)
            assert (head["status"], head["epoch"] >= restart) == ("queued", True)
            assert head["step"] > step
            step = head["step"]
        assert step < 300 * restarts
        w.app.datastore.mutate(f"zerog_job_{uuid}", [Set("steps", step + 50)])
        w.start()
        job = w.app.wait(uuid, 30)
        assert job.output == {"steps": step + 50}
        assert (job.attempts, job.errorCount, job.crashes, job.lost, job.continues) == (1, 0, 0, 0, 0)
        assert job.epoch > restarts
