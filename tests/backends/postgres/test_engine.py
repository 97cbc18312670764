"""The engine contract on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.backends.postgres.servers import NAMES, recycled
from zerog.backends.postgres.datastore import PostgresDatastore
from zerog.backends.postgres.engine import PostgresEngine
from zerog.backends.postgres.queue import PostgresQueue
from zerog.engine.engine import Engine
from zerog.engine.transitions import Settlement, Step, WorkerIdentity
from zerog.exceptions import DatastoreError
from zerog.testing.clock import ManualClock
from zerog.testing.contracts.engine import EngineContract

NUMBERS = ("cas", "epoch", "attempts")
TEXTS = ("body", "state", "lists", "status", "kind", "ready")


class Damage(EngineContract):
    """Damages single columns, as a foreign program could."""

    sampling = 10

    damages = (
        *((column, "7") for column in NUMBERS),
        *((column, value) for column in TEXTS for value in ("{", "7", '{"events":[1,1]}')),
        ("body", "[" * 100_000),
    )

    def damage(self, engine: Engine, key: str, how: Any) -> None:
        column, value = how
        assert isinstance(engine.datastore, PostgresDatastore)
        kind = "bigint" if column in NUMBERS else "text"
        statement = f"UPDATE {{schema}}.zerog_documents SET {column} = %(value)s::{kind} WHERE key = %(key)s"
        engine.datastore.server.write(statement, {"value": value, "key": key}, "a test")


class LookingEngine(PostgresEngine):
    """One that reads each job before it claims it, as it does with types that the worker doesn't list."""

    def step(
        self, settlements: Sequence[Settlement], want: int, worker: WorkerIdentity, *args: Any, **more: Any
    ) -> Step:
        return super().step(settlements, want, replace(worker, knows=()), *args, **more)


@pytest.fixture(params=NAMES)
def url(request: pytest.FixtureRequest) -> str:
    return recycled(request.param)


@pytest.mark.wide
class TestPostgres(Damage):
    @pytest.fixture
    def engine(self, url: str, clock: ManualClock) -> Iterator[Engine]:
        datastore = PostgresDatastore(url, clock)
        yield PostgresEngine(datastore, PostgresQueue(datastore.server), clock)
        datastore.close()


@pytest.mark.wide
class TestLooking(Damage):
    @pytest.fixture
    def url(self) -> str:
        return recycled()

    @pytest.fixture
    def engine(self, url: str, clock: ManualClock) -> Iterator[Engine]:
        datastore = PostgresDatastore(url, clock)
        yield LookingEngine(datastore, PostgresQueue(datastore.server), clock)
        datastore.close()


@pytest.mark.wide
class TestGeneric(EngineContract):
    """The generic engine over two handles."""

    sampling = 10

    @pytest.fixture
    def url(self) -> str:
        return recycled()

    @pytest.fixture
    def engine(self, url: str, clock: ManualClock) -> Iterator[Engine]:
        engine = Engine(PostgresDatastore(url, clock), PostgresQueue(url, clock=clock), clock)
        yield engine
        engine.close()


@pytest.mark.parametrize("column", NUMBERS)
@pytest.mark.parametrize("value", [-1, 2**63 - 1])
def test_the_table_refuses_numbers_that_a_statement_could_not_raise(column: str, value: int) -> None:
    """One such row would make the statement of every claim fail."""
    datastore = PostgresDatastore(recycled())
    datastore.create("a", {"n": 1})
    with pytest.raises(DatastoreError, match="check constraint"):
        datastore.server.write(
            f"UPDATE {{schema}}.zerog_documents SET {column} = %(value)s", {"value": value}, "a test"
        )
    assert datastore.read("a") == {"n": 1}
    datastore.close()
