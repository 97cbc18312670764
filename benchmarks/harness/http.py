"""Servers over HTTP on one core, and the clients that ask them from the other ones."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

CORE, OTHERS = 0, set(range(1, os.cpu_count() or 1)) or {0}
"""Where the server under measurement runs, and where everything else does."""

CLIENTS = 16
TICKS = os.sysconf("SC_CLK_TCK")
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Asked(NamedTuple):
    """What a number of requests took."""

    rate: float
    """A second, of all clients together."""
    p50: float
    """Milliseconds."""
    p95: float
    cost: float
    """Microseconds of the server's processor time for one request."""


class HttpServer:
    """A server in a process of its own, on one core. ``priority``: a nice value."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], priority: int = 0) -> None:
        own = {**os.environ, **environment}
        self.process = subprocess.Popen(command, env=own, stderr=subprocess.PIPE, text=True, start_new_session=True)
        place(self.process.pid, {CORE}, priority)

    def await_line(self, part: str) -> str:
        """Return the first line of standard error with this text, as which the server shows that it has started."""
        assert self.process.stderr is not None
        return next(line for line in self.process.stderr if part in line)

    def seconds(self) -> float:
        """Return the processor time that it and the processes started by it have used."""
        pid, taken = self.process.pid, 0
        for each in (pid, *Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            taken += int(fields[11]) + int(fields[12])
        return taken / TICKS

    def megabytes(self) -> float:
        """Return its resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    """Open a connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


def request(path: str, tag: str = "") -> bytes:
    """Return a request as it is sent."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{f'If-None-Match: {tag}' if tag else 'A: b'}\r\n\r\n".encode()


async def ask(connection: Connection, sent: bytes) -> tuple[bytes, bytes]:
    """Send a request; return head and body of the answer. Raises RuntimeError for a refusal."""
    reader, writer = connection
    writer.write(sent)
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    body = await reader.readexactly(int(length or 0))
    if head.split()[1] not in (b"200", b"304"):
        raise RuntimeError(f"{sent!r:.200}: {head!r:.200} {body!r:.300}")
    return head, body


async def hammer(server: HttpServer, port: int, sent: bytes, number: int) -> Asked:
    """Send a request again and again by all clients, each as soon as it has the answer."""
    times: list[float] = []

    async def client(rounds: int) -> None:
        async with connected(port) as connection:
            for _ in range(rounds):
                start = time.perf_counter()
                await ask(connection, sent)
                times.append(time.perf_counter() - start)

    await client(max(100, number // 20))  # warm
    times.clear()
    before, start = server.seconds(), time.perf_counter()
    await asyncio.gather(*(client(number // CLIENTS) for _ in range(CLIENTS)))
    took, cost = time.perf_counter() - start, server.seconds() - before
    times.sort()
    p50, p95 = (times[int(len(times) * share)] * 1e3 for share in (0.5, 0.95))
    return Asked(len(times) / took, p50, p95, cost / len(times) * 1e6)


def place(pid: int, cores: set[int], priority: int) -> None:
    """Give a process its cores and its nice value, which then counts over the programs of all sessions."""
    os.sched_setaffinity(pid, cores)
    if priority:
        os.setpriority(os.PRIO_PROCESS, pid, priority)
        session = Path(f"/proc/{pid or 'self'}/autogroup")
        if session.exists():
            session.write_text(str(priority))


def step_aside(priority: int) -> None:
    """Keep this process, and what it starts, off the server's core."""
    if os.getpid() != os.getpgrp():
        os.setsid()
    place(0, OTHERS, priority)
