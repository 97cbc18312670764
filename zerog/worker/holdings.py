"""The runs that a worker holds, by their nonces, as its record lists them."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from zerog.records.job import Document


class Holdings:
    """The list of them: a run is on it from before the call that claims it until its settlement was answered.

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
