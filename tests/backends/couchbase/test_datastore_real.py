"""The datastore contract on a real Couchbase Server, if there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

import pytest

from tests.backends.couchbase.servers import REAL_VARIABLE
from tests.backends.couchbase.test_datastore import CouchbaseRules
from zerog.backends.couchbase.datastore import CouchbaseDatastore
from zerog.backends.couchbase.index import SHARDS
from zerog.backends.couchbase.server import sdk
from zerog.records.operations import Document

if REAL_VARIABLE not in os.environ:
    pytest.skip(f"{REAL_VARIABLE} names no real Couchbase Server", allow_module_level=True)


class Recorded(CouchbaseDatastore):
    """Knows which documents it has made, so that they can be removed from a shared server."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.made: set[str] = set()

    def set_with_cas(self, key: str, value: Document, cas: int) -> tuple[Literal[True], int]:
        self.made.add(key)
        return super().set_with_cas(key, value, cas)

    def clear(self) -> None:
        """Remove what was made, and the index."""
        for key in [*self.made, *(f"zerog_open_{number}" for number in range(SHARDS))]:
            with suppress(sdk.DocumentNotFoundException):
                self.server.collection.remove(key)
        self.close()


class TestReal(CouchbaseRules):
    """On a real server."""

    @pytest.fixture
    def datastore(self) -> Iterator[CouchbaseDatastore]:
        datastore = Recorded(os.environ[REAL_VARIABLE])
        datastore.setup()
        yield datastore
        datastore.clear()

    @pytest.fixture
    def another(self) -> Iterator[CouchbaseDatastore]:
        another = Recorded(os.environ[REAL_VARIABLE])
        yield another
        another.clear()
