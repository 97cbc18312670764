"""The datastore contract on MongoDB, or a server with its protocol."""

from __future__ import annotations

import bson
import mongomock
import pytest

from tests.backends.mongo.servers import NAMES, forget, url_of
from tests.contracts.test_datastore_machine import explore
from tests.marks import wide
from zerog.backends.mongo.datastore import MongoDatastore
from zerog.contracts.datastore import Datastore
from zerog.testing.contracts.datastore import DatastoreContract


@pytest.mark.wide
@pytest.mark.parametrize("name", NAMES)
class TestMongo(DatastoreContract):
    @pytest.fixture
    def url(self, name):
        return url_of(name)

    @pytest.fixture
    def datastore(self, url):
        datastore = MongoDatastore(url)
        yield datastore
        forget(datastore)

    @pytest.fixture
    def another(self, datastore, url):
        another = MongoDatastore(url)
        yield another
        another.close()

    def corrupt(self, datastore: Datastore, key: str) -> None:
        assert isinstance(datastore, MongoDatastore)
        datastore.server.collection.update_one({"_id": key}, {"$set": {"a": bson.ObjectId()}})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("examples", [*wide(8), pytest.param(60, marks=pytest.mark.slow)])
def test_model(name: str, examples: int) -> None:
    """Random sequences of calls, each answer compared with a model's."""
    opened: list[MongoDatastore] = []
    url = url_of(name)

    def empty() -> MongoDatastore:
        if opened:
            opened[-1].server.collection.delete_many({})
        opened.append(MongoDatastore(url))
        return opened[-1]

    try:
        explore(empty, examples)
    finally:
        forget(opened[-1])


class TestMongomock(DatastoreContract):
    """The same on a stand-in within this process, which has no pipelines."""

    @pytest.fixture
    def client(self):
        return mongomock.MongoClient()

    @pytest.fixture
    def datastore(self, client):
        return MongoDatastore(client=client)

    @pytest.fixture
    def another(self, client):
        return MongoDatastore(client=client)

    def corrupt(self, datastore: Datastore, key: str) -> None:
        assert isinstance(datastore, MongoDatastore)
        datastore.server.collection.update_one({"_id": key}, {"$set": {"a": bson.ObjectId()}})


def test_model_mongomock() -> None:
    explore(lambda: MongoDatastore(client=mongomock.MongoClient()), 30)
