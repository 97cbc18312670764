"""The job lifecycle in one SQLite file: submit, claim and settle in one transaction each.

``step`` settles all ended runs and claims all free jobs in a single commit. That makes a durable commit (one fsync)
cheap: 64 jobs share it. The rarer verbs are inherited: they are as safe, in more transactions.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from zerog.backends.sqlite.callers_transaction import callers_transaction, datastore_within
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.backends.sqlite.queue import SqliteQueue
from zerog.backends.sqlite.rows import CAS, head_of
from zerog.contracts.queue import FAIR_SHARE
from zerog.engine import joblog, transitions
from zerog.engine.base import Chosen, Within
from zerog.engine.deferred import DeferredClaims, Unclaimed
from zerog.engine.engine import Loader, new_nonce
from zerog.engine.recovery import Lost
from zerog.engine.set_aside import Kind
from zerog.engine.transitions import Claim, Settled, Settlement, Step, WorkerIdentity, still_to_be_put
from zerog.exceptions import AmbiguousWrite, ClaimLost, DatastoreError, QueueError
from zerog.records.job import CANCELLED_STATUS, PAUSED, Document, make_key
from zerog.records.operations import Append, Operation, apply
from zerog.support.clock import SYSTEM, Clock
from zerog.support.failpoints import failpoint

log = logging.getLogger("zerog")

ENTRIES = 1_000
"""Entries examined in one transaction at most: other processes wait for it, and any number of entries may be stale."""

UNSEEN = object()
"""Stands for the loader's result for jobs of a kind that the worker names: ``loader`` is called after the commit."""

OUTAGES = (DatastoreError, QueueError, OSError)
"""Failures of the file rather than of a document: the call must be repeated."""


