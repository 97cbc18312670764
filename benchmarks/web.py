#!/usr/bin/env python3
"""The cost of polls and of streams to the server of the REST API, by its processor time: other programs don't matter.

Prints a Markdown table. Polls: ``GET /jobs/UUID`` by 16 clients, with and without the ETag that they have. Streams: 500
of them on 50 jobs, each of which moves once a second. Run it in an environment with zerog[web].
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import zerog
from zerog.engine.transitions import WorkerIdentity
from zerog.records.job import make_key
from zerog.records.operations import Set
from zerog.support.clock import to_text

from harness.servers import Redis

CLIENTS, STREAMS, JOBS = 16, 500, 50
TICKS = os.sysconf("SC_CLK_TCK")


class Render(zerog.BaseJob):
    """Never run by a worker: the benchmark writes its progress."""

    JOB_TYPE = "render"

    def run(self) -> None:
        """Do nothing."""


class Server:
    """``zerog web`` in a process of its own."""

    def __init__(self, url: str) -> None:
        command = [sys.executable, "-m", "zerog", "web", "--port", "0"]
        environment = {**os.environ, "ZEROG_URL": url}
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        line = next(line for line in self.process.stderr if "Serving" in line)
        self.port = int(line.split("http://127.0.0.1:")[1].split("/")[0])

    def seconds(self) -> float:
        """Processor time that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def megabytes(self) -> float:
        """Resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@contextmanager
def serving(url: str) -> Iterator[Server]:
    """Serve with ``zerog web``."""
    server = Server(url)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait()


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield reader, writer
    finally:
        writer.close()


def request(path: str, tag: str = "") -> bytes:
    """Return a request as it is sent."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{f'If-None-Match: {tag}' if tag else 'A: b'}\r\n\r\n".encode()


async def answer(reader: asyncio.StreamReader) -> bytes:
    """Read one answer; return its head."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length or 0))
    return head


async def poll(server: Server, uuid: str, number: int, tag: str = "") -> tuple[float, float]:
    """Return the microseconds of processor time of a poll, and the polls a second of all clients."""

    async def client() -> None:
        async with connected(server) as (reader, writer):
            for _ in range(number // CLIENTS):
                writer.write(request(f"/jobs/{uuid}", tag))
                await answer(reader)

    await client()  # warm
    before, start = server.seconds(), time.monotonic()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return (server.seconds() - before) / number * 1e6, number / (time.monotonic() - start)


async def tag_of(server: Server, uuid: str) -> str:
    """Return the ETag of a job's progress."""
    async with connected(server) as (reader, writer):
        writer.write(request(f"/jobs/{uuid}"))
        head = await answer(reader)
    return head.lower().partition(b"etag: ")[2].partition(b"\r\n")[0].decode().replace("w/", "W/")


async def stream(server: Server, app: zerog.App, uuids: list[str], seconds: float) -> tuple[float, float, float]:
    """Return the share of a core, the megabytes and the events a second of the streams."""
    events = 0

    async def client(uuid: str) -> None:
        nonlocal events
        async with connected(server) as (reader, writer):
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


async def measure(url: str, polls: int, seconds: float) -> list[str]:
    """Return the rows of one datastore."""
    app = zerog.App(url)
    app.register(Render)
    uuids = [app.submit(Render).uuid for _ in range(JOBS)]
    app.engine.claim(JOBS, WorkerIdentity("bench", 3_600.0), app.registry.load_head)
    rows = []
    with serving(url) as server:
        for what, tag in (("poll", ""), ("poll, unchanged", await tag_of(server, uuids[0]))):
            cost, rate = await poll(server, uuids[0], polls, tag)
            rows.append(f"{what} | {cost:,.0f} µs | {1e6 / cost:,.0f} a second and core; here {rate:,.0f} a second")
        share, memory, events = await stream(server, app, uuids, seconds)
        rows.append(
            f"{STREAMS} streams, {JOBS} jobs | {share:.2f} cores | {memory:,.0f} MB, {events:,.0f} events a second"
        )
    app.close()
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--polls", type=int, default=8_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--on", default="sqlite,redis")
    options = parser.parse_args()
    print("| on | what | processor time | |\n| --- | --- | ---: | --- |")
    for name in options.on.split(","):
        with tempfile.TemporaryDirectory() as folder:
            if name == "redis":
                server = Redis(Path(folder))
                try:
                    rows = asyncio.run(measure(server.url, options.polls, options.seconds))
                finally:
                    server.stop()
            else:
                rows = asyncio.run(measure(f"sqlite:///{folder}/jobs.db", options.polls, options.seconds))
        for row in rows:
            print(f"| {name} | {row} |", flush=True)


if __name__ == "__main__":
    main()
