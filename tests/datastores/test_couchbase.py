"""The datastore contract on Couchbase: on the stand-in, with and without a query service, and on a real server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

import pytest

from tests.couchbaseservers import REAL_VARIABLE, fresh_url
from tests.datastores.test_machine import explore
from zerog.couchbaseserver import sdk
from zerog.datastores.base import Datastore
from zerog.datastores.couchbase import CouchbaseDatastore
from zerog.datastores.couchbaseindex import SHARDS
from zerog.datastores.operations import Document
from zerog.testing.datastore_contract import DatastoreContract


class CouchbaseRules(DatastoreContract):
    """The contract, and how to break a document."""

    @pytest.fixture
    def datastore(self, url: str) -> Iterator[CouchbaseDatastore]:
        datastore = CouchbaseDatastore(url)
        datastore.setup()
        yield datastore
        datastore.close()

    @pytest.fixture
    def another(self, url: str) -> Iterator[CouchbaseDatastore]:
        another = CouchbaseDatastore(url)
        yield another
        another.close()

    def corrupt(self, datastore: Datastore, key: str) -> None:
        assert isinstance(datastore, CouchbaseDatastore)
        collection = datastore.server.collection
        collection.upsert(key, collection.get(key).value[:9])


class TestWithQueries(CouchbaseRules):
    @pytest.fixture
    def url(self) -> str:
        return fresh_url()

    def corrupt(self, datastore: Datastore, key: str) -> None:
        """Left out for ``find`` by SQL++, which is asked for JSON only."""
        pytest.skip("the query service knows no documents that are no JSON")


class TestWithoutQueries(CouchbaseRules):
    @pytest.fixture
    def url(self) -> str:
        return fresh_url(query=False)


class Recorded(CouchbaseDatastore):
    """Knows which documents it has made, so that they can be removed from a server that others use, too."""

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


@pytest.mark.skipif(REAL_VARIABLE not in os.environ, reason=f"{REAL_VARIABLE} names no real Couchbase Server")
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


def test_model() -> None:
    """Random sequences of calls, each answer compared with a model's."""

    def new_datastore() -> CouchbaseDatastore:
        datastore = CouchbaseDatastore(fresh_url())
        datastore.setup()
        return datastore

    explore(new_datastore, 20)


@pytest.mark.slow
def test_model_at_length() -> None:
    """The same for longer, where only unfinished jobs can be listed."""
    explore(lambda: CouchbaseDatastore(fresh_url(query=False)), 100)
