"""The transaction of an application's own connection to the database, in which jobs are submitted."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.pq import PipelineStatus
from psycopg.rows import tuple_row

from zerog.backends.postgres.connection import register_dumpers
from zerog.backends.postgres.errors import brief, refused
from zerog.backends.postgres.server import IDENTITY, Identity, PostgresServer, Rows, Write
from zerog.exceptions import ConfigurationError, DatastoreUnavailable
from zerog.support.driver_connection import driver_connection, name_of_kind

WHAT = "submitting in the caller's transaction"


class CallersServer:
    """In place of a server, for what a datastore executes in the caller's transaction."""

    def __init__(self, write: Write) -> None:
        self.read = self.write = write


@contextmanager
def callers_transaction(server: PostgresServer, given: Any) -> Generator[Write]:
    """Yield what executes statements in the transaction of an application's connection; commit nothing.

    If anything is raised, what was written since is undone, and what the application wrote before stays. Raises
    ConfigurationError for a connection that can't hold jobs, DatastoreUnavailable.
    """
    connection = driver_connection(given)
    if not isinstance(connection, psycopg.Connection):
        raise ConfigurationError(
            f"connection= is a {name_of_kind(connection)}; expected a connection of psycopg 3 to {server.name}, or of "
            "SQLAlchemy (postgresql+psycopg://) or Django that uses psycopg 3. Nothing was stored."
        )
    if connection.closed and not connection.broken:
        raise ConfigurationError("connection= is closed. Nothing was stored.")
    if connection.info.pipeline_status != PipelineStatus.OFF:  # the first error would end the transaction
        raise ConfigurationError("connection= is in pipeline mode; expected it outside. Nothing was stored.")
    server.identity()  # the first connection of a process makes the tables
    cursor = _cursor_of(connection)

    def write(statement: str, parameters: Mapping[str, Any], _what: str) -> Rows:
        complete = server.complete(statement)
        return cursor.execute(complete.text, complete.values(parameters)).fetchall()

    try:
        cursor.execute("SAVEPOINT zerog")
        try:
            ((started, database, tables),) = write(IDENTITY, {}, WHAT)
            _check_identity(server, Identity(started, database, tables))
            yield write
        except BaseException:
            with suppress(psycopg.Error):
                cursor.execute("ROLLBACK TO SAVEPOINT zerog")
                cursor.execute("RELEASE SAVEPOINT zerog")
            raise
        cursor.execute("RELEASE SAVEPOINT zerog")
    except psycopg.errors.NoActiveSqlTransaction:
        raise ConfigurationError(
            "connection= has no transaction open and commits each statement (autocommit); expected one within a "
            "transaction, as in psycopg's transaction() or Django's atomic(). Nothing was stored."
        ) from None
    except psycopg.errors.InFailedSqlTransaction as error:
        raise ConfigurationError(
            f"connection= is in a transaction that has failed; roll it back first ({brief(error)}). Nothing was stored."
        ) from None
    except psycopg.Error as error:
        if connection.closed:
            raise DatastoreUnavailable(
                f"{WHAT}: its connection to {server.name} is lost ({brief(error)}); nothing of it is stored"
            ) from error
        raise refused(WHAT, server.name, error, was_reached=False) from error


def _cursor_of(connection: psycopg.Connection[Any]) -> psycopg.RawCursor[tuple[Any, ...]]:
    """Return a cursor as this backend needs it, whatever the application has set.

    Its statements are prepared if the connection itself does so: it may lead to a pooler.
    """
    cursor = psycopg.RawCursor(connection, row_factory=tuple_row)
    register_dumpers(cursor)
    return cursor


def _check_identity(server: PostgresServer, theirs: Identity) -> None:
    """Raise ConfigurationError unless that is the server's identity, which is read again if it may have restarted."""
    ours = server.identity()
    if theirs != ours:
        ours = server.identity(is_renewed=True)
    if theirs.started != ours.started:
        wrong = "another server"
    elif theirs.database != ours.database:
        wrong = f"the database {theirs.database}"
    elif theirs.tables is None:
        wrong = f"the database, where the schema {server.schema} has no tables of ZeroG (zerog setup makes them)"
    else:
        return
    raise ConfigurationError(f"connection= leads to {wrong}; expected {server.name}. Nothing was stored.")
