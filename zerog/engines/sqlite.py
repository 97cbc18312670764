"""The lifecycle when documents and queue are in one SQLite file: submit, claim and settle in one transaction each.

``step`` settles whatever has ended and claims whatever is free in a single commit, which is what makes a durable
commit (one fsync) cheap: 64 jobs share it. The rarer verbs are inherited: they are as safe, in more transactions.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence

from zerog import transitions
from zerog.clock import SYSTEM, Clock
from zerog.crashpoints import point
from zerog.datastores.operations import Operation, apply
from zerog.datastores.sqlite import SqliteDatastore, head_of
from zerog.document import WAITING, Document, check_head, make_key
from zerog.exceptions import AmbiguousWrite, ClaimLost, CorruptDocument, DatastoreError, JobNotFound
from zerog.lifecycle import EARLY, TRIES, UNSUITABLE_DELAY, Accept, Engine, Unsuitable, new_nonce
from zerog.queues.sqlite import SqliteQueue
from zerog.transitions import Claim, Settlement, Worker

log = logging.getLogger("zerog")


class SqliteEngine(Engine):
    """Both parts in one file: ``queue.file`` must be ``datastore.file``."""

    datastore: SqliteDatastore
    queue: SqliteQueue

    def __init__(self, datastore: SqliteDatastore, queue: SqliteQueue, clock: Clock = SYSTEM) -> None:
        super().__init__(datastore, queue, clock)
        if queue.file is not datastore.file:
            raise ValueError(f"{datastore.file.path} and {queue.file.path} are opened apart; use the generic engine")
        self._file = datastore.file

    def submit(self, documents: Sequence[Document], delay: float = 0) -> list[tuple[Document, int]]:
        try:
            stored, waiters = self._submit_all(documents, delay)
        except AmbiguousWrite:
            return [self._read_back(document) for document in documents]
        self.queue.notify(waiters)
        return stored

    def _submit_all(self, documents: Sequence[Document], delay: float) -> tuple[list[tuple[Document, int]], list[str]]:
        now = self._now()
        stored = []
        point("submit.create")
        with self._file.writing() as sqlite:
            for document in documents:
                document = dict(document)
                key = make_key(document["uuid"])
                apply(document, transitions.waiting(now, delay))
                apply(document, self._put(sqlite, document, delay, now))
                stored.append((document, self.datastore.write(sqlite, key, document, 0)))
            waiters = self.queue.waiters(sqlite)
        point("submit.created")
        return stored, waiters

    def _read_back(self, document: Document) -> tuple[Document, int]:
        try:
            return self.read(document["uuid"])
        except (DatastoreError, JobNotFound) as error:
            raise AmbiguousWrite(
                f"job {document['uuid']} may exist or not: {error}. Look it up before you submit it again."
            ) from error

    def _put(self, sqlite: sqlite3.Connection, head: Document, delay: float, now: str) -> list[Operation]:
        queue = self.named(head["queueName"])
        assert isinstance(queue, SqliteQueue)
        identity = queue.insert(sqlite, head["uuid"], delay, head["priority"], head["queueKwargs"].get("ttr"))
        return transitions.queued(now, identity)

    def claim(self, want: int, worker: Worker, accept: Accept, queues: Sequence[str] = ()) -> list[Claim]:
        return self.step([], want, worker, accept, queues)[1]

    def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        if not settlements:
            return []
        for attempt in range(TRIES):
            try:
                point("settle.write")
                with self._file.writing() as sqlite:
                    results = [self._settle_in(sqlite, settlement) for settlement in settlements]
                    waiters = self._waiters_for(sqlite, settlements)
                point("settle.written")
            except AmbiguousWrite:
                if attempt == TRIES - 1:
                    raise
                self.clock.pause(min(0.01 * 2**attempt, 0.5))  # the numbers make it happen once
                continue
            self.queue.notify(waiters)
            return results
        raise AssertionError("unreachable")

    def step(
        self,
        settlements: Sequence[Settlement],
        want: int,
        worker: Worker,
        accept: Accept,
        queues: Sequence[str] = (),
    ) -> tuple[list[bool], list[Claim]]:
        queues = queues or (self.queue.name,)
        if not settlements and self._all_empty(queues):
            return [], []
        claims: list[Claim] = []
        try:
            if settlements:
                point("settle.write")
            with self._file.writing() as sqlite:
                results = [self._settle_in(sqlite, settlement) for settlement in settlements]
                if want > 0:
                    point("claim.write")
                    claims = self._claim_in(sqlite, want, worker, accept, queues)
                waiters = self._waiters_for(sqlite, settlements)
            if settlements:
                point("settle.written")
            if claims:
                point("claim.written")
        except AmbiguousWrite:
            return self.settle(settlements), [claim for claim in claims if self._is_mine(claim)]
        self.queue.notify(waiters)
        return results, claims

    def _waiters_for(self, sqlite: sqlite3.Connection, settlements: Sequence[Settlement]) -> list[str]:
        """Who must hear of these settlements: nobody, unless one of them puts a job on the queue."""
        return self.queue.waiters(sqlite) if any(s.kind != "finish" for s in settlements) else []

    def wait_ready(self, timeout: float, queues: Sequence[str] = ()) -> bool:
        queues = queues or (self.queue.name,)
        if not self._all_empty(queues):
            return True
        queue = self.named(queues[0])
        assert isinstance(queue, SqliteQueue)
        queue.wait(timeout)
        return not self._all_empty(queues)

    def _all_empty(self, queues: Sequence[str]) -> bool:
        with self._file.reading() as sqlite:
            for name in queues:
                queue = self.named(name)
                assert isinstance(queue, SqliteQueue)
                if not queue.is_empty(sqlite):
                    return False
        return True

    def _is_mine(self, claim: Claim) -> bool:
        head = self.datastore.read_with_cas(claim.key, head=True)[0]
        return head is not None and (head.get("owner") or {}).get("nonce") == claim.nonce

    def _settle_in(self, sqlite: sqlite3.Connection, settlement: Settlement) -> bool:
        claim = settlement.claim
        now = self._now()
        operations = transitions.settled(settlement, now)
        try:
            mutation = self.datastore.change(sqlite, claim.key, operations, epoch=claim.epoch, seq=settlement.seq)
        except ClaimLost as error:
            log.warning("%s", error)
            self._count("settle.lost")
            return False
        if settlement.kind != "finish":
            marks = self._put(sqlite, claim.head, settlement.delay, now)
            self.datastore.change(sqlite, claim.key, marks, cas=mutation.token)
        return True

    def _claim_in(
        self, sqlite: sqlite3.Connection, want: int, worker: Worker, accept: Accept, queues: Sequence[str]
    ) -> list[Claim]:
        claims: list[Claim] = []
        for name in queues:
            queue = self.named(name)
            assert isinstance(queue, SqliteQueue)
            while len(claims) < want:
                entries = queue.take(sqlite, want - len(claims))
                if not entries:
                    break
                for identity, uuid, _ttr in entries:
                    claim = self._claim_entry(sqlite, identity, uuid, worker, accept)
                    if claim is not None:
                        claims.append(claim)
        return claims

    def _claim_entry(
        self, sqlite: sqlite3.Connection, identity: int, uuid: str, worker: Worker, accept: Accept
    ) -> Claim | None:
        """Claim one entry's job; the entry leaves the queue, or comes back later if the job can't run now."""
        key = make_key(uuid)
        row = self.datastore.row(sqlite, key)
        delay = 0.0
        try:
            head = None if row is None else head_of(row)
            if head is None:
                self._count("dropped.unknown")
            else:
                check_head(key, head)
                if head["status"] not in WAITING:
                    self._count(f"dropped.{head['status']}")
                    head = None
                elif (delay := self.early_by(head)) > EARLY:
                    self._count("released.early")
                else:
                    delay = 0.0
                    loaded = self.look(head, accept)
        except (Unsuitable, CorruptDocument) as error:
            self.refuse(uuid, str(error))
            delay = UNSUITABLE_DELAY
        if delay > 0:
            due = self.clock.now().timestamp() + delay
            sqlite.execute("UPDATE zerog_queue SET due = ?, token = NULL WHERE id = ?", (due, identity))
            return None
        sqlite.execute("DELETE FROM zerog_queue WHERE id = ?", (identity,))
        if head is None:
            return None
        nonce = new_nonce()
        operations = transitions.claimed(head, worker, nonce, self._now())
        token = self.datastore.rewrite(sqlite, row, head, apply(head, operations))
        return Claim(key, uuid, head["epoch"], nonce, token, head, loaded)
