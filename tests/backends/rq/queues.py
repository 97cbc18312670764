"""RQ queues for tests: in this process, or each in a separate database on a real server that the run shares."""

from __future__ import annotations

import itertools
from pathlib import Path

import fakeredis
import redis

from tests.backends.redis.servers import FakeServer, RunningServer, started
from zerog.backends.rq.queue import RqQueue
from zerog.support.clock import SYSTEM, Clock

DATABASES = 10_000

_numbers = itertools.count()
_server: list[RunningServer] = []


def fake_queue(fake: fakeredis.FakeServer, clock: Clock = SYSTEM) -> RqQueue:
    return RqQueue(FakeServer(fake, clock))


def real_url() -> str:
    """A database of one test alone."""
    if not _server:
        _server.append(started("valkey", "--databases", str(DATABASES)))
    return f"redis://127.0.0.1:{_server[0].port}/{next(_numbers) % DATABASES}"


def raw_client(url: str) -> redis.Redis:
    """The client of a foreign program that has the server's address."""
    return redis.Redis.from_url(url, protocol=2)


def url_for(folder: Path) -> str:
    """A database that belongs to a folder: the same one on every call, from another process too."""
    file = folder / "rq.url"
    if not file.exists():
        file.write_text(real_url())
    return file.read_text()
