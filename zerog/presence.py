"""Workers' records: the one document by which a worker shows that it lives, and the roster that names them all."""

from __future__ import annotations

import logging
from typing import Any

from zerog.clock import to_text
from zerog.datastores.operations import Set
from zerog.document import Document
from zerog.exceptions import AmbiguousWrite, DatastoreError
from zerog.orders import worker_key as worker_key
from zerog.parts import TRIES, Parts
from zerog.transitions import Worker

log = logging.getLogger("zerog")

ROSTER = "zerog_workers"
"""Key of the document that names every worker that has a record, because a datastore lists jobs only."""


class Presence(Parts):
    """The verbs of a worker's own life."""

    def renew(self, worker: Worker, beat: int, details: Document | None = None, first: Document | None = None) -> None:
        """Show that ``worker`` is alive, by one write whatever it runs. Raises what the datastore raises.

        ``details``: fields that are written each time; ``first``: those that only a new record gets. Whatever others
        wrote into the record stays.
        """
        now = self.datastore.now()
        fields = {"beat": beat, "lease": worker.lease, "beatAt": to_text(now) if now else None, **(details or {})}
        try:
            self.datastore.mutate(worker_key(worker.name), [Set(name, value) for name, value in fields.items()])
        except self._refusals:
            # Named before it has a record: a record that nobody knows of would stay for ever.
            self._change_roster(worker.name, {"lease": worker.lease})
            self.datastore.create(
                worker_key(worker.name),
                {"documentType": "zerog_worker", "worker": worker.name, **(first or {}), **fields},
            )

    def retire(self, worker: Worker) -> None:
        """Remove the record of a worker that holds no job any more."""
        self.forget(worker.name)

    def forget(self, name: str) -> None:
        """Remove a worker's record, then its name."""
        self.datastore.delete(worker_key(name))
        self._change_roster(name, None)

    def roster(self) -> dict[str, Any]:
        """The names of all workers that have a record, with their leases; of some that have none any more."""
        record = self.datastore.read_with_cas(ROSTER)[0] or {}
        workers = record.get("workers")
        return workers if isinstance(workers, dict) else {}

    def _change_roster(self, name: str, entry: Document | None) -> None:
        for attempt in range(TRIES):
            record, token = self.datastore.read_with_cas(ROSTER)
            stored = (record or {}).get("workers")
            workers = dict(stored) if isinstance(stored, dict) else {}
            if workers.get(name) == entry:
                return
            if entry is None:
                del workers[name]
            else:
                workers[name] = entry
            try:
                self.datastore.set_with_cas(ROSTER, {"documentType": ROSTER, "workers": workers}, token or 0)
                return
            except (AmbiguousWrite, *self._refusals):  # type: ignore[misc]  # read again: that tells whether it is stored
                self._wait_for_answer(min(attempt, 3))
        raise DatastoreError(f"the roster of workers is changed by others all the time; {name} is not in order there")
