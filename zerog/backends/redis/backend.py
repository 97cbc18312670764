"""URLs of Redis servers: ``redis://``, over TLS ``rediss://``, over a socket in the file system ``unix://``."""

from __future__ import annotations

from typing import Any

from zerog.backends.backend import Backend
from zerog.backends.redis.datastore import RedisDatastore
from zerog.backends.redis.engine import RedisEngine
from zerog.backends.redis.queue import RedisQueue
from zerog.support.clock import Clock


def open_engine(url: str, clock: Clock) -> RedisEngine:
    """Return the engine of documents and queues on one server. Raises ConfigurationError."""
    datastore = RedisDatastore(url, clock)
    return RedisEngine(datastore, RedisQueue(datastore.server), clock)


def open_queue(url: str, clock: Clock) -> RedisQueue:
    """Return the default queue of a server. Raises ConfigurationError."""
    return RedisQueue(url, clock=clock)


def join(datastore: Any, queue: Any, clock: Clock) -> RedisEngine | None:
    """Return the engine of a datastore and a queue, None for one beside it; None if they have not one server."""
    queue = RedisQueue(datastore.server) if queue is None else queue
    is_one = isinstance(queue, RedisQueue) and queue.server is datastore.server
    return RedisEngine(datastore, queue, clock) if is_one else None


BACKEND = Backend(RedisDatastore, open_queue, open_engine, join)
