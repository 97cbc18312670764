#!/usr/bin/env python3
"""The processor time of each question about jobs, beside 10,000 ended jobs and beside many.

On SQLite, Redis and PostgreSQL; client and server together, so that other programs hardly change it. For each number
of ended jobs there are a tenth as many that wait, one in five of which is scheduled. Prints a Markdown table. Run it in
an environment that has zerog; Redis and PostgreSQL are started, on free ports, or named by their URLs: then an empty
database is needed.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import filling
import psycopg

import zerog
from zerog.backends.postgres.datastore import PostgresDatastore
from zerog.backends.redis.datastore import RedisDatastore
from zerog.maintenance.doctor import Doctor

from harness.servers import Postgres, Redis, Server

FEW = 10_000
"""Ended jobs with which many are compared."""

TIMES = 15
"""Repetitions; the median counts."""

SHOWN = 20
"""Jobs in a list."""

BACKENDS: dict[str, type[Server] | None] = {"sqlite": None, "redis": Redis, "postgres": Postgres}


def questions(app: zerog.App) -> dict[str, Callable[[], Any]]:
    """Return what is measured, by name."""

    def newest(**filters: Any) -> Callable[[], Any]:
        return lambda: list(islice(app.jobs(order="newest", limit=SHOWN, **filters), SHOWN))

    failed = app.jobs(status="failed", order="newest", limit=1)
    fingerprint = next((job["lastError"]["fingerprint"] for job in failed), "none")
    of_one = {"customer": 1}
    return {
        "`jobs ls --newest`": newest(),
        "`--newest --status failed`": newest(status="failed"),
        "`--newest --status queued`": newest(status="queued"),
        "`--newest --attr customer=1`": newest(attrs=of_one),
        "`--newest --error FINGERPRINT`": newest(error=fingerprint),
        '`count(attrs={"customer": 1}, status="succeeded")`': lambda: app.count(attrs=of_one, status="succeeded"),
        '`count(error=FINGERPRINT, status="failed")`': lambda: app.count(error=fingerprint, status="failed"),
        '`count(status="succeeded")`': lambda: app.count(status="succeeded"),
        '`count(job_type="export")`': lambda: app.count(job_type="export"),
        "`queues`": app.fleet.queues,
        "`doctor`": lambda: Doctor(app.engine, app.registry, app.fleet).examine(),
    }


def measured(app: zerog.App, times: int) -> dict[str, float]:
    """Return the seconds of processor time that each answer takes here and in the server; the first doesn't count."""
    found = {}
    for name, ask in questions(app).items():
        ask()
        servers = started_by(os.getpid())
        taken = []
        for _ in range(times):
            start = time.process_time() + sum(map(busy_seconds, servers))
            ask()
            taken.append(time.process_time() + sum(map(busy_seconds, servers)) - start)
        found[name] = statistics.median(taken)
    return found


def started_by(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that these have."""
    children = [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in _words(task / "children")]
    return [*children, *(each for child in children for each in started_by(child))]


def busy_seconds(pid: int) -> float:
    """Return the processor time of a process; 0 if it has ended."""
    return sum(int(_words(task / "schedstat")[0]) for task in Path(f"/proc/{pid}/task").glob("*")) / 1e9


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return ["0"] if path.name == "schedstat" else []


def memory_per_job(app: zerog.App, before: int, jobs: int) -> float:
    """Return the bytes that each job takes on a Redis server."""
    return (used_memory(app) - before) / jobs


def used_memory(app: zerog.App) -> int:
    """Return the bytes of a Redis server's data; 0 for another server."""
    if not isinstance(app.datastore, RedisDatastore):
        return 0
    text = app.datastore.server.ask("its memory", "INFO", "memory").decode()
    return int(next(line.split(":")[1] for line in text.splitlines() if line.startswith("used_memory:")))


def row_of(url: str, ended: int, times: int) -> tuple[dict[str, float], float]:
    """Fill an empty store and return the seconds of each question, and the bytes of a job on Redis."""
    logging.getLogger("zerog").setLevel(logging.CRITICAL)  # some of the jobs fail
    app = zerog.App(url)
    app.register(filling.Export)
    try:
        before = used_memory(app)
        filling.fill(app, ended, ended // 10)
        if isinstance(app.datastore, PostgresDatastore):  # as its autovacuum does within a minute
            with psycopg.connect(url.partition("?")[0], autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE")
        return measured(app, times), memory_per_job(app, before, ended + ended // 10)
    finally:
        app.close()


@contextmanager
def store(backend: str, url: str | None) -> Iterator[str]:
    """Yield the URL of an empty store."""
    kind = BACKENDS[backend]
    if url is not None:
        yield url
        return
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user
        if kind is None:
            yield f"sqlite:///{folder}/jobs.db?synchronous=normal"
            return
        server = kind(Path(folder))
        try:
            yield server.url
        finally:
            server.stop()


def table(backend: str, few: dict[str, float], many: dict[str, float], ended: int) -> Iterator[str]:
    """Yield the lines of one backend's part of the table."""
    for name, seconds in many.items():
        yield f"| {backend} | {name} | {few[name] * 1e3:.1f} | {seconds * 1e3:.1f} | {seconds / few[name]:.2f} |"


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default=",".join(BACKENDS), help="some of them, separated by commas")
    parser.add_argument("--ended", type=int, default=100_000, metavar="N", help="ended jobs; a tenth of that waits")
    parser.add_argument("--few", type=int, default=FEW, metavar="N", help="ended jobs with which they are compared")
    parser.add_argument("--times", type=int, default=TIMES, metavar="N", help="repetitions; the median counts")
    parser.add_argument("--url", help="of an empty store, for one number of jobs alone; without its server's time")
    options = parser.parse_args(arguments)
    print(f"| on | question | ms with {options.few:,} | ms with {options.ended:,} | ratio |")
    print("| --- | --- | ---: | ---: | ---: |")
    memory = {}
    for backend in options.backends.split(","):
        found = []
        for ended in (options.few, options.ended):
            with store(backend, options.url) as url:
                seconds, memory[backend] = row_of(url, ended, options.times)
                found.append(seconds)
        print("\n".join(table(backend, found[0], found[1], options.ended)), flush=True)
    if memory.get("redis"):
        print(f"\nRedis: {memory['redis']:,.0f} bytes a job, with its history, its indexes and its entry.")


if __name__ == "__main__":
    main()
