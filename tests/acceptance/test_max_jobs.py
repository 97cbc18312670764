"""``zerog worker --max-jobs``: a worker process ends after its share, with every executor."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.acceptance.harness import Workers
from tests.marks import wide
from tests.processes import until
from tests.worker.worker_fixtures import EXECUTORS

MODULE = "tests.acceptance.misbehaving_jobs"


@pytest.mark.parametrize("executor", ["thread", *wide(*(name for name in EXECUTORS if name != "thread"))])
def test_the_command_ends_with_0_after_its_share(executor: str, tmp_path: Path) -> None:
    """What is left waits as it did, for the next one."""
    with Workers(tmp_path, "--executor", executor, "--max-jobs", "3", "--concurrency", "2", module=MODULE) as w:
        uuids = [w.app.submit("look").uuid for _ in range(5)]
        assert w.start().wait(40) == 0
        heads = [w.app.progress(uuid) for uuid in uuids]
        assert sorted(head["status"] for head in heads) == ["queued"] * 2 + ["succeeded"] * 3
        assert [head["attempts"] for head in heads if head["status"] == "queued"] == [0, 0]
        assert "3 runs: 3 succeeded" in w.log.read_text()
        assert w.start("--burst").wait(40) == 0
        assert {w.app.progress(uuid)["status"] for uuid in uuids} == {"succeeded"}


@pytest.mark.parametrize("executor", ["process", *wide("thread", "async")])
def test_processes_are_replaced_after_their_share(executor: str, tmp_path: Path) -> None:
    """Each counts for itself, and its end is no death: all jobs run, and nothing is counted against one."""
    with Workers(tmp_path, "--executor", executor, "--max-jobs", "2", "--processes", "2", module=MODULE) as w:
        uuids = [w.app.submit("look").uuid for _ in range(8)]
        supervisor = w.start()
        assert {w.app.wait(uuid, 40).attempts for uuid in uuids} == {1}
        until(lambda: w.log.read_text().count("; 2 runs: 2 succeeded") >= 3)  # two may have run one of the last two
        assert set(re.findall(r"; (\d+) runs: ", w.log.read_text())) == {"2"}
        assert "ended with exit code" not in w.log.read_text()
        assert supervisor.poll() is None
        supervisor.terminate()
        assert supervisor.wait(40) == 0
