"""The datastore contract on Couchbase: on the stand-in, with and without a query service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.backends.couchbase.servers import fresh_url
from tests.contracts.test_datastore_machine import explore
from zerog.backends.couchbase.datastore import CouchbaseDatastore
from zerog.contracts.datastore import Datastore
from zerog.testing.contracts.datastore import DatastoreContract


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


@pytest.mark.wide
class TestWithQueries(CouchbaseRules):
    @pytest.fixture
    def url(self) -> str:
        return fresh_url()

    def corrupt(self, datastore: Datastore, key: str) -> None:
        """Left out for ``find`` by SQL++, which reads JSON only."""
        pytest.skip("the query service knows no documents that are no JSON")


@pytest.mark.wide
class TestWithoutQueries(CouchbaseRules):
    @pytest.fixture
    def url(self) -> str:
        return fresh_url(query=False)


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
