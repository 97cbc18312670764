"""Writes of the PostgreSQL engine that claim nothing: each verb one statement for many jobs."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from functools import cache, partial
from typing import Any, NamedTuple

from zerog.backends.postgres import statements
from zerog.backends.postgres.callers_transaction import CallersServer, callers_transaction
from zerog.backends.postgres.datastore import PostgresDatastore, first_token
from zerog.backends.postgres.draft import Draft, NeedsBody, NeedsWhole
from zerog.backends.postgres.queue import PostgresQueue
from zerog.backends.postgres.rows import Stored, head_of, indexed, judged, stored, stored_like
from zerog.backends.postgres.server import Write
from zerog.contracts.datastore import fence
from zerog.engine import joblog, transitions
from zerog.engine.base import LEAVE_ALONE, Chosen, Within
from zerog.engine.engine import Engine
from zerog.engine.recovery import Lost
from zerog.engine.transitions import Settled, Settlement
from zerog.exceptions import ClaimLost
from zerog.records.fields import PENDING
from zerog.records.job import WAITING, Document, make_key
from zerog.records.operations import Append, Operation, Set, apply, check
from zerog.support import jsonvalues
from zerog.support.clock import SYSTEM, Clock
from zerog.support.failpoints import failpoint

log = logging.getLogger("zerog")

REMEMBERED = 1_000
"""Drafts of claimed jobs that are kept for their settlements, which then needn't read them."""

Put = tuple[Any, ...]
"""The columns of an entry to be put (queue, uuid, priority, due, ttr), whether ahead, and the id of a taken one."""


