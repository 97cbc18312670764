"""Connections on which no request comes: closed in time, while answers may take as long as they need."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from zerog.web import connection
from zerog.web.connection import Connection

WHOLE = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SLOWEST_HEAD", 0.05)


@asynccontextmanager
async def served(may_answer: asyncio.Event, made: list[Connection]) -> AsyncIterator[int]:
    """A server that answers once it may."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    config = uvicorn.Config(app, http=Connection, ws="none", lifespan="off", log_config=None, timeout_keep_alive=60)
    config.load()

    def make() -> Connection:
        made.append(Connection(config, ServerState(), {}))
        return made[-1]

    listening = socket.create_server(("127.0.0.1", 0))  # as zerog web does
    server = await asyncio.get_running_loop().create_server(make, sock=listening)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def ended(port: int, *parts: bytes) -> bytes:
    """Send what there is and return what came until the server closed the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    try:
        return await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()


@pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\nHost: local"])
def test_a_head_that_never_ends_is_given_up(head: bytes) -> None:
    async def attack() -> None:
        async with served(asyncio.Event(), []) as port:
            assert await ended(port, head) == b""

    asyncio.run(attack())


def test_each_head_on_a_connection_has_its_time() -> None:
    """Also the second one: what was sent of it doesn't keep the connection open."""

    async def attack() -> None:
        may_answer = asyncio.Event()
        may_answer.set()
        async with served(may_answer, []) as port:
            answers = await ended(port, WHOLE, WHOLE, WHOLE[:-2])
            assert answers.count(b"\r\n\r\nok") == 2

    asyncio.run(attack())


def test_a_slow_answer_is_waited_for() -> None:
    """Longer than a head may take, which another connection shows."""

    async def wait() -> None:
        may_answer = asyncio.Event()
        async with served(may_answer, []) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(WHOLE)
            await writer.drain()
            for _ in range(2):
                assert await ended(port) == b""
            may_answer.set()
            assert (await asyncio.wait_for(reader.readuntil(b"ok"), 30)).startswith(b"HTTP/1.1 200")
            writer.close()

    asyncio.run(wait())


def test_an_answer_leaves_at_once() -> None:
    """Its second part doesn't wait until the client has acknowledged the first, which takes 40 ms."""

    async def ask() -> None:
        may_answer, made = asyncio.Event(), list[Connection]()
        may_answer.set()
        async with served(may_answer, made) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(WHOLE)
            await reader.readuntil(b"ok")
            wire = made[0].transport.get_extra_info("socket")
            assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            writer.close()

    asyncio.run(ask())
