"""Refuse submits to a queue on which as many jobs wait as an operator allows (``max_waiting``).

The settings are read every LOOK seconds, and the entries of a queue counted every COUNTED seconds; in between a client
adds what it submits. So a change takes effect within LOOK seconds, and several clients at once may exceed the number by
what they submit within COUNTED seconds.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable

from zerog.engine.engine import Engine
from zerog.exceptions import ConfigurationError, CorruptDocument, DatastoreError, QueueError, QueueFull
from zerog.records.settings import read_settings

log = logging.getLogger("zerog")

LOOK = 5.0
"""Seconds between two reads of the settings."""

COUNTED = 1.0
"""Seconds for which the number of a queue's entries is used."""


class Backlog:
    """What this client knows of the queues that have a ``max_waiting``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._most: dict[str, int] = {}
        self._looked = -math.inf
        self._waiting: dict[str, tuple[float, int]] = {}
        """By queue, when its entries were counted, and their number with what was submitted here since."""

    def admit(self, queues: Iterable[str]) -> None:
        """Count one job for each name in ``queues``, if there is room for all of them. Raises QueueFull.

        A queue that can't be reached, or can't be counted, refuses nothing.
        """
        now = self._engine.clock.monotonic()
        if now - self._looked >= LOOK:
            self._look(now)
        if not self._most:
            return
        new = {name: number for name, number in Counter(queues).items() if name in self._most}
        waiting = {name: self._count(name, now) for name in new}
        for name, number in new.items():
            if waiting[name][1] + number > self._most[name]:
                jobs = "the job was" if number == 1 else f"{number:,} jobs were"
                raise QueueFull(
                    f"{waiting[name][1]:,} jobs wait on queue {name}, and its max_waiting is {self._most[name]:,}; "
                    f"{jobs} refused. Nothing was stored; try again later."
                )
        self._waiting |= {name: (waiting[name][0], waiting[name][1] + number) for name, number in new.items()}

    def _look(self, now: float) -> None:
        self._looked = now
        try:
            limits = read_settings(self._engine.datastore).queues
        except (CorruptDocument, DatastoreError) as error:
            log.debug("the settings of queues can't be read, the last ones hold: %s", error)
            return
        self._most = {name: each.max_waiting for name, each in limits.items() if each.max_waiting is not None}

    def _count(self, name: str, now: float) -> tuple[float, int]:
        known = self._waiting.get(name)
        if known is not None and now - known[0] < COUNTED:
            return known
        try:
            return now, self._engine.queue_named(name).size()
        except (QueueError, ConfigurationError) as error:
            log.debug("queue %s can't be counted, and takes all jobs: %s", name, error)
            return now, -(2**63)
