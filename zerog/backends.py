"""From a URL to an adapter. Nothing here is imported before its URL is used."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from zerog.clock import SYSTEM, Clock
from zerog.datastores.base import Datastore
from zerog.exceptions import ConfigurationError
from zerog.lifecycle import Engine
from zerog.queues.base import Queue

REDIS = ("redis", "rediss", "unix")
"""URLs of a Redis server: over TCP, over TLS, over a socket in the file system."""

RQ = tuple(f"rq+{scheme}" for scheme in REDIS)
"""URLs of a Redis server whose RQ queues carry the uuids."""

DATASTORES = ("memory", "sqlite", *REDIS)
QUEUES = (*DATASTORES, *RQ)
"""What the URL of each part may begin with; that of a queue alone names both, ``rq+`` left out for the documents."""

URL_VARIABLE, DATASTORE_VARIABLE, QUEUE_VARIABLE = "ZEROG_URL", "ZEROG_DATASTORE", "ZEROG_QUEUE"
"""Environment variables with one URL for both parts, or one for each."""


def urls_from_environment() -> tuple[str, str | None]:
    """What to open where the program names nothing. Raises ConfigurationError."""
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
    """The datastore that a URL names. Raises ConfigurationError."""
    scheme = _scheme(url, "datastore", DATASTORES)
    if scheme in REDIS:
        from zerog.datastores.redis import RedisDatastore

        return RedisDatastore(url, clock)
    if scheme == "memory":
        _options(url, ())
        from zerog.datastores.memory import MemoryDatastore

        return MemoryDatastore()
    from zerog.datastores.sqlite import SqliteDatastore

    return SqliteDatastore(_path(url), **_options(url, ("synchronous",)))


def open_queue(url: str, clock: Clock = SYSTEM) -> Queue:
    """The queue that a URL names. Raises ConfigurationError."""
    scheme = _scheme(url, "queue", QUEUES)
    if scheme in RQ:
        from zerog.queues.rq import RqQueue

        return RqQueue(url.removeprefix("rq+"), clock=clock)
    if scheme in REDIS:
        from zerog.queues.redis import RedisQueue

        return RedisQueue(url, clock=clock)
    if scheme == "memory":
        _options(url, ())
        from zerog.queues.memory import MemoryQueue

        return MemoryQueue(clock=clock)
    from zerog.queues.sqlite import SqliteQueue

    return SqliteQueue(_path(url), clock=clock, **_options(url, ("synchronous",)))


def open_engine(datastore: str | Any, queue: str | Any | None, clock: Clock = SYSTEM) -> Engine:
    """The engine for two parts, given as URLs or built; one URL, or the same twice, makes a shared engine."""
    scheme = (
        _scheme(datastore, "datastore", QUEUES) if isinstance(datastore, str) and queue in (None, datastore) else None
    )
    if scheme in RQ:
        datastore, queue = datastore.removeprefix("rq+"), datastore
    elif scheme in REDIS:
        from zerog.datastores.redis import RedisDatastore
        from zerog.engines.redis import RedisEngine
        from zerog.queues.redis import RedisQueue

        documents = RedisDatastore(datastore, clock)
        return RedisEngine(documents, RedisQueue(documents.server), clock)
    elif scheme == "sqlite":
        from zerog.engines.sqlite import SqliteEngine
        from zerog.queues.sqlite import SqliteQueue

        store = open_datastore(datastore)
        return SqliteEngine(store, SqliteQueue(store.file.path, file=store.file, clock=clock), clock)  # type: ignore[attr-defined, arg-type]
    elif queue is None:
        if not isinstance(datastore, str):
            raise ConfigurationError("App(datastore=…) also needs queue=…; one URL would serve as both")
        queue = datastore
    return Engine(
        open_datastore(datastore, clock) if isinstance(datastore, str) else datastore,
        open_queue(queue, clock) if isinstance(queue, str) else queue,
        clock,
    )


def without_secrets(url: str) -> str:
    """A URL as it may be logged: without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


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
