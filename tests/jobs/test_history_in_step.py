"""History in step with checkpoints: what is recorded of a step is stored with it, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields

import zerog
from zerog.records.job import make_key
from zerog.testing import run_inline
from zerog.testing.crash_matrix import crash_matrix

ROWS = ["1", "x", "3", "y", "z", "6"]


def ran(run: Callable[[Any], Any], **attributes: Any) -> dict[str, Any]:
    """Run a job of this method to its end; return its ``info()``."""
    app = zerog.App("memory://")
    app.register(type("Ran", (zerog.BaseJob,), {"JOB_TYPE": "ran", "run": run, **attributes}))
    return app.info(run_inline(app.submit("ran")).uuid)


class Import(zerog.BaseJob):
    """Adds up rows, two at a time, and warns of those that are no numbers."""

    JOB_TYPE = "import"

    class State(Schema):
        done = fields.Integer(load_default=0)
        total = fields.Integer(load_default=0)

    done: int
    total: int

    def run(self) -> Any:
        while self.done < len(ROWS):
            rows = ROWS[self.done : self.done + 2]
            good = [int(row) for row in rows if row.isdigit()]
            bad = [row for row in rows if not row.isdigit()]
            self.record_warning([f"row {row} is no number" for row in bad], flush=False)
            self.record_event(f"after {self.done}", flush=False)
            for row in bad:
                self.record_errors(422, [row], flush=False)
            self.update_attrs(done=self.done + len(rows), total=self.total + sum(good))
        return {"total": self.total}


def test_a_killed_run_repeats_neither_rows_nor_warnings(tmp_path: Path) -> None:
    """At each of its crash points."""

    def check(job: Any) -> None:
        assert job.output == {"total": 10}
        assert [entry["msg"] for entry in job.warnings] == [f"row {row} is no number" for row in "xyz"]
        assert [entry["msg"] for entry in job.events] == ["after 0", "after 2", "after 4"]
        assert [error.msg for error in job.errors if error.errorCode == 422] == ["x", "y", "z"]
        assert job.errorCount == 3

    class Patient(Import):
        JOB_TYPE = "patient"
        MAX_ERRORS = 100

    report = crash_matrix(tmp_path, Patient, check=check)
    assert [point for point in report.killed if "run.written" in point] == [f"run.written #{n}" for n in (1, 2, 3)]


@pytest.mark.parametrize("url", ["memory://", "sqlite"])
def test_entries_that_wait_are_written_with_the_next_write(url: str, tmp_path: Path) -> None:
    app = zerog.App(f"sqlite:///{tmp_path}/jobs.db" if url == "sqlite" else url)
    app.register(Import)
    job = app.submit(Import)
    token = job.cas
    job.record_event(["one", "two"], flush=False)
    job.record_warning("three", flush=False)
    job.record_errors(500, ("four", "five"), flush=False)
    assert job.cas == token
    assert [entry["msg"] for entry in job.events] == ["one", "two"]
    assert app.info(job.uuid)["events"] == []
    job.update_attrs(total=1)
    info = app.info(job.uuid)
    assert [len(info[name]) for name in ("events", "warnings", "errors")] == [2, 1, 2]
    assert app.get_job(job.uuid).errorCount == 2
    assert app.progress(job.uuid)["lastError"]["msg"] == "five"
    app.close()


def test_a_list_is_one_write() -> None:
    app = zerog.App("memory://")
    app.register(Import)
    job = app.submit(Import)
    before = app.datastore.read_with_cas(make_key(job.uuid))[1]
    assert before is not None
    job.record_event([str(number) for number in range(500)])
    document, after = app.datastore.read_with_cas(make_key(job.uuid))
    assert document is not None
    assert len(document["events"]) == 500
    assert after == before + 1
    job.record_event([])
    assert len(app.info(job.uuid)["events"]) == 500


def test_what_waits_at_the_end_of_a_run_is_stored_with_it() -> None:
    """However the run ends."""

    def run(job: Any) -> Any:
        job.record_event(f"run {job.attempts}", flush=False)
        if job.attempts == 1:
            raise ValueError("once")
        return 200

    info = ran(run)
    assert [entry["msg"] for entry in info["events"]] == ["run 1", "run 2"]


def test_the_last_error_goes_when_a_later_run_succeeds() -> None:
    """The history keeps it; a job that fails keeps both."""

    def run(job: Any) -> Any:
        if job.attempts == 1:
            raise ValueError("once")
        return 200

    info = ran(run)
    assert (info["status"], info["lastError"]) == ("succeeded", None)
    assert [error["msg"] for error in info["errors"]] == ["ValueError: once"]
    failed = ran(lambda job: 1 / 0, MAX_ERRORS=1)
    assert failed["lastError"]["type"] == "ZeroDivisionError"


def test_attempts_count_runs_that_began() -> None:
    """Not the look at a job that has crashed too often, nor at one that was cancelled."""
    app = zerog.App("memory://")
    app.register(Import)
    crashed = app.submit(Import)
    document = app.datastore.read(make_key(crashed.uuid))
    app.datastore.set(make_key(crashed.uuid), {**document, "crashes": 3, "attempts": 3})
    job = run_inline(app, crashed.uuid)
    assert (job.status, job.attempts) == ("failed", 3)
    assert "the process died in 3 runs" in job.errors[-1].msg
