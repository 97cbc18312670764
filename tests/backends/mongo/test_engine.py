"""The generic engine over documents in MongoDB, with a queue elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.backends.mongo.servers import NAMES, forget, url_of
from tests.engine.test_machine import explore
from zerog.backends.memory.queue import MemoryQueue
from zerog.backends.mongo.datastore import MongoDatastore
from zerog.engine.engine import Engine
from zerog.testing.chaos import ChaosQueue
from zerog.testing.clock import ManualClock
from zerog.testing.contracts.engine import EngineContract

pytestmark = pytest.mark.wide


@pytest.fixture
def datastore(name: str) -> Iterator[MongoDatastore]:
    datastore = MongoDatastore(url_of(name))
    datastore.setup()
    yield datastore
    forget(datastore)


@pytest.mark.parametrize("name", NAMES)
class TestWithMemory(EngineContract):
    sampling = 20

    @pytest.fixture
    def engine(self, clock: ManualClock, datastore: MongoDatastore) -> Engine:
        return Engine(datastore, MemoryQueue(clock=clock), clock)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("chaos", [False, True], ids=["orderly", "chaotic"])
@pytest.mark.parametrize("examples", [4, pytest.param(40, marks=pytest.mark.slow)])
def test_random_lives(name: str, datastore: MongoDatastore, chaos: bool, examples: int) -> None:
    """Whatever order things happen in, the promises hold and every accepted job ends."""

    def new_engine(clock: ManualClock, seed: int) -> Engine:
        datastore.server.collection.delete_many({})
        queue = MemoryQueue(clock=clock)
        return Engine(datastore, ChaosQueue(queue, seed) if chaos else queue, clock)

    explore(new_engine, examples)
