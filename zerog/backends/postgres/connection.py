"""One connection to a PostgreSQL server, and what is found out when it is opened."""

from __future__ import annotations

import select
from typing import Any

from zerog.exceptions import ConfigurationError
from zerog.support.extras import how_to_install

try:
    import psycopg
    from psycopg import waiting
    from psycopg.abc import AdaptContext
    from psycopg.pq import ConnStatus, PipelineStatus, TransactionStatus
    from psycopg.types.numeric import Int8Dumper

    from zerog.backends.postgres.arrays import LiteralArray, TextArray, Texts
except ImportError as error:  # pragma: no cover
    raise ConfigurationError(
        f"postgresql:// needs psycopg, which can't be imported ({error}); {how_to_install('postgres')}"
    ) from None

OLDEST = 14
"""The oldest major version of PostgreSQL that ZeroG works with."""

SLACK = 1.0
"""Seconds that a client waits for an answer beyond the statement_timeout of the server."""

SETTINGS = """
SET statement_timeout = {milliseconds};
SET default_transaction_isolation = 'read committed';
SET enable_seqscan = off;
SET plan_cache_mode = force_generic_plan
"""
"""For a session of its own. All statements are look-ups by index: a plan that was made while a table was small must
not be kept for a large one, and planning again for each call would take longer than executing."""


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that waits ``patience`` seconds for an answer at most, and then raises."""

    patience = 10.0
    is_pooled = False
    """True behind a connection pooler: the session is not ours, so nothing may be kept in it."""

    def wait(self, gen: Any, interval: float = 1.0, timeout: float | None = None) -> Any:
        # Without the base class's answer to Ctrl-C, which asks the server to cancel: a connection that was left in the
        # middle of a call is closed before its next use.
        return waiting.wait(gen, self.pgconn.socket, interval=interval, timeout=timeout or self.patience)

    def __del__(self, *_: object) -> None:
        """Leave it to libpq to close the connection, in the process that has opened it; without a warning."""

    @property
    def is_usable(self) -> bool:
        """True if nothing is under way on the connection, and the server has not ended it meanwhile."""
        pgconn = self.pgconn
        if pgconn.status != ConnStatus.OK or pgconn.pipeline_status != PipelineStatus.OFF:
            return False
        if pgconn.transaction_status != TransactionStatus.IDLE:
            return False
        if not _is_readable(pgconn.socket):
            return True
        try:
            pgconn.consume_input()
        except psycopg.OperationalError:
            return False
        return pgconn.status == ConnStatus.OK and not _is_readable(pgconn.socket)


def open_connection(conninfo: str, timeout: float, name: str) -> Connection:
    """Return a new connection in autocommit mode. Raises psycopg's errors, and ConfigurationError."""
    connection = Connection.connect(
        conninfo,
        autocommit=True,
        connect_timeout=max(2, round(timeout)),
        client_encoding="utf8",
        cursor_factory=psycopg.RawCursor,
    )
    connection.patience = timeout + SLACK
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise ConfigurationError(f"{name} has the encoding {encoding}; expected a database in UTF8")
    if connection.info.server_version < OLDEST * 10_000:
        version = connection.info.server_version // 10_000
        raise ConfigurationError(f"{name} is PostgreSQL {version}; expected {OLDEST} or newer")
    register_dumpers(connection)
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    # A pooler makes up the process number that it gives its clients.
    connection.is_pooled = row is None or row[0] != connection.info.backend_pid
    if connection.is_pooled:
        connection.prepare_threshold = None
    else:
        connection.execute(SETTINGS.format(milliseconds=round(timeout * 1_000)))
    return connection


def register_dumpers(context: AdaptContext) -> None:
    """Let a connection or cursor send parameters as the statements of this backend have them."""
    register = context.adapters.register_dumper
    register(int, Int8Dumper)  # by the size of a number the statement would be another one
    register(list, LiteralArray)
    register(Texts, TextArray)


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
