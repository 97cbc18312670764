"""The client's side of a measurement: run in the peer's virtualenv, it drives the adapter and times it.

``bench_client.py COMMAND JSON`` prints one line of JSON. The adapter is imported as ``bench_app``; its functions may
be plain or coroutines.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import bench_app as app
import bench_job

BULK = 500
"""Jobs handed to one call of ``put_many``."""

Enqueued = tuple[float, float]
"""Seconds, and seconds of this process's CPU time."""

Sent = list[tuple[int, int]]
"""Numbers of jobs and the nanosecond before each was enqueued."""


async def _call(function: Callable[..., Any], *args: Any) -> Any:
    got = function(*args)
    return await got if inspect.isawaitable(got) else got


def _enqueue(kind: str, numbers: list[int], bulk: bool) -> Enqueued:
    start, cpu = time.perf_counter(), time.process_time()
    if bulk:
        for i in range(0, len(numbers), BULK):
            app.put_many(kind, numbers[i : i + BULK], bench_job.PAYLOAD)
    else:
        for n in numbers:
            app.put(kind, n, bench_job.PAYLOAD)
    return time.perf_counter() - start, time.process_time() - cpu


async def _enqueue_async(kind: str, numbers: list[int], bulk: bool) -> Enqueued:
    start, cpu = time.perf_counter(), time.process_time()
    if bulk:
        for i in range(0, len(numbers), BULK):
            await app.put_many(kind, numbers[i : i + BULK], bench_job.PAYLOAD)
    else:
        for n in numbers:
            await app.put(kind, n, bench_job.PAYLOAD)
    return time.perf_counter() - start, time.process_time() - cpu


def _latency(count: int, interval: float) -> Sent:
    start, sent = time.time(), []
    for n in range(count):
        time.sleep(max(0, start + (n + 1) * interval - time.time()))
        sent.append((n, time.time_ns()))
        app.put("noop", n, bench_job.PAYLOAD)
    return sent


async def _latency_async(count: int, interval: float) -> Sent:
    start, sent = time.time(), []
    for n in range(count):
        await asyncio.sleep(max(0, start + (n + 1) * interval - time.time()))
        sent.append((n, time.time_ns()))
        await app.put("noop", n, bench_job.PAYLOAD)
    return sent


async def _connected(function: Callable[..., Any], *args: Any) -> Any:
    await _call(app.connect)
    try:
        return await function(*args)
    finally:
        if hasattr(app, "close"):
            await _call(app.close)


def perform(command: str, spec: dict[str, Any]) -> Any:
    """Do what the harness requests: worker, setup, left, enqueue or latency."""
    if command == "worker":
        return app.worker(spec["p"], spec["c"])
    if command in ("setup", "left"):
        function = getattr(app, command, lambda: None)
        return asyncio.run(_call(function)) if inspect.iscoroutinefunction(function) else function()
    if command == "enqueue":
        args: tuple[Any, ...] = spec["kind"], list(range(spec["first"], spec["first"] + spec["count"])), spec["bulk"]
        plain, coroutine = _enqueue, _enqueue_async
    else:
        args = spec["count"], spec["interval"]
        plain, coroutine = _latency, _latency_async
    if any(inspect.iscoroutinefunction(getattr(app, name, None)) for name in ("connect", "put")):
        return asyncio.run(_connected(coroutine, *args))
    app.connect()
    return plain(*args)


if __name__ == "__main__":
    print(json.dumps(perform(sys.argv[1], json.loads(sys.argv[2]))))
