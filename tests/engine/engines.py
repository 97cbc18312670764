"""The engines that every suite here covers. An adapter joins by one entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.backends.beanstalkd.servers import clocked_queue
from tests.backends.beanstalkd.servers import url_for as beanstalkd_url_for
from tests.backends.couchbase.servers import url_for as couchbase_url_for
from tests.backends.mongo.servers import url_for as mongo_url_for
from tests.backends.postgres.servers import url_for as postgres_url_for
from tests.backends.redis.engines import LookingEngine
from tests.backends.redis.servers import url_for
from tests.backends.rq.queues import url_for as rq_url_for
from zerog.backends.couchbase.datastore import CouchbaseDatastore
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.backends.mongo.datastore import MongoDatastore
from zerog.backends.postgres.datastore import PostgresDatastore
from zerog.backends.postgres.engine import PostgresEngine
from zerog.backends.postgres.queue import PostgresQueue
from zerog.backends.redis.datastore import RedisDatastore
from zerog.backends.redis.engine import RedisEngine
from zerog.backends.redis.queue import RedisQueue
from zerog.backends.rq.queue import RqQueue
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.backends.sqlite.engine import SqliteEngine
from zerog.backends.sqlite.queue import SqliteQueue
from zerog.engine.engine import Engine
from zerog.support.failpoints import POINTS
from zerog.testing.clock import ManualClock


@dataclass(frozen=True)
class Kind:
    """How to open an engine, and what is special about it."""

    open: Callable[[Path, ManualClock], Engine]
    """Opens the engine whose parts are in a folder (or are named after it); a second call finds them again."""
    merged: frozenset[str] = frozenset()
    """Crash points between two steps that this engine does in one."""
    outlives: bool = True
    """True if the documents outlive the process."""
    takes_long: bool = False
    """True if its server is so slow that long tests of it are left to ``-m slow``."""
    is_wide: bool = False
    """True if the default run leaves it out, like those that take long."""

    @property
    def marks(self) -> list[pytest.MarkDecorator]:
        """The marks of a test of it."""
        return [pytest.mark.wide] if self.takes_long or self.is_wide else []

    @property
    def points(self) -> list[str]:
        """The crash points it passes."""
        return [point for point in POINTS if point not in self.merged]


def _memory(_folder: Path, clock: ManualClock) -> Engine:
    return Engine(MemoryDatastore(), MemoryQueue(clock=clock), clock)


def _sqlite(folder: Path, clock: ManualClock) -> Engine:
    datastore = SqliteDatastore(folder / "jobs.db", synchronous="normal")
    return SqliteEngine(datastore, SqliteQueue(folder / "jobs.db", clock=clock, file=datastore.file), clock)


def _two_files(folder: Path, clock: ManualClock) -> Engine:
    datastore = SqliteDatastore(folder / "documents.db", synchronous="normal")
    return Engine(datastore, SqliteQueue(folder / "queue.db", synchronous="normal", clock=clock), clock)


def _redis(folder: Path, clock: ManualClock) -> Engine:
    datastore = RedisDatastore(url_for(folder), clock)
    return RedisEngine(datastore, RedisQueue(datastore.server), clock)


def _looking(folder: Path, clock: ManualClock) -> Engine:
    datastore = RedisDatastore(url_for(folder), clock)
    return LookingEngine(datastore, RedisQueue(datastore.server), clock)


def _rq(folder: Path, clock: ManualClock) -> Engine:
    url = rq_url_for(folder)
    return Engine(RedisDatastore(url, clock), RqQueue(url, clock=clock), clock)


def _beanstalkd(folder: Path, clock: ManualClock) -> Engine:
    datastore = SqliteDatastore(folder / "documents.db", synchronous="normal")
    return Engine(datastore, clocked_queue(beanstalkd_url_for(folder), clock), clock)


def _couchbase_rq(folder: Path, clock: ManualClock) -> Engine:
    datastore = CouchbaseDatastore(couchbase_url_for(folder))
    datastore.setup()
    return Engine(datastore, RqQueue(rq_url_for(folder), clock=clock), clock)


def _mongodb_rq(folder: Path, clock: ManualClock) -> Engine:
    datastore = MongoDatastore(mongo_url_for(folder))
    datastore.setup()
    return Engine(datastore, RqQueue(rq_url_for(folder), clock=clock), clock)


def _postgres(folder: Path, clock: ManualClock) -> Engine:
    datastore = PostgresDatastore(postgres_url_for(folder), clock)
    return PostgresEngine(datastore, PostgresQueue(datastore.server), clock)


UNPARKED = frozenset(["limit.wake", "limit.woken", "limit.put", "limit.mark", "limit.marked"])
"""Not passed where parked jobs can't be found, so that none is parked."""

PUT_BACK = frozenset(point for point in POINTS if point.startswith("aside."))
"""Not passed where other programs serve the queues, too: refused entries are put back there."""

MERGED = (
    "claim.ack",
    "settle.put",
    "settle.mark",
    "settle.marked",
    "reconcile.mark",
    "limit.put",
    "limit.mark",
    "limit.marked",
    *(PUT_BACK - {"aside.list", "aside.listed"}),
)

KINDS = {
    "memory": Kind(_memory, outlives=False),
    "sqlite": Kind(_sqlite, frozenset(["claim.reserved", "cancel.end", "cancel.ended", *MERGED])),
    "two-files": Kind(_two_files),
    "rq": Kind(_rq, PUT_BACK, is_wide=True),
    "beanstalkd": Kind(_beanstalkd, is_wide=True),
    "couchbase-rq": Kind(_couchbase_rq, PUT_BACK | UNPARKED, takes_long=True),
    "mongodb-rq": Kind(_mongodb_rq, PUT_BACK, takes_long=True),
    "redis": Kind(_redis, frozenset(MERGED)),
    "postgres": Kind(_postgres, frozenset(MERGED), is_wide=True),
    "redis-looking": Kind(_looking, PUT_BACK.union(MERGED), is_wide=True),
}


EACH_KIND = [pytest.param(kind, marks=made.marks) for kind, made in KINDS.items()]
"""Parameters of a fixture that is an engine of each kind; with ``-m wide`` also those that the default leaves out."""


def long_test(kind: str, *values: object) -> Any:
    """The parameters of a test that takes seconds, and longer where calls take long."""
    mark = pytest.mark.slow if KINDS[kind].takes_long else pytest.mark.wide
    return pytest.param(kind, *values, marks=[] if kind == "memory" else [mark])
