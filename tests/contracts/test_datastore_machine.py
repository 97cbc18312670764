"""The contract as a model, over each datastore."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.contracts.test_datastore import ForeignStore, SmallDatastore
from tests.marks import wide
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.contracts.foreign import as_datastore
from zerog.testing.contracts.datastore.machine import datastore_machine

ADAPTERS = {
    "memory": lambda: MemoryDatastore(),
    "small": lambda: SmallDatastore(),
    "foreign": lambda: as_datastore(ForeignStore()),
}


def explore(new_datastore, examples: int) -> None:
    run_state_machine_as_test(
        datastore_machine(new_datastore),
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


@pytest.mark.parametrize(
    ("name", "examples"), [("memory", 40), *wide(("memory", 200), ("small", 100), ("foreign", 100))]
)
def test_model(name: str, examples: int) -> None:
    explore(ADAPTERS[name], examples)


@pytest.mark.parametrize("examples", [40, *wide(200)])
def test_model_sqlite(tmp_path, examples: int) -> None:
    numbers = itertools.count()
    explore(lambda: SqliteDatastore(tmp_path / f"{next(numbers)}.db", synchronous="normal"), examples)
