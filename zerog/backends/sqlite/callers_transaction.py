"""The transaction of an application's own connection to the file, in which jobs are submitted."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, suppress
from copy import copy
from typing import Any, TypeVar

from zerog.backends.sqlite.file import SqliteFile
from zerog.exceptions import ConfigurationError, DatastoreUnavailable
from zerog.support.blocks import block
from zerog.support.driver_connection import driver_connection, name_of_kind

T = TypeVar("T")

LEGACY = -1
"""The ``autocommit`` of connections that follow ``isolation_level``, as all do before Python 3.12."""


class CallersFile:
    """In place of a file, for what a datastore reads and writes in the caller's transaction."""

    def __init__(self, sqlite: sqlite3.Connection) -> None:
        self._sqlite = sqlite

    @contextmanager
    def reading(self) -> Generator[Any]:
        """Yield what executes statements; rows are tuples, whatever the application has set."""
        yield self

    snapshot = writing = reading

    def execute(self, statement: str, parameters: Any = ()) -> sqlite3.Cursor:
        """Execute a statement, as a connection does."""
        cursor = sqlite3.Cursor(self._sqlite)
        cursor.row_factory = None
        return cursor.execute(statement, parameters)

    def executemany(self, statement: str, parameters: Any) -> sqlite3.Cursor:
        """Execute a statement several times, as a connection does."""
        return self._sqlite.executemany(statement, parameters)


@block
def callers_transaction(file: SqliteFile, given: Any) -> Generator[sqlite3.Connection]:
    """Yield an application's connection in its transaction, begun here if it begins by itself; commit nothing.

    If anything is raised, what was written since is undone, and what the application wrote before stays. Raises
    ConfigurationError for a connection that can't hold jobs, DatastoreUnavailable.
    """
    sqlite = driver_connection(given)
    if not isinstance(sqlite, sqlite3.Connection):
        raise ConfigurationError(
            f"connection= is a {name_of_kind(sqlite)}; expected a connection of sqlite3 to {file.path}, or of "
            "SQLAlchemy or Django that uses sqlite3. Nothing was stored."
        )
    with file.reading():
        pass  # its path leads to the file that is open here
    try:
        _check_file(file.path, sqlite)
        _begin(sqlite)
        sqlite.execute("SAVEPOINT zerog")
        try:
            yield sqlite
        except BaseException:
            with suppress(sqlite3.Error):  # some errors end the transaction
                sqlite.execute("ROLLBACK TO zerog")
                sqlite.execute("RELEASE zerog")
            raise
        sqlite.execute("RELEASE zerog")
    except sqlite3.ProgrammingError as error:
        raise ConfigurationError(f"connection= can't be used here: {error} Nothing was stored.") from error
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", None) == "SQLITE_BUSY_SNAPSHOT":
            raise DatastoreUnavailable(
                f"{file.path} was written since the caller's transaction read from it, which can't write any more. "
                "Nothing was stored. Roll it back and repeat it, and let it begin with BEGIN IMMEDIATE."
            ) from error
        raise file.translated(error) from error


def _check_file(path: str, sqlite: sqlite3.Connection) -> None:
    """Raise ConfigurationError unless ``path`` is the main database of a connection, under a name with the same log."""
    cursor = sqlite3.Cursor(sqlite)  # with tuples for rows, whatever the application has set
    cursor.row_factory = None
    [theirs] = [name for _, database, name in cursor.execute("PRAGMA database_list") if database == "main"]
    if not theirs:
        raise ConfigurationError(f"connection= leads to a database in memory; expected {path}. Nothing was stored.")
    ours = os.path.realpath(path)
    is_same = os.path.basename(theirs) == os.path.basename(ours) and _are_same(theirs, ours)
    if not is_same or not _are_same(os.path.dirname(theirs), os.path.dirname(ours)):
        raise ConfigurationError(f"connection= leads to {theirs}; expected {path}. Nothing was stored.")


def _are_same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except FileNotFoundError:
        return False


def _begin(sqlite: sqlite3.Connection) -> None:
    """Begin a transaction unless there is one. Raises ConfigurationError for a connection that commits each statement.

    At once as a writer: another process may write between a transaction's first reading and its first writing.
    """
    if sqlite.in_transaction:
        return
    autocommit = getattr(sqlite, "autocommit", LEGACY)
    if autocommit is True or (autocommit == LEGACY and sqlite.isolation_level is None):
        raise ConfigurationError(
            "connection= has no transaction open and commits each statement (autocommit); expected one within a "
            "transaction, as after BEGIN IMMEDIATE or in Django's atomic(). Nothing was stored."
        )
    sqlite.execute("BEGIN IMMEDIATE")


def datastore_within(datastore: T, sqlite: sqlite3.Connection) -> T:
    """Return a file's datastore as the caller's transaction has it."""
    within: Any = copy(datastore)
    within.file = CallersFile(sqlite)
    return within  # type: ignore[no-any-return]
