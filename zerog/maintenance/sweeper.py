"""The sweeper's record: which of the workers sweeps for all, and when a sweep was last complete."""

from __future__ import annotations

import threading
from contextlib import suppress

from zerog.contracts.datastore import Datastore
from zerog.exceptions import AmbiguousWrite, CasMismatch
from zerog.fleet.heartbeat import WorkerRecords
from zerog.records.fields import is_count, is_timestamp
from zerog.records.job import Document
from zerog.records.keys import SWEEPER
from zerog.records.operations import Set


class SweeperRecord:
    """The record as one worker, called ``name``, reads and writes it."""

    def __init__(self, datastore: Datastore, records: WorkerRecords, name: str) -> None:
        self._datastore = datastore
        self._records = records
        self._name = name
        self._taking = threading.Lock()
        self._left = False

    def read(self) -> tuple[Document | None, int | None]:
        """Return the record and its token, twice None if there is none."""
        return self._records.read_or_remove(SWEEPER)

    def take(self, record: Document | None, token: int | None) -> int | None:
        """Become the sweeper, or stay it, unless the record has changed since it was read; return the beat, or None."""
        stored = (record or {}).get("beat")
        beat = int(stored or 0) + 1 if is_count(stored) else 1
        with self._taking:
            is_mine = not self._left and self._write(record, {"worker": self._name, "beat": beat}, token or 0)
        return beat if is_mine else None

    def release(self) -> None:
        """Let another worker sweep at once; ``take`` returns None from then on."""
        with self._taking:
            self._left = True
            record, token = self.read()
            if record is not None and token is not None and record.get("worker") == self._name:
                self._write(record, {"worker": None, "beat": 0}, token)

    def note_sweep(self, at: str) -> None:
        """Note the end of a complete sweep, for doctor: a sweep that fails each time leaves the old time."""
        datastore = self._datastore
        with suppress(AmbiguousWrite, CasMismatch, datastore.casException, datastore.lockedException):
            if self.read()[0] is None:
                datastore.create(SWEEPER, {"documentType": SWEEPER, "worker": None, "beat": 0})
            datastore.mutate(SWEEPER, [Set("sweptAt", at)])

    def _write(self, before: Document | None, record: Document, token: int) -> bool:
        swept = (before or {}).get("sweptAt")
        if is_timestamp(swept):
            record["sweptAt"] = swept
        datastore = self._datastore
        try:
            datastore.set_with_cas(SWEEPER, {"documentType": SWEEPER, **record}, token)
            return True
        except (datastore.casException, datastore.lockedException, CasMismatch, AmbiguousWrite):
            return False  # after a lost answer the next turn finds out
