"""The engine contract over every engine, and over parts that make it hard."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakeredis
import pytest

from tests.backends.beanstalkd.servers import clocked_queue
from tests.backends.beanstalkd.servers import fresh_url as beanstalkd_url
from tests.backends.couchbase.servers import fresh_url
from tests.backends.redis.engines import LookingEngine
from tests.backends.redis.servers import FakeServer, shared
from tests.backends.rq.queues import real_url
from zerog.backends.couchbase.datastore import CouchbaseDatastore
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.backends.redis.commands import hash_name
from zerog.backends.redis.datastore import RedisDatastore
from zerog.backends.redis.engine import RedisEngine
from zerog.backends.redis.queue import RedisQueue
from zerog.backends.rq.queue import RqQueue
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.backends.sqlite.engine import SqliteEngine
from zerog.backends.sqlite.queue import SqliteQueue
from zerog.backends.sqlite.rows import HOT
from zerog.engine.engine import Engine
from zerog.records.fields import HISTORY
from zerog.testing.chaos import ChaosQueue
from zerog.testing.clock import ManualClock
from zerog.testing.contracts.engine import EngineContract

RAW = (
    "cas",
    "body",
    "size",
    "lists",
    "kind",
    *map(hash_name, ("status", "epoch", "seq", "owner", "attempts", "updatedAt")),
)
"""Fields of the hash in which Redis keeps a document."""


class SqliteDamage(EngineContract):
    """Damages single cells."""

    damages = tuple(
        (column, value)
        for column in ("cas", "body", "changes", "lists", *HOT)
        for value in (b"\xff", b"{", b"[1]", 7, 2**63 - 1, -1, 0.5, "x", "{", b"[" * 100_000)
    )

    def damage(self, engine: Engine, key: str, how: Any) -> None:
        column, value = how
        assert isinstance(engine.datastore, SqliteDatastore)
        with engine.datastore.file.writing() as sqlite:
            sqlite.execute(f"UPDATE zerog_documents SET {column} = ? WHERE key = ?", (value, key))
            if value == b"\xff":  # text that is no UTF-8
                sqlite.execute(f"UPDATE zerog_documents SET {column} = CAST({column} AS TEXT) WHERE key = ?", (key,))
            sqlite.execute(
                "UPDATE OR REPLACE zerog_history SET n = ?, entry = ? "
                "WHERE document = (SELECT id FROM zerog_documents WHERE key = ?)",
                (value if column == "cas" else 1, value, key),
            )


class TestMemory(EngineContract):
    damages = ("", "{", "[1]", "7", "\x00", "[" * 100_000)

    def damage(self, engine: Engine, key: str, how: Any) -> None:
        assert isinstance(engine.datastore, MemoryDatastore)
        engine.datastore._records[key].head = how

    @pytest.fixture
    def engine(self, clock: ManualClock) -> Engine:
        return Engine(MemoryDatastore(), MemoryQueue(clock=clock), clock)


class TestSqliteShared(SqliteDamage):
    sampling = 40

    @pytest.fixture
    def engine(self, clock: ManualClock, tmp_path: Path) -> Iterator[Engine]:
        datastore = SqliteDatastore(tmp_path / "jobs.db", synchronous="normal")
        engine = SqliteEngine(datastore, SqliteQueue(tmp_path / "jobs.db", clock=clock, file=datastore.file), clock)
        yield engine
        engine.close()


@pytest.mark.wide
class TestSqliteWithEveryDamage(TestSqliteShared):
    sampling = 1


@pytest.mark.wide
class TestSqliteInTwoFiles(SqliteDamage):
    @pytest.fixture
    def engine(self, clock: ManualClock, tmp_path: Path) -> Iterator[Engine]:
        datastore = SqliteDatastore(tmp_path / "documents.db", synchronous="normal")
        queue = SqliteQueue(tmp_path / "queue.db", synchronous="normal", clock=clock)
        engine = Engine(datastore, queue, clock)
        yield engine
        engine.close()


class TwoVerbs(MemoryDatastore):
    """A third party's datastore with nothing but the two verbs, and a listing so that it can be reconciled."""

    create = MemoryDatastore.__mro__[1].create
    update_with_cas = MemoryDatastore.__mro__[1].update_with_cas
    set = MemoryDatastore.__mro__[1].set
    mutate = MemoryDatastore.__mro__[1].mutate


