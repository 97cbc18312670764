"""The queue contract on Redis: one in this process, and real servers."""

from __future__ import annotations

from typing import Any

import fakeredis
import pytest

from tests.backends.redis.servers import NAMES, FakeServer, shared
from tests.contracts.bad_entries import Writers, bad_entries
from tests.contracts.test_queue import explore
from zerog.backends.redis.queue import RedisQueue
from zerog.backends.redis.server import RedisServer
from zerog.contracts.queue import Queue
from zerog.testing.contracts.queue import QueueContract


def put_raw(queue: RedisQueue, body: Any) -> None:
    """What a foreign program that has read the keys could do."""
    base = f"{queue.server.prefix}q:{queue.name}:"
    number = queue.server.ask("a test", "INCR", f"{base}seq")
    queue.server.ask("a test", "ZADD", f"{base}ready", 0, f"n{number:015d}:0:60.0:{body}")


class RedisRules(QueueContract):
    @pytest.fixture
    def queue(self, server: RedisServer):
        queue = RedisQueue(server)
        yield queue
        queue.close()

    def put_raw(self, queue: Queue, body: Any) -> None:
        assert isinstance(queue, RedisQueue)
        put_raw(queue, body)

    def bad_entries(self, queue: Queue) -> Writers:
        return bad_entries(queue)


@pytest.mark.wide
class TestFake(RedisRules):
    @pytest.fixture
    def fake(self) -> fakeredis.FakeServer:
        return fakeredis.FakeServer()

    @pytest.fixture
    def server(self, fake, clock):
        return FakeServer(fake, clock)

    @pytest.fixture
    def another(self, fake, clock):
        return RedisQueue(FakeServer(fake, clock))


@pytest.mark.parametrize("name", NAMES)
class TestReal(RedisRules):
    @pytest.fixture
    def url(self, name):
        return shared(name).url()

    @pytest.fixture
    def server(self, url, clock):
        return RedisServer(url, clock)

    @pytest.fixture
    def another(self, url, clock):
        another = RedisQueue(url, clock=clock)
        yield another
        another.close()


@pytest.mark.parametrize("name", NAMES)
def test_model(name: str) -> None:
    explore(lambda clock: RedisQueue(shared(name).url(), clock=clock))
