"""Helpers of every job body: to record its completion, and to time its own progress reports.

Standard library only, and as little of it as possible: the workers that are measured import this.
"""

from __future__ import annotations

import json
import os
import struct
import time
from collections.abc import Iterator

RECORD = struct.Struct("<qqq")
"""One completion: the job's number, ``time.time_ns()``, the process."""

PAYLOAD = "x" * 200
JOB_SECONDS = 0.005
"""The parameters of a job of the faults workload."""

MODE = os.environ.get("BENCH_MODE", "")
"""``faults``: use the shortest sane leases."""

VARIANT = os.environ.get("BENCH_VARIANT", "")

POINTS = (100, 1000, 5000)
"""Numbers of recorded events at which the cost of one more is measured."""

WINDOW = 50
"""Events over which it is measured."""

LONGEST = 60.0
"""Seconds after which a job gives up recording further events."""

_fd = -1


def record(n: int) -> None:
    """Record that job ``n`` has run: one atomic append, about 2 microseconds."""
    global _fd
    if _fd < 0:
        _fd = os.open(os.environ["BENCH_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(_fd, RECORD.pack(n, time.time_ns(), os.getpid()))


def event(i: int) -> dict[str, object]:
    """An event as a job would record it."""
    return {"t": 1700000000.0 + i, "level": "info", "msg": f"step {i} of the job is done"}


def updates() -> Iterator[tuple[str, int]]:
    """Drive a job's reports: yields ("progress", i) or ("event", i), and the caller performs each one.

    Writes microseconds per report to $BENCH_OUT. A generator, so that plain and async jobs share it.
    """
    clock = time.perf_counter
    out: dict[str, float] = {}
    start = clock()
    for i in range(1000):
        yield "progress", i
    out["progress us"] = (clock() - start) * 1e3
    begin, done = clock(), 0
    for point in POINTS:
        for i in range(done, point):
            yield "event", i
            if clock() - begin > LONGEST:
                break
        else:
            start = clock()
            for i in range(point, point + WINDOW):
                yield "event", i
            out[f"event us at {point}"] = (clock() - start) * 1e6 / WINDOW
            done = point + WINDOW
            if point == 1000:
                out["1000 events s"] = start - begin
            continue
        break
    with open(os.environ["BENCH_OUT"], "w") as file:
        json.dump(out, file)
