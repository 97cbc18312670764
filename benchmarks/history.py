#!/usr/bin/env python3
"""The cost of a job's history: recording one more event, and claiming a job that has many.

Prints a Markdown table of microseconds for each store. Run it in an environment that has zerog.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime

from marshmallow import Schema, fields

import zerog
from zerog.engine.transitions import Settlement, WorkerIdentity

POINTS = (10, 100, 1_000, 10_000)
"""Numbers of recorded events up to which the last ones are timed."""

WINDOW = 10
"""Events timed in one run."""

ROUNDS = 15
"""Runs for each number; each round takes all numbers."""

CLAIMS = 100
"""Claims timed for each number of events."""

MESSAGE = "step 1234 of the job is done"

_times: dict[int, list[float]] = {}


class Recorder(zerog.BaseJob):
    """Times its own events."""

    JOB_TYPE = "recorder"

    class Params(Schema):
        """The number of events under which the times are kept."""

        point = fields.Integer(required=True)

    def run(self) -> None:
        times = _times.setdefault(self.__dict__["point"], [])
        for _ in range(WINDOW):
            start = time.perf_counter()
            self.record_event(MESSAGE)
            times.append(time.perf_counter() - start)


def enqueue(app: zerog.App, point: int, events: int) -> None:
    """Accept a job that has so many events already."""
    entry = {"timestamp": datetime.now(UTC), "msg": MESSAGE}
    Recorder(app.datastore, app.queue, point=point, events=[entry] * events).enqueue()


def recording(app: zerog.App) -> dict[int, float]:
    """Microseconds for one event, by the number of events; the one after the bound is for older ones falling out."""
    _times.clear()
    bound = app.datastore.history_limit
    points = [point for point in POINTS if bound is None or point <= bound]
    for _ in range(ROUNDS):
        for point in points:
            enqueue(app, point, point - WINDOW)
        if bound is not None:
            enqueue(app, bound + 1, bound)
        zerog.Worker(app).run(burst=True)
    return {point: statistics.median(times) * 1e6 for point, times in sorted(_times.items())}


def claiming(app: zerog.App) -> dict[int, float]:
    """Microseconds for one claim, by the number of events of the claimed job."""
    worker = WorkerIdentity("history-benchmark", 30.0)
    found = {}
    for point in (POINTS[0], POINTS[-1]):
        enqueue(app, point, point)
        times = []
        for _ in range(CLAIMS):
            start = time.perf_counter()
            [claim] = app.engine.claim(1, worker, app.registry.load_head)
            times.append(time.perf_counter() - start)
            app.engine.settle([Settlement(claim, "release", claim.seq + 1)])
        [claim] = app.engine.claim(1, worker, app.registry.load_head)
        app.engine.settle([Settlement(claim, "finish", claim.seq + 1, 200)])
        found[point] = statistics.median(times) * 1e6
    return found


def stores(folder: str) -> dict[str, Callable[[], zerog.App]]:
    """How to open each store that is measured."""
    urls = {
        "memory": "memory://",
        "sqlite, full": f"sqlite:///{folder}/full.db",
        "sqlite, normal": f"sqlite:///{folder}/normal.db?synchronous=normal",
    }
    return {name: lambda url=url: zerog.App(url) for name, url in urls.items()}  # type: ignore[misc]


def table() -> list[str]:
    """The lines of a Markdown table."""
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, opened in stores(folder).items():
            app = opened()
            app.register(Recorder)
            events, claims = recording(app), claiming(app)
            app.close()
            if not lines:
                lines = [_header(events), "|---" * (len(events) + 5) + "|"]
            first, last = events[POINTS[0]], events[POINTS[-1]]
            ratios = f"{last / first:.2f} | {claims[POINTS[0]]:.0f} | {claims[POINTS[-1]]:.0f}"
            cells = " | ".join(f"{value:.0f}" for value in events.values())
            lines.append(f"| {name} | {cells} | {ratios} | {claims[POINTS[-1]] / claims[POINTS[0]]:.2f} |")
    return lines


def _header(events: dict[int, float]) -> str:
    names = [f"event {point:,}" if point in POINTS else f"beyond {point - 1:,}" for point in events]
    claims = f"claim with {POINTS[0]} events | claim with {POINTS[-1]:,} | ratio"
    return f"| store, µs | {' | '.join(names)} | ratio {POINTS[-1]:,} : {POINTS[0]} | {claims} |"


if __name__ == "__main__":
    print("\n".join(table()))
