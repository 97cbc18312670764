"""One process of a worker dies: the rest continue, or the worker ends and its exit code reports it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.acceptance.harness import Workers
from tests.acceptance.test_recovery import descendants
from tests.acceptance.test_ways_out import pid_in
from tests.processes import alive

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux")


def test_one_dead_child_disturbs_no_other(tmp_path: Path) -> None:
    """Of four running jobs one loses its process: it alone runs again, and the worker lives."""
    with Workers(tmp_path, "--executor", "process", "--concurrency", "4") as w:
        marks = [tmp_path / f"{number}" for number in range(4)]
        uuids = [w.app.submit("steps", {"steps": 100, "started": str(mark)}).uuid for mark in marks]
        worker = w.start()
        w.until(lambda: all(w.app.progress(uuid)["completeness"] >= 0.1 for uuid in uuids))
        victim = pid_in(marks[0])
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        jobs = [w.app.wait(uuid, 30) for uuid in uuids]
        assert [job.output for job in jobs] == [{"steps": 100}] * 4
        assert [(job.attempts, job.crashes) for job in jobs] == [(2, 1), (1, 0), (1, 0), (1, 0)]
        worker.terminate()
        assert worker.wait(20) == 0


@pytest.mark.parametrize("children_too", [False, True])
@pytest.mark.wide
def test_a_worker_that_can_fork_no_child_any_more_gives_up(children_too: bool, tmp_path: Path) -> None:
    """The process that forks its children is killed: it ends with a code other than 0; another worker takes over."""
    options = ("--executor", "process", "--concurrency", "2", "--lease", "1", "--grace", "1")
    with Workers(tmp_path, *options) as w:
        marks = [tmp_path / f"{number}" for number in range(2)]
        uuids = [w.app.submit("steps", {"steps": 300, "started": str(mark)}).uuid for mark in marks]
        more = list(w.app.submit_many("square", ({"number": number} for number in range(20))))
        worker = w.start()
        w.until(lambda: all(w.app.progress(uuid)["completeness"] >= 0.1 for uuid in uuids))
        nursery = descendants(worker.pid)[1]
        children = [pid_in(mark) for mark in marks]
        assert nursery not in children
        for pid in (nursery, *children) if children_too else (nursery,):
            os.kill(pid, signal.SIGKILL)
        assert worker.wait(30) == 1
        assert "forks children is gone" in w.log.read_text()
        w.until(lambda: not any(alive(pid) for pid in children), 5)
        w.start()
        w.until_ended(22)
        assert w.counts()["succeeded"] == 22
        for uuid in (*uuids, *more):
            job = w.app.get_job(uuid)
            assert (job.errorCount, job.lost) == (0, 0)
            assert job.crashes <= (children_too and uuid in uuids)
            assert job.attempts == 1 + job.crashes
