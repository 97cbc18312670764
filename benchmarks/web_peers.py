#!/usr/bin/env python3
"""The REST API beside rq-dashboard's and Flower's, where they answer the same: one job, twenty jobs, the workers.

Each server has one core to itself, 16 clients and Redis the other ones; 100 jobs have ended, one worker runs. Prints a
Markdown table. rq-dashboard runs under gunicorn with 16 threads in one process. Run it in an environment with
zerog[web]; the peers get a virtualenv of their own. ``--nice -15`` (as root) keeps other work from the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filling

import zerog

from harness.http import OTHERS, HttpServer, ask, connected, hammer, place, request, step_aside
from harness.servers import Redis, free_port, wait_for

HERE = Path(__file__).parent
REQUIRES = ["rq", "rq-dashboard", "gunicorn", "celery[redis]", "flower"]
WHAT = ("one job", "20 jobs", "workers")


class Under:
    """A server under measurement: its process, port, and the paths of ``WHAT``."""

    def __init__(self, server: HttpServer, port: int, paths: tuple[str, str, str]) -> None:
        self.server, self.port, self.paths = server, port, paths


@contextmanager
def zerog_web(redis: str, _python: Path, priority: int) -> Iterator[Under]:
    """Serve with ``zerog web``."""
    logging.getLogger("zerog").setLevel(logging.CRITICAL)  # some of the jobs fail
    app = zerog.App(redis)
    app.register(filling.Export)
    filling.fill(app, 100, 0)
    uuid = next(app.jobs(status="succeeded", limit=1))["uuid"]
    app.close()
    port = free_port()
    command = [sys.executable, "-m", "zerog", "web", "--port", str(port)]
    server = HttpServer(command, {"ZEROG_URL": redis}, priority)
    try:
        server.await_line("Serving")
        yield Under(server, port, (f"/jobs/{uuid}", "/jobs?limit=20", "/workers"))
    finally:
        server.stop()


@contextmanager
def peer(
    redis: str, python: Path, priority: int, kind: str, command: list[str], port: int
) -> Iterator[tuple[HttpServer, str]]:
    """Serve with a peer; yields the server and the id of a job that its worker has run."""
    environment = {"BENCH_REDIS": redis, "FLOWER_UNAUTHENTICATED_API": "1", "PYTHONPATH": str(HERE / "inside")}
    server = HttpServer([str(python), "-m", *command], environment, priority)
    worker = None
    try:
        if not wait_for(lambda: asyncio.run(answers(port)), 60):
            raise SystemExit(f"{command[0]} did not start")
        script = [str(python), str(HERE / "inside" / "web_peers.py"), kind]
        worker = subprocess.Popen(
            script,
            env={**environment, "PATH": "/usr/bin:/bin"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        place(worker.pid, OTHERS, priority)
        assert worker.stdout is not None
        line = next(line for line in worker.stdout if line.startswith("job "))
        yield server, line.split()[1]
    finally:
        if worker:
            worker.terminate()
            worker.wait()
        server.stop()


async def answers(port: int) -> bool:
    """Return True once a server takes connections."""
    try:
        async with connected(port):
            return True
    except OSError:
        return False


@contextmanager
def rq_dashboard(redis: str, python: Path, priority: int) -> Iterator[Under]:
    """Serve with rq-dashboard."""
    port = free_port()
    where = [
        "gunicorn",
        "--bind",
        f"127.0.0.1:{port}",
        "--threads",
        "16",
        "--log-level",
        "error",
        "web_peers:dashboard()",
    ]
    with peer(redis, python, priority, "rq", where, port) as (server, job):
        jobs = "/0/data/jobs/default/finished/20/desc/1.json"
        yield Under(server, port, (f"/0/data/job/{job}.json", jobs, "/0/data/workers.json"))


@contextmanager
def flower(redis: str, python: Path, priority: int) -> Iterator[Under]:
    """Serve with Flower."""
    port = free_port()
    where = ["celery", "-A", "web_peers:app", "flower", f"--port={port}", "--address=127.0.0.1", "--logging=error"]
    with peer(redis, python, priority, "celery", where, port) as (server, job):
        yield Under(server, port, (f"/api/task/info/{job}", "/api/tasks?limit=20", "/api/workers"))


async def until_known(under: Under) -> None:
    """Wait until a server knows its jobs: Flower learns of them by events."""
    for _ in range(300):
        try:
            async with connected(under.port) as connection:
                await ask(connection, request(under.paths[0]))
                return
        except RuntimeError:
            await asyncio.sleep(0.1)
    raise SystemExit(f"{under.paths[0]} is unknown after 30 s")


SERVERS = {"zerog web": zerog_web, "rq-dashboard": rq_dashboard, "Flower": flower}


def prepared(venv: Path) -> Path:
    """Return the Python of the peers' virtualenv, which is made if it isn't there."""
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *REQUIRES], check=True)
    return python


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=3_200)
    parser.add_argument("--servers", default=",".join(SERVERS))
    parser.add_argument("--nice", type=int, default=0, help="of this program and the servers")
    parser.add_argument("--venv", type=Path, default=HERE / ".venvs" / "web_peers")
    options = parser.parse_args()
    python = prepared(options.venv)
    step_aside(options.nice)
    print("| server | call | a second | p50 ms | p95 ms | µs of processor |\n| --- | --- | ---: | ---: | ---: | ---: |")
    for name in options.servers.split(","):
        with tempfile.TemporaryDirectory() as folder:
            redis = Redis(Path(folder))
            try:
                place(redis.process.pid, OTHERS, options.nice)
                with SERVERS[name](redis.url, python, options.nice) as under:
                    asyncio.run(until_known(under))
                    for what, path in zip(WHAT, under.paths, strict=True):
                        found = asyncio.run(hammer(under.server, under.port, request(path), options.requests))
                        figures = f"{found.rate:,.0f} | {found.p50:.1f} | {found.p95:.1f} | {found.cost:,.0f}"
                        print(f"| {name} | {what} | {figures} |", flush=True)
            finally:
                redis.stop()


if __name__ == "__main__":
    main()
