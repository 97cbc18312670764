"""An exception out of a signal's handler, at any point: no lock stays held, no answer is given to the wrong call."""

from __future__ import annotations

import threading
from itertools import count

import pytest

from tests.backends.postgres.servers import shared as postgres
from tests.backends.redis.servers import shared
from tests.processes import until
from tests.support.interrupts import interrupt_everywhere
from tests.worker.builders import Started
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.backends.postgres.datastore import PostgresDatastore
from zerog.backends.redis.server import RedisServer
from zerog.engine.run import Run
from zerog.records.job import new_uuid
from zerog.records.operations import Add, Append

KEY = "zerog_job_a"

# An exception in a destructor reaches no caller.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def in_another_thread(action) -> None:
    """Run it; fail if it waits for a lock that was left."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()


def test_memory() -> None:
    datastore, queue = MemoryDatastore(), MemoryQueue()
    datastore.create(KEY, {"n": 0})

    def use() -> None:
        datastore.mutate(KEY, [Add("n", 1)])
        datastore.read(KEY)
        queue.put(new_uuid())
        reservation = queue.reserve()
        assert reservation is not None
        reservation.delete()

    assert interrupt_everywhere(use, lambda: in_another_thread(use), step=3) > 20


def test_the_writes_of_a_run() -> None:
    """Another thread can end the run's writing, and the number that it gets is the next one."""
    runs: list[Run] = []

    def write() -> None:
        started = Started(lambda job: 200)
        runs.append(started.run)
        started.run.write([Append("events", {"n": 1})])
        started.run.close()

    def check() -> None:
        if not runs:
            return
        run = runs.pop()
        closed: list[int | None] = []
        in_another_thread(lambda: closed.append(run.close(timeout=1)))
        document = run.datastore.read(run.key)
        assert document is not None
        assert closed == [document["seq"] + 1] or run.is_revoked

    assert interrupt_everywhere(write, check, step=37) > 10


def test_redis_answers_belong_to_their_calls() -> None:
    server = RedisServer(shared("valkey").url())
    numbers = count()

    def wait() -> None:
        server.ask("a wait", b"BLPOP", b"interrupts", b"0.05")

    def ask() -> None:
        number = str(next(numbers)).encode()
        assert server.ask("a test", b"ECHO", number) == number

    assert interrupt_everywhere(wait, ask) > 5
    server.close()


def test_postgres_connections_are_left_usable() -> None:
    """A write that is interrupted anywhere happens as a whole or not, and leaves neither locks nor its thread stuck."""
    datastore = PostgresDatastore(postgres().url())
    datastore.create("key", {"a": 0, "b": 0, "events": []})
    table = {"table": f"{datastore.server.schema}.zerog_documents"}
    held = "SELECT count(*) FROM pg_locks WHERE relation = %(table)s::regclass"

    def write() -> None:
        datastore.mutate("key", [Add("a", 1), Add("b", 1), Append("events", "e")])

    def check() -> None:
        document = datastore.read("key")
        assert document is not None and document["a"] == document["b"] == len(document["events"])
        until(lambda: datastore.server.read(held, table, "a test") == [(0,)], 10, "no lock is held")

    assert interrupt_everywhere(write, check, step=23) > 5
    datastore.close()
