"""The datastore contract on Redis: one in this process, and real servers."""

from __future__ import annotations

import fakeredis
import pytest

from tests.datastores.test_machine import explore
from tests.redisservers import BINARIES, FakeServer, shared
from zerog.datastores.base import Datastore
from zerog.datastores.redis import RedisDatastore
from zerog.redisserver import RedisServer
from zerog.testing.datastore_contract import DatastoreContract


class RedisRules(DatastoreContract):
    """The contract, and how to break a document."""

    @pytest.fixture
    def datastore(self, server: RedisServer):
        datastore = RedisDatastore(server)
        yield datastore
        datastore.close()

    def corrupt(self, datastore: Datastore, key: str) -> None:
        assert isinstance(datastore, RedisDatastore)
        server = datastore.server
        name = f"{server.prefix}d:{key}"
        body = server.ask(key, "HGET", name, "body")
        server.ask(key, "HSET", name, "body", body[:5])


class TestFake(RedisRules):
    @pytest.fixture
    def fake(self) -> fakeredis.FakeServer:
        return fakeredis.FakeServer()

    @pytest.fixture
    def server(self, fake):
        return FakeServer(fake)

    @pytest.fixture
    def another(self, fake):
        return RedisDatastore(FakeServer(fake))


@pytest.mark.parametrize("name", BINARIES)
class TestReal(RedisRules):
    @pytest.fixture
    def url(self, name):
        return shared(name).url()

    @pytest.fixture
    def server(self, url):
        return RedisServer(url)

    @pytest.fixture
    def another(self, url):
        another = RedisDatastore(url)
        yield another
        another.close()


def test_a_deletion_under_a_token() -> None:
    """It removes that state of the document and no other."""
    datastore = RedisDatastore(shared("valkey").url())
    token = datastore.create("key", {"status": "failed", "events": [1]})
    with pytest.raises(datastore.casException):
        datastore.delete("key", token + 1)
    assert datastore.read_with_cas("key") == ({"status": "failed", "events": [1]}, token)
    assert datastore.delete("key", token) is True
    assert datastore.delete("key", token) is False
    assert datastore.server.ask("a test", "KEYS", f"{datastore.server.prefix}*") == []


@pytest.mark.parametrize("name", BINARIES)
def test_model(name: str) -> None:
    """Random sequences of calls, each answer compared with a model's."""
    explore(lambda: RedisDatastore(shared(name).url()), 60)
