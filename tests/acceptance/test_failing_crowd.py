"""A thousand jobs that fail at the same moment: when they are retried, and what they cost the store."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.acceptance.audit import Audit
from tests.processes import stretched
from zerog.contracts.datastore import FindQuery

JOBS = 1_000


class Crowd(zerog.BaseJob):
    JOB_TYPE = "crowd"

    def run(self) -> None:
        raise ConnectionError("the server that all of them need is down")


class Fine(zerog.BaseJob):
    JOB_TYPE = "fine"

    def run(self) -> int:
        return 200


def open_app(folder: Path) -> tuple[zerog.App, Audit]:
    app = zerog.App(f"sqlite:///{folder}/jobs.db?synchronous=normal")
    app.register(Crowd, Fine)
    return app, Audit(app)


def run_all(app: zerog.App, job_type: str, ended: str) -> list[dict[str, Any]]:
    """Run a thousand jobs of a type by a real worker until all have ended; return their documents."""
    uuids = app.submit_many(job_type, [{}] * JOBS)
    worker = zerog.Worker(app, concurrency=8)
    thread = threading.Thread(target=worker.run)
    thread.start()
    deadline = time.monotonic() + stretched(60)
    while len(app.datastore.find(FindQuery(status=ended, limit=JOBS)).heads) < JOBS and time.monotonic() < deadline:
        time.sleep(0.05)  # the pace of polling
    worker.stop()
    thread.join(30)
    assert not thread.is_alive()
    return [app.datastore.read(f"zerog_job_{uuid}") for uuid in uuids]


@pytest.mark.wide
def test_jobs_that_fail_together_do_not_come_back_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each waits for its own share of the pause, and a failed run writes at most twice what a good one does."""
    (tmp_path / "good").mkdir()
    app, audit = open_app(tmp_path / "good")
    good = run_all(app, "fine", "succeeded")
    assert {document["attempts"] for document in good} == {1}
    writes_of_good = audit.writes().total() / JOBS
    app.close()

    app, audit = open_app(tmp_path)
    failed = run_all(app, "crowd", "failed")
    books = {(d["attempts"], d["errorCount"], len(d["errors"]), d["resultCode"]) for d in failed}
    assert books == {(3, 3, 3, 500)}
    writes_of_failed = audit.writes().total() / (3 * JOBS)
    waits = [[change.pause for change in changes if change.pause] for changes in audit.changes().values()]
    app.close()

    with capsys.disabled():
        print(f"\n{JOBS} jobs failed together; a good run writes {writes_of_good:.1f} rows, a failed one", end=" ")
        print(f"{writes_of_failed:.1f}")
    assert writes_of_failed <= 2 * writes_of_good
    for error, (shortest, longest) in enumerate([(0.75, 1.0), (1.5, 2.0)]):
        pauses = [pause[error] for pause in waits]
        assert len(pauses) == JOBS
        tenths = Counter(int((pause - shortest) / (longest - shortest) * 10) for pause in pauses)
        with capsys.disabled():
            print(f"after error {error + 1} they wait {min(pauses):.3f} to {max(pauses):.3f} s", end="; ")
            print(f"each tenth of that has {min(tenths.values())} to {max(tenths.values())} of them")
        assert shortest <= min(pauses) + 0.001 and max(pauses) <= longest + 0.001
        assert len(tenths) >= 10 and max(tenths.values()) <= JOBS * 0.15, "they come back in a heap"
