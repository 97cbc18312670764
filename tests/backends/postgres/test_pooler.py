"""Behind a pooler that gives each transaction another session: no state of a session is used, and workers poll."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

import zerog
from tests.acceptance.test_strangers import working
from tests.backends.postgres.pooler import pooled_url
from tests.backends.postgres.servers import new_schema, recycled, shared
from tests.processes import until
from zerog.backends.postgres.datastore import PostgresDatastore
from zerog.backends.postgres.engine import PostgresEngine
from zerog.backends.postgres.queue import PostgresQueue
from zerog.engine.engine import Engine
from zerog.testing.clock import ManualClock
from zerog.testing.contracts.datastore import DatastoreContract
from zerog.testing.contracts.engine import EngineContract
from zerog.testing.contracts.queue import QueueContract


class Count(zerog.BaseJob):
    JOB_TYPE = "count"

    def run(self) -> None:
        self.record_event("ran")


@pytest.fixture
def url() -> str:
    return pooled_url(recycled().rpartition("schema=")[2])


def test_jobs_run(caplog: pytest.LogCaptureFixture) -> None:
    """They are set up, submitted, run and waited for; that workers poll is logged once, and shown by doctor."""
    caplog.set_level(logging.INFO, "zerog")
    app = zerog.App(pooled_url(new_schema()))
    app.register(Count)
    assert app.setup()
    with working(app):
        uuids = [app.submit(Count).uuid for _ in range(20)]
        until(lambda: all(app.progress(uuid)["status"] == "succeeded" for uuid in uuids), 60, "the jobs have ended")
    assert [len(app.get_job(uuid).events) for uuid in uuids] == [1] * 20
    assert "pooler" in str(app.datastore.about())
    assert sum("behind a connection pooler" in record.getMessage() for record in caplog.records) == 1
    app.close()


def test_no_session_keeps_anything() -> None:
    """Neither a prepared statement nor a setting is left in the sessions of the server."""
    datastore = PostgresDatastore(pooled_url(new_schema()))
    for n in range(20):
        datastore.create(f"key{n}", {"n": n})
    for _ in range(4):
        ((prepared, timeout),) = datastore.server.read(
            "SELECT (SELECT count(*) FROM pg_prepared_statements), current_setting('statement_timeout')", {}, "a test"
        )
        assert (prepared, timeout) == (0, "0")
    datastore.close()


def test_a_server_without_pooler_is_not_taken_for_one() -> None:
    datastore = PostgresDatastore(shared().url())
    datastore.read("key")
    assert not datastore.server.is_pooled and "pooler" not in datastore.about()
    datastore.close()


@pytest.mark.wide
class TestDatastore(DatastoreContract):
    @pytest.fixture
    def datastore(self, url: str) -> Iterator[PostgresDatastore]:
        datastore = PostgresDatastore(url)
        yield datastore
        datastore.close()


@pytest.mark.wide
class TestQueue(QueueContract):
    @pytest.fixture
    def queue(self, url: str, clock: ManualClock) -> Iterator[PostgresQueue]:
        queue = PostgresQueue(url, clock=clock)
        yield queue
        queue.close()


@pytest.mark.wide
class TestEngine(EngineContract):
    @pytest.fixture
    def engine(self, url: str, clock: ManualClock) -> Iterator[Engine]:
        datastore = PostgresDatastore(url, clock)
        yield PostgresEngine(datastore, PostgresQueue(datastore.server), clock)
        datastore.close()
