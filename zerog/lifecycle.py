"""The life of a job between a datastore and a queue: the only place where the order of writes matters.

``Engine`` serves any datastore with any queue. The document is the truth and is always written first; the queue is
told afterwards. Whatever dies in between leaves a document that says so (``pending``) or a delivery that is dropped
when it comes, and ``zerog.reconcile`` repairs the rest:

=======  ==============================================================  =========================
verb     writes, in this order                                           a crash in between leaves
=======  ==============================================================  =========================
submit   create (pending), put, mark                                     a pending document
claim    reserve, verify, compare-and-swap to the new owner, ack         an owner, and a delivery
settle   fenced write of the outcome; if it goes on: put, mark           a pending document
rescue   compare-and-swap away from a dead owner, put, mark              a pending document
cancel   waiting: compare-and-swap; running: a mark for the owner        nothing
=======  ==============================================================  =========================

Engines for a datastore and a queue on one server do each verb in one transaction (``zerog.engines``); they share the
names of the crash points and the conformance suite ``zerog.testing.engine_contract``.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from zerog import transitions
from zerog.clock import SYSTEM, Clock, seconds_between, to_text
from zerog.crashpoints import point
from zerog.datastores.base import Datastore, Mutation, as_datastore
from zerog.datastores.operations import Append, Operation, Set, apply
from zerog.document import (
    CANCELLED_STATUS,
    NEW,
    PENDING,
    RUNNING,
    TERMINAL,
    WAITING,
    Document,
    check_head,
    make_key,
)
from zerog.exceptions import (
    AmbiguousWrite,
    CasMismatch,
    ClaimLost,
    CorruptDocument,
    DatastoreError,
    DocumentLocked,
    InvalidUuid,
    JobNotFound,
    JobStateError,
    QueueError,
    ReservationLost,
    TooManyCollisions,
)
from zerog.queues.base import Queue, Reservation, as_queue
from zerog.transitions import Claim, Settlement, Worker

log = logging.getLogger("zerog")

UNSUITABLE_DELAY = 5.0
"""Seconds until a delivery comes again that this worker's code could not take."""

EARLY = 0.05
"""Seconds by which a delivery may be early and still count as due."""

TRIES = 100
"""How often a verb tries again because others changed the document at the same moment."""

Accept = Callable[[Document], Any]
"""Looks at a head before it is claimed; raises Unsuitable, or returns what the claim's ``loaded`` shall be."""


class Unsuitable(Exception):
    """This worker's code can't take the job: unknown type, newer schema, unreadable. The document stays as it is."""


def worker_key(name: str) -> str:
    """The datastore key of a worker's record."""
    return f"zerog_worker_{name}"