class SqliteEngine(DeferredClaims):
    """Engine over both parts in one file: ``queue.file`` must be ``datastore.file``."""

    at_once = 500
    """Jobs in one transaction at most: other processes wait for it. Also the size of a batch of ``submit_many``."""
    datastore: SqliteDatastore
    queue: SqliteQueue

    def __init__(self, datastore: SqliteDatastore, queue: SqliteQueue, clock: Clock = SYSTEM) -> None:
        super().__init__(datastore, queue, clock)
        if queue.file is not datastore.file:
            raise ValueError(f"{datastore.file.path} and {queue.file.path} are opened apart; use the generic engine")
        self._file = datastore.file
        self._unlisted: tuple[str, Kind] | None = None

    def _create(self, documents: list[Document], now: str, delay: float) -> list[tuple[Document, int]]:
        with self._file.writing() as sqlite:
            stored = self._create_in(sqlite, documents, now, delay)
            waiters = self.queue.waiters(sqlite)
        self.queue.notify(waiters)
        return stored

    @contextmanager
    def _within(self, connection: Any) -> Generator[Within]:
        with callers_transaction(self._file, connection) as sqlite:
            yield Within(partial(self._create_in, sqlite), datastore_within(self.datastore, sqlite))

    def _create_in(
        self, sqlite: sqlite3.Connection, documents: list[Document], now: str, delay: float
    ) -> list[tuple[Document, int]]:
        stored = []
        for document in documents:
            apply(document, transitions.waiting(now, delay))
            apply(document, self._put_in(sqlite, document, delay, now))
            stored.append((document, self.datastore.write(sqlite, make_key(document["uuid"]), document, 0)))
        return stored

    def _put_in(
        self, sqlite: sqlite3.Connection, head: Document, delay: float, now: str, front: bool = False
    ) -> list[Operation]:
        identity = self._named(head["queueName"]).insert(
            sqlite, head["uuid"], delay, head["priority"], head["queueKwargs"].get("ttr"), front
        )
        return transitions.queued(now, identity, head.get("expiresAt"))

    # settle

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
                row = self.datastore.row(sqlite, claim.key)
                assert row is not None  # it has just been written
                head = head_of(row)
                settlement.status = PAUSED if transitions.is_to_pause(head) else CANCELLED_STATUS
                follow = self._stopped(head, now)
            else:
                follow = self._put_in(sqlite, claim.head, settlement.delay, now, settlement.kind == "release")
            self.datastore.change(sqlite, claim.key, follow, cas=mutation.token)
        return True

    def _stopped(self, head: Document, now: str) -> list[Operation]:
        """Return the operations that end or pause a job whose run released it without noticing that it was to stop."""
        self._count("cancelled.waiting", 0 if transitions.is_to_pause(head) else 1)
        return transitions.stopped(head, now)

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
            marks = self._put_in(sqlite, {**head, "expiresAt": None}, 0, now)
            self.datastore.change(sqlite, key, marks, cas=changed.token)
            waiters = self.queue.waiters(sqlite)
        failpoint("retry.written")
        self.queue.notify(waiters)
        apply(head, [operation for operation in [*operations, *marks] if not isinstance(operation, Append)])
        return head

    # for reconcile

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
                    self.datastore.change(sqlite, key, self._stopped(head, now), row=row)
                    joblog.stopped(head)
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

    def _wake_all(self, chosen: Sequence[Chosen]) -> list[str]:
        woken, now = list[str](), self._now()
        failpoint("limit.wake")
        try:
            with self._file.writing() as sqlite:
                for found, delay in reversed(chosen):  # each is put ahead of all that wait
                    if (row := self.datastore.row(sqlite, make_key(found["uuid"]))) is None:
                        continue
                    head = head_of(row)
                    is_parked, operations = transitions.woken(head, found, now, delay)
                    if is_parked:
                        operations += self._put_in(sqlite, head, delay, now, delay == 0)
                        woken.append(head["uuid"])
                    self.datastore.change(sqlite, make_key(found["uuid"]), operations, row=row)
                waiters = self.queue.waiters(sqlite)
        except Exception:  # of one of them: wake each separately
            return super()._wake_all(chosen)
        failpoint("limit.woken")
        self.queue.notify(waiters)
        self._count("woken", len(woken))
        return [head["uuid"] for head, _ in chosen if head["uuid"] not in woken]

    # claim

    def step(
        self,
        settlements: Sequence[Settlement],
        want: int,
        worker: WorkerIdentity,
        loader: Loader,
        queues: Sequence[str] = (),
        deferred: bool = False,
        batch: str = "",
    ) -> Step:
        queues, batch = self.serving(queues, worker), batch or new_nonce()
        try:
            step, more = self._step_once(settlements, want, worker, loader, queues, batch)
            while more and not step.claims and step.trouble is None:
                rest, more = self._step_once((), want, worker, loader, queues, batch)
                step = Step(step.settled, rest.claims, rest.trouble)
        except OUTAGES as error:
            return Step([error] * len(settlements), [], error)
        except Exception as error:  # of one settlement, or of the claims: do each separately
            return Step(self.settle(settlements), [], error)
        return step if deferred else Step(step.settled, self.load_claims(step.claims, loader), step.trouble)

    def _step_once(
        self,
        settlements: Sequence[Settlement],
        want: int,
        worker: WorkerIdentity,
        loader: Loader,
        queues: Sequence[str],
        batch: str,
    ) -> tuple[Step, bool]:
        """Run one transaction; return the step, and True if there were more entries than fit in one."""
        if not settlements and (want <= 0 or self._all_empty(queues)):
            return Step([], []), False
        claims, more = list[Claim](), False
        try:
            if settlements:
                failpoint("settle.write")
            with self._file.writing() as sqlite:
                results = [self._settle_in(sqlite, settlement) for settlement in settlements]
                if want > 0:
                    failpoint("claim.write")
                    more = self._claim_in(sqlite, claims, want, worker, loader, queues, batch)
                waiters = self._waiters_for(sqlite, settlements)
            if settlements:
                failpoint("settle.written")
            if claims:
                failpoint("claim.written")
        except AmbiguousWrite as error:
            return Step([error] * len(settlements), self.read_back(claims), error), False
        self._count("settle.lost", results.count(False))
        self.queue.notify(waiters)
        if self._unlisted is not None:
            unlisted, self._unlisted = self._unlisted, None
            self.list_or_give_up(*unlisted)
        return Step(list(results), claims), more

    def wait_ready(self, timeout: float, queues: Sequence[str] = ()) -> bool:
        queues = self.serving(queues)
        if not self._all_empty(queues):
            return True
        self.queue.wait(timeout)  # all queues of the file wake it
        return not self._all_empty(queues)

    def wake(self, queues: Sequence[str] = ()) -> None:
        self.queue.wake()

    def _all_empty(self, queues: Sequence[str]) -> bool:
        with self._file.reading() as sqlite:
            for name in queues:
                if not self._named(name).is_empty(sqlite):
                    return False
        return True

    def _claim_in(
        self,
        sqlite: sqlite3.Connection,
        claims: list[Claim],
        want: int,
        worker: WorkerIdentity,
        loader: Loader,
        queues: Sequence[str],
        batch: str,
    ) -> bool:
        """Add to ``claims``; return True if there may be more entries, after ENTRIES of them, or more that are due."""
        looked = 0
        more_due = self.queue.promote(sqlite)
        while len(claims) < want:
            if looked >= ENTRIES:
                return True
            entries = self._next_entries(sqlite, min(want - len(claims), ENTRIES - looked), queues)
            if not entries:
                break
            looked += len(entries)
            for identity, uuid, _ttr in entries:
                claim = self._claim_entry(sqlite, identity, uuid, worker, loader, f"{batch}{len(claims)}")
                if claim is not None:
                    claims.append(claim)
                if self._unlisted is not None:
                    return True
        return more_due

    def _next_entries(
        self, sqlite: sqlite3.Connection, want: int, queues: Sequence[str]
    ) -> list[tuple[int, str, float]]:
        """Return up to ``want`` entries: as many as precede the turn of the lowest priority, which takes one."""
        ends: list[tuple[str, int]] = []
        for name in queues:
            ends += ((name, priority) for priority in self._named(name).ends(sqlite))
        if not ends:
            return []
        before = FAIR_SHARE - 1 - self._turn
        if ends[0] == ends[-1]:  # the next ones are also the lowest
            before = want
        name = ends[0][0] if before else ends[-1][0]
        entries = self._named(name).take(sqlite, min(want, before or 1), lowest=not before)
        self._turn = (self._turn + len(entries)) % FAIR_SHARE
        return entries or self._next_entries(sqlite, want, queues)  # all of them were invalid

    def _claim_entry(
        self, sqlite: sqlite3.Connection, identity: int, uuid: str, worker: WorkerIdentity, loader: Loader, nonce: str
    ) -> Claim | None:
        """Claim one entry's job; the entry leaves the queue, or is delayed or moved if the job can't run now."""
        key, row = make_key(uuid), None

        def read() -> tuple[Document | None, int]:
            nonlocal row
            row = self.datastore.row(sqlite, key)
            return (None, 0) if row is None else (head_of(row), row[CAS])

        def load(head: Document) -> Any:
            return UNSEEN if self._is_known(head, worker) else loader(head)

        def end(key: str, head: Document, _token: int) -> bool:
            self.datastore.change(sqlite, key, self._stopped(head, self._now()), row=row)
            return True

        considered = self._consider(uuid, read, worker, load, end)
        if isinstance(considered, Unclaimed):
            self._move_entry(sqlite, identity, considered)
            return None
        self._move_entry(sqlite, identity, Unclaimed())
        head, loaded = considered
        operations, ready = transitions.claimed(head, worker, nonce, self._now()), transitions.ready_since(head)
        token = self.datastore.rewrite(sqlite, row, head, apply(head, operations))
        if loaded is UNSEEN:
            return Claim(key, uuid, head["epoch"], nonce, token, head, raw_head=UNSEEN, ready=ready)
        return Claim(key, uuid, head["epoch"], nonce, token, head, loaded, ready=ready)

    def _move_entry(self, sqlite: sqlite3.Connection, identity: int, where: Unclaimed) -> None:
        if where.queue is not None:
            sqlite.execute("UPDATE zerog_queue SET queue = ?, token = NULL WHERE id = ?", (where.queue, identity))
        elif where.delay:
            due = self.clock.now().timestamp() + where.delay
            sqlite.execute("UPDATE zerog_queue SET due = ?, token = NULL WHERE id = ?", (due, identity))
        else:
            sqlite.execute("DELETE FROM zerog_queue WHERE id = ?", (identity,))

    def _refused(self, uuid: str, head: Document, worker: WorkerIdentity, error: Exception) -> Unclaimed:
        """Leave an entry where it is while its kind must be listed first, which takes a transaction of its own."""
        kind = self.must_list(head, worker)
        if kind is None:
            return super()._refused(uuid, head, worker, error)
        self._unlisted = head["queueName"], kind
        return Unclaimed(queue=head["queueName"])

    def _is_known(self, head: Document, worker: WorkerIdentity) -> bool:
        """True for a job of a kind that the worker names, unless ``loader`` has refused that very job."""
        kind = Kind.of(head)
        return bool(worker.knows) and kind is not None and kind.is_taken_by(worker) and head["uuid"] not in self.skipped
