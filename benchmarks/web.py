#!/usr/bin/env python3
"""The REST API's server on one core: polls, 500 streams, and lists and counts beside many ended jobs.

Prints Markdown tables. Clients and Redis have the other cores. Polls: ``GET /jobs/UUID`` by 16 clients, with and
without the ETag that they have. Streams: 500 of them on 50 jobs, each of which moves once a second. Many: ``--ended``
jobs on SQLite, what a list or a count takes the server. On a machine with other work ``--nice -15`` (as root) keeps
that from the figures. Run it in an environment with zerog[web].
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filling

import zerog
from zerog.engine.transitions import WorkerIdentity
from zerog.records.job import make_key
from zerog.records.operations import Set
from zerog.support.clock import to_text

from harness.http import OTHERS, HttpServer, ask, connected, hammer, place, request, step_aside
from harness.servers import Redis

STREAMS, JOBS = 500, 50
TIMES = 11
"""Repetitions of a list or a count; the median counts."""


class Render(zerog.BaseJob):
    """Never run by a worker: the benchmark writes its progress."""

    JOB_TYPE = "render"

    def run(self) -> None:
        """Do nothing."""


class Web(HttpServer):
    """``zerog web``."""

    def __init__(self, url: str, priority: int) -> None:
        super().__init__([sys.executable, "-m", "zerog", "web", "--port", "0"], {"ZEROG_URL": url}, priority)
        self.port = int(self.await_line("Serving").split("http://127.0.0.1:")[1].split("/")[0])


@contextmanager
def serving(url: str, priority: int) -> Iterator[Web]:
    """Serve with ``zerog web``."""
    server = Web(url, priority)
    try:
        yield server
    finally:
        server.stop()


async def tag_of(server: Web, uuid: str) -> str:
    """Return the ETag of a job's progress."""
    async with connected(server.port) as connection:
        head, _ = await ask(connection, request(f"/jobs/{uuid}"))
    return head.lower().partition(b"etag: ")[2].partition(b"\r\n")[0].decode().replace("w/", "W/")


async def stream(server: Web, app: zerog.App, uuids: list[str], seconds: float) -> tuple[float, float, float]:
    """Return the share of a core, the megabytes and the events a second of the streams."""
    events = 0

    async def client(uuid: str) -> None:
        nonlocal events
        async with connected(server.port) as (reader, writer):
            writer.write(request(f"/jobs/{uuid}/stream"))
            while line := await reader.readline():
                events += line.startswith(b"event:")

    def move(step: int) -> None:
        for uuid in uuids:
            changes = [Set("completeness", step % 1_000 / 1_000), Set("updatedAt", to_text(app.clock.now()))]
            app.datastore.mutate(make_key(uuid), changes)

    clients = [asyncio.create_task(client(uuids[number % JOBS])) for number in range(STREAMS)]
    step = 0
    while events < STREAMS:
        await asyncio.sleep(0.1)
    before, start, events = server.seconds(), time.monotonic(), 0
    while time.monotonic() - start < seconds:
        step += 1
        await asyncio.to_thread(move, step)
        await asyncio.sleep(max(0.0, start + step - time.monotonic()))
    took = time.monotonic() - start
    found = (server.seconds() - before) / took, server.megabytes(), events / took
    for task in clients:
        task.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    return found


async def followed(url: str, options: argparse.Namespace) -> list[str]:
    """Return the rows of polls and streams on one datastore."""
    app = zerog.App(url)
    app.register(Render)
    uuids = [app.submit(Render).uuid for _ in range(JOBS)]
    app.engine.claim(JOBS, WorkerIdentity("bench", 3_600.0), app.registry.load_head)
    rows = []
    with serving(url, options.nice) as server:
        for what, tag in (("poll", ""), ("poll, unchanged", await tag_of(server, uuids[0]))):
            found = await hammer(server, server.port, request(f"/jobs/{uuids[0]}", tag), options.polls)
            rows.append(
                f"{what} | {found.rate:,.0f} | {found.p50:.1f} | {found.p95:.1f} | {found.cost:,.0f} µs a poll |"
            )
        share, memory, events = await stream(server, app, uuids, options.seconds)
        what = f"{STREAMS} streams, {JOBS} jobs"
        rows.append(f"{what} | {events:,.0f} events | | | {share:.2f} cores, {memory:,.0f} MB |")
    app.close()
    return rows


