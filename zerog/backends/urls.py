"""From a URL to an adapter, by a table of schemes. Nothing here is imported before its URL is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from zerog.backends.backend import Backend
from zerog.contracts.datastore import Datastore
from zerog.contracts.queue import Queue
from zerog.engine.engine import Engine
from zerog.exceptions import ConfigurationError
from zerog.support.clock import SYSTEM, Clock
from zerog.support.environment import variable
from zerog.support.urls import without_secrets

PACKAGES = {
    "memory": ("memory",),
    "sqlite": ("sqlite",),
    "redis": ("redis", "rediss", "unix"),
    "rq": ("rq+redis", "rq+rediss", "rq+unix"),
    "couchbase": ("couchbase", "couchbases"),
    "mongo": ("mongodb", "mongodb+srv"),
    "postgres": ("postgresql", "postgres"),
    "beanstalkd": ("beanstalkd",),
}
"""The schemes of each package below ``zerog.backends``."""

DATASTORES = (
    *("memory", "sqlite", "redis", "rediss", "unix", "postgresql", "postgres", "couchbase", "couchbases", "mongodb"),
    "mongodb+srv",
)
QUEUES = (
    *("memory", "sqlite", "redis", "rediss", "unix", "rq+redis", "rq+rediss", "rq+unix", "postgresql", "postgres"),
    "beanstalkd",
)
"""The schemes that have each part; the URL of a queue alone names both, ``rq+`` left out for the documents."""

GROUP = "zerog.backends"
"""The entry-point group in which other packages register a Backend, each by the name of its scheme."""

URL_VARIABLE, DATASTORE_VARIABLE, QUEUE_VARIABLE = "ZEROG_URL", "ZEROG_DATASTORE", "ZEROG_QUEUE"
"""Environment variables with one URL for both parts, or one for each."""


def urls_from_environment() -> tuple[str, str | None]:
    """What to open where the program names nothing. Raises ConfigurationError."""
    url, datastore, queue = (variable(name) for name in (URL_VARIABLE, DATASTORE_VARIABLE, QUEUE_VARIABLE))
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
    """Return the datastore that a URL names. Raises ConfigurationError."""
    backend = _backend_of(url)
    if backend is None or backend.datastore is None:
        raise _unknown(url, "datastore", DATASTORES)
    return backend.datastore(url, clock)


def open_queue(url: str, clock: Clock = SYSTEM) -> Queue:
    """Return the queue that a URL names. Raises ConfigurationError."""
    backend = _backend_of(url)
    if backend is None or backend.queue is None:
        raise _unknown(url, "queue", QUEUES)
    return backend.queue(url, clock)


def open_engine(datastore: str | Any, queue: str | Any | None, clock: Clock = SYSTEM) -> Engine:
    """Return the engine for two parts, given as URLs or built; one URL, or the same twice, makes a shared engine."""
    if isinstance(datastore, str) and queue in (None, datastore):
        return _open_shared(datastore, clock)
    if not isinstance(queue, str) and (engine := _joined(datastore, queue, clock)) is not None:
        return engine
    if queue is None:
        raise ConfigurationError("App(datastore=…) also needs queue=…; one URL would serve as both")
    return Engine(
        open_datastore(datastore, clock) if isinstance(datastore, str) else datastore,
        open_queue(queue, clock) if isinstance(queue, str) else queue,
        clock,
    )


def _joined(datastore: object, queue: object, clock: Clock) -> Engine | None:
    """Return the engine of parts that were built on one server; None for others."""
    scheme = getattr(datastore, "scheme", None)
    backend = _backend_of(f"{scheme}://") if type(scheme) is str else None
    return None if backend is None or backend.join is None else backend.join(datastore, queue, clock)


def _open_shared(url: str, clock: Clock) -> Engine:
    """Return the engine of one URL for both parts."""
    if url.startswith("rq+"):
        return Engine(open_datastore(url.removeprefix("rq+"), clock), open_queue(url, clock), clock)
    backend = _backend_of(url)
    if backend is None:
        raise _unknown(url, "datastore", tuple(dict.fromkeys([*DATASTORES, *PACKAGES["rq"]])))
    if backend.engine is not None:
        return backend.engine(url, clock)
    if backend.datastore is None and backend.queue is not None:
        backend.queue(url, clock).close()  # its own errors come first: it knows where its secrets are
        raise ConfigurationError(
            f"{without_secrets(url)} keeps no documents but is a queue; use App(datastore=…, queue=…), for example "
            "with datastore='sqlite:///jobs.db'"
        )
    datastore = open_datastore(url, clock)  # its own errors come first: it knows where its secrets are
    if backend.queue is None:
        raise ConfigurationError(
            f"{without_secrets(url)} keeps documents but has no queue; use App(datastore=…, queue=…), for example with "
            "queue='redis://localhost/0'"
        )
    return Engine(datastore, backend.queue(url, clock), clock)


def _backend_of(url: str) -> Backend | None:
    """Return the backend that is registered for the scheme of a URL. Raises ConfigurationError for a wrong one."""
    scheme, separator, _ = url.partition("://")
    if not separator:
        return None
    for package, schemes in PACKAGES.items():
        if scheme in schemes:
            built_in: Backend = import_module(f"zerog.backends.{package}.backend").BACKEND
            return built_in
    from importlib.metadata import entry_points  # which takes a while, and is seldom needed

    for entry in entry_points(group=GROUP, name=scheme):
        backend = entry.load()
        if not isinstance(backend, Backend):
            raise ConfigurationError(
                f"the entry point {scheme} of {GROUP} is {entry.value}, which is a {type(backend).__name__}; "
                "expected a zerog.backends.backend.Backend"
            )
        return backend
    return None


def _unknown(url: str, part: str, known: tuple[str, ...]) -> ConfigurationError:
    return ConfigurationError(
        f"{without_secrets(url)} names no {part}; expected a URL beginning with {', '.join(f'{s}://' for s in known)}, "
        "for example sqlite:///jobs.db"
    )
