"""How long runs of a type take, from the figures that workers keep; read at most once a minute."""

from __future__ import annotations

import logging
import threading

from zerog.engine.engine import Engine
from zerog.exceptions import ZerogError
from zerog.fleet.rates import RetiredRates
from zerog.records.job import SUCCEEDED
from zerog.records.rates import RAN, RUNS

log = logging.getLogger("zerog")

FRESH = 60.0
"""Seconds after which the figures are read again."""

FEWEST = 3
"""Runs of a type from which on their mean means something."""


class PastRuns:
    """The mean time of a type's runs that succeeded, as far as it is known to this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._means: dict[str, float] = {}
        self._read_at: float | None = None

    def seconds(self, job_type: str) -> float | None:
        """Return the mean, in seconds; None if too few runs are known, or the figures can't be read."""
        now = self._engine.clock.monotonic()
        if (self._read_at is None or now - self._read_at > FRESH) and self._lock.acquire(blocking=False):
            try:  # other threads go on with what was read before
                self._read_at = now
                self._means = self._read()
            except ZerogError as error:
                log.warning("the times of past runs can't be read, progress goes without them: %s", error)
            finally:
                self._lock.release()
        return self._means.get(job_type)

    def _read(self) -> dict[str, float]:
        types = RetiredRates(self._engine).totals()[0]["types"]
        figures = {name: outcomes[SUCCEEDED] for name, outcomes in types.items() if SUCCEEDED in outcomes}
        return {name: each[RAN] / each[RUNS] / 1_000 for name, each in figures.items() if each[RUNS] >= FEWEST}
