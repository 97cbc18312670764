"""The life of a job between a datastore and a queue: the only place where the order of writes matters.

``Engine`` serves any datastore with any queue. The document is the truth and is always written first; the queue is
told afterwards. Whatever dies in between leaves a document that says so (``pending``) or a delivery that is dropped
when it comes, and ``zerog.reconcile`` repairs the rest. ``submit`` is in ``zerog.submission``, what others than an
owner do (rescue, cancel, retry, discard) in ``zerog.interventions``, an operator's edit in ``zerog.edits``, workers'
records in ``zerog.presence``:

=======  ==============================================================  =========================
verb     writes, in this order                                           a crash in between leaves
=======  ==============================================================  =========================
submit   create (pending), put, mark                                     a pending document
claim    reserve, verify, compare-and-swap to the new owner, ack         an owner, and a delivery
settle   fenced write of the outcome; if it goes on: put, mark           a pending document
rescue   compare-and-swap away from a dead owner, put, mark              a pending document
cancel   waiting: compare-and-swap; running: a mark for the owner        nothing
edit     compare-and-swap; if it is retried, too: put, mark              a pending document
discard  compare-and-swap away of a document that has ended              perhaps a delivery
=======  ==============================================================  =========================

Engines for a datastore and a queue on one server do each verb in one transaction (``zerog.engines``); they share the
names of the crash points and the conformance suite ``zerog.testing.engine_contract``.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from zerog import logs, transitions
from zerog.clock import SYSTEM, Clock
from zerog.crashpoints import point
from zerog.datastores.base import Mutation
from zerog.datastores.operations import Operation, apply
from zerog.document import CANCELLED_STATUS, PENDING, WAITING, Document, check_head, make_key
from zerog.edits import Edits
from zerog.exceptions import (
    AmbiguousWrite,
    ClaimLost,
    CorruptDocument,
    DatastoreError,
    InvalidUuid,
    InvalidValue,
    QueueError,
    ReservationLost,
    SchemaTooNew,
    TooManyCollisions,
)
from zerog.interventions import Interventions
from zerog.listening import Listeners
from zerog.parts import TRIES, UNANSWERED
from zerog.presence import Presence
from zerog.queues.base import SHARE, Reservation
from zerog.submission import Submission
from zerog.transitions import Claim, Settlement, Worker

log = logging.getLogger("zerog")

UNSUITABLE_DELAY = 5.0
"""Seconds until a delivery comes again that this worker's code could not take."""

EARLY = 0.05
"""Seconds by which a delivery may be early and still count as due."""

LONGEST_EARLY = 60.0
"""Seconds for which an early delivery is put back at most: this clock may be the one that is wrong."""

Accept = Callable[[Document], Any]
"""Looks at a head before it is claimed; raises Unsuitable, or returns what the claim's ``loaded`` shall be."""

UNTAKEABLE = (CorruptDocument, SchemaTooNew, InvalidValue, TooManyCollisions)
"""What a document raises that can't be claimed, by what it holds or by who else writes to it."""


class Unsuitable(Exception):
    """This worker's code can't take the job: unknown type, newer schema, unreadable. The document stays as it is."""


