"""Refuse submits and moves to a queue on which as many jobs wait as an operator allows (``max_waiting``).

The entries of a queue are counted every COUNTED seconds; in between a client adds what it submits and moves there. So
several clients at once may exceed the number by what they submit within COUNTED seconds.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping

from zerog.engine.engine import Engine
from zerog.exceptions import ConfigurationError, QueueError, QueueFull
from zerog.records.job import WAITING
from zerog.support.checks import check_queue_name

log = logging.getLogger("zerog")

COUNTED = 1.0
"""Seconds for which the number of a queue's entries is used."""


class Backlog:
    """What this client knows of the queues that have a ``max_waiting``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: dict[str, tuple[float, int]] = {}
        """By queue, when its entries were counted, and their number with what was submitted here since."""

    def admit(self, most: Mapping[str, int], queues: Iterable[str], effect: str = "Nothing was stored") -> None:
        """Count one job for each name in ``queues``, if there is room for all of them. Raises QueueFull.

        ``most``: by queue, how many jobs may wait. ``effect``: what a refusal means for the jobs. A queue that can't be
        reached, or can't be counted, refuses nothing.
        """
        now = self._engine.clock.monotonic()
        new = {name: number for name, number in Counter(queues).items() if name in most}
        waiting = {name: self._count(name, now) for name in new}
        for name, number in new.items():
            if waiting[name][1] + number > most[name]:
                jobs = "the job was" if number == 1 else f"{number:,} jobs were"
                raise QueueFull(
                    f"{waiting[name][1]:,} jobs wait on queue {name}, and its max_waiting is {most[name]:,}; "
                    f"{jobs} refused. {effect}; try again later."
                )
        self._waiting |= {name: (waiting[name][0], waiting[name][1] + number) for name, number in new.items()}

    def admit_move(self, uuid: str, queue: str) -> None:
        """Count a waiting job that is moved to another queue there. Raises QueueFull, JobNotFound."""
        most = self._engine.live_limits.most_waiting()
        if check_queue_name(queue) not in most:
            return
        head = self._engine.read(uuid)[0]
        place = head.get("queueName")
        if head.get("status") in WAITING and place != queue:
            self.admit(most, [queue], f"Job {uuid} stays on queue {place}")

    def _count(self, name: str, now: float) -> tuple[float, int]:
        known = self._waiting.get(name)
        if known is not None and now - known[0] < COUNTED:
            return known
        try:
            return now, self._engine.queue_named(name).size()
        except (QueueError, ConfigurationError) as error:
            log.debug("queue %s can't be counted, and takes all jobs: %s", name, error)
            return now, -(2**63)
