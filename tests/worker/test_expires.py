"""``submit(expires=…)``: a job of which no run has begun by then ends as cancelled, with 408, and only such a job."""

from __future__ import annotations

import io
import logging
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields
from rich.console import Console

import zerog
from zerog.cli.follow import follow
from zerog.testing import ManualClock, drain, ways_out

RUNS: list[str] = []
ENDS: list[tuple[str, str, int]] = []


class Report(zerog.BaseJob):
    """Fails as often as its parameter says; notes its runs and its end."""

    JOB_TYPE = "report"
    BACKOFF = zerog.backoff.constant(7200)

    class Params(Schema):
        failures = fields.Integer(load_default=0)

    failures: int

    def run(self) -> Any:
        RUNS.append(self.uuid)
        if self.errorCount < self.failures:
            raise ValueError("not yet")
        return 200

    def on_end(self, status: str) -> None:
        ENDS.append((self.uuid, status, self.resultCode))


class Async(zerog.BaseJob):
    JOB_TYPE = "async"

    async def run(self) -> Any:
        RUNS.append(self.uuid)


@pytest.fixture(autouse=True)
def nothing_noted() -> None:
    RUNS.clear()
    ENDS.clear()


@pytest.fixture
def app() -> zerog.App:
    app = zerog.App("memory://", clock=ManualClock())
    app.register(Report, Async)
    return app


def later(app: zerog.App, seconds: float) -> None:
    assert isinstance(app.clock, ManualClock)
    app.clock.advance(seconds)


@pytest.mark.parametrize("job_class", [Report, Async])
def test_a_worker_that_comes_too_late_doesn_t_run_it(app: zerog.App, job_class: type[zerog.BaseJob]) -> None:
    uuid = app.submit(job_class, expires=60).uuid
    later(app, 61)
    [job, *_] = drain(app)
    assert (RUNS, ways_out(job)) == ([], ("expired",))
    info = app.info(uuid)
    assert (info["status"], info["result"], info["attempts"], info["errors"]) == ("cancelled", 408, 0, [])
    assert info["expiresAt"] is not None
    assert [event["msg"] for event in info["events"]] == [f"expired: no run had begun by {info['expiresAt']}"]
    assert info["startedAt"] is None


def test_the_log_and_the_command_line_show_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With 408, at the end of a wait, too."""
    caplog.set_level(logging.INFO, logger="zerog")
    app = zerog.App(f"sqlite:///{tmp_path}/jobs.db", clock=ManualClock())
    app.register(Report)
    swept, late = app.submit_many(Report, [{}] * 2, expires=60)
    later(app, 61)
    app.engine.expire(swept)
    zerog.Worker(app).run(burst=True)
    lines = [record.getMessage() for record in caplog.records]
    assert any(f"{swept} expired: no run had begun by 2026-01-01T00:01" in line for line in lines)
    assert any(f"{late} finished: cancelled with 408" in line for line in lines)
    console = Console(file=io.StringIO(), width=120)
    assert follow(app, [swept], console, None) == 1
    assert isinstance(console.file, io.StringIO)
    assert "408: expired: no run had begun by 2026-01-01T00:01" in console.file.getvalue()
    app.close()


def test_its_on_end_is_called(app: zerog.App) -> None:
    """Whether a worker or a sweep ends it."""
    first, second = (app.submit(Report, expires=60).uuid for _ in range(2))
    later(app, 61)
    assert app.engine.expire(first)
    drain(app)
    assert sorted(ENDS) == sorted((uuid, "cancelled", 408) for uuid in (first, second))


@pytest.mark.parametrize("executor", ["thread", "process", "async"])
def test_every_executor_heeds_it(tmp_path: Path, executor: Any) -> None:
    clock = ManualClock(datetime.now(UTC) - timedelta(hours=1))
    late = zerog.App(f"sqlite:///{tmp_path}/jobs.db", clock=clock)
    late.register(Async)
    uuid, other = late.submit(Async, expires=60).uuid, late.submit(Async, expires=36_000).uuid
    late.close()
    app = zerog.App(f"sqlite:///{tmp_path}/jobs.db")
    app.register(Async)
    zerog.Worker(app, executor=executor).run(burst=True)
    assert (app.progress(uuid)["result"], app.progress(other)["result"]) == (408, 200)
    app.close()


def test_a_run_that_has_begun_is_not_ended(app: zerog.App) -> None:
    """Its next run begins after the time, and the job has no such time any more."""
    uuid = app.submit(Report, {"failures": 1}, expires=60).uuid
    drain(app)
    assert (RUNS, app.progress(uuid)["result"]) == ([uuid, uuid], 200)
    assert app.progress(uuid)["expiresAt"] is None


def test_no_worker_needs_to_know_its_type(app: zerog.App) -> None:
    """A sweep ends it, of any program."""
    uuid = app.submit(Report, expires=60).uuid
    app.unregister("report")
    later(app, 61)
    assert app.reconcile().expired == [uuid]
    assert app.progress(uuid)["result"] == 408


def test_a_retry_lets_it_wait_for_ever(app: zerog.App) -> None:
    uuid = app.submit(Report, expires=60).uuid
    later(app, 61)
    app.reconcile()
    app.retry(uuid)
    later(app, 10_000)
    drain(app)
    assert app.progress(uuid)["result"] == 200


@pytest.mark.parametrize(
    "expires",
    [
        60,
        60.0,
        timedelta(minutes=1),
        datetime(2026, 1, 1, 0, 1, tzinfo=UTC),
        datetime(2026, 1, 1, 2, 1, tzinfo=timezone(timedelta(hours=2))),
        datetime(2026, 1, 1, 0, 1),
    ],
)
def test_the_time_is_given_in_seconds_as_a_span_or_as_a_moment(app: zerog.App, expires: Any) -> None:
    assert isinstance(app.clock, ManualClock)
    assert app.clock.now() == datetime(2026, 1, 1, tzinfo=UTC)
    [uuid] = app.submit_many(Report, [{}], expires=expires)
    assert app.progress(uuid)["expiresAt"] == "2026-01-01T00:01:00.000000+00:00"
    assert app.get_job(uuid).expiresAt == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "options",
    [
        {"expires": 0},
        {"expires": -1},
        {"expires": "soon"},
        {"expires": True},
        {"expires": float("nan")},
        {"expires": timedelta(seconds=-1)},
        {"expires": datetime(2025, 12, 31, tzinfo=UTC)},
        {"expires": datetime.max},
        {"expires": 60, "delay": 60},
        {"expires": 60, "at": datetime(2026, 1, 1, 1, tzinfo=UTC)},
    ],
    ids=repr,
)
def test_a_time_by_which_no_run_can_begin_is_refused(app: zerog.App, options: Any) -> None:
    with pytest.raises(zerog.InvalidValue, match=r"expires.*othing was stored"):
        app.submit(Report, **options)
    assert list(app.jobs()) == []


def test_a_job_submits_others_with_it(app: zerog.App) -> None:
    made: list[str] = []

    @app.job
    def parent(job: zerog.BaseJob) -> None:
        made.append(job.submit(Report, expires=60).uuid)
        made.extend(job.submit_many(Report, [{}], expires=60))

    app.submit(parent)
    zerog.Worker(app).run(burst=True)
    assert len(made) == 2
    assert all(uuid in RUNS for uuid in made)


def test_one_without_it_has_no_such_time(app: zerog.App) -> None:
    uuid = app.submit(Report).uuid
    later(app, 10**7)
    app.reconcile()
    assert (app.progress(uuid)["status"], app.progress(uuid)["expiresAt"]) == ("queued", None)
