"""Transactions of an application with a business table, on each kind of connection that takes jobs along."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import django.conf
import psycopg
import sqlalchemy
from django.apps import apps
from django.conf import global_settings
from django.db import transaction
from django.db.utils import ConnectionHandler
from sqlalchemy.orm import Session

import zerog
from tests.backends.postgres.servers import url_for

ORDERS = "CREATE TABLE {} (number integer PRIMARY KEY)"


class Store(NamedTuple):
    """The database of an app, with a business table."""

    app: zerog.App
    path: str
    """The SQLite file, or the URL without ZeroG's own options."""
    table: str
    execute: Callable[[str], list[Any]]
    """Execute a statement in a transaction of its own and return the rows."""

    def orders(self) -> list[int]:
        return [number for (number,) in self.execute(f"SELECT number FROM {self.table} ORDER BY number")]


class Caller(NamedTuple):
    """A transaction of the application."""

    connection: Any
    """What is passed to ``submit``."""
    execute: Callable[[str], Any]
    nested: Callable[[], AbstractContextManager[Any]]
    """Begins a savepoint, which is rolled back by an exception."""


class Ping(zerog.BaseJob):
    """A job that does nothing."""

    JOB_TYPE = "ping"

    def run(self) -> None:
        """Does nothing."""


@contextmanager
def sqlite_store(folder: Path) -> Iterator[Store]:
    path = f"{folder}/shop.db"
    with zerog.App(f"sqlite:///{path}") as app:
        app.register(Ping)

        def execute(statement: str) -> list[Any]:
            with closing(sqlite3.connect(path)) as connection, connection:
                return connection.execute(statement).fetchall()

        execute(ORDERS.format("orders"))
        yield Store(app, path, "orders", execute)


@contextmanager
def postgres_store(folder: Path) -> Iterator[Store]:
    url = url_for(folder)
    path, schema = url.partition("?")[0], url.rpartition("schema=")[2]
    with zerog.App(url) as app, psycopg.connect(path, autocommit=True) as connection:
        app.register(Ping)
        app.setup()

        def execute(statement: str) -> list[Any]:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

        execute(ORDERS.format(f"{schema}.orders"))
        yield Store(app, path, f"{schema}.orders", execute)


@contextmanager
def savepoint(execute: Callable[[str], Any]) -> Iterator[None]:
    execute("SAVEPOINT inner_one")
    try:
        yield
    except BaseException:
        execute("ROLLBACK TO SAVEPOINT inner_one")
        raise
    execute("RELEASE SAVEPOINT inner_one")


@contextmanager
def of_sqlite3(store: Store) -> Iterator[Caller]:
    """As by default: a transaction begins by the first INSERT. Rows are dicts, as an application may set."""
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.row_factory = lambda cursor, row: {column[0]: row[n] for n, column in enumerate(cursor.description)}
        yield Caller(connection, connection.execute, lambda: savepoint(connection.execute))


@contextmanager
def of_sqlite3_in_autocommit(store: Store) -> Iterator[Caller]:
    with closing(sqlite3.connect(store.path, isolation_level=None)) as connection, connection:
        connection.execute("BEGIN IMMEDIATE")
        yield Caller(connection, connection.execute, lambda: savepoint(connection.execute))


@contextmanager
def of_psycopg(store: Store) -> Iterator[Caller]:
    with psycopg.connect(store.path, row_factory=psycopg.rows.dict_row) as connection:
        yield Caller(connection, lambda statement: connection.execute(statement.encode()), connection.transaction)


@contextmanager
def of_psycopg_in_autocommit(store: Store) -> Iterator[Caller]:
    with psycopg.connect(store.path, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        with connection.transaction():
            yield Caller(connection, lambda statement: connection.execute(statement.encode()), connection.transaction)


@contextmanager
def engine_of(store: Store) -> Iterator[sqlalchemy.Engine]:
    url = f"sqlite:///{store.path}" if store.path.startswith("/") else store.path
    engine = sqlalchemy.create_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def of_sqlalchemy(store: Store) -> Iterator[Caller]:
    """SQLAlchemy's connection, whose transaction begins by itself."""
    with engine_of(store) as engine, engine.connect() as connection:
        yield Caller(connection, lambda text: connection.execute(sqlalchemy.text(text)), connection.begin_nested)
        connection.commit()


@contextmanager
def of_sqlalchemy_session(store: Store) -> Iterator[Caller]:
    with engine_of(store) as engine, Session(engine) as session:
        yield Caller(session, lambda text: session.execute(sqlalchemy.text(text)), session.begin_nested)
        session.commit()


@contextmanager
def django_connection(store: Store) -> Iterator[Any]:
    """Django's connection; only for the block is Django configured."""
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": store.path}
    if not store.path.startswith("/"):
        info = psycopg.conninfo.conninfo_to_dict(store.path)
        database = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": str(info["dbname"]),
            **{name.upper(): str(info[name]) for name in ("host", "port", "user", "password")},
        }
    settings = django.conf.UserSettingsHolder(global_settings)
    settings.USE_TZ = True
    connections = ConnectionHandler({"default": database})
    with (
        mock.patch.object(django.conf.settings, "_wrapped", settings),
        mock.patch.object(transaction, "connections", connections),
        mock.patch.object(apps, "ready", True),
        closing(connections["default"]) as connection,
    ):
        yield connection


@contextmanager
def of_django(store: Store) -> Iterator[Caller]:
    with django_connection(store) as connection, transaction.atomic():

        def execute(statement: str) -> None:
            with connection.cursor() as cursor:
                cursor.execute(statement)

        yield Caller(connection, execute, transaction.atomic)


SQLITE = [of_sqlite3, of_sqlite3_in_autocommit, of_sqlalchemy, of_sqlalchemy_session, of_django]
POSTGRES = [of_psycopg, of_psycopg_in_autocommit, of_sqlalchemy, of_sqlalchemy_session, of_django]
