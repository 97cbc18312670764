"""Detect silent workers by the beats that this process has read.

No clock of a machine or server is compared with another: a worker is silent once the same beat was read for a whole
lease of this process's monotonic clock, on every datastore.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zerog.contracts.datastore import Datastore
from zerog.records.job import Document
from zerog.records.worker import lease_of as lease_of
from zerog.records.worker import read_workers
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
        return self.expired({worker: lease})[worker]

    def expired(self, leases: Mapping[str, float]) -> dict[str, bool]:
        """Return for each worker whether it sent no heartbeat for its lease, by one read of all their records."""
        # This process may be stopped at any point: only the time that is surely between the two reads counts. So the
        # earlier read is timed after its answer, the later one before its request.
        asked = self._clock.monotonic()
        records = read_workers(self._datastore, leases)
        answered = self._clock.monotonic()
        return {name: self._note(name, records[name].fields, asked, answered, leases[name]) for name in leases}

    def _note(self, worker: str, record: Document | None, asked: float, answered: float, lease: float) -> bool:
        self._records[worker] = record
        beat = record and record.get("beat")
        seen = self._seen.get(worker)
        if seen is None or seen[0] != beat:
            self._seen[worker] = (beat, answered)
            return False
        return asked - seen[1] > lease

    def record(self, worker: str) -> Document | None:
        """Return the worker's record as of the latest look at it."""
        return self._records.get(worker)

    def keep_only(self, workers: set[str]) -> None:
        """Forget the observations of all other workers."""
        self._seen = {worker: seen for worker, seen in self._seen.items() if worker in workers}
        self._records = {worker: record for worker, record in self._records.items() if worker in workers}
