"""URLs of SQLite files: ``sqlite:///relative.db``, ``sqlite:////absolute/path.db``."""

from __future__ import annotations

from zerog.backends.backend import Backend
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.backends.sqlite.engine import SqliteEngine
from zerog.backends.sqlite.queue import SqliteQueue
from zerog.support.clock import Clock
from zerog.support.urls import file_of, options_of

OPTIONS = ("synchronous",)


def open_datastore(url: str, _clock: Clock) -> SqliteDatastore:
    """Return the documents of the file. Raises ConfigurationError."""
    return SqliteDatastore(file_of(url), **options_of(url, OPTIONS))


def open_queue(url: str, clock: Clock) -> SqliteQueue:
    """Return the queue of the file. Raises ConfigurationError."""
    return SqliteQueue(file_of(url), clock=clock, **options_of(url, OPTIONS))


def open_engine(url: str, clock: Clock) -> SqliteEngine:
    """Return the engine of documents and a queue in one file. Raises ConfigurationError."""
    datastore = open_datastore(url, clock)
    return SqliteEngine(datastore, SqliteQueue(datastore.file.path, file=datastore.file, clock=clock), clock)


BACKEND = Backend(open_datastore, open_queue, open_engine)
