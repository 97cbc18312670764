"""URLs of PostgreSQL databases: ``postgresql://user@host:5432/database``, with ``?schema=`` and options of libpq."""

from __future__ import annotations

from zerog.backends.backend import Backend
from zerog.backends.postgres.datastore import PostgresDatastore
from zerog.backends.postgres.engine import PostgresEngine
from zerog.backends.postgres.queue import PostgresQueue
from zerog.support.clock import Clock


def open_engine(url: str, clock: Clock) -> PostgresEngine:
    """Return the engine of documents and queues in one database. Raises ConfigurationError."""
    datastore = PostgresDatastore(url, clock)
    return PostgresEngine(datastore, PostgresQueue(datastore.server), clock)


def open_queue(url: str, clock: Clock) -> PostgresQueue:
    """Return the default queue of a database. Raises ConfigurationError."""
    return PostgresQueue(url, clock=clock)


BACKEND = Backend(PostgresDatastore, open_queue, open_engine)
