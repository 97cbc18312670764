"""The datastore contract on PostgreSQL, and how documents are stored there."""

from __future__ import annotations

import pytest

from tests.backends.postgres.servers import NAMES, recycled, shared
from tests.contracts.test_datastore_machine import explore
from tests.marks import wide
from zerog.backends.postgres.datastore import PostgresDatastore
from zerog.contracts.datastore import Datastore
from zerog.testing.contracts.datastore import DatastoreContract


@pytest.mark.wide
@pytest.mark.parametrize("name", NAMES)
class TestPostgres(DatastoreContract):
    @pytest.fixture
    def url(self, name):
        return recycled(name)

    @pytest.fixture
    def datastore(self, url):
        datastore = PostgresDatastore(url)
        yield datastore
        datastore.close()

    @pytest.fixture
    def another(self, url):
        another = PostgresDatastore(url)
        yield another
        another.close()

    def corrupt(self, datastore: Datastore, key: str) -> None:
        assert isinstance(datastore, PostgresDatastore)
        statement = "UPDATE {schema}.zerog_documents SET body = left(body, 5) || '{' WHERE key = %(key)s"
        datastore.server.write(statement, {"key": key}, "a test")


@pytest.mark.parametrize("examples", [3, *wide(20)])
def test_model(examples: int) -> None:
    """Random sequences of calls, each answer compared with a model's."""
    explore(lambda: PostgresDatastore(recycled()), examples)


@pytest.mark.parametrize("name", wide("16", "18"))
def test_the_server_is_of_the_version_that_its_name_states(name: str) -> None:
    with shared(name).connect() as connection:
        version = connection.execute("SHOW server_version").fetchone()
    assert version is not None and version[0].split(".")[0] == name
