"""The engine contract over every engine, and over parts that make it hard."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import fakeredis
import pytest

from tests.couchbaseservers import fresh_url
from tests.redisengines import LookingEngine
from tests.redisservers import FakeServer, shared
from tests.rq.kit import real_url
from zerog.datastores.couchbase import CouchbaseDatastore
from zerog.datastores.memory import MemoryDatastore
from zerog.datastores.redis import RedisDatastore
from zerog.datastores.sqlite import SqliteDatastore
from zerog.engines.redis import RedisEngine
from zerog.engines.sqlite import SqliteEngine
from zerog.lifecycle import Engine
from zerog.queues.memory import MemoryQueue
from zerog.queues.redis import RedisQueue
from zerog.queues.rq import RqQueue
from zerog.queues.sqlite import SqliteQueue
from zerog.testing.chaos import ChaosQueue
from zerog.testing.clock import ManualClock
from zerog.testing.engine_contract import EngineContract


class TestMemory(EngineContract):
    @pytest.fixture
    def engine(self, clock: ManualClock) -> Engine:
        return Engine(MemoryDatastore(), MemoryQueue(clock=clock), clock)


class TestSqliteShared(EngineContract):
    @pytest.fixture
    def engine(self, clock: ManualClock, tmp_path: Path) -> Iterator[Engine]:
        datastore = SqliteDatastore(tmp_path / "jobs.db", synchronous="normal")
        engine = SqliteEngine(datastore, SqliteQueue(tmp_path / "jobs.db", clock=clock, file=datastore.file), clock)
        yield engine
        engine.close()


class TestSqliteInTwoFiles(EngineContract):
    @pytest.fixture
    def engine(self, clock: ManualClock, tmp_path: Path) -> Iterator[Engine]:
        datastore = SqliteDatastore(tmp_path / "documents.db", synchronous="normal")
        queue = SqliteQueue(tmp_path / "queue.db", synchronous="normal", clock=clock)
        engine = Engine(datastore, queue, clock)
        yield engine
        engine.close()


class TwoVerbs(MemoryDatastore):
    """A third party's datastore: all it has are the two verbs, and a listing so that it can be reconciled."""

    create = MemoryDatastore.__mro__[1].create
    update_with_cas = MemoryDatastore.__mro__[1].update_with_cas
    set = MemoryDatastore.__mro__[1].set
    mutate = MemoryDatastore.__mro__[1].mutate


class TestTwoVerbs(EngineContract):
    @pytest.fixture
    def engine(self, clock: ManualClock) -> Engine:
        return Engine(TwoVerbs(), MemoryQueue(clock=clock), clock)


class TestChaos(EngineContract):
    """Over a queue that loses, repeats, delays and reorders; what needs a good queue is left out by the suite."""

    lossless = False

    @pytest.fixture
    def engine(self, clock: ManualClock, request: pytest.FixtureRequest) -> Engine:
        seed = zlib.crc32(request.node.name.encode())
        return Engine(MemoryDatastore(), ChaosQueue(MemoryQueue(clock=clock), seed), clock)


class RedisRules(EngineContract):
    """Both parts on one real server."""

    server = "valkey"
    kind = RedisEngine

    @pytest.fixture
    def engine(self, clock: ManualClock) -> Iterator[Engine]:
        datastore = RedisDatastore(shared(self.server).url(), clock)
        engine = self.kind(datastore, RedisQueue(datastore.server), clock)
        yield engine
        engine.close()


class TestRedis(RedisRules):
    pass


class TestRedisLooking(RedisRules):
    """The same with a look at each job before it is claimed."""

    kind = LookingEngine


class TestOlderRedis(RedisRules):
    """The same on the Redis that this machine has."""

    server = "redis"


class TestOldestRedis(RedisRules):
    """The same on Redis 6.2."""

    server = "oldest redis"


class TestRedisApart(EngineContract):
    """The generic engine over the same adapters."""

    @pytest.fixture
    def engine(self, clock: ManualClock) -> Iterator[Engine]:
        url = shared("valkey").url()
        engine = Engine(RedisDatastore(url, clock), RedisQueue(url, clock=clock), clock)
        yield engine
        engine.close()


class TestRedisHere(EngineContract):
    """On a Redis in this process."""

    @pytest.fixture
    def engine(self, clock: ManualClock) -> Engine:
        datastore = RedisDatastore(FakeServer(fakeredis.FakeServer(), clock))
        return RedisEngine(datastore, RedisQueue(datastore.server), clock)


class TestRq(EngineContract):
    """Documents and RQ queues on one real server."""

    has_shares = False

    @pytest.fixture
    def engine(self, clock: ManualClock) -> Iterator[Engine]:
        url = real_url()
        engine = Engine(RedisDatastore(url, clock), RqQueue(url, clock=clock), clock)
        yield engine
        engine.close()


class TestCouchbase(EngineContract):
    """Documents on a cluster without a query service, a queue elsewhere."""

    @pytest.fixture
    def engine(self, clock: ManualClock) -> Iterator[Engine]:
        engine = Engine(CouchbaseDatastore(fresh_url(query=False)), MemoryQueue(clock=clock), clock)
        yield engine
        engine.close()
