"""Jobs submitted in a transaction of the application: they come to exist with its own rows, or vanish with them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import pytest
from marshmallow import ValidationError

import zerog
from tests.engine.callers import (
    POSTGRES,
    SQLITE,
    Caller,
    Ping,
    Store,
    of_psycopg,
    of_sqlite3,
    postgres_store,
    sqlite_store,
)
from zerog.backends.sqlite.engine import SqliteEngine
from zerog.engine.transitions import WorkerIdentity
from zerog.support import failpoints

ALICE = WorkerIdentity("alice", 30.0)
WAYS = [
    *(pytest.param(sqlite_store, way, id=f"sqlite-{way.__name__}") for way in SQLITE),
    *(pytest.param(postgres_store, way, id=f"postgres-{way.__name__}") for way in POSTGRES),
]


class Stop(Exception):
    """Ends a transaction."""


@pytest.fixture
def make_store(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def store(make_store: Callable[[Path], AbstractContextManager[Store]], tmp_path: Path) -> Iterator[Store]:
    with make_store(tmp_path) as store:
        yield store
    failpoints.disarm()


on_each = pytest.mark.parametrize(("make_store", "way"), WAYS, indirect=["make_store"])
Way = Callable[[Store], AbstractContextManager[Caller]]


def claimed(app: zerog.App) -> set[str]:
    return {claim.uuid for claim in app.engine.claim(20, ALICE, app.registry.load_head)}


def insert(caller: Caller, store: Store, number: int) -> None:
    caller.execute(f"INSERT INTO {store.table} VALUES ({number})")


@on_each
@pytest.mark.parametrize("is_first", [True, False], ids=["job first", "order first"])
def test_job_and_order_are_committed_together(store: Store, way: Way, is_first: bool) -> None:
    """Neither is there before."""
    with way(store) as caller:
        if not is_first:
            insert(caller, store, 1)
        job = store.app.submit(Ping, connection=caller.connection)
        uuids = store.app.submit_many(Ping, [{}, {}], connection=caller.connection)
        if is_first:
            insert(caller, store, 1)
        assert (job.status, job.cas) != ("new", None)
        assert store.orders() == []
        assert store.app.queue.size() == 0
        with pytest.raises(zerog.JobNotFound):
            job.reload()
    assert store.orders() == [1]
    assert claimed(store.app) == {job.uuid, *uuids}
    job.reload()
    assert job.status == "running"


@on_each
def test_job_and_order_vanish_together(store: Store, way: Way) -> None:
    with suppress(Stop), way(store) as caller:
        insert(caller, store, 1)
        job = store.app.submit(Ping, connection=caller.connection)
        store.app.submit_many(Ping, [{}, {}], connection=caller.connection)
        raise Stop
    assert store.orders() == []
    assert (store.app.queue.size(), list(store.app.jobs()), claimed(store.app)) == (0, [], set())
    with pytest.raises(zerog.JobNotFound, match=f"there is no job {job.uuid}"):
        job.reload()


@on_each
def test_a_savepoint_takes_its_job_along(store: Store, way: Way) -> None:
    with way(store) as caller:
        insert(caller, store, 1)
        outer = store.app.submit(Ping, connection=caller.connection)
        with suppress(Stop), caller.nested():
            insert(caller, store, 2)
            store.app.submit(Ping, connection=caller.connection)
            raise Stop
        with caller.nested():
            insert(caller, store, 3)
            inner = store.app.submit(Ping, connection=caller.connection)
    assert store.orders() == [1, 3]
    assert claimed(store.app) == {outer.uuid, inner.uuid}


@on_each
def test_a_refused_job_leaves_the_transaction_as_it_was(store: Store, way: Way) -> None:
    """A uuid of another job, or of one in the transaction; and of many jobs none is left if one batch fails."""

    class Pong(Ping):
        JOB_TYPE = "pong"

    store.app.register(Pong)
    there = store.app.submit(Ping).uuid
    with way(store) as caller:
        insert(caller, store, 1)
        kept = store.app.submit(Ping, connection=caller.connection).uuid
        for uuid in (there, kept):
            with pytest.raises(zerog.CasMismatch, match=uuid):
                store.app.submit(Pong, uuid=uuid, connection=caller.connection)
        with pytest.raises(ValidationError):
            store.app.submit(Ping, {"colour": "red"}, connection=caller.connection)
        failpoints.arm("submit.create", "raise", skip=1)
        with pytest.raises(failpoints.InjectedFailure):
            store.app.submit_many(Ping, [{}] * 600, connection=caller.connection)
        insert(caller, store, 2)
    assert store.orders() == [1, 2]
    assert claimed(store.app) == {there, kept}


@pytest.mark.parametrize("make_store", [sqlite_store, postgres_store], indirect=True)
def test_a_delay_counts_from_the_submit_and_a_job_submits_with_its_own_connection(store: Store) -> None:
    """What ``self.submit`` of a job takes, too; an empty list of jobs is no error."""
    way = of_sqlite3 if isinstance(store.app.engine, SqliteEngine) else of_psycopg
    parent = store.app.submit(Ping, delay=3600)
    with way(store) as caller:
        child: Any = parent.submit(Ping, connection=caller.connection, delay=3600, priority=3, queue="mails")
        assert parent.submit_many(Ping, [], connection=caller.connection) == []
    child.reload()
    assert (child.status, child.parent, child.priority, child.queueName) == ("scheduled", parent.uuid, 3, "mails")
    assert store.app.engine.queue_named("mails").size() == 1
    assert claimed(store.app) == set()


@pytest.mark.parametrize("make_store", [sqlite_store, postgres_store], indirect=True)
def test_the_log_line_names_what_the_job_waits_for(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "zerog")
    way = of_sqlite3 if isinstance(store.app.engine, SqliteEngine) else of_psycopg
    with way(store) as caller:
        job = store.app.submit(Ping, connection=caller.connection)
        lines = [record.getMessage() for record in caplog.records if getattr(record, "uuid", None) == job.uuid]
    assert lines == [f"{job.logId} ping {job.uuid} submitted to queue default; waits for the caller's commit"]