def questions(fingerprint: str) -> list[str]:
    """Return the lists and counts that are measured."""
    filters = [
        "",
        "status=succeeded",
        "status=failed",
        "status=queued",
        "type=export",
        "queue=default",
        "attr=customer%3D1",
        f"error={fingerprint}",
        "code=200",
        "status=failed&code=500",
        "error=ConnectionError",
        "stalled=true",
        "build=v1",
        "schema_version=1.0",
        "since=2020-01-01T00:00:00Z",
    ]
    countable = [each for each in filters if each.partition("=")[0] not in ("error", "code", "stalled", "build")]
    counts = [f"/jobs/count?{each}" for each in countable if "code=" not in each and "schema" not in each]
    others = ["errors", "queues", "workers", "types", "schedules", "schemas", "rates", "metrics", "doctor"]
    return [*(f"/jobs?{each}" for each in filters), "/jobs?limit=200", *counts, *(f"/{each}" for each in others)]


async def print_lists(server: Web, fingerprint: str) -> None:
    """Print the rows of lists and counts: milliseconds until the answer is there, processor time of the server."""
    async with connected(server.port) as connection:
        for path in questions(fingerprint):
            await ask(connection, request(path))
            times, before = [], server.seconds()
            for _ in range(TIMES):
                start = time.perf_counter()
                _, body = await ask(connection, request(path))
                times.append((time.perf_counter() - start) * 1e3)
            cost = (server.seconds() - before) / TIMES * 1e3
            shown = path.replace(fingerprint, "FINGERPRINT")
            figures = f"{statistics.median(times):.1f} | {max(times):.1f} | {cost:.0f} | {len(body):,}"
            print(f"| `{shown}` | {figures} |", flush=True)


def print_many(options: argparse.Namespace) -> None:
    """Fill SQLite, unless the file is full already, and print what lists and counts take."""
    logging.getLogger("zerog").setLevel(logging.CRITICAL)  # some of the jobs fail
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{options.file or f'{folder}/jobs.db'}?synchronous=normal"
        app = zerog.App(url)
        app.register(filling.Export)
        if not app.count().number:
            filling.fill(app, options.ended, options.ended // 10)
        [failed] = app.jobs(status="failed", order="newest", limit=1)
        app.close()
        print(f"\n| with {options.ended:,} ended jobs | median ms | most ms | ms of processor | bytes |")
        print("| --- | ---: | ---: | ---: | ---: |")
        with serving(url, options.nice) as server:
            asyncio.run(print_lists(server, failed["lastError"]["fingerprint"]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--polls", type=int, default=8_000)
    parser.add_argument("--seconds", type=float, default=30.0, help="of streams")
    parser.add_argument("--on", default="sqlite,redis", help="datastores of polls and streams; empty for none")
    parser.add_argument("--ended", type=int, default=0, help="ended jobs of lists and counts; 0 for none")
    parser.add_argument("--file", help="of SQLite, where these are kept for another run")
    parser.add_argument("--nice", type=int, default=0, help="of this program and the servers")
    options = parser.parse_args()
    step_aside(options.nice)
    if options.on:
        print("| on | what | a second | p50 ms | p95 ms | processor of the server |")
        print("| --- | --- | ---: | ---: | ---: | --- |")
    for name in filter(None, options.on.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            redis = Redis(Path(folder)) if name == "redis" else None
            if redis:
                place(redis.process.pid, OTHERS, options.nice)
            try:
                url = redis.url if redis else f"sqlite:///{folder}/jobs.db"
                for row in asyncio.run(followed(url, options)):
                    print(f"| {name} | {row}", flush=True)
            finally:
                if redis:
                    redis.stop()
    if options.ended:
        print_many(options)


if __name__ == "__main__":
    main()
