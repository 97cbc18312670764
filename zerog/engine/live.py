"""The limits of queues that operators set, as every process that claims follows them."""

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
        """Return the limits of a queue, None if none are set; those of the last read if it is young."""
        now = self._clock.monotonic()
        if now - self._looked >= LOOK:
            self._looked = now
            try:
                self._queues = read_settings(self._datastore).queues
            except ZerogError as error:
                log.debug("the limits of queues can't be read; those read before hold: %s", error)
        return self._queues.get(name)
