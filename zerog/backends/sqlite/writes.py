"""Writes of the SQLite engine that need no claim: each verb in one transaction for many jobs."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence

from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.backends.sqlite.queue import SqliteQueue
from zerog.backends.sqlite.rows import head_of
from zerog.engine import joblog, transitions
from zerog.engine.engine import Engine
from zerog.engine.recovery import Lost
from zerog.engine.transitions import Settled, Settlement, still_to_be_put
from zerog.exceptions import ClaimLost, DatastoreError, QueueError
from zerog.records.job import CANCELLED_STATUS, Document, make_key
from zerog.records.operations import Append, Operation, apply
from zerog.support.clock import SYSTEM, Clock
from zerog.support.failpoints import failpoint

log = logging.getLogger("zerog")

OUTAGES = (DatastoreError, QueueError, OSError)
"""Failures of the file rather than of a document: the call must be repeated."""


class SqliteWrites(Engine):
    """Submit, settle, put again and remove jobs in one file."""

    at_once = 500
    """Jobs in one transaction at most: other processes wait for it. Also the size of a batch of ``submit_many``."""
    datastore: SqliteDatastore
    queue: SqliteQueue

    def __init__(self, datastore: SqliteDatastore, queue: SqliteQueue, clock: Clock = SYSTEM) -> None:
        super().__init__(datastore, queue, clock)
        if queue.file is not datastore.file:
            raise ValueError(f"{datastore.file.path} and {queue.file.path} are opened apart; use the generic engine")
        self._file = datastore.file

    def _create(self, documents: list[Document], now: str, delay: float) -> list[tuple[Document, int]]:
        stored = []
        with self._file.writing() as sqlite:
            for document in documents:
                apply(document, transitions.waiting(now, delay))
                apply(document, self._put_in(sqlite, document, delay, now))
                stored.append((document, self.datastore.write(sqlite, make_key(document["uuid"]), document, 0)))
            waiters = self.queue.waiters(sqlite)
        self.queue.notify(waiters)
        return stored

    def _put_in(
        self, sqlite: sqlite3.Connection, head: Document, delay: float, now: str, front: bool = False
    ) -> list[Operation]:
        identity = self._named(head["queueName"]).insert(
            sqlite, head["uuid"], delay, head["priority"], head["queueKwargs"].get("ttr"), front
        )
        return transitions.queued(now, identity)

    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        if not settlements:
            return []
        try:
            return self._settle_all(settlements)
        except OUTAGES as error:
            return [error] * len(settlements)
        except Exception as error:  # of one of them: settle each separately
            return [error] if len(settlements) == 1 else [self.settle([each])[0] for each in settlements]

    def _settle_all(self, settlements: Sequence[Settlement]) -> list[Settled]:
        failpoint("settle.write")
        with self._file.writing() as sqlite:
            results = [self._settle_in(sqlite, settlement) for settlement in settlements]
            waiters = self._waiters_for(sqlite, settlements)
        failpoint("settle.written")
        self._count("settle.lost", results.count(False))
        self.queue.notify(waiters)
        return list(results)

    def _settle_in(self, sqlite: sqlite3.Connection, settlement: Settlement) -> bool:
        claim = settlement.claim
        now = self._now()
        operations = transitions.settled(settlement, now)
        try:
            mutation = self.datastore.change(sqlite, claim.key, operations, run=settlement.run)
        except ClaimLost as error:
            log.warning("%s", error)
            return False
        if still_to_be_put(settlement, mutation):
            if mutation.cancel_requested:
                settlement.status = CANCELLED_STATUS
                follow = self._ended({**claim.head, **mutation.values}, now)
            else:
                follow = self._put_in(sqlite, claim.head, settlement.delay, now, settlement.kind == "release")
            self.datastore.change(sqlite, claim.key, follow, cas=mutation.token)
        return True

    def _ended(self, head: Document, now: str) -> list[Operation]:
        """Return the operations that end a waiting job whose run released it without noticing that it was cancelled."""
        self._count("cancelled.waiting")
        return transitions.cancelled(head, now)

    def _waiters_for(self, sqlite: sqlite3.Connection, settlements: Sequence[Settlement]) -> list[str]:
        """Return the sockets of idle workers to notify, if one of these settlements puts a job on the queue."""
        return self.queue.waiters(sqlite) if any(s.kind != "finish" for s in settlements) else []

    def _named(self, name: str) -> SqliteQueue:
        queue = self.queue_named(name)
        assert isinstance(queue, SqliteQueue)
        return queue

    def _retry(self, key: str, head: Document, operations: list[Operation], token: int) -> Document:
        now = self._now()
        failpoint("retry.write")
        with self._file.writing() as sqlite:
            changed = self.datastore.change(sqlite, key, operations, cas=token)
            marks = self._put_in(sqlite, head, 0, now)
            self.datastore.change(sqlite, key, marks, cas=changed.token)
            waiters = self.queue.waiters(sqlite)
        failpoint("retry.written")
        self.queue.notify(waiters)
        apply(head, [operation for operation in [*operations, *marks] if not isinstance(operation, Append)])
        return head

    def _discard(self, heads: Sequence[Document], reason: str) -> list[Document]:
        removed = []
        failpoint("discard.delete")
        with self._file.writing() as sqlite:
            for head in heads:
                key = make_key(head["uuid"])
                stored = self.datastore.hot(sqlite, key)
                same = ("status", "epoch", "finishedAt")
                if stored is not None and [stored.get(f) for f in same] == [head.get(f) for f in same]:
                    self.datastore.remove(sqlite, key)
                    removed.append(head)
        failpoint("discard.deleted")
        for head in removed:
            joblog.discarded(head, reason)
        return removed

    def _put_again(self, uuids: Sequence[str], why: str, lost: Lost | None) -> list[str]:
        failpoint("reconcile.put")
        heads = []
        now = self._now()
        with self._file.writing() as sqlite:
            for uuid in uuids:
                key = make_key(uuid)
                row = self.datastore.row(sqlite, key)
                if row is None:
                    continue
                head = head_of(row)
                if not self._is_missing(key, head, lost):
                    continue
                if head.get("cancelRequested") is not None:
                    self.datastore.change(sqlite, key, self._ended(head, now), row=row)
                    joblog.cancelled(head)
                    continue
                marks = self._put_in(sqlite, head, max(0.0, self.early_by(head)), now)
                self.datastore.change(sqlite, key, [*marks, *self._repair_event(head, now, why)], row=row)
                heads.append(head)
            waiters = self.queue.waiters(sqlite)
        failpoint("reconcile.marked")
        self._count("put.again", len(heads))
        joblog.put_again(heads, why)
        self.queue.notify(waiters)
        return [str(head["uuid"]) for head in heads]
