"""Whether a worker is silent, by what this process has seen of its beats.

No clock of a machine or server is compared with another: a worker is silent once the same beat was seen for a whole
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
    """Watches workers. ``is_expired`` answers no until it was asked for a whole lease."""

    def __init__(self, datastore: Datastore, clock: Clock) -> None:
        self._datastore = datastore
        self._clock = clock
        self._seen: dict[str, tuple[Any, float]] = {}
        self._records: dict[str, Document | None] = {}

    def is_expired(self, worker: str, lease: float) -> bool:
        """Whether ``worker`` gave no sign of life for ``lease`` seconds."""
        # This process may be stopped at any point: only what lies surely between the two looks counts. So the earlier
        # look is timed after its answer, the later one before its question.
        asked = self._clock.monotonic()
        record = self._records[worker] = read_worker(self._datastore, worker).fields
        beat = record and record.get("beat")
        seen = self._seen.get(worker)
        if seen is None or seen[0] != beat:
            self._seen[worker] = (beat, self._clock.monotonic())
            return False
        return asked - seen[1] > lease

    def record(self, worker: str) -> Document | None:
        """The worker's record as of the latest ``is_expired``."""
        return self._records.get(worker)

    def keep_only(self, workers: set[str]) -> None:
        """Forget what was seen of all others."""
        self._seen = {worker: seen for worker, seen in self._seen.items() if worker in workers}
        self._records = {worker: record for worker, record in self._records.items() if worker in workers}
