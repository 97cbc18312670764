"""URLs of beanstalkd: ``beanstalkd://``."""

from __future__ import annotations

from zerog.backends.backend import Backend
from zerog.backends.beanstalkd.queue import BeanstalkdQueue
from zerog.support.clock import Clock


def open_queue(url: str, clock: Clock) -> BeanstalkdQueue:
    """Return the default queue of a server, whose own clock is used. Raises ConfigurationError."""
    return BeanstalkdQueue(url)


BACKEND = Backend(queue=open_queue)
