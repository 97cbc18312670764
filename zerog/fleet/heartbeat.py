"""Workers' records: each worker's document with its heartbeat, and the directory of all their names."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from zerog.engine.cas import Attempts, refusals_of
from zerog.engine.engine import Engine
from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import AmbiguousWrite, CorruptDocument
from zerog.fleet.rates import RetiredRates
from zerog.records.fields import is_count, is_name
from zerog.records.job import Document
from zerog.records.keys import WORKERS, worker_key
from zerog.records.operations import Set
from zerog.records.worker import read_record, read_worker

log = logging.getLogger("zerog")

DIRECTORY_BEATS = 10
"""Number of beats after which a worker checks that the directory names it: the datastore may have been rolled back."""


class WorkerRecords:
    """The records of workers in the datastore of one engine, and the directory of their names."""

    def __init__(self, engine: Engine) -> None:
        self._datastore = engine.datastore
        self._clock = engine.clock
        self._refusals = refusals_of(engine.datastore)
        self.rates = RetiredRates(engine)

    def renew(
        self,
        worker: WorkerIdentity,
        beat: int,
        details: Callable[[], Document] = dict,
        first: Callable[[], Document] = dict,
    ) -> int:
        """Send a heartbeat of ``worker``, in one write whatever it runs; return the beat that was stored.

        ``details`` makes the fields that are written each time, anew for each try: a late write must not hold older
        values than the beat before it. ``first`` makes those that only a new record gets. Other fields of the record
        stay. A beat never falls and never stands still: it is written under the token of the record that was read, and
        is greater than the one that was read there. Raises the errors of the datastore.
        """
        key = worker_key(worker.name)
        if beat % DIRECTORY_BEATS == 0:
            self._change_directory(worker.name, {"lease": worker.lease})
        attempts = Attempts(self._datastore, key, self._clock)
        while True:
            record, token = self.read_or_remove(key)
            stored = (record or {}).get("beat")
            beat = max(beat, int(stored or 0) + 1) if is_count(stored) else beat
            made = first() if token is None else {}  # before the details, which may depend on it
            fields = {"beat": beat, "lease": worker.lease, **details()}
            self._keep_rates(record or {}, fields)
            try:
                with attempts:
                    if token is not None:
                        self._datastore.mutate(key, [Set(name, value) for name, value in fields.items()], cas=token)
                        return beat
                    # Named before it has a record: a record that the directory doesn't name would stay for ever.
                    self._change_directory(worker.name, {"lease": worker.lease})
                    named = {"documentType": "zerog_worker", "worker": worker.name}
                    self._datastore.create(key, {**named, **made, **fields})
                    return beat
            except CorruptDocument as error:
                self._remove_unreadable(key, error)

    def _keep_rates(self, record: Document, fields: Document) -> None:
        """Keep the figures of an earlier worker of the same name, which the record is about to lose."""
        stored, new = record.get("rates"), fields.get("rates")
        if isinstance(stored, dict) and isinstance(new, dict) and stored.get("id") != new["id"]:
            self.rates.retire(stored)

    def forget(self, name: str, rates: Document | None = None) -> None:
        """Remove a worker's record, then its name; its figures are kept, in their last state if it is given here."""
        self.rates.retire(
            rates if rates is not None else (read_worker(self._datastore, name).fields or {}).get("rates")
        )
        self._datastore.delete(worker_key(name))
        self._change_directory(name, None)

    def directory(self) -> dict[str, Any]:
        """Return the names of all workers that have a record, with their leases; some may have none any more."""
        return _workers_in(read_record(self._datastore, WORKERS).fields)

    def _change_directory(self, name: str, entry: Document | None) -> None:
        attempts = Attempts(self._datastore, WORKERS, self._clock)
        while True:
            record, token = self.read_or_remove(WORKERS)
            workers = _workers_in(record)
            if workers.get(name) == entry:
                return
            if entry is None:
                del workers[name]
            else:
                workers[name] = entry
            with attempts:
                self._datastore.set_with_cas(WORKERS, {"documentType": WORKERS, "workers": workers}, token or 0)
                return

    def mend_record(self, name: str) -> None:
        """Remove fields of the wrong kind from a worker's record; remove the record if it can't be read."""
        record = read_worker(self._datastore, name)
        if not record.damage:
            return
        with suppress(*self._refusals, AmbiguousWrite):  # the worker has written meanwhile
            if record.wrong:
                log.error("the record of worker %s is mended: %s", name, "; ".join(record.damage))
                self._datastore.mutate(worker_key(name), [Set(field, None) for field in record.wrong])
            else:
                self.read_or_remove(worker_key(name))

    def mend_directory(self) -> None:
        """Remove impossible names from the directory; make it anew if it can't be read."""
        record, token = self.read_or_remove(WORKERS)
        workers = _workers_in(record)
        if record is not None and token is not None and record.get("workers") != workers:
            with suppress(*self._refusals, AmbiguousWrite):
                self._datastore.set_with_cas(WORKERS, {"documentType": WORKERS, "workers": workers}, token)

    def read_or_remove(self, key: str) -> tuple[Document, int] | tuple[None, None]:
        """Read an engine document that is to be written anew; remove it first if it can't be read.

        Raises DatastoreError if the datastore can't delete.
        """
        try:
            return self._datastore.read_with_cas(key)
        except CorruptDocument as error:
            self._remove_unreadable(key, error)
            return None, None

    def _remove_unreadable(self, key: str, error: CorruptDocument) -> None:
        self._datastore.delete(key)
        log.error("%s can't be read, was removed and is made anew: %s", key, error)


def _workers_in(record: Document | None) -> dict[str, Any]:
    workers = (record or {}).get("workers")
    return {name: entry for name, entry in workers.items() if is_name(name)} if isinstance(workers, dict) else {}
