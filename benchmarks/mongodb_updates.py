#!/usr/bin/env python3
"""The cost of a progress update on MongoDB: fields and an event in one write, by the number of events there are.

``python benchmarks/mongodb_updates.py mongodb://localhost:27017/bench`` prints a Markdown table of microseconds. The
last line is the least that the server can do: one update of a counter through the bare driver. There is one job at a
time, because SecantusDB, on which this was tried, looks through the whole collection for each ``findAndModify``.
"""

from __future__ import annotations

import statistics
import sys
import time
from datetime import UTC, datetime

import pymongo
from marshmallow import Schema, fields

import zerog

POINTS = (10, 1_000)
"""Numbers of recorded events up to which the last ones are timed."""

WINDOW = 10
"""Updates timed in one run."""

ROUNDS = 15
"""Runs for each number; each round takes all numbers."""

MESSAGE = "step 1234 of the job is done"

_times: dict[str, list[float]] = {}


class Reporter(zerog.BaseJob):
    """Times its own progress updates."""

    JOB_TYPE = "reporter"

    class Params(Schema):
        """The name under which the times are kept."""

        name = fields.String(required=True)

    class State(Schema):
        """The fields that change with each update."""

        words = fields.Integer(load_default=0)

    def run(self) -> None:
        times = _times.setdefault(self.__dict__["name"], [])
        for n in range(WINDOW):
            start = time.perf_counter()
            self.update_attrs(words=n, completeness=n / WINDOW, flush=False)
            self.record_event(MESSAGE)
            times.append(time.perf_counter() - start)


def measured(url: str) -> dict[str, float]:
    """Microseconds for one update, by the number of events."""
    app = zerog.App(datastore=url, queue="memory://")
    app.register(Reporter)
    app.datastore.setup()
    bound = app.datastore.history_limit
    events = {f"event {point:,}": point - WINDOW for point in POINTS} | {f"beyond {bound:,}": bound}
    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(url)
    bare = client.get_default_database().zerog_bare
    bare.replace_one({"_id": "bare"}, {"n": 0}, upsert=True)
    for _ in range(ROUNDS):
        for name, count in events.items():
            entry = {"timestamp": datetime.now(UTC), "msg": MESSAGE}
            job = Reporter(app.datastore, app.queue, name=name, events=[entry] * count)
            job.enqueue()
            zerog.Worker(app).run(burst=True)
            app.datastore.delete(job.key())
        for _ in range(WINDOW):
            start = time.perf_counter()
            bare.find_one_and_update({"_id": "bare"}, {"$inc": {"n": 1}}, return_document=True)
            _times.setdefault("bare driver", []).append(time.perf_counter() - start)
    print(f"{app.datastore.about()}, pymongo {pymongo.version}")
    bare.drop()
    client.close()
    app.close()
    return {name: statistics.median(times) * 1e6 for name, times in _times.items()}


if __name__ == "__main__":
    print("\n| update, µs | median |\n|---|---|")
    for name, median in measured(sys.argv[1]).items():
        print(f"| {name} | {median:,.0f} |")
