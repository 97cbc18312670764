"""How long a job may still take: by its own run, by past ones of its type, and stable while nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import zerog
from zerog.exceptions import DatastoreUnavailable
from zerog.fleet.rates import RetiredRates
from zerog.jobs.estimate import Estimate, estimate
from zerog.records.job import make_key
from zerog.records.rates import RAN, RUNS, nothing
from zerog.support.clock import to_text
from zerog.testing import run_inline
from zerog.testing.clock import ManualClock

START = datetime(2026, 12, 1, 8, tzinfo=UTC)


def head(done: float, seconds: float, **more: Any) -> dict[str, Any]:
    """The head of a job that has run for so long."""
    written = to_text(START + timedelta(seconds=seconds))
    return {
        "status": "running",
        "jobType": "job",
        "startedAt": to_text(START),
        "updatedAt": written,
        "completeness": done,
        **more,
    }


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def usual(seconds: float) -> Callable[[str], float | None]:
    return {"job": seconds}.get


@pytest.mark.parametrize(
    ("done", "seconds", "low", "high"),
    [
        (0.1, 100, 495.0, 1305.0),  # 900 s by its rate, more or less 45 %
        (0.5, 100, 75.0, 125.0),
        (0.9, 90, 9.5, 10.5),
        (1.0, 100, 0.0, 0.0),
    ],
)
def test_a_run_is_judged_by_its_rate(done: float, seconds: float, low: float, high: float) -> None:
    assert estimate(head(done, seconds), at(seconds)) == (pytest.approx(done / seconds), low, high, 0)


def test_a_run_that_continued_is_judged_by_what_it_has_done_itself() -> None:
    """From 60 % to 80 % in 100 s: 100 s are left, not 25."""
    found = estimate(head(0.8, 100, resumedFrom=0.6), at(100))
    assert found.rate == pytest.approx(0.002)
    assert (found.eta_low, found.eta_high) == (75.0, 125.0)


def test_past_runs_count_less_the_more_is_seen() -> None:
    """At the start they are half of it, at the end nothing."""
    early, late = (estimate(head(done, 1_000 * done), at(1_000 * done), usual(100)) for done in (0.1, 0.9))
    assert early.eta_low is not None and early.eta_high is not None
    assert early.eta_low < 100 and early.eta_high > 900
    assert late.eta_low is not None and late.eta_high is not None
    assert late.eta_low > 80 and late.eta_high == 105.0


def test_a_job_without_progress_is_judged_by_past_runs() -> None:
    assert estimate(head(0.0, 0), at(30), usual(100))[1:] == (50.0, 150.0, 0)
    assert estimate(head(0.0, 0), at(70), usual(100))[1:] == (0.0, 90.0, 60)
    assert estimate(head(0.0, 0), at(170), usual(100))[1:] == (0.0, 30.0, 120)
    assert estimate(head(0.0, 0), at(180), usual(100)) == (None, None, None, 180)


def test_of_what_nothing_is_known_nothing_is_said() -> None:
    assert estimate(head(0.0, 50), at(50)) == (None, None, None, 0)
    assert estimate(head(0.3, 0.2), at(0.2)) == (None, None, None, 0)
    assert estimate(head(0.3, 0.2), at(0.2), usual(10))[:3] == (None, 3.5, 10.5)
    for status in ("queued", "succeeded", "failed"):
        assert estimate(head(0.5, 100, status=status), at(100)) == Estimate()


def test_it_changes_with_the_document_and_each_minute_alone() -> None:
    """So that a poller which has the answer gets 304."""
    answers = [estimate(head(0.5, 100), at(100 + seconds)) for seconds in (0, 30, 59.9, 60, 119, 120, 600)]
    assert [(each.eta_low, each.eta_high, each.quiet_for) for each in answers] == [
        *[(75.0, 125.0, 0)] * 3,
        *[(15.0, 65.0, 60)] * 2,
        (0.0, 5.0, 120),
        (0.0, 0.0, 600),
    ]


@pytest.mark.parametrize(
    "damage",
    [
        {"updatedAt": None},
        {"startedAt": "soon"},
        {"completeness": "half"},
        {"completeness": None},
        {"startedAt": to_text(START + timedelta(days=1))},
        {"completeness": 7.0},
        {"resumedFrom": "x"},
        {"resumedFrom": 0.9},
        {"resumedFrom": -1},
        {"jobType": None},
    ],
)
def test_a_damaged_head_hides_nothing_else(damage: dict[str, Any]) -> None:
    found = estimate(head(0.5, 100, **damage), at(100), usual(10))
    assert all(part is None or part >= 0 for part in found)


class Render(zerog.BaseJob):
    """Advances the clock in place of work."""

    JOB_TYPE = "render"
    clock: ManualClock

    def run(self) -> Any:
        if self.attempts == 1:
            self.set_completeness(0.6)
            return zerog.NO_RESULT
        Render.clock.advance(50)
        self.set_completeness(0.8)
        seen.append(self.app.progress(self.uuid))
        return 200


seen: list[Any] = []


@pytest.fixture
def app() -> zerog.App:
    Render.clock = ManualClock()
    seen.clear()
    app = zerog.App("memory://", clock=Render.clock)
    app.register(Render)
    return app


def test_the_start_of_a_run_is_kept(app: zerog.App) -> None:
    """With its first write, and only if it isn't 0."""
    job = app.submit(Render)
    run_inline(app, job.uuid)
    [progress] = seen
    assert progress["rate"] == pytest.approx(0.004)
    assert (progress["eta_low"], progress["eta_high"], progress["quiet_for"]) == (37.5, 62.5, 0)
    assert app.progress(job.uuid)["eta_high"] is None
    first = app.submit(Render)
    app.engine.datastore.mutate(make_key(first.uuid), [])
    assert "resumedFrom" not in app.datastore.read(make_key(first.uuid))


def figures(runs: int, milliseconds: int) -> dict[str, Any]:
    counts = [0] * 15
    counts[RUNS], counts[RAN] = runs, milliseconds
    return {**nothing(), "types": {"render": {"succeeded": counts}}, "id": f"life{runs}"}


def test_past_runs_are_read_once_a_minute(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their mean, of at least three; a datastore that can't be reached changes nothing."""
    RetiredRates(app.engine).retire(figures(2, 20_000))
    past = app.fleet.past
    assert past.seconds("render") is None
    RetiredRates(app.engine).retire(figures(4, 100_000))
    assert past.seconds("render") is None
    Render.clock.advance(61)
    assert past.seconds("render") == 20.0
    assert past.seconds("other") is None

    def fail(_self: Any) -> Any:
        raise DatastoreUnavailable("away")

    monkeypatch.setattr(RetiredRates, "totals", fail)
    Render.clock.advance(61)
    assert past.seconds("render") == 20.0