class Engine(Submission, Interventions, Edits, Presence):
    """The lifecycle verbs over one datastore and one family of queues.

    ``counters`` counts what happened beside the jobs themselves, under the names of ``zerog.parts.COUNTERS``.
    ``unsuitable`` maps the uuids of jobs that were left alone to the reason.
    """

    def __init__(self, datastore: Any, queue: Any, clock: Clock = SYSTEM) -> None:
        super().__init__(datastore, queue, clock)
        self._inbox: list[Reservation] = []
        self._inbox_lock = threading.Lock()
        self._listeners = Listeners(self.named)
        self._turn = 0
        self._doubts: dict[str, Claim] = {}
        self._served: set[str] = set()
        self._empty: set[str] = set()

    # claim

    def claim(self, want: int, worker: Worker, accept: Accept, queues: Sequence[str] = ()) -> list[Claim]:
        """Become the owner of up to ``want`` jobs that are ready, without waiting for any.

        ``queues`` in order of priority; by default the engine's own. Every SHAREth job is the oldest of the lowest
        priority, of the last of them that has any. Raises what the parts raise only if nothing was
        claimed: a claim that is not returned would be a job that nobody runs.
        """
        claims: list[Claim] = []
        try:
            self._resolve_doubts(claims, want, worker)
            while len(claims) < want:
                reservation = self._reserve(queues)
                if reservation is None:
                    break
                claim = self.claim_one(reservation, worker, accept)
                if claim is not None:
                    claims.append(claim)
        except (DatastoreError, QueueError) as error:
            if not claims:
                raise
            log.warning("claimed %d jobs and then met trouble: %s", len(claims), error)
        self.unreserve()
        return claims

    def wait_ready(self, timeout: float, queues: Sequence[str] = ()) -> bool:
        """Block until one of the queues may have something to claim, ``timeout`` passed or ``wake`` was called.

        For a thread of its own. True is a hint: others may be quicker. Raises QueueError.
        """
        names = queues or (self.queue.name,)
        if len(names) > 1:
            reservations = self._listeners.wait(timeout, names)
        else:
            reservation = self.named(names[0]).reserve(timeout)
            reservations = [] if reservation is None else [reservation]
        with self._inbox_lock:
            self._inbox += reservations
        return bool(reservations)

    def wake(self, queues: Sequence[str] = ()) -> None:
        """Make ``wait_ready`` return early."""
        names = queues or (self.queue.name,)
        if len(names) > 1:
            self._listeners.wake()
        else:
            self.named(names[0]).wake()

    def close(self) -> None:
        self._listeners.close()
        super().close()

    def retire(self, worker: Worker) -> None:
        """Remove the record of a worker that holds no job any more, and give back what it had reserved."""
        self.unreserve()
        super().retire(worker)

    def unreserve(self) -> None:
        """Give back what ``wait_ready`` has reserved and nobody has claimed yet."""
        with self._inbox_lock:
            reservations, self._inbox = self._inbox, []
        for reservation in reservations:
            self._put_back(reservation, 0)

    def open(self, claim: Claim, accept: Accept) -> bool:
        """Read a claim that ``step`` left sealed. False if ``accept`` refuses its job, which then is given back.

        For any thread, before anything else is done with the claim.
        """
        return True

    def looked_at(self) -> tuple[frozenset[str], frozenset[str]]:
        """The names of the queues claimed from here, and of those that had nothing to give since last asked."""
        empty, self._empty = self._empty, set()
        return frozenset(self._served), frozenset(empty)

    def _note_empty(self, name: str) -> None:
        self._served.add(name)
        self._empty.add(name)

    def _reserve(self, queues: Sequence[str]) -> Reservation | None:
        with self._inbox_lock:
            if self._inbox:
                self._turn += 1
                return self._inbox.pop()
        is_for_the_lowest = self._turn >= SHARE - 1
        names = queues or (self.queue.name,)
        for name in reversed(names) if is_for_the_lowest else names:
            queue = self.named(name)
            reservation = queue.reserve_lowest() if is_for_the_lowest else queue.reserve(0)
            if reservation is not None:
                self._turn = 0 if is_for_the_lowest else self._turn + 1
                return reservation
            if not queue.withheld:
                self._note_empty(name)
        return None

    def claim_one(self, reservation: Reservation, worker: Worker, accept: Accept) -> Claim | None:
        """Become the owner of the job of one delivery; None if that is not for now, or not for this worker.

        The delivery is dealt with in any case: taken off its queue, or put back for later.
        """
        point("claim.reserved")
        try:
            claim = self._win(reservation, worker, accept)
        except InvalidUuid:
            self._drop(reservation, "dropped.invalid")
            return None
        except (Unsuitable, *UNTAKEABLE) as error:
            self.refuse(reservation.uuid, str(error))
            self._put_back(reservation, UNSUITABLE_DELAY)
            return None
        except DatastoreError:
            self._put_back(reservation, 1.0)
            raise
        if claim is not None:
            point("claim.ack")
            self._ack(reservation)
        return claim

    def _win(self, reservation: Reservation, worker: Worker, accept: Accept) -> Claim | None:
        key = make_key(reservation.uuid)
        unanswered = 0
        for _ in range(TRIES):
            head, token = self.datastore.read_with_cas(key, head=True)
            claim = self._doubts.get(reservation.uuid)
            if claim is not None and self._is_won(claim, head, token):
                return claim
            if head is None or token is None:
                self._drop(reservation, "dropped.unknown")
                return None
            check_head(key, head)
            if not self._may_run(reservation, key, head, token):
                return None
            try:
                return self._take(key, head, token, worker, self.look(head, accept))
            except self._refusals:
                continue
            except AmbiguousWrite:
                unanswered += 1
                if unanswered > UNANSWERED:
                    raise
                self._wait_for_answer(unanswered)
        raise self._collisions(key)

    def _may_run(self, reservation: Reservation, key: str, head: Document, token: int) -> bool:
        """Whether the delivered job waits and is due; if not, the delivery is dealt with."""
        if head["status"] not in WAITING:
            self._drop(reservation, f"dropped.{head['status']}")
        elif head.get("cancelRequested") is not None:
            if self._end_cancelled(key, head, token):
                logs.cancelled(head)
                self._ack(reservation)
            else:
                self._put_back(reservation, 1.0)
        elif (early := self.early_by(head)) > EARLY:
            self._count("released.early")
            self._put_back(reservation, min(early, LONGEST_EARLY))
        else:
            return True
        return False

    def look(self, head: Document, accept: Accept) -> Any:
        """Ask ``accept``, and forget an earlier refusal."""
        loaded = accept(head)
        self.forgive(head["uuid"])
        return loaded

    def _take(self, key: str, head: Document, token: int, worker: Worker, loaded: Any) -> Claim:
        """Become the owner. A write whose answer is lost leaves a doubt, which is kept until it is resolved."""
        doubt = self._doubts.get(head["uuid"])
        # Over the same token the same name: whichever of two such writes comes through, it is this claim.
        nonce = doubt.nonce if doubt is not None and doubt.token == token else new_nonce()
        operations = transitions.claimed(head, worker, nonce, self._now())
        apply(head, operations)
        claim = Claim(key, head["uuid"], head["epoch"], nonce, token, head, loaded)
        try:
            point("claim.write")
            claim.token = self.datastore.mutate(key, operations, cas=token).token
            point("claim.written")
        except AmbiguousWrite:
            claim.token = token
            self._doubts[claim.uuid] = claim
            raise
        self._doubts.pop(claim.uuid, None)
        return claim

    def _resolve_doubts(self, claims: list[Claim], want: int, worker: Worker) -> None:
        """Add the claims of this worker whose answer was lost and that were won: nobody else will ever run them."""
        for claim in list(self._doubts.values()):
            if len(claims) < want and claim.head["owner"]["worker"] == worker.name:
                try:
                    head, token = self.datastore.read_with_cas(claim.key, head=True)
                except (DatastoreError, CorruptDocument) as error:
                    log.warning("nobody can say yet whether job %s is claimed: %s", claim.uuid, error)
                    continue
                if self._is_won(claim, head, token):
                    self._count("claim.recovered")
                    claims.append(claim)

    def _is_won(self, claim: Claim, head: Document | None, token: int | None) -> bool:
        """Whether a claim in doubt is this worker's; it stays in doubt as long as its write may still be applied."""
        owner = (head or {}).get("owner")
        if isinstance(owner, dict) and owner.get("nonce") == claim.nonce:
            assert head is not None and token is not None
            claim.head, claim.token, claim.seq = head, token, head["seq"]
            del self._doubts[claim.uuid]
            return True
        if token != claim.token:
            del self._doubts[claim.uuid]
        return False

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

    # settle

    def prepare(self, settlement: Settlement) -> None:
        """Do the part of ``settle`` that needs no server, for the thread that settles has enough to do."""

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
        if still_to_be_put(settlement, mutation):
            if mutation.cancel_requested:
                if self._end_cancelled(claim.key, {**claim.head, **mutation.values}, mutation.token):
                    settlement.status = CANCELLED_STATUS
            else:
                ahead = settlement.kind == "release"
                self._deliver(claim.key, dict(claim.head), mutation.token, settlement.delay, "settle", ahead)
        return True

    def _run_write(
        self, key: str, operations: Sequence[Operation], epoch: int, seq: int, written: str
    ) -> Mutation | None:
        """A run's write, repeated under its number while the answer is lost; None if the job is somebody else's."""
        for attempt in range(TRIES - 1):
            try:
                return self._write_run(key, operations, epoch, seq, written)
            except (AmbiguousWrite, self.datastore.lockedException):
                self._wait_for_answer(attempt)
        return self._write_run(key, operations, epoch, seq, written)

    def _write_run(
        self, key: str, operations: Sequence[Operation], epoch: int, seq: int, written: str
    ) -> Mutation | None:
        try:
            mutation = self.datastore.mutate(key, operations, epoch=epoch, seq=seq)
        except ClaimLost as error:
            log.warning("%s", error)
            return None
        point(written)
        return mutation

    def step(
        self,
        settlements: Sequence[Settlement],
        want: int,
        worker: Worker,
        accept: Accept,
        queues: Sequence[str] = (),
        sealed: bool = False,
    ) -> tuple[list[bool], list[Claim]]:
        """Settle and claim in one call, which an engine on one server makes one transaction.

        ``sealed``: claims may be left for ``open`` to read.
        """
        results = self.settle(settlements)
        return results, self.claim(want, worker, accept, queues) if want > 0 else []


def still_to_be_put(settlement: Settlement, mutation: Mutation) -> bool:
    """Whether a settled job has to go to the queue: it goes on, and nobody has changed that since.

    A repeated settlement is answered "done" also when the job was put, cancelled or ended long ago.
    """
    if settlement.kind == "finish":
        return False
    return mutation.values.get("status") in WAITING and mutation.values.get("queueState") == PENDING


def new_nonce() -> str:
    """A name for one claim, so that a claim whose answer was lost can be told from somebody else's."""
    return os.urandom(6).hex()
