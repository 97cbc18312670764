"""One PostgreSQL database: connections per process, its clock, errors translated to ZeroG's.

Every write of this backend is one SQL statement in autocommit mode, so it happens as a whole or not at all, holds no
lock while a client computes or is stopped, and works through a pooler that gives each transaction another session. The
exception is a submit in the transaction of an application (``callers_transaction``).
A connection that is found in the middle of a call, because its thread was interrupted there, is closed.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

from zerog.backends.postgres import tables
from zerog.backends.postgres.connection import Connection, open_connection
from zerog.backends.postgres.errors import refused, unanswered, unreachable
from zerog.backends.postgres.statements import Statement, complete
from zerog.exceptions import ConfigurationError
from zerog.support.clock import SYSTEM, Clock
from zerog.support.urls import options_of, seconds_of, split, without_secrets

import psycopg  # isort: skip  (after the module that explains how to install it)

T = TypeVar("T")

TIMEOUT = 5.0
"""Seconds that connecting and each statement may take, unless the URL has ``?timeout=``."""

CONNECTIONS = 8
"""Connections of a process at most, beside one that listens; its threads take turns on them."""

CHECKED_EVERY = 10.0
"""Seconds for which the server's clock is computed from its last answer."""

OPTIONS = ("schema", "timeout", *(option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()))
"""Options of a URL: those of ZeroG, and of libpq, https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS."""

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,39}")

IDENTITY = """
SELECT extract(epoch FROM pg_postmaster_start_time())::text, current_database()::text,
    to_regclass('{schema}.zerog_documents')::oid::text
"""
"""An Identity, for any user of the server. Its start, to the microsecond, distinguishes a copy of it from itself."""

Rows = list[tuple[Any, ...]]
Write = Callable[[str, Mapping[str, Any], str], Rows]
"""Executes a statement that changes something, as ``PostgresServer.write`` does."""


class Identity(NamedTuple):
    """What two connections have in common if they lead to the same tables."""

    started: str
    """When the server was started."""
    database: str
    tables: str | None
    """The number of the table of documents; None if there is none."""


