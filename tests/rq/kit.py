"""RQ queues for tests: in this process, or in a database of their own on a real server that the run shares."""

from __future__ import annotations

import itertools
from typing import Any

import fakeredis
import redis

from tests.redisservers import RunningServer, started
from zerog.clock import SYSTEM, Clock
from zerog.queues.rq import RqQueue
from zerog.redisclient import RedisClient

DATABASES = 10_000

_numbers = itertools.count()
_server: list[RunningServer] = []


class FakeClient(RedisClient):
    """A server in this process. Handles with the same ``fake`` share their keys."""

    def __init__(self, fake: fakeredis.FakeServer) -> None:
        self._fake = fake
        super().__init__("redis://fake")

    def _connect(self) -> Any:
        return fakeredis.FakeRedis(server=self._fake)


def fake_queue(fake: fakeredis.FakeServer, clock: Clock = SYSTEM) -> RqQueue:
    return RqQueue("redis://fake", clock=clock, client=FakeClient(fake))


def real_url() -> str:
    """A database that nobody else uses."""
    if not _server:
        _server.append(started("valkey", "--databases", str(DATABASES)))
    return f"redis://127.0.0.1:{_server[0].port}/{next(_numbers) % DATABASES}"


def raw_client(url: str) -> redis.Redis:
    """What a foreign program with the server's address has."""
    return redis.Redis.from_url(url, protocol=2)
