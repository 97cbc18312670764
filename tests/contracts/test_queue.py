"""The contract, over the queues that need no server."""

from __future__ import annotations

import itertools
import sqlite3
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.contracts.bad_entries import Writers, bad_entries
from zerog.backends.memory.queue import MemoryQueue
from zerog.backends.sqlite.queue import SqliteQueue
from zerog.contracts.queue import Queue, as_queue
from zerog.exceptions import ConfigurationError, QueueUnavailable
from zerog.records.job import new_uuid
from zerog.testing.chaos import ChaosQueue
from zerog.testing.contracts.queue import QueueContract
from zerog.testing.contracts.queue.machine import queue_machine


class TestMemory(QueueContract):
    @pytest.fixture
    def queue(self, clock) -> Queue:
        return MemoryQueue(clock=clock)

    def put_raw(self, queue: Queue, body: Any) -> None:
        assert isinstance(queue, MemoryQueue)
        queue.put_raw(body)

    def bad_entries(self, queue: Queue) -> Writers:
        return bad_entries(queue)


class TestSqlite(QueueContract):
    @pytest.fixture
    def queue(self, tmp_path, clock):
        queue = SqliteQueue(tmp_path / "jobs.db", synchronous="normal", clock=clock)
        yield queue
        queue.close()

    @pytest.fixture
    def another(self, tmp_path, queue, clock):
        another = SqliteQueue(tmp_path / "jobs.db", synchronous="normal", clock=clock)
        yield another
        another.close()

    def put_raw(self, queue: Queue, body: Any) -> None:
        assert isinstance(queue, SqliteQueue)
        put_raw(queue, body)

    def bad_entries(self, queue: Queue) -> Writers:
        return bad_entries(queue)


def put_raw(queue: SqliteQueue, body: Any, expression: str = "?") -> None:
    """What a foreign program with access to the file could do."""
    with sqlite3.connect(queue.file.path) as sqlite:
        sqlite.execute(f"INSERT INTO zerog_queue (queue, uuid) VALUES ('default', {expression})", (body,))
    sqlite.close()


@pytest.mark.wide
class TestWrapped(QueueContract):
    """A user's own object, whose ``put`` and ``reserve`` have the usual names."""

    has_names = False
    can_wake = False
    can_put_ahead = False
    knows_lowest = False
    knows_what_it_holds = False

    @pytest.fixture
    def queue(self, clock) -> Queue:
        inner = MemoryQueue(clock=clock)

        class Foreign:
            put, reserve, size = inner.put, inner.reserve, inner.size

        return as_queue(Foreign())


class TestCalmChaos(QueueContract):
    """A ``ChaosQueue`` whose faults are switched off is a queue like any other."""

    knows_lowest = False

    @pytest.fixture
    def queue(self, clock) -> Queue:
        return ChaosQueue(MemoryQueue(clock=clock), seed=1, lose=0, repeat=0, delay=0, reorder=0, doubt=0)

    def put_raw(self, queue: Queue, body: Any) -> None:
        queue.queue.put_raw(body)


def explore(new_queue, lossy: bool = False, examples: int = 80) -> None:
    run_state_machine_as_test(
        queue_machine(new_queue, lossy), settings=settings(max_examples=examples, stateful_step_count=30, deadline=None)
    )


def test_model_memory() -> None:
    explore(lambda clock: MemoryQueue(clock=clock))


def test_model_sqlite(tmp_path) -> None:
    numbers = itertools.count()
    explore(lambda clock: SqliteQueue(tmp_path / f"{next(numbers)}.db", synchronous="normal", clock=clock))


def test_model_chaos() -> None:
    explore(lambda clock: ChaosQueue(MemoryQueue(clock=clock), seed=7), lossy=True)


def test_the_least_queue_is_enough_to_put() -> None:
    class Least:
        def __init__(self) -> None:
            self.uuids: list[str] = []

        def put(self, uuid: str) -> int:
            self.uuids.append(uuid)
            return len(self.uuids)

    least = Least()
    queue = as_queue(least)
    uuid = new_uuid()
    assert queue.put(uuid) == 1
    assert least.uuids == [uuid]
    assert queue.name == "default"
    with pytest.raises(ConfigurationError, match="other"):
        queue.queue_named("other")


def test_failures_of_a_foreign_queue_have_a_name() -> None:
    class Down:
        def put(self, uuid: str) -> int:
            raise ConnectionError("down")

    with pytest.raises(QueueUnavailable, match="down"):
        as_queue(Down()).put(new_uuid())


def test_a_queue_is_itself() -> None:
    queue = MemoryQueue()
    assert as_queue(queue) is queue


def test_what_is_no_queue() -> None:
    with pytest.raises(TypeError, match="put"):
        as_queue(object())
