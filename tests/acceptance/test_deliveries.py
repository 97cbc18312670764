"""The same jobs delivered several times to several worker processes at the same instant."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.audit import Audit
from tests.acceptance.harness import Workers
from tests.marks import wide
from zerog.fleet.heartbeat import WorkerRecords

PROCESSES = 8

TOGETHER = 5
"""Processes that must have claimed a job before any run goes on, so that claims meet."""


@pytest.mark.parametrize("many", [200, *wide(1_000)])
def test_two_deliveries_at_the_same_instant_to_eight_processes(
    many: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All entries appear in one transaction, while all workers wait: each job is claimed once, under one epoch."""
    marks = tmp_path / "marks"
    marks.mkdir()
    options = ("--concurrency", "2", "--log-level", "WARNING")
    with Workers(tmp_path, *options, module="tests.acceptance.late") as w:
        uuids = list(w.app.submit_many("counted", ({"marks": str(marks), "processes": TOGETHER} for _ in range(many))))
        sqlite_file, queue = w.app.datastore.file, w.app.queue
        with sqlite_file.writing() as sqlite:
            sqlite.execute("DELETE FROM zerog_queue")
        audit = Audit(w.app)
        workers = [w.start() for _ in range(PROCESSES)]
        w.until(lambda: len(WorkerRecords(w.app.engine).directory()) == PROCESSES)
        with sqlite_file.writing() as sqlite:
            for uuid in (*uuids, *uuids):
                queue.insert(sqlite, uuid, 0, 0, None)
            waiting = queue.waiters(sqlite)
        queue.notify(waiting)
        w.until_ended(many)
        w.until(lambda: queue.size() == 0)
        for worker in workers:
            worker.terminate()
        assert [worker.wait(30) for worker in workers] == [0] * PROCESSES
        assert audit.violations() == []
        assert audit.writes()["take"] >= 2 * many  # a sweep may miss the entries that the documents name
        claims = [change for changes in audit.changes().values() for change in changes if change.status == "running"]
        assert len(claims) == many and {(claim.epoch, claim.attempts) for claim in claims} == {(1, 1)}
        took_part = {claim.worker for claim in claims}
        assert len(took_part) >= TOGETHER
        assert sorted(path.name[:36] for path in marks.iterdir()) == sorted(uuids)
        assert w.counts()["succeeded"] == many
        with capsys.disabled():
            print(f"\n{many} jobs delivered twice at once to {PROCESSES} processes", end=": ")
            print(f"{len(claims)} claims by {len(took_part)} of them, 0 double")
