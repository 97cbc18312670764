"""URLs of RQ queues: ``rq+redis://``, ``rq+rediss://``, ``rq+unix://``."""

from __future__ import annotations

from zerog.backends.backend import Backend
from zerog.backends.rq.queue import RqQueue
from zerog.support.clock import Clock


def open_queue(url: str, clock: Clock) -> RqQueue:
    """Return the default queue of a server. Raises ConfigurationError."""
    return RqQueue(url.removeprefix("rq+"), clock=clock)


BACKEND = Backend(queue=open_queue)
