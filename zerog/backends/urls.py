"""Open datastores, queues and engines from URLs. A backend is imported when one of its URLs is used."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from zerog.contracts.datastore import Datastore
from zerog.contracts.queue import Queue
from zerog.engine.engine import Engine
from zerog.exceptions import ConfigurationError
from zerog.support.clock import SYSTEM, Clock
from zerog.support.urls import without_secrets

REDIS = ("redis", "rediss", "unix")
"""URLs of a Redis server: over TCP, over TLS, over a socket in the file system."""

RQ = tuple(f"rq+{scheme}" for scheme in REDIS)
"""URLs of a Redis server whose RQ queues carry the uuids."""

COUCHBASE = ("couchbase", "couchbases")
"""URLs of a Couchbase cluster: over TCP, over TLS."""

MONGODB = ("mongodb", "mongodb+srv")
"""URLs of a MongoDB deployment, which stores documents and has no queue."""

DATASTORES = ("memory", "sqlite", *REDIS, *COUCHBASE, *MONGODB)
QUEUES = ("memory", "sqlite", *REDIS, *RQ)
"""Schemes of each part's URL; a queue's URL alone names both parts, with ``rq+`` left out for the documents."""

URL_VARIABLE, DATASTORE_VARIABLE, QUEUE_VARIABLE = "ZEROG_URL", "ZEROG_DATASTORE", "ZEROG_QUEUE"
"""Environment variables with one URL for both parts, or one for each."""


def urls_from_environment() -> tuple[str, str | None]:
    """Return the URLs to open where the program names none. Raises ConfigurationError."""
    url, datastore, queue = (os.environ.get(name) for name in (URL_VARIABLE, DATASTORE_VARIABLE, QUEUE_VARIABLE))
    if url is not None and (datastore is not None or queue is not None):
        raise ConfigurationError(
            f"the environment has {URL_VARIABLE} beside {DATASTORE_VARIABLE} or {QUEUE_VARIABLE}; expected either one "
            "URL for both parts or one for each"
        )
    if (datastore is None) != (queue is None):
        missing = QUEUE_VARIABLE if queue is None else DATASTORE_VARIABLE
        raise ConfigurationError(f"the environment has no {missing}, which the other part needs beside it")
    if url is None and datastore is None:
        raise ConfigurationError(
            f"App needs a URL, for example sqlite:///jobs.db; or {URL_VARIABLE}, or {DATASTORE_VARIABLE} and "
            f"{QUEUE_VARIABLE}, in the environment"
        )
    return url or datastore or "", queue


def open_datastore(url: str, clock: Clock = SYSTEM) -> Datastore:
    """Return the datastore of a URL. Raises ConfigurationError."""
    scheme = _scheme(url, "datastore", DATASTORES)
    if scheme in REDIS:
        from zerog.backends.redis.datastore import RedisDatastore

        return RedisDatastore(url, clock)
    if scheme in COUCHBASE:
        from zerog.backends.couchbase.datastore import CouchbaseDatastore

        return CouchbaseDatastore(url)
    if scheme in MONGODB:
        from zerog.backends.mongo.datastore import MongoDatastore

        return MongoDatastore(url)
    if scheme == "memory":
        _options(url, ())
        from zerog.backends.memory.datastore import MemoryDatastore

        return MemoryDatastore()
    from zerog.backends.sqlite.datastore import SqliteDatastore

    return SqliteDatastore(_path(url), **_options(url, ("synchronous",)))


def open_queue(url: str, clock: Clock = SYSTEM) -> Queue:
    """Return the queue of a URL. Raises ConfigurationError."""
    scheme = _scheme(url, "queue", QUEUES)
    if scheme in RQ:
        from zerog.backends.rq.queue import RqQueue

        return RqQueue(url.removeprefix("rq+"), clock=clock)
    if scheme in REDIS:
        from zerog.backends.redis.queue import RedisQueue

        return RedisQueue(url, clock=clock)
    if scheme == "memory":
        _options(url, ())
        from zerog.backends.memory.queue import MemoryQueue

        return MemoryQueue(clock=clock)
    from zerog.backends.sqlite.queue import SqliteQueue

    return SqliteQueue(_path(url), clock=clock, **_options(url, ("synchronous",)))


def open_engine(datastore: str | Any, queue: str | Any | None, clock: Clock = SYSTEM) -> Engine:
    """Return the engine for two parts, given as URLs or objects; one URL, or the same twice, makes a shared engine."""
    scheme = (
        _scheme(datastore, "datastore", (*DATASTORES, *RQ))
        if isinstance(datastore, str) and queue in (None, datastore)
        else None
    )
    if scheme in RQ:
        datastore, queue = datastore.removeprefix("rq+"), datastore
    elif scheme in REDIS:
        from zerog.backends.redis.datastore import RedisDatastore
        from zerog.backends.redis.engine import RedisEngine
        from zerog.backends.redis.queue import RedisQueue

        documents = RedisDatastore(datastore, clock)
        return RedisEngine(documents, RedisQueue(documents.server), clock)
    elif scheme == "sqlite":
        from zerog.backends.sqlite.engine import SqliteEngine
        from zerog.backends.sqlite.queue import SqliteQueue

        store = open_datastore(datastore)
        return SqliteEngine(store, SqliteQueue(store.file.path, file=store.file, clock=clock), clock)  # type: ignore[attr-defined, arg-type]
    elif queue is None:
        if not isinstance(datastore, str):
            raise ConfigurationError("App(datastore=…) also needs queue=…; one URL would serve as both")
        if scheme not in QUEUES:
            open_datastore(datastore)  # reports a wrong URL first, without its secrets
            raise ConfigurationError(
                f"{without_secrets(datastore)} keeps documents but has no queue; use App(datastore=…, queue=…), "
                "for example with queue='redis://localhost/0'"
            )
        queue = datastore
    return Engine(
        open_datastore(datastore, clock) if isinstance(datastore, str) else datastore,
        open_queue(queue, clock) if isinstance(queue, str) else queue,
        clock,
    )


def _scheme(url: str, part: str, known: tuple[str, ...]) -> str:
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in known:
        shown = without_secrets(url) if separator else repr(url)
        raise ConfigurationError(
            f"{shown} names no {part}; expected a URL beginning with {', '.join(f'{s}://' for s in known)}, "
            "for example sqlite:///jobs.db"
        )
    return scheme


def _path(url: str) -> str:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc or len(path) < 2 or path == "/:memory:":
        raise ConfigurationError(
            f"{without_secrets(url)} names no file; expected sqlite:///relative.db or sqlite:////absolute/path.db, "
            "or memory:// for jobs that need not outlive the process"
        )
    return path[1:]


def _options(url: str, known: tuple[str, ...]) -> dict[str, Any]:
    options = dict(parse_qsl(urlsplit(url).query))
    for name in options:
        if name not in known:
            raise ConfigurationError(
                f"{without_secrets(url)} has the option {name!r}; expected {' or '.join(known) or 'none'}"
            )
    return options
