"""The queue contract on PostgreSQL."""

from __future__ import annotations

import pytest

from tests.backends.postgres.servers import NAMES, recycled
from tests.contracts.test_queue import explore
from zerog.backends.postgres.queue import PostgresQueue
from zerog.exceptions import ZerogError
from zerog.testing.contracts.queue import QueueContract


@pytest.mark.wide
@pytest.mark.parametrize("name", NAMES)
class TestPostgres(QueueContract):
    """Bodies that are no uuid can't be put: the type of the column refuses them."""

    @pytest.fixture
    def url(self, name):
        return recycled(name)

    @pytest.fixture
    def queue(self, url, clock):
        queue = PostgresQueue(url, clock=clock)
        yield queue
        queue.close()

    @pytest.fixture
    def another(self, url, clock):
        another = PostgresQueue(url, clock=clock)
        yield another
        another.close()


@pytest.mark.wide
def test_model() -> None:
    """Random sequences of calls, each answer compared with a model's."""
    explore(lambda clock: PostgresQueue(recycled(), clock=clock), examples=10)


BAD = {
    "no uuid": "(queue, uuid) VALUES ('default', 'x')",
    "no queue": "(queue, uuid) VALUES ('', gen_random_uuid())",
    "nothing": "(queue) VALUES ('default')",
    "no number": "(queue, uuid, due) VALUES ('default', gen_random_uuid(), 'NaN')",
    "endless": "(queue, uuid, due) VALUES ('default', gen_random_uuid(), 'Infinity')",
    "before": "(queue, uuid, due) VALUES ('default', gen_random_uuid(), -1)",
    "no time": "(queue, uuid, ttr) VALUES ('default', gen_random_uuid(), 0)",
    "no end": "(queue, uuid, ttr) VALUES ('default', gen_random_uuid(), 'NaN')",
    "priority": "(queue, uuid, priority) VALUES ('default', gen_random_uuid(), 2147483648)",
}


@pytest.mark.parametrize("values", BAD.values(), ids=BAD)
def test_the_table_refuses_bad_entries(values: str) -> None:
    """What a foreign program can't insert needs no check at each claim."""
    queue = PostgresQueue(recycled())
    with pytest.raises(ZerogError, match="nothing was"):
        queue.server.write(f"INSERT INTO {{schema}}.zerog_queue {values}", {}, "a test")
    assert queue.size() == 0
    queue.server.write(
        "INSERT INTO {schema}.zerog_queue (queue, uuid) VALUES ('default', upper(gen_random_uuid()::text)::uuid)",
        {},
        "a test",
    )
    reservation = queue.reserve()
    assert reservation is not None and reservation.uuid == reservation.uuid.lower()
    queue.close()
