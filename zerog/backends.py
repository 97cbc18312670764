"""From a URL to an adapter. Nothing here is imported before its URL is used."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from zerog.clock import SYSTEM, Clock
from zerog.datastores.base import Datastore
from zerog.exceptions import ConfigurationError
from zerog.lifecycle import Engine
from zerog.queues.base import Queue

DATASTORES = ("memory", "sqlite")
"""What the URL of a datastore may begin with."""

RQ = "rq+"
"""What a Redis URL begins with whose server carries uuids on RQ queues."""

QUEUES = ("memory", "sqlite", f"{RQ}redis", f"{RQ}rediss", f"{RQ}unix")
"""What the URL of a queue may begin with."""


def open_datastore(url: str) -> Datastore:
    """The datastore that a URL names. Raises ConfigurationError."""
    scheme = _scheme(url, "datastore", DATASTORES)
    if scheme == "memory":
        _options(url, ())
        from zerog.datastores.memory import MemoryDatastore

        return MemoryDatastore()
    from zerog.datastores.sqlite import SqliteDatastore

    return SqliteDatastore(_path(url), **_options(url, ("synchronous",)))


def open_queue(url: str, clock: Clock = SYSTEM) -> Queue:
    """The queue that a URL names. Raises ConfigurationError."""
    scheme = _scheme(url, "queue", QUEUES)
    if scheme == "memory":
        _options(url, ())
        from zerog.queues.memory import MemoryQueue

        return MemoryQueue(clock=clock)
    if scheme.startswith(RQ):
        from zerog.queues.rq import RqQueue

        return RqQueue(url.removeprefix(RQ), clock=clock)
    from zerog.queues.sqlite import SqliteQueue

    return SqliteQueue(_path(url), clock=clock, **_options(url, ("synchronous",)))


def open_engine(datastore: str | Any, queue: str | Any | None, clock: Clock = SYSTEM) -> Engine:
    """The engine for two parts, given as URLs or built; one URL, or the same twice, makes a shared engine."""
    if (
        isinstance(datastore, str)
        and _scheme(datastore, "datastore", DATASTORES) == "sqlite"
        and queue in (None, datastore)
    ):
        from zerog.engines.sqlite import SqliteEngine
        from zerog.queues.sqlite import SqliteQueue

        store = open_datastore(datastore)
        return SqliteEngine(store, SqliteQueue(store.file.path, file=store.file, clock=clock), clock)  # type: ignore[attr-defined, arg-type]
    if queue is None:
        if not isinstance(datastore, str):
            raise ConfigurationError("App(datastore=…) also needs queue=…; one URL would serve as both")
        queue = datastore
    return Engine(
        open_datastore(datastore) if isinstance(datastore, str) else datastore,
        open_queue(queue, clock) if isinstance(queue, str) else queue,
        clock,
    )


def without_secrets(url: str) -> str:
    """A URL as it may be logged: without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"


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
