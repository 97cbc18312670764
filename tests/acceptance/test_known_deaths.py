"""Workers under a foreign supervisor: one that starts after a killed one takes its jobs without waiting for a lease."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.acceptance.harness import Workers
from tests.marks import wide

pytestmark = pytest.mark.skipif(not Path("/proc/self/ns/pid").exists(), reason="needs Linux")

OPTIONS = ("--lease", "600", "--grace", "1")
"""A lease that no test would wait for."""

STEPS = {"steps": 100, "seconds": 0.03}


@pytest.mark.parametrize("executor", ["thread", *wide("process")])
def test_the_jobs_of_a_killed_worker_run_again_at_once(executor: str, tmp_path: Path) -> None:
    """They count as lost, once; the jobs of a worker that lives stay where they are."""
    with Workers(tmp_path, *OPTIONS, "--executor", executor, "--concurrency", "2") as w:
        marks = [tmp_path / str(number) for number in range(3)]
        uuids = []
        for mark in marks[:2]:
            uuids.append(w.app.submit("steps", {**STEPS, "started": str(mark)}).uuid)
        worker = w.start("--name", "killed")
        w.until(lambda: all(mark.exists() for mark in marks[:2]))
        uuids.append(w.app.submit("steps", {**STEPS, "started": str(marks[2])}).uuid)
        living = w.start("--name", "living")
        w.until(marks[2].exists)
        w.kill(worker)
        successor = w.start("--name", "killed")
        w.until(lambda: all(w.app.progress(uuid)["attempts"] == 2 for uuid in uuids[:2]), 30)
        w.until_ended(3)
        jobs = [w.app.get_job(uuid) for uuid in uuids]
        assert [(job.status, job.lost, job.attempts) for job in jobs] == [
            ("succeeded", 1, 2),
            ("succeeded", 1, 2),
            ("succeeded", 0, 1),
        ]
        assert jobs[0].errors[0].msg.startswith(f"the process of worker killed-{worker.pid}-")
        assert {record["pid"] for record in w.app.workers()} == {living.pid, successor.pid}
        for process in (living, successor):
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
