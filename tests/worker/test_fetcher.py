"""What is settled and claimed in one call, and that nothing waits for company that doesn't arrive."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.processes import until
from tests.worker.builders import Running
from zerog.worker import fetcher, pace


class Short(zerog.BaseJob):
    JOB_TYPE = "short"

    def run(self) -> None:
        time.sleep(0)  # lets the other threads in, as most jobs do


class Held(zerog.BaseJob):
    JOB_TYPE = "held"
    go = threading.Event()

    def run(self) -> None:
        assert Held.go.wait(60)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[zerog.App]:
    app = zerog.App(f"sqlite:///{tmp_path}/jobs.db?synchronous=normal")
    app.register(Short, Held)
    Held.go.clear()
    yield app
    app.close()


def test_short_jobs_are_settled_many_in_a_call(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "SHORT", 1.0)
    monkeypatch.setattr(fetcher, "GATHER_SECONDS", 60.0)
    calls: Counter[int] = Counter()
    step = app.engine.step

    def counted(settlements: Any, *args: Any, **kwargs: Any) -> Any:
        calls[len(settlements)] += 1
        return step(settlements, *args, **kwargs)

    monkeypatch.setattr(app.engine, "step", counted)
    app.submit_many("short", [{}] * 2_000)
    assert zerog.Worker(app, concurrency=4).run(burst=True).succeeded == 2_000
    assert sum(size * count for size, count in calls.items()) == 2_000
    assert sum(count for size, count in calls.items() if size) < 200


def test_a_short_job_is_settled_though_nothing_else_ends(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for company while other jobs are in flight, but only for a moment."""
    monkeypatch.setattr(pace, "SHORT", 1.0)
    monkeypatch.setattr(fetcher, "POLL", 60.0)  # the next poll would settle it, too
    app.submit_many("short", [{}] * 300)  # by these the worker learns that jobs are short
    with Running(app, concurrency=12):
        try:
            assert app.wait(app.submit("short").uuid, 20).status == "succeeded"
            held = app.submit_many("held", [{}] * 10)
            until(lambda: {app.progress(uuid)["status"] for uuid in held} == {"running"})
            assert app.wait(app.submit("short").uuid, 20).status == "succeeded"
            assert {app.progress(uuid)["status"] for uuid in held} == {"running"}
        finally:
            Held.go.set()
        assert {app.wait(uuid, 20).status for uuid in held} == {"succeeded"}