class Engine:
    """The lifecycle verbs over one datastore and one family of queues.

    ``counters`` counts what happened beside the jobs themselves: deliveries dropped and put back, repairs.
    ``unsuitable`` maps the uuids of jobs that were left alone to the reason.
    """

    def __init__(self, datastore: Any, queue: Any, clock: Clock = SYSTEM) -> None:
        self.datastore: Datastore = as_datastore(datastore)
        self.queue: Queue = as_queue(queue)
        self.clock = clock
        self.counters: Counter[str] = Counter()
        self.unsuitable: dict[str, str] = {}
        self._refused_at: dict[str, float] = {}
        self._queues = {self.queue.name: self.queue}
        self._refusals: tuple[type[Exception], ...] = tuple(
            {self.datastore.casException, self.datastore.lockedException, CasMismatch, DocumentLocked}
        )
        self._inbox: list[Reservation] = []
        self._inbox_lock = threading.Lock()

    # submit

    def submit(self, documents: Sequence[Document], delay: float = 0) -> list[tuple[Document, int]]:
        """Accept new documents; returns each as stored, with its token.

        A document that was stored is accepted even if the queue can't be reached: it stays pending, ``queueJobId``
        is -1, and reconcile delivers it. Raises ``casException`` if a document of that uuid exists, AmbiguousWrite
        (naming the uuid that may exist) if nobody can say.
        """
        return [self._submit_one(document, delay) for document in documents]

    def _submit_one(self, document: Document, delay: float) -> tuple[Document, int]:
        key = make_key(document["uuid"])
        document = dict(document)
        apply(document, transitions.waiting(self._now(), delay))
        token = self._create(key, document)
        return self._deliver(key, document, token, delay, "submit")

    def _create(self, key: str, document: Document) -> int:
        try:
            point("submit.create")
            token = self.datastore.create(key, document)
            point("submit.created")
            return token
        except AmbiguousWrite:
            log.warning("the answer to the creation of %s was lost; reading it back", key)
        try:
            stored, token_now = self.datastore.read_with_cas(key, head=True)
            if stored is not None and token_now is not None:
                return token_now
            return self.datastore.create(key, document)
        except DatastoreError as error:
            raise AmbiguousWrite(
                f"job {document['uuid']} may exist or not: {error}. Look it up before you submit it again."
            ) from error

    def enqueue(self, uuid: str, delay: float = 0) -> tuple[Document, int]:
        """Bring a stored ``new`` document on its way, or put a waiting one on the queue once more.

        Raises JobNotFound, and JobStateError for a job that runs or has ended.
        """
        key = make_key(uuid)
        for _ in range(TRIES):
            head, token = self.read(uuid)
            if head["status"] not in (NEW, *WAITING):
                raise JobStateError(
                    f"job {uuid} is {head['status']} and can't be enqueued; a running job returns NO_RESULT to run "
                    "again, a finished one needs retry(). Nothing was changed."
                )
            operations = transitions.waiting(self._now(), delay)
            try:
                token = self.datastore.mutate(key, operations, cas=token).token
            except self._refusals:
                continue
            apply(head, operations)
            return self._deliver(key, head, token, delay, "submit")
        raise self._collisions(key)

    def _deliver(self, key: str, head: Document, token: int, delay: float, step: str) -> tuple[Document, int]:
        """Put a pending document's uuid on its queue and mark it; a queue out of reach leaves it pending."""
        point(f"{step}.put")
        try:
            identity = self.named(head["queueName"]).put(
                head["uuid"], delay=delay, priority=head["priority"], ttr=head["queueKwargs"].get("ttr")
            )
        except QueueError as error:
            log.warning("job %s is stored but not yet on queue %s: %s", head["uuid"], head["queueName"], error)
            self._count("put.failed")
            return head, token
        point(f"{step}.mark")
        marks = transitions.queued(self._now(), identity)
        with suppress(*self._refusals, AmbiguousWrite):
            token = self.datastore.mutate(key, marks, cas=token).token
        apply(head, marks)
        return head, token

    # claim

    def claim(self, want: int, worker: Worker, accept: Accept, queues: Sequence[str] = ()) -> list[Claim]:
        """Become the owner of up to ``want`` jobs that are ready, without waiting for any.

        ``queues`` in order of priority; by default the engine's own.
        """
        claims: list[Claim] = []
        while len(claims) < want:
            try:
                reservation = self._reserve(queues)
            except QueueError:
                if claims:
                    break
                raise
            if reservation is None:
                break
            claim = self._claim_one(reservation, worker, accept)
            if claim is not None:
                claims.append(claim)
        return claims

    def wait_ready(self, timeout: float, queues: Sequence[str] = ()) -> bool:
        """Block until something may be claimed, ``timeout`` passed or ``wake`` was called. For a thread of its own."""
        reservation = self.named((queues or (self.queue.name,))[0]).reserve(timeout)
        if reservation is None:
            return False
        with self._inbox_lock:
            self._inbox.append(reservation)
        return True

    def wake(self, queues: Sequence[str] = ()) -> None:
        """Make ``wait_ready`` return early."""
        self.named((queues or (self.queue.name,))[0]).wake()

    def _reserve(self, queues: Sequence[str]) -> Reservation | None:
        with self._inbox_lock:
            if self._inbox:
                return self._inbox.pop()
        for name in queues or (self.queue.name,):
            reservation = self.named(name).reserve(0)
            if reservation is not None:
                return reservation
        return None

    def _claim_one(self, reservation: Reservation, worker: Worker, accept: Accept) -> Claim | None:
        point("claim.reserved")
        try:
            key = make_key(reservation.uuid)
            for _ in range(TRIES):
                head, token = self.datastore.read_with_cas(key, head=True)
                loaded = self._verify(reservation, key, head, accept)
                if loaded is None:
                    return None
                assert head is not None and token is not None
                claim = self._take(key, head, token, worker)
                if claim is not None:
                    claim.loaded = loaded[0]
                    point("claim.ack")
                    self._ack(reservation)
                    return claim
            self._put_back(reservation, 1.0)
            return None
        except DatastoreError:
            self._put_back(reservation, 1.0)
            raise
        except InvalidUuid:
            self._drop(reservation, "dropped.invalid")
            return None

    def _verify(self, reservation: Reservation, key: str, head: Document | None, accept: Accept) -> tuple[Any] | None:
        """Whether the delivered job may run here and now; if not, the delivery is dealt with."""
        if head is None:
            self._drop(reservation, "dropped.unknown")
            return None
        try:
            check_head(key, head)
            if head["status"] not in WAITING:
                self._drop(reservation, f"dropped.{head['status']}")
                return None
            early = self.early_by(head)
            if early > EARLY:
                self._count("released.early")
                self._put_back(reservation, early)
                return None
            return (self.look(head, accept),)
        except (Unsuitable, CorruptDocument) as error:
            self.refuse(reservation.uuid, str(error))
            self._put_back(reservation, UNSUITABLE_DELAY)
            return None

    def refuse(self, uuid: str, why: str) -> None:
        """Leave a job alone, and remember why and when."""
        self.unsuitable[uuid] = why
        self._refused_at[uuid] = self.clock.monotonic()
        self._count("released.unsuitable")

    def was_refused_within(self, uuid: str, seconds: float) -> bool:
        """Whether a delivery of this job was put back lately, so that it must be on the queue."""
        return self.clock.monotonic() - self._refused_at.get(uuid, -seconds - 1) <= seconds

    def look(self, head: Document, accept: Accept) -> Any:
        """Ask ``accept``, and forget an earlier refusal."""
        loaded = accept(head)
        if self.unsuitable.pop(head["uuid"], None) is not None:
            del self._refused_at[head["uuid"]]
        return loaded

    def early_by(self, head: Document) -> float:
        """Seconds until a waiting document may run; 0 or less if it may."""
        not_before = head.get("notBefore")
        return seconds_between(self._now(), not_before) if not_before else 0.0

    def _take(self, key: str, head: Document, token: int, worker: Worker) -> Claim | None:
        nonce = new_nonce()
        operations = transitions.claimed(head, worker, nonce, self._now())
        try:
            point("claim.write")
            token = self.datastore.mutate(key, operations, cas=token).token
            point("claim.written")
        except self._refusals:
            return None
        except AmbiguousWrite:
            stored, token_now = self.datastore.read_with_cas(key, head=True)
            if stored is None or token_now is None or (stored.get("owner") or {}).get("nonce") != nonce:
                return None
            token = token_now
        apply(head, operations)
        return Claim(key, head["uuid"], head["epoch"], nonce, token, head)

    def _ack(self, reservation: Reservation) -> None:
        try:
            reservation.delete()
        except QueueError as error:
            log.debug("the delivery of %s will come again and be dropped: %s", reservation.uuid, error)

    def _drop(self, reservation: Reservation, counter: str) -> None:
        self._count(counter)
        self._ack(reservation)

    def _put_back(self, reservation: Reservation, delay: float) -> None:
        with suppress(QueueError, ReservationLost):
            reservation.release(delay)

    # run and settle

    def renew(self, worker: Worker, beat: int, details: Document | None = None) -> None:
        """Show that ``worker`` is alive, by one write whatever it runs. Raises what the datastore raises."""
        now = self.datastore.now()
        fields = {"beat": beat, "lease": worker.lease, "beatAt": to_text(now) if now else None, **(details or {})}
        try:
            self.datastore.mutate(worker_key(worker.name), [Set(name, value) for name, value in fields.items()])
        except self._refusals:
            self.datastore.create(
                worker_key(worker.name), {"documentType": "zerog_worker", "worker": worker.name, **fields}
            )

    def retire(self, worker: Worker) -> None:
        """Remove the record of a worker that holds no job any more."""
        self.datastore.delete(worker_key(worker.name))

    def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """End runs; tells for each whether it still owned its job. Safe to repeat with the same settlements."""
        return [self._settle_one(settlement) for settlement in settlements]

    def _settle_one(self, settlement: Settlement) -> bool:
        claim = settlement.claim
        operations = transitions.settled(settlement, self._now())
        point("settle.write")
        mutation = self._run_write(claim.key, operations, claim.epoch, settlement.seq, "settle.written")
        if mutation is None:
            self._count("settle.lost")
            return False
        if settlement.kind != "finish":
            head = dict(claim.head)
            self._deliver(claim.key, head, mutation.token, settlement.delay, "settle")
        return True

    def _run_write(
        self, key: str, operations: Sequence[Operation], epoch: int, seq: int, written: str
    ) -> Mutation | None:
        """A run's write, repeated under its number while the answer is lost; None if the job is somebody else's."""
        for attempt in range(TRIES):
            try:
                mutation = self.datastore.mutate(key, operations, epoch=epoch, seq=seq)
                point(written)
                return mutation
            except ClaimLost as error:
                log.warning("%s", error)
                return None
            except (AmbiguousWrite, self.datastore.lockedException):
                if attempt == TRIES - 1:
                    raise
                self.clock.pause(min(0.01 * 2**attempt, 0.5))
        raise AssertionError("unreachable")

    def step(
        self,
        settlements: Sequence[Settlement],
        want: int,
        worker: Worker,
        accept: Accept,
        queues: Sequence[str] = (),
    ) -> tuple[list[bool], list[Claim]]:
        """Settle and claim in one call, which an engine on one server makes one transaction."""
        results = self.settle(settlements)
        return results, self.claim(want, worker, accept, queues) if want > 0 else []

    # rescue, cancel, retry

    def rescue(self, uuid: str, epoch: int, counter: str, message: str, code: int = 500) -> bool:
        """Take a job from a dead owner and let it run again; False if ``epoch`` doesn't own it any more.

        ``counter``: ``crashes`` if only the run died, ``lost`` if its worker did.
        """

        def build(head: Document, now: str) -> list[Operation]:
            record = transitions.error_record(now, code, message, head.get("attempts"))
            return transitions.rescued(head, counter, record, now, self.datastore.history_limit)

        taken = self.take_away(uuid, epoch, build)
        if taken:
            self._count(f"rescued.{counter}")
        return taken

    def release(self, uuid: str, epoch: int, message: str) -> bool:
        """Take a job from a run that has to end through no fault of its own, and let it run again, uncounted."""

        def build(head: Document, now: str) -> list[Operation]:
            event = transitions.event_record(now, message)
            return transitions.released(head, event, now, self.datastore.history_limit)

        return self.take_away(uuid, epoch, build)

    def take_away(self, uuid: str, epoch: int, build: Callable[[Document, str], list[Operation]]) -> bool:
        """End a run from outside, by compare-and-swap; False if ``epoch`` doesn't own the job any more.

        ``build`` makes the operations from the present head and time; they must raise the epoch.
        """
        key = make_key(uuid)
        for _ in range(TRIES):
            head, token = self.datastore.read_with_cas(key, head=True)
            if head is None or token is None or head.get("epoch") != epoch or head.get("owner") is None:
                return False
            operations = build(head, self._now())
            try:
                point("rescue.write")
                token = self.datastore.mutate(key, operations, cas=token).token
                point("rescue.written")
            except self._refusals:
                continue
            except AmbiguousWrite:
                stored, token = self.datastore.read_with_cas(key, head=True)
                if stored is None or token is None or stored.get("epoch") != epoch + 1 or stored.get("owner"):
                    continue
            apply(head, [operation for operation in operations if not isinstance(operation, Append)])
            if head["queueState"] == PENDING:
                self._deliver(key, head, token, 0, "rescue")
            return True
        raise self._collisions(key)

    def cancel(self, uuid: str) -> str:
        """Cancel a job: one that waits never starts, one that runs is told at its next write.

        Returns the status it has now: ``cancelled``, or ``running`` until its owner has stopped it. Raises
        JobNotFound, and JobStateError for a job that has ended.
        """
        key = make_key(uuid)
        for _ in range(TRIES):
            head, token = self.read(uuid)
            status = str(head["status"])
            if status in TERMINAL:
                raise JobStateError(f"job {uuid} is {status} already and can't be cancelled; nothing was changed")
            now = self._now()
            try:
                point("cancel.write")
                if status == RUNNING:
                    if head["cancelRequested"] is None:
                        self.datastore.mutate(key, [Set("cancelRequested", now)], epoch=head["epoch"])
                else:
                    self.datastore.mutate(key, transitions.cancelled(now), cas=token)
                    status = CANCELLED_STATUS
                point("cancel.written")
                return status
            except (ClaimLost, AmbiguousWrite, *self._refusals):  # type: ignore[misc]
                if self._is_cancelled(key):
                    return CANCELLED_STATUS
        raise self._collisions(key)

    def _is_cancelled(self, key: str) -> bool:
        head = self.datastore.read_with_cas(key, head=True)[0]
        return head is not None and head["status"] == CANCELLED_STATUS

    def retry(self, uuid: str, reason: str = "") -> Document:
        """Let a job that has ended run again, with its state as it is and its counters of trouble at 0.

        Returns the head. Raises JobNotFound, and JobStateError for a job that hasn't ended.
        """
        key = make_key(uuid)
        for _ in range(TRIES):
            head, token = self.read(uuid)
            if head["status"] not in TERMINAL:
                raise JobStateError(f"job {uuid} is {head['status']}; only a job that has ended can be retried")
            now = self._now()
            text = f"retried after {head['status']} with {head['resultCode']}" + (f": {reason}" if reason else "")
            operations = transitions.retried(
                head, transitions.event_record(now, text), now, self.datastore.history_limit
            )
            try:
                token = self.datastore.mutate(key, operations, cas=token).token
            except self._refusals:
                continue
            apply(head, [operation for operation in operations if not isinstance(operation, Append)])
            return self._deliver(key, head, token, 0, "submit")[0]
        raise self._collisions(key)

    # for reconcile

    def put_again(self, uuid: str, why: str, unless_queued_after: str | None = None) -> bool:
        """Put a waiting document on its queue once more; recorded in its events.

        False if it isn't waiting any more, or was queued later than ``unless_queued_after``.
        """
        key = make_key(uuid)
        head, token = self.datastore.read_with_cas(key, head=True)
        if head is None or head.get("status") not in WAITING:
            return False
        if unless_queued_after is not None and (head.get("queuedAt") or "") > unless_queued_after:
            return False
        point("reconcile.put")
        delay = max(0.0, self.early_by(head))
        try:
            identity = self.named(head["queueName"]).put(
                uuid, delay=delay, priority=head["priority"], ttr=head["queueKwargs"].get("ttr")
            )
        except QueueError as error:
            log.warning("job %s could not be put on queue %s again: %s", uuid, head["queueName"], error)
            return False
        point("reconcile.mark")
        now = self._now()
        event = Append(
            "events", transitions.event_record(now, f"put on the queue again: {why}"), self.datastore.history_limit
        )
        with suppress(*self._refusals, AmbiguousWrite):
            self.datastore.mutate(key, [*transitions.queued(now, identity), event], cas=token)
        self._count("put.again")
        return True

    # helpers

    def read(self, uuid: str) -> tuple[Document, int]:
        """A job's head and token. Raises InvalidUuid, JobNotFound, CorruptDocument."""
        key = make_key(uuid)
        head, token = self.datastore.read_with_cas(key, head=True)
        if head is None or token is None:
            raise JobNotFound(f"there is no job {uuid}")
        check_head(key, head)
        return head, token

    def named(self, name: str) -> Queue:
        """The queue of a name."""
        if name not in self._queues:
            self._queues[name] = self.queue.named(name)
        return self._queues[name]

    def close(self) -> None:
        """Close both parts."""
        self.queue.close()
        self.datastore.close()

    def _now(self) -> str:
        return to_text(self.clock.now())

    def _count(self, what: str) -> None:
        self.counters[what] += 1

    def _collisions(self, key: str) -> TooManyCollisions:
        return TooManyCollisions(f"{key} was changed by others {TRIES} times in a row; nothing was written")


def new_nonce() -> str:
    """A name for one claim, so that a claim whose answer was lost can be told from somebody else's."""
    return os.urandom(6).hex()