class PostgresWrites(Engine):
    """Submit, settle, put again and remove jobs. ``queue.server`` must be ``datastore.server``."""

    at_once = 250
    """Jobs in one statement at most."""
    datastore: PostgresDatastore
    queue: PostgresQueue

    def __init__(self, datastore: PostgresDatastore, queue: PostgresQueue, clock: Clock = SYSTEM) -> None:
        super().__init__(datastore, queue, clock)
        if queue.server is not datastore.server:
            raise ValueError(
                f"{datastore.server.name} and {queue.server.name} are opened apart; use the generic engine"
            )
        self._server = datastore.server
        self._claimed: OrderedDict[str, Draft] = OrderedDict()

    def _create(self, documents: list[Document], now: str, delay: float) -> list[tuple[Document, int]]:
        return self._create_by(self._server.write, documents, now, delay)

    @contextmanager
    def _within(self, connection: Any) -> Generator[Within]:
        with callers_transaction(self._server, connection) as write:
            yield Within(partial(self._create_by, write), _datastore_within(self.datastore, write))

    def _create_by(self, write: Write, documents: list[Document], now: str, delay: float) -> list[tuple[Document, int]]:
        made, rows, puts = [], [], list[Put]()
        changes = cache(lambda expires: [*transitions.waiting(now, delay), *self._marks({"expiresAt": expires}, now)])
        parts: Stored | None = None
        values: list[Any] = []
        for document in documents:
            uuid = document["uuid"]
            key, token = make_key(uuid), first_token()
            apply(document, changes(document.get("expiresAt")))
            document.pop("queueJobId")  # the statement adds it
            like = parts and stored_like(key, document, jsonvalues.JOB_BYTES, parts, values)
            parts = like or stored(key, document, jsonvalues.JOB_BYTES)
            if like:
                puts.append((puts[-1][0], uuid, *puts[-1][2:]))
            else:
                values = judged(document)
                puts.append(self._put_of(document, delay)[:5])
            rows.append((key, token, parts))
            made.append((document, token))
        entries = self.datastore.insert_all(rows, puts, write)
        for (document, _), (key, *_) in zip(made, rows, strict=True):
            document["queueJobId"] = entries[key]
        return made

    def _put_of(self, head: Document, delay: float, front: bool = False) -> Put:
        """Return the columns of a new entry for a job. Raises InvalidValue."""
        queue = self._named(head["queueName"])
        return (*queue.insert(head["uuid"], delay, head["priority"], head["queueKwargs"].get("ttr")), front)

    def _named(self, name: str) -> PostgresQueue:
        queue = self.queue_named(name)
        assert isinstance(queue, PostgresQueue)
        return queue

    def _marks(self, head: Document, now: str) -> list[Operation]:
        """Return the operations for a job that is put, without the id of its entry, which the statement adds."""
        marks = transitions.queued(now, "", head.get("expiresAt"))
        return [operation for operation in marks if operation.field != "queueJobId"]

    # settle

    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        results: list[Settled] = []
        for some in self._groups(settlements):
            results += self._settle_batch(some)
        return results

    def _settle_batch(self, settlements: Sequence[Settlement]) -> list[Settled]:
        try:
            ends = self._ends(settlements)
            drafts, puts = of_ends(ends)
            failpoint("settle.write")
            done = self.datastore.store(drafts, puts) if drafts else {}
            failpoint("settle.written")
        except Exception as error:
            return [error] * len(settlements)
        return self._settled(settlements, ends, done)

    def _ends(self, settlements: Sequence[Settlement]) -> list[End | Settled | None]:
        """Return what is to be written for each settlement, or its result; None: settle it alone.

        Raises the errors of reading.
        """
        drafts = [self._claimed.pop(settlement.claim.nonce, None) for settlement in settlements]
        pairs = list(zip(settlements, drafts, strict=True))
        wanted = [each.claim.key for each, draft in pairs if draft is None or each.seq != 1]
        rows = self.datastore.rows(wanted, with_body=False)
        now = self._now()
        ends: list[End | Settled | None] = []
        for settlement, draft in pairs:
            row = rows.get(settlement.claim.key)
            if draft is None or settlement.seq != 1:
                draft = None if row is None else self.datastore.draft(row)
            ends.append(self._end(settlement, draft, now))
        return ends

    def _end(self, settlement: Settlement, draft: Draft | None, now: str) -> End | Settled | None:
        operations = transitions.settled(settlement, now)
        try:
            check([*settlement.operations, Set("resultCode", settlement.result_code)])
            key = settlement.claim.key
            state, token = (None, None) if draft is None else (draft.state, draft.row.cas)
            if fence(self.datastore, key, state, token, None, settlement.run):
                return None
            assert draft is not None
            values = draft.apply(operations)
            draft.state["seq"] = settlement.seq
            if settlement.kind == "finish":
                return End.of(draft)
            if draft.state.get("cancelRequested") is not None or not _is_pending(values):
                return None
            put = self._put_of(settlement.claim.head, settlement.delay, settlement.kind == "release")
            draft.apply(self._marks(settlement.claim.head, now))
            return End.of(draft, (*put, None))
        except ClaimLost as error:
            log.warning("%s", error)
            return False
        except (NeedsBody, NeedsWhole):
            return None
        except Exception as error:  # of this one's document: the other runs must be settled
            return error

    def _settled(
        self, settlements: Sequence[Settlement], ends: Sequence[End | Settled | None], done: Mapping[int, Any]
    ) -> list[Settled]:
        """Return the result of each settlement, by the rows that were written.

        A document that has changed since it was read is settled alone.
        """
        results: list[Settled] = []
        for settlement, end in zip(settlements, ends, strict=True):
            if end is None or (isinstance(end, End) and end.draft.row.id not in done):
                results.append(self._answer(settlement))
            else:
                results.append(True if isinstance(end, End) else end)
                self._count("settle.lost", end is False)
        return results

    # operators and reconcile

    def _retry(self, key: str, head: Document, operations: list[Operation], token: int) -> Document:
        now = self._now()
        row = self.datastore.rows([key]).get(key)
        if row is None or row.cas != token:
            raise self.datastore.casException(f"{key} was changed since it was read; nothing was written")
        draft = self.datastore.draft(row)
        try:
            draft.apply([*operations, *self._marks({}, now)])
        except NeedsWhole:
            return super()._retry(key, head, operations, token)
        failpoint("retry.write")
        done = self.datastore.store([draft], {row.id: (*self._put_of(head, 0), None)})
        failpoint("retry.written")
        if row.id not in done:
            raise self.datastore.casException(f"{key} was changed since it was read; nothing was written")
        marks = transitions.queued(now, done[row.id][1])
        apply(head, [operation for operation in [*operations, *marks] if not isinstance(operation, Append)])
        return head

    def _discard(self, heads: Sequence[Document], reason: str) -> list[Document]:
        batch = {make_key(head["uuid"]): head for head in heads}
        parameters = {
            "keys": list(batch),
            "status": [indexed(head["status"]) for head in heads],
            "epoch": [head["epoch"] for head in heads],
            "finished": [indexed(head["finishedAt"]) for head in heads],
        }
        failpoint("discard.delete")
        gone = [batch[key] for (key,) in self._server.write(statements.DISCARD, parameters, "removing ended jobs")]
        failpoint("discard.deleted")
        for head in gone:
            joblog.discarded(head, reason)
        return gone

    def _put_again(self, uuids: Sequence[str], why: str, lost: Lost | None) -> list[str]:
        rows = self.datastore.rows([make_key(uuid) for uuid in uuids])
        now = self._now()
        heads: dict[int, Document] = {}
        ends: list[End] = []
        alone: list[str] = []  # those that need more than one statement, or whose repair is refused with a reason
        for uuid in uuids:
            row = rows.get(make_key(uuid))
            try:
                head = None if row is None else head_of(row)
                if row is None or head is None or not self._is_missing(row.key, head, lost):
                    continue
                if head.get("cancelRequested") is not None:
                    raise NeedsWhole
                draft = self.datastore.draft(row)
                draft.apply([*self._marks(head, now), *self._repair_event(head, now, why)])
                ends.append(End.of(draft, (*self._put_of(head, max(0.0, self.early_by(head))), None)))
                heads[row.id] = head
            except (NeedsWhole, *LEAVE_ALONE):
                alone.append(uuid)
        put: list[Document] = []
        if ends:
            failpoint("reconcile.put")
            put = [heads[row_id] for row_id in self.datastore.store(*of_ends(ends))]
            failpoint("reconcile.marked")
            self._count("put.again", len(put))
            joblog.put_again(put, why)
        return [head["uuid"] for head in put] + self._put_again_each(alone, why, lost)

    def _wake_all(self, chosen: Sequence[Chosen]) -> list[str]:
        now = self._now()
        ends: list[End] = []
        alone: list[Chosen] = []  # those that need more than one statement, or aren't parked any more
        rows = self.datastore.rows([make_key(found["uuid"]) for found, _ in chosen])
        of_row: dict[int, Chosen] = {}
        for each in reversed(chosen):  # each is put ahead of all that wait
            (found, delay), row = each, rows.get(make_key(each[0]["uuid"]))
            try:
                head = {} if row is None else head_of(row)
                is_parked, operations = transitions.woken(head, found, now, delay)
                if row is None or not is_parked:
                    raise NeedsWhole
                draft = self.datastore.draft(row)
                draft.apply([*operations, *self._marks(head, now)])
                ends.append(End.of(draft, (*self._put_of(head, delay, delay == 0), None)))
                of_row[row.id] = each
            except (NeedsWhole, *LEAVE_ALONE):
                alone.append(each)
        if ends:
            failpoint("limit.wake")
            done = self.datastore.store(*of_ends(ends))
            failpoint("limit.woken")
            self._count("woken", len(done))
            alone += [each for row_id, each in of_row.items() if row_id not in done]
        return super()._wake_all(alone)


class End(NamedTuple):
    """The change of a document, and the entry that is put with it: the last write of a run, or a repair."""

    draft: Draft
    put: Put | None = None
    """The entry to be put, if the job runs again."""

    @classmethod
    def of(cls, draft: Draft, put: Put | None = None) -> End:
        """Return the write of a draft. Raises what its document refuses."""
        draft.written  # noqa: B018  (computed here, where an error is this document's)
        return cls(draft, put)


def _is_pending(values: Document) -> bool:
    return values.get("status") in WAITING and values.get("queueState") == PENDING


def of_ends(ends: Sequence[End | Settled | None]) -> tuple[list[Draft], dict[int, Put]]:
    """Return the drafts among the ends of runs, and by row id the entries to be put with them."""
    writes = [end for end in ends if isinstance(end, End)]
    return [end.draft for end in writes], {end.draft.row.id: end.put for end in writes if end.put is not None}


def _datastore_within(datastore: PostgresDatastore, write: Write) -> PostgresDatastore:
    """Return the datastore as the caller's transaction has it."""
    within = copy(datastore)
    within.server = CallersServer(write)  # type: ignore[assignment]
    return within
