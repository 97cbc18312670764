"""An exception at any call of a driver, or at any point of an adapter or its driver: nothing stays held.

As for SQLite and Redis in ``tests.backends.sqlite.test_interrupts`` and ``tests.support.test_interrupts``, here for the
adapters that talk to a server through a driver with connections of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import couchbase
import couchbase.collection
import couchbase.exceptions
import pymongo
import pymongo.collection
import pymongo.errors
import pytest

from tests.backends.couchbase.servers import fresh_url
from tests.backends.mongo.servers import forget, shared
from tests.engine import crash_scenario
from tests.marks import wide
from tests.support.interrupts import TRACED, Interrupted, interrupt_everywhere
from zerog.backends.couchbase.datastore import CouchbaseDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.backends.mongo.datastore import MongoDatastore
from zerog.contracts.datastore import Datastore
from zerog.engine.engine import Engine
from zerog.exceptions import DatastoreError
from zerog.records.operations import Add, Append
from zerog.testing.clock import ManualClock

KEY = "zerog_job_a"

# An exception in a destructor reaches no caller.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Driver(NamedTuple):
    """A driver's collection, its calls, and what it raises when an answer is lost."""

    folder: Path
    collection: type
    calls: tuple[str, ...]
    lost: Callable[[], Exception]


DRIVERS = {
    "mongodb": Driver(
        Path(pymongo.__file__).parent,
        pymongo.collection.Collection,
        ("find", "find_one", "find_one_and_update", "insert_one", "replace_one", "delete_one"),
        lambda: pymongo.errors.AutoReconnect("connection reset by peer"),
    ),
    "couchbase": Driver(
        Path(couchbase.__file__).parent,
        couchbase.collection.Collection,
        ("get", "get_multi", "lookup_in", "mutate_in", "insert", "replace", "remove"),
        couchbase.exceptions.AmbiguousTimeoutException,
    ),
}


def in_another_thread(action: Callable[[], object]) -> None:
    """Run it; fail if it raises, or waits for what was left held."""
    ended: list[bool] = []
    thread = threading.Thread(target=lambda: ended.append(action() is not NotImplemented), daemon=True)
    thread.start()
    thread.join(60)
    assert ended, "it raised, or waits for something that is held"


@pytest.fixture(params=DRIVERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def opened(kind: str) -> Iterator[Datastore]:
    """An empty datastore, with one connection to MongoDB, for which each call waits that finds it taken."""
    if kind == "mongodb":
        mongo = MongoDatastore(shared().url(maxPoolSize=1, waitQueueTimeoutMS=3_000, socketTimeoutMS=60_000))
        mongo.setup()
        yield mongo
        forget(mongo)
        return
    datastore = CouchbaseDatastore(fresh_url())
    datastore.setup()
    yield datastore
    datastore.close()


@pytest.fixture
def datastore(kind: str) -> Iterator[Datastore]:
    with opened(kind) as datastore:
        yield datastore


class Faulty:
    """Raises at one call of a driver, counted from 0, before or after it is made."""

    def __init__(self, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
        self._passed = self._at = -1
        self._is_after = False
        self._error: Callable[[], BaseException] = Interrupted
        self.has_raised = False
        for name in driver.calls:
            monkeypatch.setattr(driver.collection, name, self._wrapped(getattr(driver.collection, name)))

    def arm(self, at: int, is_after: bool, error: Callable[[], BaseException]) -> None:
        self._passed, self._at, self._is_after, self._error, self.has_raised = -1, at, is_after, error, False

    def disarm(self) -> None:
        self._at = -1

    def _wrapped(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self._passed += 1
            if self._passed != self._at:
                return call(*args, **kwargs)
            if self._is_after:
                with suppress(Exception):
                    call(*args, **kwargs)
            self.has_raised = True
            raise self._error()

        return wrapped


@pytest.mark.parametrize("step", [pytest.param(7, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("what", ["interrupted", "lost"])
@pytest.mark.timeout(1_800)
def test_an_exception_at_any_call_of_the_driver(
    kind: str, what: str, is_after: bool, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Submit, claim, write, settle, rescue, cancel, retry: another thread ends each accepted job, exactly once."""
    faulty = Faulty(DRIVERS[kind], monkeypatch)
    error = Interrupted if what == "interrupted" else DRIVERS[kind].lost
    for at in count(0, step):
        with opened(kind) as datastore:
            faulty.arm(at, is_after, error)
            check_recovery(datastore, tmp_path / f"{at}", faulty)
        if not faulty.has_raised:
            break
    assert at > 40, f"the scenario makes {at} calls"


def check_recovery(datastore: Datastore, accepted: Path, faulty: Faulty) -> None:
    clock = ManualClock()
    engine = Engine(datastore, MemoryQueue(clock=clock), clock)
    with suppress(Interrupted, DatastoreError, KeyError):  # KeyError: a claim that it needed was left to other workers
        crash_scenario.Lives(engine, accepted).play()
    faulty.disarm()
    clock.advance(31)
    in_another_thread(lambda: crash_scenario.recover(engine, clock))
    lines = accepted.read_text().split() if accepted.exists() else []
    crash_scenario.check(engine, [line for line in lines if f"-{line}" not in lines and line[0] != "-"])


@pytest.mark.parametrize("step", [29, *wide(5)])
@pytest.mark.parametrize(
    "is_inside", [pytest.param(False, id="adapter"), pytest.param(True, id="driver", marks=pytest.mark.wide)]
)
@pytest.mark.timeout(600)
def test_an_exception_at_any_point(kind: str, datastore: Datastore, is_inside: bool, step: int) -> None:
    """An exception out of a signal's handler: no lock, session or connection stays taken, and no write is doubled."""
    traced = (str(DRIVERS[kind].folder),) if is_inside else TRACED
    datastore.create(KEY, {"n": 0, "events": []})
    sent = 0

    def use() -> None:
        nonlocal sent
        sent += 1
        datastore.mutate(KEY, [Add("n", 1), Append("events", {"n": sent}, 3)])
        document, token = datastore.read_with_cas(KEY)
        assert document is not None and token is not None
        datastore.set_with_cas(KEY, document, token)

    interrupted = interrupt_everywhere(use, lambda: in_another_thread(use), step=step, traced=traced)
    document = datastore.read(KEY)
    assert document is not None
    assert interrupted > 5
    assert interrupted < document["n"] <= sent