@pytest.mark.wide
class TestTwoVerbs(EngineContract):
    sampling = 10

    @pytest.fixture
    def engine(self, clock: ManualClock) -> Engine:
        return Engine(TwoVerbs(), MemoryQueue(clock=clock), clock)


@pytest.mark.wide
class TestChaos(EngineContract):
    """Over a queue that loses, repeats, delays and reorders; the suite leaves out what needs a good queue."""

    sampling = 10
    lossless = False

    @pytest.fixture
    def engine(self, clock: ManualClock, request: pytest.FixtureRequest) -> Engine:
        seed = zlib.crc32(request.node.name.encode())
        return Engine(MemoryDatastore(), ChaosQueue(MemoryQueue(clock=clock), seed), clock)


class RedisRules(EngineContract):
    """Both parts on one real server."""

    server = "valkey"
    kind = RedisEngine
    damages = (
        "a list",
        "no hash",
        *((name, text) for name in RAW for text in ("", "{", b"\xff", "[1]", "-1", "x" * 20)),
    )

    def damage(self, engine: Engine, key: str, how: Any) -> None:
        assert isinstance(engine.datastore, RedisDatastore)
        server = engine.datastore.server
        name = f"{server.prefix}d:{key}"
        if how == "no hash":
            server.ask("damaging", "SET", name, "7")
        elif how == "a list":
            for field in HISTORY:
                server.ask("damaging", "SET", f"{server.prefix}{field}:{key}", "7")
        else:
            server.ask("damaging", "HSET", name, *how)

    @pytest.fixture
    def engine(self, clock: ManualClock) -> Iterator[Engine]:
        datastore = RedisDatastore(shared(self.server).url(), clock)
        engine = self.kind(datastore, RedisQueue(datastore.server), clock)
        yield engine
        engine.close()


class TestRedis(RedisRules):
    sampling = 10


@pytest.mark.wide
class TestRedisLooking(RedisRules):
    """The same with a look at each job before it is claimed."""

    kind = LookingEngine


@pytest.mark.wide
class TestOlderRedis(RedisRules):
    """The same on the Redis that this machine has installed."""

    sampling = 10
    server = "redis"


@pytest.mark.wide
class TestOldestRedis(RedisRules):
    """The same on Redis 6.2."""

    sampling = 10
    server = "oldest redis"


@pytest.mark.wide
class TestRedisApart(EngineContract):
    """The generic engine over the same adapters."""

    sampling = 10

    @pytest.fixture
    def engine(self, clock: ManualClock) -> Iterator[Engine]:
        url = shared("valkey").url()
        engine = Engine(RedisDatastore(url, clock), RedisQueue(url, clock=clock), clock)
        yield engine
        engine.close()


@pytest.mark.wide
class TestRedisHere(EngineContract):
    """On a Redis in this process."""

    sampling = 10

    @pytest.fixture
    def engine(self, clock: ManualClock) -> Engine:
        datastore = RedisDatastore(FakeServer(fakeredis.FakeServer(), clock))
        return RedisEngine(datastore, RedisQueue(datastore.server), clock)


@pytest.mark.wide
class TestRq(EngineContract):
    """Documents and RQ queues on one real server."""

    sampling = 10
    has_shares = False

    @pytest.fixture
    def engine(self, clock: ManualClock) -> Iterator[Engine]:
        url = real_url()
        engine = Engine(RedisDatastore(url, clock), RqQueue(url, clock=clock), clock)
        yield engine
        engine.close()


@pytest.mark.wide
class TestBeanstalkd(EngineContract):
    """Documents here, tubes on a real server."""

    sampling = 10
    has_shares = False

    @pytest.fixture
    def engine(self, clock: ManualClock) -> Iterator[Engine]:
        engine = Engine(MemoryDatastore(), clocked_queue(beanstalkd_url(), clock), clock)
        yield engine
        engine.close()


@pytest.mark.wide
class TestCouchbase(EngineContract):
    """Documents on a cluster without a query service, a queue elsewhere."""

    sampling = 10

    @pytest.fixture
    def engine(self, clock: ManualClock) -> Iterator[Engine]:
        engine = Engine(CouchbaseDatastore(fresh_url(query=False)), MemoryQueue(clock=clock), clock)
        yield engine
        engine.close()
