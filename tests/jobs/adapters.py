"""Apps on each adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mongomock
import pytest

import zerog
from tests.backends.couchbase import servers as couchbase_servers
from tests.backends.mongo import servers as mongo_servers
from tests.backends.postgres import servers as postgres_servers
from tests.backends.redis import servers as redis_servers
from tests.backends.rq import queues as rq
from tests.marks import wide
from zerog.backends.mongo.datastore import MongoDatastore


def _memory(folder: Path) -> zerog.App:
    return zerog.App("memory://")


def _sqlite(folder: Path) -> zerog.App:
    return zerog.App(f"sqlite:///{folder}/jobs.db")


def _two_files(folder: Path) -> zerog.App:
    return zerog.App(datastore=f"sqlite:///{folder}/jobs.db", queue=f"sqlite:///{folder}/queue.db")


def _redis(folder: Path) -> zerog.App:
    return zerog.App(redis_servers.url_for(folder))


def _postgres(folder: Path) -> zerog.App:
    return zerog.App(postgres_servers.recycled())


def _rq(folder: Path) -> zerog.App:
    return zerog.App(datastore=f"sqlite:///{folder}/jobs.db", queue=f"rq+{rq.url_for(folder)}")


def _mongomock(folder: Path) -> zerog.App:
    return zerog.App(datastore=MongoDatastore(client=mongomock.MongoClient()), queue="memory://")


def _mongodb(folder: Path) -> zerog.App:
    return zerog.App(datastore=mongo_servers.url_for(folder), queue="memory://")


def _couchbase(folder: Path) -> zerog.App:
    return zerog.App(datastore=couchbase_servers.url_for(folder), queue="memory://")


ADAPTERS: list[Any] = [_memory, _sqlite, _redis, _mongomock, *wide(_postgres, _two_files, _rq, _mongodb, _couchbase)]
"""Functions that make an app of a folder: on those that are quick, and on the others with ``-m wide``."""


@pytest.fixture(params=ADAPTERS, ids=lambda make: make.__name__[1:])
def adapter_app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[zerog.App]:
    """An app on each adapter, set up and without jobs."""
    make: Callable[[Path], zerog.App] = request.param
    with make(tmp_path) as made:
        made.setup()
        yield made
