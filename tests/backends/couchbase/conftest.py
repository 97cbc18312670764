"""Stand-ins and datastores for the tests of Couchbase."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.backends.couchbase.builders import TIMEOUT
from tests.backends.couchbase.servers import RunningStandIn, started
from zerog.backends.couchbase.datastore import CouchbaseDatastore


@pytest.fixture
def own() -> Iterator[RunningStandIn]:
    """A stand-in that may be broken."""
    server = started("--largest", "6000000")
    yield server
    server.kill()


@pytest.fixture
def datastore(own: RunningStandIn) -> Iterator[CouchbaseDatastore]:
    """A datastore there that doesn't wait for long."""
    datastore = CouchbaseDatastore(own.url(timeout=TIMEOUT))
    yield datastore
    datastore.close()
