"""URLs of this process's memory: ``memory://``."""

from __future__ import annotations

from zerog.backends.backend import Backend
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.exceptions import ConfigurationError
from zerog.support.clock import Clock
from zerog.support.urls import options_of, without_secrets


def open_datastore(url: str, _clock: Clock) -> MemoryDatastore:
    """Return a new, empty datastore. Raises ConfigurationError unless the URL is ``memory://``."""
    _check(url)
    return MemoryDatastore()


def open_queue(url: str, clock: Clock) -> MemoryQueue:
    """Return a new, empty queue. Raises ConfigurationError unless the URL is ``memory://``."""
    _check(url)
    return MemoryQueue(clock=clock)


def _check(url: str) -> None:
    options_of(url, ())
    if url.partition("://")[2].strip("/?"):
        raise ConfigurationError(f"{without_secrets(url)} names a place in memory; expected memory:// alone")


BACKEND = Backend(open_datastore, open_queue)
