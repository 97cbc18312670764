"""Servers and datastores for the tests of MongoDB."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.mongo.proxy import Proxy
from tests.mongoservers import RunningServer, forget, shared, started
from zerog.datastores.mongo import MongoDatastore


@pytest.fixture
def datastore() -> Iterator[MongoDatastore]:
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
