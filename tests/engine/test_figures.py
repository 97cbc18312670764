"""Figures that are promised, each printed by the test that measures it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zerog
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.contracts.datastore import Datastore, FindQuery
from zerog.engine.engine import Engine
from zerog.engine.run import Run
from zerog.engine.transitions import Settlement, WorkerIdentity
from zerog.exceptions import AmbiguousWrite
from zerog.records.job import make_key, new_document
from zerog.records.operations import Add
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock

LOST = 10_000
"""The number of lost answers."""

WAITING = 10_000
"""Jobs that wait when their queue loses everything."""


class LosesAnswers(Datastore):
    """Every other write loses its answer: in turn before it was applied and after."""

    can_find = True

    def __init__(self, store: Datastore) -> None:
        self.store = store
        self.lost = 0
        self._turn = itertools.cycle(["before", "answer", "after", "answer"])

    def read_with_cas(self, key: str, head: bool = False) -> Any:
        return self.store.read_with_cas(key, head)

    def find(self, query: FindQuery) -> Any:
        return self.store.find(query)

    def create(self, key: str, value: Any) -> Any:
        return self._lose(self.store.create, key, value)

    def set_with_cas(self, key: str, value: Any, cas: int) -> Any:
        return self._lose(self.store.set_with_cas, key, value, cas)

    def mutate(self, *args: Any, **kwargs: Any) -> Any:
        return self._lose(self.store.mutate, *args, **kwargs)

    def close(self) -> None:
        self.store.close()

    def _lose(self, write: Any, *args: Any, **kwargs: Any) -> Any:
        turn = next(self._turn)
        if turn == "before":
            self.lost += 1
            raise AmbiguousWrite("the answer was lost, and so was the question")
        answer = write(*args, **kwargs)
        if turn == "after":
            self.lost += 1
            raise AmbiguousWrite("the answer was lost")
        return answer


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LosesAnswers]:
    kept = MemoryDatastore() if request.param == "memory" else SqliteDatastore(tmp_path / "jobs.db", "normal")
    losing = LosesAnswers(kept)
    yield losing
    losing.close()


@pytest.mark.wide
def test_no_write_without_an_answer_is_applied_twice_or_never(store: LosesAnswers) -> None:
    """Creations, claims, writes of runs and settlements: each is there once, whatever happened to the answers."""
    clock = ManualClock()
    engine = Engine(store, MemoryQueue(clock=clock), clock)
    worker = WorkerIdentity("alice", 30.0)
    jobs = 0
    while store.lost < LOST:
        jobs += 1
        document = new_document("test", 1.0, to_text(clock.now()))
        engine.submit([document])
        [claim] = engine.claim(1, worker, lambda head: head["jobType"])
        assert claim.uuid == document["uuid"]
        run = Run(store, claim.key, claim.run, clock=clock, patience=60)
        for _ in range(2):
            run.write([Add("worked", 1)])
        seq = run.close()
        assert seq == 3
        settlement = Settlement(claim, "finish", seq, 200, operations=[Add("finishes", 1)])
        while isinstance(answer := engine.settle([settlement])[0], AmbiguousWrite):
            clock.advance(1)
        assert answer is True
        stored = store.store.read(make_key(claim.uuid))
        assert stored is not None
        assert (stored["worked"], stored["finishes"], stored["epoch"], stored["attempts"]) == (2, 1, 1, 1)
        assert stored["status"] == "succeeded"
    print(f"{type(store.store).__name__}: {store.lost} answers lost in {jobs} jobs; applied twice 0, lost 0")


class Quick(zerog.BaseJob):
    JOB_TYPE = "quick"

    def run(self) -> Any:
        return 200


@pytest.mark.slow
def test_a_queue_that_forgot_everything_is_filled_and_worked_off(tmp_path: Path) -> None:
    """All jobs that waited run, within a minute, with a default worker."""
    app = zerog.App(f"sqlite:///{tmp_path}/jobs.db")
    app.register(Quick)
    app.submit_many("quick", [{}] * WAITING)
    with app.datastore.file.writing() as connection:
        connection.execute("DELETE FROM zerog_queue")
    worker = zerog.Worker(app)
    thread = threading.Thread(target=worker.run)
    started = time.monotonic()
    thread.start()
    filled = None
    while (
        left := len(app.datastore.find(FindQuery(status="queued", limit=WAITING)).heads)
    ) and time.monotonic() < started + 90:
        if filled is None and (app.queue.size() or left < WAITING):
            filled = time.monotonic() - started
        time.sleep(0.2)
    seconds = time.monotonic() - started
    worker.stop()
    thread.join(60)
    left = len(app.datastore.find(FindQuery(status="queued", limit=WAITING)).heads)
    again = app.engine.counters["put.again"]
    app.close()
    print(f"{WAITING} jobs: first put again after {filled} s, all done after {seconds:.1f} s; {again} puts")
    assert left == 0
    assert seconds < 60
    assert again == WAITING
