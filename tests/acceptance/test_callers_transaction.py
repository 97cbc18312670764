"""Jobs in transactions of an application while a worker runs: many at once, long ones, and ones that die."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.engine.callers import (
    Caller,
    Ping,
    Store,
    of_psycopg,
    of_sqlite3,
    postgres_store,
    sqlite_store,
)
from tests.marks import wide
from tests.processes import program, until

WORKER = """
import logging, sys
import zerog
from tests.engine.callers import Ping
from zerog.backends.sqlite.connection import Connection
from zerog.backends.sqlite import connection
from zerog.exceptions import DatastoreUnavailable

logging.basicConfig(filename=sys.argv[2], level=logging.WARNING, format="%(levelname)s %(message)s")
insist = Connection.insist

def watched(self, statement):
    try:
        insist(self, statement)
    except DatastoreUnavailable:
        print("gave up", flush=True)
        raise

Connection.insist = watched
connection.WARN_SECONDS, connection.BUSY_SECONDS = 0.2, 0.5
app = zerog.App(sys.argv[1])
app.register(Ping)
zerog.Worker(app).run()
"""
"""A worker that soon logs that the file is locked, and soon gives a write up, of which it prints a line."""

Way = Callable[[Store], AbstractContextManager[Caller]]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "worker.log"


def url_of(store: Store) -> str:
    if store.path.startswith("/"):
        return f"sqlite:///{store.path}"
    return f"{store.path}?schema={store.table.partition('.')[0]}"


@contextmanager
def worker(store: Store, log: Path) -> Iterator[subprocess.Popen[str]]:
    """A worker that has begun to wait for jobs."""
    with program(WORKER, url_of(store), log) as process:
        uuid = store.app.submit(Ping).uuid
        until(lambda: store.app.progress(uuid)["status"] == "succeeded")
        store.app.discard(uuid)
        yield process


@pytest.mark.parametrize("many", [300, *wide(2_000, 10_000)])
@pytest.mark.parametrize(
    ("make_store", "way"), [(sqlite_store, of_sqlite3), (postgres_store, of_psycopg)], ids=["sqlite", "postgres"]
)
def test_many_jobs_in_one_transaction(
    make_store: Callable[[Path], AbstractContextManager[Store]], way: Way, many: int, tmp_path: Path, log: Path
) -> None:
    """The worker sees none of them before the commit, and runs each once after it."""
    with make_store(tmp_path) as store, worker(store, log):
        with way(store) as caller:
            caller.execute(f"INSERT INTO {store.table} VALUES (1)")
            uuids = store.app.submit_many(Ping, [{}] * many, connection=caller.connection)
            assert [*store.app.jobs()] == []
        until(lambda: store.app.progress(uuids[-1])["status"] == "succeeded", 60)
        until(lambda: not [*store.app.jobs(status="queued")] and not [*store.app.jobs(status="running")], 60)
        jobs = [*store.app.jobs(status="succeeded")]
        assert {job["uuid"] for job in jobs} == {*uuids}
        assert {job["attempts"] for job in jobs} == {1}
        assert store.orders() == [1]


def test_a_long_transaction_is_an_outage_to_workers(tmp_path: Path, log: Path) -> None:
    """On SQLite they can't write meanwhile: they wait, log that once, and continue after the commit."""
    with sqlite_store(tmp_path) as store, worker(store, log) as process:
        assert process.stdout is not None
        delayed = store.app.submit(Ping, delay=0.5).uuid
        with of_sqlite3(store) as caller:
            caller.execute("INSERT INTO orders VALUES (1)")
            before = log.read_text()
            submitted = store.app.submit(Ping, connection=caller.connection).uuid
            for _ in range(6):
                process.stdout.readline()
            during = log.read_text()
        until(lambda: store.app.progress(submitted)["status"] == "succeeded")
        until(lambda: store.app.progress(delayed)["status"] == "succeeded")
    assert "the worker can't claim" in during
    lines = during.removeprefix(before).splitlines()
    assert {line.split()[0] for line in lines} <= {"WARNING"}
    # Once in each of the two threads that write: the one that claims and the one that sweeps.
    assert max(Counter(re.sub("for . s", "for some time", line) for line in lines).values(), default=1) <= 2
