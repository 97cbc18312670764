"""An exception out of a signal's handler, at any point of a write: nothing stays locked or open."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

import zerog
from tests.processes import until
from tests.support.interrupts import interrupt_everywhere
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.backends.sqlite.file import SqliteFile
from zerog.backends.sqlite.queue import SqliteQueue
from zerog.contracts.datastore import FindQuery
from zerog.engine.transitions import Settlement, WorkerIdentity
from zerog.records.job import new_uuid
from zerog.records.operations import Add, Append

KEY = "zerog_job_a"

# An exception in a destructor reaches no caller.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


class Free:
    """Checks that nothing holds the file, neither for another process nor for a thread of this one."""

    def __init__(self, file: SqliteFile, path: Path, again: Callable[[], Any]) -> None:
        self.other = sqlite3.connect(path, timeout=0, isolation_level=None)
        self._file = file
        self._again = again

    def __call__(self) -> None:
        self.other.execute("BEGIN IMMEDIATE")
        self.other.execute("ROLLBACK")
        thread = threading.Thread(target=self._file.close, daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive(), "another thread waits for a lock that was left"
        self._again()
        self.other.execute("BEGIN IMMEDIATE")
        self.other.execute("ROLLBACK")


def test_writes_of_documents(path: Path) -> None:
    datastore = SqliteDatastore(path, "normal")
    datastore.create(KEY, {"n": 0, "events": []})
    sent = 0

    def write() -> None:
        nonlocal sent
        sent += 1
        datastore.mutate(KEY, [Add("n", 1), Append("events", {"n": sent})])

    free = Free(datastore.file, path, write)
    with closing(free.other):
        points = interrupt_everywhere(write, free)
    document = datastore.read(KEY)
    assert document is not None
    assert points > 20
    assert points + 1 <= document["n"] == len(document["events"]) <= sent
    datastore.close()


@pytest.mark.wide
@pytest.mark.timeout(600)  # each of some hundred new files is synchronised with the disk several times
def test_the_first_use_of_a_file(path: Path) -> None:
    """Opening, making it a WAL database, making the tables."""
    names = (f"{path}{n}" for n in count())
    made: list[SqliteDatastore] = []

    def make(name: str | None = None) -> None:
        made.append(SqliteDatastore(name or next(names), "normal"))

    def check() -> None:
        name = f"{path}{int(next(names)[len(str(path)) :]) - 1}"
        with closing(sqlite3.connect(name, timeout=0, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")
        make(name)
        while made:
            made.pop().close()

    assert interrupt_everywhere(make, check) > 20
    while made:
        made.pop().close()


def test_reads(path: Path) -> None:
    datastore = SqliteDatastore(path, "normal")
    datastore.create(KEY, {"status": "queued", "events": [1, 2, 3]})

    def read() -> None:
        assert datastore.read(KEY) == {"status": "queued", "events": [1, 2, 3]}
        assert len(datastore.find(FindQuery()).heads) == 1

    free = Free(datastore.file, path, read)
    with closing(free.other):
        assert interrupt_everywhere(read, free) > 20
    datastore.close()


def test_queues(path: Path) -> None:
    """What was reserved, and perhaps interrupted, is delivered again or is gone; the file is free each time."""
    queue = SqliteQueue(path, synchronous="normal")

    def use() -> None:
        queue.put(new_uuid())
        reservation = queue.reserve()
        assert reservation is not None
        reservation.release()
        reservation = queue.reserve()
        assert reservation is not None
        reservation.delete()

    free = Free(queue.file, path, use)
    with closing(free.other):
        assert interrupt_everywhere(use, free, step=3) > 50
    queue.close()


def test_a_consumer_that_was_interrupted_is_woken_all_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zerog.backends.sqlite.queue.POLL", 60.0)
    producer = SqliteQueue(path, synchronous="normal")
    queues: list[SqliteQueue] = []

    def begin_to_wait() -> None:
        queues.append(SqliteQueue(path, synchronous="normal"))
        queues[-1].wait(0)

    def check() -> None:
        if not queues:
            return
        queue = queues.pop()
        queue.wait(0)
        producer.put(new_uuid())
        began = monotonic()
        assert queue.wait(60)
        assert monotonic() - began < 30
        queue.close()

    assert interrupt_everywhere(begin_to_wait, check, step=3) > 10
    check()
    producer.close()


@pytest.mark.slow
def test_a_job_from_submit_to_its_end(path: Path) -> None:
    app = zerog.App(f"sqlite:///{path}?synchronous=normal")

    @app.job("interrupted")
    def interrupted(job: zerog.BaseJob) -> int:
        return 200

    worker = WorkerIdentity("w", 60.0)

    def live() -> None:
        app.submit(interrupted)
        for claim in app.engine.claim(10, worker, app.registry.load_head):
            app.engine.settle([Settlement(claim, "finish", 1, 200)])

    free = Free(app.datastore.file, path, live)
    with closing(free.other):
        assert interrupt_everywhere(live, free, step=7) > 50
    app.close()


def test_a_fork_does_not_wait_for_what_was_interrupted(path: Path) -> None:
    datastore = SqliteDatastore(path, "normal")
    datastore.create(KEY, {"n": 0})

    def check() -> None:
        child = os.fork()
        if not child:
            os._exit(0)
        until(lambda: os.waitpid(child, os.WNOHANG)[0], 20)
        datastore.mutate(KEY, [Add("n", 1)])

    assert interrupt_everywhere(lambda: datastore.mutate(KEY, [Add("n", 1)]), check, step=5) > 5
    datastore.close()
