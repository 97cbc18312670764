"""Workers whose wall clocks are wrong, or are set while they work: claims and leases don't notice."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.marks import wide
from tests.processes import stretched, until
from zerog.jobs.document import document_of
from zerog.support.clock import Clock

DAY = 86_400.0


class Wrong(Clock):
    """A wall clock that is off by ``offset`` seconds; durations are right."""

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.offset)


class Long(zerog.BaseJob):
    """Runs and writes until it is interrupted."""

    JOB_TYPE = "long"
    began, may_end = threading.Event(), threading.Event()

    def run(self) -> dict[str, int]:
        while not type(self).may_end.wait(0.02):
            self.record_event("at work")
            type(self).began.set()
        return {"run": self.attempts}


class Quick(zerog.BaseJob):
    JOB_TYPE = "quick"

    def run(self) -> int:
        return 200


def app_at(folder: Path, offset: float) -> zerog.App:
    app = zerog.App(f"sqlite:///{folder}/jobs.db", clock=Wrong(offset))
    app.register(Long, Quick)
    return app


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Long.began.clear()
    Long.may_end.clear()


@contextmanager
def running(app: zerog.App, **options: Any) -> Iterator[zerog.Worker]:
    worker = zerog.Worker(app, clock=app.clock, **options)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        Long.may_end.set()
        worker.stop()
        thread.join(30)
        assert not thread.is_alive()
        app.close()


def beats(app: zerog.App, worker: zerog.Worker) -> int:
    record = app.datastore.read(f"zerog_worker_{worker.name}")
    return int(record["beat"]) if record else 0


@pytest.mark.parametrize("offset", [DAY, *wide(-DAY)])
def test_a_wrong_clock_takes_no_job_from_another_worker(offset: float, tmp_path: Path) -> None:
    """Both reconcile for two leases; the one with the right clock keeps its job, and so does the other one."""
    right, wrong = app_at(tmp_path, 0.0), app_at(tmp_path, offset)
    uuid = right.submit("long").uuid
    with running(right, lease=2.0) as owner:
        assert Long.began.wait(stretched(10))
        with running(wrong, lease=2.0) as other:
            start = beats(right, owner), beats(right, other)
            until(lambda: beats(right, owner) > start[0] + 6 and beats(right, other) > start[1] + 6)
            Long.may_end.set()
            job = right.wait(uuid, stretched(10))
    assert (job.attempts, job.lost, job.epoch, job.output) == (1, 0, 1, {"run": 1})


@pytest.mark.parametrize("jump", [DAY, *wide(-DAY)])
def test_a_clock_that_is_set_while_a_job_runs_costs_nothing(jump: float, tmp_path: Path) -> None:
    """The lease is kept by the clock that counts durations; the job continues and its end is stored."""
    app = app_at(tmp_path, 0.0)
    uuid = app.submit("long").uuid
    with running(app, lease=2.0) as worker:
        assert Long.began.wait(stretched(10))
        app.clock.offset = jump  # type: ignore[attr-defined]
        start = beats(app, worker)
        until(lambda: beats(app, worker) > start + 6)
        Long.may_end.set()
        job = app.wait(uuid, stretched(10))
        assert (job.status, job.attempts, job.lost) == ("succeeded", 1, 0)
        assert app.wait(app.submit("quick").uuid, 10).status == "succeeded"


def test_a_clock_that_runs_behind_takes_nothing_early(tmp_path: Path) -> None:
    right, behind = app_at(tmp_path, 0.0), app_at(tmp_path, -DAY)
    uuid = right.submit("quick", delay=0.5).uuid
    submitted = time.monotonic()
    with running(right, lease=2.0), running(behind, lease=0.6):
        job = right.wait(uuid, 20)
    assert job.attempts == 1
    assert time.monotonic() - submitted >= 0.45


class SetBack(zerog.BaseJob):
    """Sets its clock back between two records."""

    JOB_TYPE = "set_back"

    def run(self) -> dict[str, int]:
        self.record_event("before")
        self.update_attrs(output={}, flush=False)
        document_of(self).clock.offset -= DAY  # type: ignore[attr-defined]
        self.record_event("after")
        self.job_log_error(500, "and an error")
        return {}


@pytest.mark.parametrize("offset", [0.0, DAY, -DAY])
def test_the_times_of_a_document_are_in_order(offset: float, tmp_path: Path) -> None:
    """Although the worker's clock is wrong and is set back by a day while the job runs; another one retries it."""
    right, wrong = app_at(tmp_path, 0.0), app_at(tmp_path, offset)
    for app in (right, wrong):
        app.register(SetBack)
    uuid = right.submit("set_back").uuid
    zerog.Worker(wrong, clock=wrong.clock).run(burst=True)
    right.retry(uuid)
    zerog.Worker(right, clock=right.clock).run(burst=True)
    job = right.get_job(uuid).dump()
    wrong.close()
    right.close()
    assert (job["status"], job["attempts"], len(job["errors"])) == ("succeeded", 2, 2)
    for history in ("events", "errors"):
        times = [record["timestamp"] for record in job[history]]
        assert times == sorted(times)
        assert job["createdAt"] <= times[0] <= times[-1] <= job["finishedAt"]
    assert job["createdAt"] <= job["startedAt"] <= job["finishedAt"] <= job["updatedAt"]
