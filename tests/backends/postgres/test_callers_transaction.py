"""Transactions of an application on a PostgreSQL server: connections that are refused, and when workers wake."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

import zerog
from tests.backends.postgres.pooler import pooled_url
from tests.backends.postgres.servers import LOGIN, RunningServer, new_schema, shared, started
from tests.engine.callers import Ping, Store, django_connection, engine_of, of_psycopg, postgres_store
from tests.processes import until
from zerog.exceptions import DatastoreUnavailable


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    shared()
    with postgres_store(tmp_path) as store:
        yield store


@pytest.fixture
def own() -> Iterator[RunningServer]:
    """A server that may be broken."""
    server = started("debian")
    yield server
    server.kill()


def refusal(store: Store, connection: Any, kind: type[Exception] = zerog.ConfigurationError) -> str:
    """The error of a submit, of one line without the password; nothing is stored."""
    with pytest.raises(kind) as caught:
        store.app.submit(Ping, connection=connection)
    assert list(store.app.jobs()) == []
    text = str(caught.value)
    assert "\n" not in text and LOGIN not in text
    return text


def test_no_connection_of_psycopg(store: Store) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        assert "is a sqlite3.Connection; expected a connection of psycopg 3 to postgresql://" in refusal(
            store, connection
        )
    with engine_of(store) as engine:
        assert "is a sqlalchemy.engine.base.Engine" in refusal(store, engine)


def test_asynchronous_ones(store: Store) -> None:
    """Of psycopg and of SQLAlchemy, whose synchronous face is refused, too."""

    async def main() -> None:
        async with await psycopg.AsyncConnection.connect(store.path) as connection:
            assert "an asynchronous psycopg.AsyncConnection;" in refusal(store, connection)
        engine = create_async_engine(store.path.replace("postgresql:", "postgresql+psycopg:"))
        async with AsyncSession(engine) as session:
            assert "an asynchronous sqlalchemy.ext.asyncio.session.AsyncSession" in refusal(store, session)
            words = await session.run_sync(lambda synchronous: refusal(store, synchronous))
            assert "an asynchronous psycopg.AsyncConnection;" in words
        await engine.dispose()

    asyncio.run(main())


def test_autocommit(store: Store) -> None:
    """The job would be committed alone."""
    words = "has no transaction open and commits each statement"
    with psycopg.connect(store.path, autocommit=True) as connection:
        assert words in refusal(store, connection)
    with engine_of(store) as engine, engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        assert words in refusal(store, connection)
    with django_connection(store) as connection:
        assert words in refusal(store, connection)


def test_another_database_and_another_server(store: Store, own: RunningServer) -> None:
    """Even if they have tables of the same schema."""
    with shared().connect() as connection:
        connection.execute("CREATE DATABASE elsewhere")
    for server, database, words in (
        (shared(), "elsewhere", "leads to the database elsewhere; expected postgresql://"),
        (own, "postgres", "leads to another server; expected postgresql://"),
    ):
        schema = store.table.partition(".")[0]
        with zerog.App(server.url(schema, database=database)) as app:
            app.setup()
        with server.connect(database) as connection, connection.transaction():
            assert words in refusal(store, connection)
            assert connection.execute(f"SELECT count(*) FROM {schema}.zerog_queue".encode()).fetchone() == (0,)


def test_a_server_that_was_restarted_is_the_same(own: RunningServer) -> None:
    with zerog.App(own.url()) as app:
        app.register(Ping)
        for number in range(2):
            with own.connect() as connection, connection.transaction():
                app.submit(Ping, connection=connection)
            assert app.queue.size() == number + 1
            own.kill()
            own.start()


def test_tables_that_are_gone(store: Store) -> None:
    schema = store.table.partition(".")[0]
    store.app.queue.size()
    store.execute(f"DROP SCHEMA {schema} CASCADE")
    with psycopg.connect(store.path) as connection:
        with pytest.raises(zerog.ConfigurationError, match=f"schema {schema} has no tables of ZeroG .zerog setup"):
            store.app.submit(Ping, connection=connection)


def test_a_user_who_may_not_write(store: Store) -> None:
    """The transaction remains usable."""
    role = new_schema()
    store.execute(f"CREATE ROLE {role}")
    schema = store.table.partition(".")[0]
    with psycopg.connect(store.path) as connection:
        connection.execute(f"SET ROLE {role}".encode())
        words = "the GRANT (InsufficientPrivilege: permission denied for"
        assert f"{words} schema {schema})" in refusal(store, connection)
        store.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        assert words in refusal(store, connection)
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_transactions_that_can_not_write(store: Store) -> None:
    """One that failed, a read-only one, one whose connection is cut, a closed one."""
    with psycopg.connect(store.path) as connection:
        with suppress(psycopg.Error):
            connection.execute("SELECT 1 / 0")
        assert "is in a transaction that has failed; roll it back first" in refusal(store, connection)
        connection.rollback()
        connection.execute("SET TRANSACTION READ ONLY")
        assert "is read-only" in refusal(store, connection, DatastoreUnavailable)
        connection.rollback()
        store.execute(f"SELECT pg_terminate_backend({connection.info.backend_pid})")
        assert "its connection to postgresql://" in refusal(store, connection, DatastoreUnavailable)
        connection.close()
    with psycopg.connect(store.path) as connection:
        connection.close()
        assert "is closed" in refusal(store, connection)


def test_in_a_pipeline(store: Store) -> None:
    with psycopg.connect(store.path) as connection, connection.pipeline():
        assert "is in pipeline mode" in refusal(store, connection)


def test_behind_a_pooler(store: Store) -> None:
    """Which may give each transaction another session, so that the application's driver prepares nothing."""
    url = pooled_url(store.table.partition(".")[0]).partition("?")[0]
    with psycopg.connect(url, prepare_threshold=None) as connection:
        for _ in range(7):
            store.app.submit(Ping, connection=connection)
            connection.commit()
        store.app.submit(Ping, connection=connection)
        connection.rollback()
    assert store.app.queue.size() == 7


def test_workers_wake_once_after_the_commit(store: Store) -> None:
    """One notification for each queue of a transaction, however many jobs; none for what is rolled back."""
    schema = store.table.partition(".")[0]
    with psycopg.connect(store.path, autocommit=True) as listener:
        listener.execute(f"LISTEN zerog_{schema}".encode())
        with suppress(ZeroDivisionError), of_psycopg(store) as caller:
            store.app.submit_many(Ping, [{}] * 3, connection=caller.connection)
            raise ZeroDivisionError
        with of_psycopg(store) as caller:
            store.app.submit_many(Ping, [{}] * 600, connection=caller.connection)
            store.app.submit(Ping, queue="mails", connection=caller.connection)
            assert [*listener.notifies(timeout=0)] == []
        store.execute(f"NOTIFY zerog_{schema}, 'end'")
        payloads: list[str] = []

        def has_all() -> bool:
            payloads.extend(notify.payload for notify in listener.notifies(timeout=0.1))
            return "end" in payloads

        until(has_all)
    assert sorted(payloads) == ["default", "end", "mails"]
