"""The runs of a worker as its record shows them: those that it holds, by name, and counts of those that ended."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from typing import Any

from zerog.engine.transitions import Settlement
from zerog.records.operations import Document
from zerog.records.rates import add_run, added, grown, nothing
from zerog.support.clock import seconds_between


class Holdings:
    """The runs that it holds: one is listed from before the call that claims it until its settlement was answered.

    A run that is not listed is not this worker's, even if its document names this worker.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: set[str] = set()
        self._calling: str | None = None

    def calling(self, batch: str) -> None:
        """List the claims that the next call will make: their nonces begin with ``batch``."""
        with self._lock:
            self._calling = batch

    def called(self, nonces: Iterable[str] = ()) -> None:
        """List the claims that the call has made instead."""
        with self._lock:
            self._held.update(nonces)
            self._calling = None

    def drop(self, nonces: Iterable[str]) -> None:
        """Remove these runs from the list."""
        with self._lock:
            self._held.difference_update(nonces)

    def has(self, nonce: str) -> bool:
        """Return True if a run is listed, or may have been claimed by the call that is under way."""
        with self._lock:
            return nonce in self._held or (self._calling is not None and nonce.startswith(self._calling))

    def record(self) -> Document:
        """Return ``{"held": nonces, "claiming": the prefix of those that are being claimed, or None}``."""
        with self._lock:
            return {"held": sorted(self._held), "claiming": self._calling}


class Tally:
    """Counts runs and what belongs to none. Safe to share between threads."""

    def __init__(self, datastore: Any) -> None:
        self._datastore = datastore
        self._changing = threading.Lock()
        self._figures = nothing()
        self._written: Document | None = None
        self._begin()

    def _begin(self) -> None:
        self.id = os.urandom(8).hex()
        """The name under which these figures are counted for all workers: that of a record's life."""

    def settled(self, settlements: Sequence[Settlement], ends: Sequence[str]) -> None:
        """Count ended runs; ``ends`` as for ``joblog.settled``. A claim that was given back unbegun isn't one."""
        with self._changing:
            for settlement, end in zip(settlements, ends, strict=True):
                if settlement.kind not in ("release", "park") or settlement.seconds:
                    head = settlement.claim.head
                    job_type = str(head.get("jobType"))
                    add_run(self._figures, job_type, end, settlement.seconds, _waited(settlement))

    def count(self, name: str, number: int = 1) -> None:
        """Add to one of ``zerog.records.rates.COUNTS``."""
        with self._changing:
            self._figures[name] += number

    def begin_anew(self) -> None:
        """Begin at zero after the record is gone: what was written to it has been counted elsewhere."""
        with self._changing:
            if self._written is not None:
                self._figures = grown(self._figures, self._written)
                self._written = None
                self._begin()

    def to_record(self) -> Document:
        """Return the field of the worker's record."""
        with self._changing:
            self._figures["collisions"] += self._datastore.collisions
            self._datastore.collisions = 0
            self._written = added(self._figures)  # a copy
            return {"id": self.id, **self._written}


def _waited(settlement: Settlement) -> float:
    """Return the seconds from when a job could be taken to its claim; 0 if its fields don't say."""
    head = settlement.claim.head
    try:
        return seconds_between(settlement.claim.ready or str(head.get("queuedAt")), str(head.get("startedAt")))
    except ValueError:
        return 0.0
