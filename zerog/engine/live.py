"""The limits of queues that operators set, as every process that submits or claims follows them."""

from __future__ import annotations

import logging
import math
from typing import Any

from zerog.exceptions import ZerogError
from zerog.records.settings import QueueLimits, read_settings
from zerog.support.clock import Clock

log = logging.getLogger("zerog")

LOOK = 2.0
"""Seconds between two reads of the settings."""


class LiveLimits:
    """The latest limits of queues that could be read."""

    def __init__(self, datastore: Any, clock: Clock) -> None:
        self._datastore = datastore
        self._clock = clock
        self._queues: dict[str, QueueLimits] = {}
        self._looked = -math.inf

    def of_queue(self, name: str) -> QueueLimits | None:
        """Return the limits of a queue, None if none are set."""
        return self._latest().get(name)

    def most_waiting(self) -> dict[str, int]:
        """Return by queue how many jobs may wait there, where that is set."""
        limits = self._latest().items()
        return {name: each.max_waiting for name, each in limits if each.max_waiting is not None}

    def __bool__(self) -> bool:
        """Return True if limits of any queue are set."""
        return bool(self._latest())

    def _latest(self) -> dict[str, QueueLimits]:
        """Return the limits as of the last read if it is young; read them otherwise."""
        now = self._clock.monotonic()
        if now - self._looked >= LOOK:
            self._looked = now
            try:
                self._queues = read_settings(self._datastore).queues
            except ZerogError as error:
                log.debug("the limits of queues can't be read; those read before hold: %s", error)
        return self._queues
