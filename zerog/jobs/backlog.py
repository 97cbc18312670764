"""Refuse submits to a queue on which as many jobs wait as an operator allows (``max_waiting``).

The entries of a queue are counted every COUNTED seconds; in between a client adds what it submits. So several clients
at once may exceed the number by what they submit within COUNTED seconds.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping

from zerog.engine.engine import Engine
from zerog.exceptions import ConfigurationError, QueueError, QueueFull

log = logging.getLogger("zerog")

COUNTED = 1.0
"""Seconds for which the number of a queue's entries is used."""


class Backlog:
    """What this client knows of the queues that have a ``max_waiting``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: dict[str, tuple[float, int]] = {}
        """By queue, when its entries were counted, and their number with what was submitted here since."""

    def admit(self, most: Mapping[str, int], queues: Iterable[str]) -> None:
        """Count one job for each name in ``queues``, if there is room for all of them. Raises QueueFull.

        ``most``: by queue, how many jobs may wait. A queue that can't be reached, or can't be counted, refuses nothing.
        """
        now = self._engine.clock.monotonic()
        new = {name: number for name, number in Counter(queues).items() if name in most}
        waiting = {name: self._count(name, now) for name in new}
        for name, number in new.items():
            if waiting[name][1] + number > most[name]:
                jobs = "the job was" if number == 1 else f"{number:,} jobs were"
                raise QueueFull(
                    f"{waiting[name][1]:,} jobs wait on queue {name}, and its max_waiting is {most[name]:,}; "
                    f"{jobs} refused. Nothing was stored; try again later."
                )
        self._waiting |= {name: (waiting[name][0], waiting[name][1] + number) for name, number in new.items()}

    def _count(self, name: str, now: float) -> tuple[float, int]:
        known = self._waiting.get(name)
        if known is not None and now - known[0] < COUNTED:
            return known
        try:
            return now, self._engine.queue_named(name).size()
        except (QueueError, ConfigurationError) as error:
            log.debug("queue %s can't be counted, and takes all jobs: %s", name, error)
            return now, -(2**63)
