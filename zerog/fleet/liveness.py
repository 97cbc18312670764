"""Detect silent workers by the beats that this process has read.

No clock of a machine or server is compared with another: a worker is silent once the same beat was read for a whole
lease of this process's monotonic clock, on every datastore.
"""

from __future__ import annotations

from typing import Any

from zerog.contracts.datastore import Datastore
from zerog.records.job import Document
from zerog.records.worker import lease_of as lease_of
from zerog.records.worker import read_worker
from zerog.support.clock import Clock


class FailureDetector:
    """Detects expired workers. ``is_expired`` is False until it was called over a whole lease."""

    def __init__(self, datastore: Datastore, clock: Clock) -> None:
        self._datastore = datastore
        self._clock = clock
        self._seen: dict[str, tuple[Any, float]] = {}
        self._records: dict[str, Document | None] = {}

    def is_expired(self, worker: str, lease: float) -> bool:
        """Return True if ``worker`` sent no heartbeat for ``lease`` seconds."""
        # This process may be stopped at any point: only the time that is surely between the two reads counts. So the
        # earlier read is timed after its answer, the later one before its request.
        asked = self._clock.monotonic()
        record = self._records[worker] = read_worker(self._datastore, worker).fields
        beat = record and record.get("beat")
        seen = self._seen.get(worker)
        if seen is None or seen[0] != beat:
            self._seen[worker] = (beat, self._clock.monotonic())
            return False
        return asked - seen[1] > lease

    def record(self, worker: str) -> Document | None:
        """Return the worker's record as of the latest ``is_expired``."""
        return self._records.get(worker)

    def keep_only(self, workers: set[str]) -> None:
        """Forget the observations of all other workers."""
        self._seen = {worker: seen for worker, seen in self._seen.items() if worker in workers}
        self._records = {worker: record for worker, record in self._records.items() if worker in workers}
