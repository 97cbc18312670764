"""URLs of this process's memory: ``memory://``."""

from __future__ import annotations

from zerog.backends.backend import Backend
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.support.clock import Clock
from zerog.support.urls import options_of


def open_datastore(url: str, _clock: Clock) -> MemoryDatastore:
    """Return a new, empty datastore. Raises ConfigurationError for an option."""
    options_of(url, ())
    return MemoryDatastore()


def open_queue(url: str, clock: Clock) -> MemoryQueue:
    """Return a new, empty queue. Raises ConfigurationError for an option."""
    options_of(url, ())
    return MemoryQueue(clock=clock)


BACKEND = Backend(open_datastore, open_queue)
