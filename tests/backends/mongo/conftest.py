"""Servers and datastores for the tests of MongoDB."""

from __future__ import annotations

from collections.abc import Iterator

import mongomock
import pytest

from tests.backends.mongo.proxy import Proxy
from tests.backends.mongo.servers import RunningServer, forget, shared, started
from zerog.backends.mongo.datastore import MongoDatastore


@pytest.fixture
def datastore(request: pytest.FixtureRequest) -> Iterator[MongoDatastore]:
    """On the stand-in server, unless a test requests mongomock by ``ON_BOTH``."""
    if getattr(request, "param", "secantus") == "mongomock":
        yield MongoDatastore(client=mongomock.MongoClient())
        return
    datastore = MongoDatastore(shared().url())
    yield datastore
    forget(datastore)


@pytest.fixture
def own() -> Iterator[RunningServer]:
    """A server that may be broken."""
    server = started()
    yield server
    server.kill()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    proxy = Proxy(shared().port)
    yield proxy
    proxy.close()
