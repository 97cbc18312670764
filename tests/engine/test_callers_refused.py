"""Connections that can't take jobs along: refused in words, before anything is written, whatever is wrong with them."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import mongomock
import pytest
import sqlalchemy
from django.db import transaction
from django.db.transaction import TransactionManagementError
from sqlalchemy.exc import PendingRollbackError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import zerog
from tests.backends.postgres.servers import url_for as postgres_url_for
from tests.backends.redis.servers import url_for
from tests.backends.rq.queues import url_for as rq_url_for
from tests.engine.callers import Ping, Store, django_connection, engine_of, sqlite_store
from zerog.backends.mongo.datastore import MongoDatastore
from zerog.exceptions import DatastoreUnavailable

CANT: dict[str, tuple[str, Callable[[Path], zerog.App]]] = {
    "memory": ("MemoryDatastore and MemoryQueue", lambda _folder: zerog.App("memory://")),
    "redis": ("RedisDatastore and RedisQueue", lambda folder: zerog.App(url_for(folder))),
    "rq": ("RedisDatastore and RqQueue", lambda folder: zerog.App(f"rq+{rq_url_for(folder)}")),
    "two files": (
        "SqliteDatastore and SqliteQueue",
        lambda folder: zerog.App(datastore=f"sqlite:///{folder}/a.db", queue=f"sqlite:///{folder}/b.db"),
    ),
    "mixed": (
        "SqliteDatastore and PostgresQueue",
        lambda folder: zerog.App(datastore=f"sqlite:///{folder}/a.db", queue=postgres_url_for(folder)),
    ),
    "mongo": (
        "MongoDatastore and MemoryQueue",
        lambda _folder: zerog.App(datastore=MongoDatastore(client=mongomock.MongoClient()), queue="memory://"),
    ),
}


@pytest.mark.parametrize("name", CANT)
def test_apps_that_can_not(name: str, tmp_path: Path) -> None:
    words, open_app = CANT[name]
    with open_app(tmp_path) as app, closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        app.register(Ping)
        for submit in (app.submit, app.submit_many):
            with pytest.raises(zerog.ConfigurationError, match=rf"this app has {words}, .* a sqlite3\.Connection"):
                submit(*(("ping",) if submit == app.submit else ("ping", [{}])), connection=connection)
        assert list(app.jobs()) == []


class Base(DeclarativeBase):
    """The tables of the application."""


class Order(Base):
    """A row of its business table."""

    __tablename__ = "orders"
    number: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with sqlite_store(tmp_path) as store:
        yield store


def refusal(store: Store, connection: Any, kind: type[Exception] = zerog.ConfigurationError) -> str:
    """The error of a submit; nothing is stored."""
    with pytest.raises(kind) as caught:
        store.app.submit(Ping, connection=connection)
    assert list(store.app.jobs()) == []
    return str(caught.value)


def test_no_connection_of_sqlite3(store: Store) -> None:
    with engine_of(store) as engine:
        assert "is a sqlalchemy.engine.base.Engine; expected a connection of sqlite3" in refusal(store, engine)
    assert "is a builtins.str" in refusal(store, store.path)


def test_another_file(store: Store, tmp_path: Path) -> None:
    """A copy, one with the app's file attached, one in memory, and the file by a name that has another log."""
    copy, link = tmp_path / "copy.db", tmp_path / "link.db"
    store.execute(f"VACUUM INTO '{copy}'")
    os.link(store.path, link)
    for path in (copy, link):
        with closing(sqlite3.connect(path)) as connection:
            if path == copy:
                connection.execute("ATTACH ? AS jobs", (store.path,))
            assert f"leads to {path}; expected {store.path}" in refusal(store, connection)
            assert not connection.in_transaction
    with closing(sqlite3.connect(":memory:")) as connection:
        assert "leads to a database in memory" in refusal(store, connection)