class PostgresServer:
    """The database of a URL, and the schema in it that holds ZeroG's tables. Safe to share between threads.

    ``clock``: source of delays and of ``now`` if it stands for servers; otherwise the server's own clock is. Raises
    ConfigurationError for an invalid URL; a missing server or table is noticed at the first call.
    """

    def __init__(self, url: str, clock: Clock = SYSTEM) -> None:
        self.name = without_secrets(url)
        self.clock = clock
        for option, _ in parse_qsl(split(url).query, keep_blank_values=True):
            if option not in OPTIONS:
                raise ConfigurationError(
                    f"{self.name} has the option {option!r}; expected schema, timeout or an option of libpq"
                )
        options = options_of(url, OPTIONS)
        self.schema = options.pop("schema", tables.SCHEMA)
        if not _SCHEMA.fullmatch(self.schema):
            raise ConfigurationError(
                f"{self.name} has the schema {self.schema!r}; expected lower-case letters, digits and _, 40 at most"
            )
        self.timeout = seconds_of(options.pop("timeout", str(TIMEOUT)), self.name, 0.01)
        options.setdefault("application_name", "zerog")
        self._url = f"{url.partition('?')[0]}?{urlencode(options, quote_via=quote)}"
        try:
            psycopg.conninfo.conninfo_to_dict(self._url)
        except psycopg.Error:  # its text may hold the password
            raise ConfigurationError(
                f"{self.name} can't be read as a URL by libpq; expected postgresql://user@host:5432/database, with "
                "special characters in a password written as %40"
            ) from None
        self._mine = _OfProcess()
        self._ahead: float | None = None
        self._checked_at = 0.0
        self._was_reached = False
        self._made: list[str] = []
        self._statements: dict[str, Statement] = {}
        self._identity: Identity | None = None
        self.is_pooled = False
        """True once a connection was opened that turned out to lead to a pooler."""

    def run(self, statement: str, parameters: Mapping[str, Any], what: str, writes: bool) -> Rows:
        """Execute one statement, of ``zerog.backends.postgres.statements`` or alike, and return its rows.

        ``what`` names the subject in an error. Raises DatastoreUnavailable (nothing was done), AmbiguousWrite (the
        answer was lost), ConfigurationError, InvalidValue, and ``psycopg.errors.UniqueViolation``.
        """

        complete = self.complete(statement)
        values = complete.values(parameters)

        def execute(connection: Connection) -> Rows:
            cursor = connection.execute(complete.text, values, prepare=not connection.is_pooled)
            return [] if cursor.rownumber is None else cursor.fetchall()

        return self._within(execute, what, writes)

    def read(self, statement: str, parameters: Mapping[str, Any], what: str) -> Rows:
        """Return the rows of a query."""
        return self.run(statement, parameters, what, writes=False)

    def write(self, statement: str, parameters: Mapping[str, Any], what: str) -> Rows:
        """Return the rows of a statement that changes something."""
        return self.run(statement, parameters, what, writes=True)

    def complete(self, statement: str) -> Statement:
        """Return a statement for the tables of this schema."""
        found = self._statements.get(statement)
        if found is None:
            found = self._statements[statement] = complete(statement, self.schema)
        return found

    def identity(self, is_renewed: bool = False) -> Identity:
        """Return the identity of server, database and tables, as it was first read, or as it is now."""
        if self._identity is None or is_renewed:
            (row,) = self.read(IDENTITY, {}, "its identity")
            self._identity = Identity(*row)
        return self._identity

    def setup(self) -> list[str]:
        """Create and upgrade tables; return what this object has made, now or at its first call, and not returned."""
        self._within(lambda connection: self._require(connection), "setting up", writes=True)
        made, self._made = self._made, []
        return made

    def now(self) -> datetime:
        """Return the server's clock, by its last answer with a time; ask the server only if that is old."""
        if self.clock.stands_for_servers:
            return self.clock.now()
        sent = self.clock.monotonic()
        if self._ahead is None or sent - self._checked_at > CHECKED_EVERY:
            ((seconds,),) = self.read("SELECT extract(epoch FROM clock_timestamp())::float8", {}, "reading the clock")
            self._note_time(seconds, sent)
        return datetime.fromtimestamp(self.clock.monotonic() + (self._ahead or 0.0), UTC)

    def listening(self) -> Connection | None:
        """Return a new connection for LISTEN, to be closed by the caller; None behind a pooler. Raises as ``run``."""
        connection = self._connect("listening")
        if not connection.is_pooled:
            return connection
        connection.close()
        return None

    def close(self) -> None:
        """Close the connections of this process that are idle. A later call opens new ones."""
        mine = self._of_this_process()
        for slot in mine.slots:
            with slot.lock:
                slot.drop()

    def _note_time(self, seconds: float, sent: float) -> None:
        """Note the server's time at some moment since ``sent``; what is known stays unless that contradicts it."""
        received = self.clock.monotonic()
        least, most = seconds - received, seconds - sent
        self._ahead = (least + most) / 2 if self._ahead is None else min(max(self._ahead, least), most)
        self._checked_at = received

    def _within(self, call: Callable[[Connection], T], what: str, writes: bool) -> T:
        slot = self._of_this_process().slot()
        with slot.lock:
            connection = self._usable(slot, what)
            try:
                return call(connection)
            except psycopg.errors.UniqueViolation:
                raise
            except psycopg.errors.ReadOnlySqlTransaction as error:
                slot.drop()  # the next connection may lead to the server that is the primary now
                raise refused(what, self.name, error, self._was_reached) from error
            except psycopg.Error as error:
                if connection.is_usable:
                    raise refused(what, self.name, error, self._was_reached) from error
                slot.drop()
                raise unanswered(what, self.name, error, writes) from error

    def _usable(self, slot: _Slot, what: str) -> Connection:
        connection = slot.connection
        if connection is not None and not connection.is_usable:
            slot.drop()
            connection = None
        if connection is None:
            connection = slot.connection = self._connect(what)
        return connection

    def _connect(self, what: str) -> Connection:
        try:
            connection = open_connection(self._url, self.timeout, self.name)
        except psycopg.Error as error:
            raise unreachable(what, self.name, error, self._was_reached) from None
        self.is_pooled = connection.is_pooled
        if not self._was_reached:
            try:
                self._require(connection)
                self._was_reached = True
            except psycopg.Error as error:
                raise refused("its tables", self.name, error, False) from error
            finally:
                if not self._was_reached:
                    connection.close()
        return connection

    def _require(self, connection: Connection) -> None:
        self._made += tables.require(connection, self.schema, self.name)

    def _of_this_process(self) -> _OfProcess:
        mine = self._mine
        if mine.pid != os.getpid():
            _abandoned.append(mine)  # its connections are the parent's: they must not even be freed here
            mine = self._mine = _OfProcess()
        return mine


_abandoned: list[_OfProcess] = []


class _Slot:
    """A connection, or the place for one; held by the thread that uses it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.connection: Connection | None = None

    def drop(self) -> None:
        """Close the connection."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()


class _OfProcess:
    """The connections of one process. Each of its threads uses one of them, always the same."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.slots = [_Slot() for _ in range(CONNECTIONS)]
        self._local = threading.local()
        self._threads = 0

    def slot(self) -> _Slot:
        """Return the place of this thread's connection."""
        slot: _Slot | None = getattr(self._local, "slot", None)
        if slot is None:
            self._threads += 1  # two threads that count at once only share a connection
            slot = self._local.slot = self.slots[self._threads % CONNECTIONS]
        return slot