def test_a_symbolic_link_to_the_file(store: Store, tmp_path: Path) -> None:
    """SQLite follows it: the log is the same."""
    link = tmp_path / "elsewhere.db"
    link.symlink_to(store.path)
    with closing(sqlite3.connect(link)) as connection, connection:
        job = store.app.submit(Ping, connection=connection)
    assert store.app.progress(job.uuid)["status"] == "queued"


def test_a_file_that_was_replaced(store: Store, tmp_path: Path) -> None:
    """The app has the earlier one open."""
    os.rename(store.path, tmp_path / "away.db")
    with closing(sqlite3.connect(store.path)) as connection:
        with pytest.raises(DatastoreUnavailable, match="it was replaced"):
            store.app.submit(Ping, connection=connection)


def test_autocommit(store: Store) -> None:
    """The job would be committed alone."""
    words = "has no transaction open and commits each statement"
    with closing(sqlite3.connect(store.path, isolation_level=None)) as connection:
        assert words in refusal(store, connection)
    if hasattr(sqlite3, "LEGACY_TRANSACTION_CONTROL"):  # Python 3.12
        with closing(sqlite3.connect(store.path, autocommit=True)) as connection:
            assert words in refusal(store, connection)
        with closing(sqlite3.connect(store.path, autocommit=False)) as connection:
            uuid = store.app.submit(Ping, connection=connection).uuid
            connection.commit()
            store.app.cancel(uuid)
            store.app.discard(uuid)
    with engine_of(store) as engine, engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        assert words in refusal(store, connection)
    with django_connection(store) as connection:
        assert words in refusal(store, connection)


def test_a_closed_one_and_one_of_another_thread(store: Store) -> None:
    connection = sqlite3.connect(store.path)
    errors = []
    thread = threading.Thread(target=lambda: errors.append(refusal(store, connection)))
    thread.start()
    thread.join()
    connection.close()
    assert "can only be used in that same thread" in errors[0]
    assert "closed database" in refusal(store, connection)
    with engine_of(store) as engine:
        with engine.connect() as closed:
            pass
        assert "closed" in refusal(store, closed, sqlalchemy.exc.ResourceClosedError)


def test_transactions_that_failed(store: Store) -> None:
    """SQLAlchemy and Django refuse more statements in them."""
    with engine_of(store) as engine, Session(engine) as session:
        session.add_all([Order(number=1), Order(number=1)])
        with pytest.raises(sqlalchemy.exc.IntegrityError):
            session.flush()
        assert "rolled back" in refusal(store, session, PendingRollbackError)
    with django_connection(store) as connection, transaction.atomic():
        transaction.set_rollback(True)
        assert "until the end of the 'atomic' block" in refusal(store, connection, TransactionManagementError)


def test_a_read_only_one(store: Store) -> None:
    with closing(sqlite3.connect(f"file:{store.path}?mode=ro", uri=True)) as connection:
        assert "is read-only" in refusal(store, connection, zerog.DatastoreError)


def test_a_transaction_that_began_by_reading(store: Store) -> None:
    """It can't write once another one has; the error names the remedy, which works."""
    with closing(sqlite3.connect(store.path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT * FROM orders").fetchall()
        store.execute("INSERT INTO orders VALUES (1)")
        assert "begin with BEGIN IMMEDIATE" in refusal(store, connection, DatastoreUnavailable)
        connection.execute("ROLLBACK")
        connection.execute("BEGIN IMMEDIATE")
        store.app.submit(Ping, connection=connection)
        connection.execute("COMMIT")
    assert store.app.queue.size() == 1


def test_a_file_that_is_locked(store: Store) -> None:
    """The connection's own time-out counts; the error names the holder."""
    with closing(sqlite3.connect(store.path)) as holder, closing(sqlite3.connect(store.path, timeout=0.01)) as other:
        holder.execute("BEGIN IMMEDIATE")
        assert "locked by another thread of this process" in refusal(store, other, DatastoreUnavailable)
        holder.rollback()
        store.app.submit(Ping, connection=other)
        other.commit()
    assert store.app.queue.size() == 1
