"""The life of a job between a datastore and a queue: the only place where the order of writes matters.

``Engine`` serves any datastore with any queue. The document is the truth and is always written first; the queue is
updated afterwards. A crash in between leaves a document that records it (``pending``) or a delivery that is dropped on
arrival, and ``zerog.maintenance.reconcile`` repairs the rest. ``submit`` is in ``zerog.engine.submit``, verbs for
processes that don't own the job in ``zerog.engine.recovery`` and ``zerog.engine.operator``:

=======  ==============================================================  =========================
verb     writes, in this order                                           a crash in between leaves
=======  ==============================================================  =========================
submit   create (pending), put, mark                                     a pending document
claim    reserve, verify, compare-and-swap to the new owner, ack         an owner, and a delivery
settle   fenced write of the outcome; if it runs again: put, mark        a pending document
rescue   compare-and-swap away from a dead owner, put, mark              a pending document
cancel   waiting: compare-and-swap; running: a mark for the owner        nothing
pause    as cancel                                                       nothing
resume   compare-and-swap, put, mark                                     a pending document
edit     compare-and-swap; if it is retried, too: put, mark              a pending document
discard  compare-and-swap away of a document that has ended              perhaps a delivery
=======  ==============================================================  =========================

Engines for a datastore and a queue on one server do each verb in one transaction (``zerog.backends``); they share the
names of the crash points and the conformance suite ``zerog.testing.contracts.engine``.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Any, ClassVar

from zerog.contracts.datastore import RunGuard
from zerog.contracts.queue import FAIR_SHARE, Reservation, delivered_by
from zerog.engine import joblog, transitions
from zerog.engine.base import LEAVE_ALONE
from zerog.engine.decision import Drop, Later, Run, Stop, decide
from zerog.engine.moves import MoveVerb
from zerog.engine.multiwait import MultiQueueWaiter
from zerog.engine.opening import Loader as Loader
from zerog.engine.opening import OpenVerbs
from zerog.engine.operator import EditVerb
from zerog.engine.pausing import PauseVerbs
from zerog.engine.recovery import RecoveryVerbs
from zerog.engine.set_aside import is_served_by
from zerog.engine.submit_unique import UniqueSubmitVerb
from zerog.engine.transitions import (
    Claim,
    Settled,
    Settlement,
    Step,
    WorkerIdentity,
    is_claimed,
    still_to_be_put,
)
from zerog.exceptions import (
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
from zerog.records.job import Document, check_head, make_key
from zerog.records.operations import apply
from zerog.support.clock import SYSTEM, Clock
from zerog.support.failpoints import failpoint

log = logging.getLogger("zerog")

LONGEST_LOOK = 1.0
"""Seconds for which one claim passes over deliveries that it can't use; ended runs have to be settled, too."""

UNTAKEABLE = (SchemaTooNew, InvalidValue, TooManyCollisions)
"""Errors of a document that can't be claimed now, because of its content or of concurrent writes."""


class Unsuitable(Exception):
    """This worker's code can't take the job: unknown type, newer schema, unreadable. The document stays as it is."""

    def __init__(self, message: str, is_newer: bool = False, is_faulty: bool = False) -> None:
        """``is_newer``: newer code than this wrote the document. ``is_faulty``: its class is here and can't load it."""
        super().__init__(message)
        self.is_newer, self.is_faulty = is_newer, is_faulty


class Engine(OpenVerbs, UniqueSubmitVerb, RecoveryVerbs, PauseVerbs, EditVerb, MoveVerb):
    """The lifecycle verbs over one datastore and one family of queues.

    ``counters`` counts events that are not transitions of jobs, under the names of ``zerog.engine.base.COUNTERS``.
    ``skipped`` maps the uuids of skipped jobs to the reason.
    """

    claims_ahead: ClassVar[bool] = False
    """True if many claims cost little more than one, so that short jobs may be claimed before a slot is free."""

    def __init__(self, datastore: Any, queue: Any, clock: Clock = SYSTEM) -> None:
        super().__init__(datastore, queue, clock)
        self._inbox: list[Reservation] = []
        self._inbox_lock = threading.Lock()
        self._listeners = MultiQueueWaiter(self.queue_named)
        self._turn = 0

    # claim

    def claim(
        self, want: int, worker: WorkerIdentity, loader: Loader, queues: Sequence[str] = (), batch: str = ""
    ) -> list[Claim]:
        """Claim up to ``want`` jobs that are ready, without waiting for any.

        ``queues`` in order of priority; by default the engine's own. Every FAIR_SHARE-th job is the oldest of the
        lowest priority, of the last of them that has any. ``batch``: prefix of the nonces of these claims; generated by
        default. Raises an error of the datastore or a queue only if nothing was claimed: a claim that is not returned
        would be a job that nothing runs.
        """
        claims, trouble = self._claim(want, worker, loader, queues, batch or new_nonce())
        if trouble is not None:
            if not claims:
                raise trouble
            log.warning("claimed %d jobs, then claiming failed: %s", len(claims), trouble)
        return claims

    def _claim(
        self, want: int, worker: WorkerIdentity, loader: Loader, queues: Sequence[str], batch: str
    ) -> tuple[list[Claim], Exception | None]:
        """Return the claims, and the error that ended claiming early, if any."""
        claims: list[Claim] = []
        numbers = count(1)
        queues = self.serving(queues, worker)
        end = self.clock.monotonic() + LONGEST_LOOK
        while True:
            made, some = list[Claim](), want - len(claims)
            try:
                while len(made) < some and (claims or made or self.clock.monotonic() < end):
                    reservation = self._reserve(queues)
                    if reservation is None:
                        break
                    claim = self._claim_delivered(reservation, worker, loader, f"{batch}{next(numbers)}")
                    if claim is not None:
                        made.append(claim)
            except Exception as error:  # a driver's, too: jobs claimed so far must be returned
                return claims + self.open_all(made), error
            opened = self.open_all(made)
            claims += opened
            if len(made) < some or len(opened) == some:
                break
        self.unreserve()
        return claims, None

    def wait_ready(self, timeout: float, queues: Sequence[str] = ()) -> bool:
        """Block until one of the queues may have something to claim, ``timeout`` passed or ``wake`` was called.

        Needs a dedicated thread. True is a hint: another consumer may be quicker. Raises QueueError.
        """
        names = self.serving(queues)
        if len(names) > 1:
            reservations = self._listeners.wait(timeout, names)
        else:
            reservation = delivered_by(names[0], self.queue_named(names[0]).reserve(timeout))
            reservations = [] if reservation is None else [reservation]
        with self._inbox_lock:
            self._inbox += reservations
        return bool(reservations)

    def wake(self, queues: Sequence[str] = ()) -> None:
        """Make ``wait_ready`` return early."""
        self._listeners.wake()
        if len(queues) <= 1:
            self.queue_named(queues[0] if queues else self.queue.name).wake()

    def close(self) -> None:
        self._listeners.close()
        super().close()

    def unreserve(self) -> None:
        """Release the reservations of ``wait_ready`` that are not claimed yet."""
        with self._inbox_lock:
            reservations, self._inbox = self._inbox, []
        for reservation in reservations:
            self._put_back(reservation, 0)

    def _reserve(self, queues: Sequence[str]) -> Reservation | None:
        with self._inbox_lock:
            if self._inbox:
                self._turn += 1
                return self._inbox.pop()
        is_for_the_lowest = self._turn >= FAIR_SHARE - 1
        for name in reversed(queues) if is_for_the_lowest else queues:
            queue = self.queue_named(name)
            reservation = delivered_by(name, queue.reserve_lowest() if is_for_the_lowest else queue.reserve(0))
            if reservation is not None:
                self._turn = 0 if is_for_the_lowest else self._turn + 1
                return reservation
        return None

    def claim_one(
        self, reservation: Reservation, worker: WorkerIdentity, loader: Loader, nonce: str = ""
    ) -> Claim | None:
        """Claim the job of one delivery; None if it can't run now, or not on this worker.

        The delivery is handled in any case: taken off its queue, or put back for later. ``nonce`` names the claim;
        generated by default.
        """
        claim = self._claim_delivered(reservation, worker, loader, nonce or new_nonce())
        return None if claim is None or not self.open_all([claim]) else claim

    def _claim_delivered(
        self, reservation: Reservation, worker: WorkerIdentity, loader: Loader, nonce: str
    ) -> Claim | None:
        failpoint("claim.reserved")
        try:
            claim = self._win(reservation, worker, loader, nonce)
        except InvalidUuid:
            self._drop(reservation, "dropped.invalid")
            return None
        except CorruptDocument as error:  # the sweep handles it; a delivery would return again and again
            self.set_aside(reservation.uuid, error, "dropped.unreadable")
            self._ack(reservation)
            return None
        except (Unsuitable, *UNTAKEABLE) as error:
            self.leave(reservation.uuid, error, isinstance(error, Unsuitable) and error.is_faulty)
            self.put_aside(reservation, worker)
            return None
        except Exception:
            self._put_back(reservation, 1.0)
            raise
        if claim is not None:
            failpoint("claim.ack")
            self._ack(reservation)
        return claim

    def _win(self, reservation: Reservation, worker: WorkerIdentity, loader: Loader, nonce: str) -> Claim | None:
        key = make_key(reservation.uuid)
        attempts = self._attempts(key)
        while True:
            head, token = self.datastore.read_with_cas(key, head=True)
            if head is None or token is None:
                self._drop(reservation, "dropped.unknown")
                return None
            check_head(key, head)
            if attempts.unanswered and is_claimed(head, nonce):
                self._count("claim.recovered")
                return Claim(key, head["uuid"], head["epoch"], nonce, token, head, self.inspect(head, loader))
            if not self._may_run(reservation, key, head, token, worker):
                return None
            with attempts:
                return self._take(key, head, token, worker, self.inspect(head, loader), nonce)

    def _may_run(self, reservation: Reservation, key: str, head: Document, token: int, worker: WorkerIdentity) -> bool:
        """Return True if the delivered job waits and is due; otherwise drop or put back the delivery."""
        if not self.datastore.can_find and self._give_back_unheld(head, worker):
            self._put_back(reservation, 1.0)
            return False
        decision = decide(head, self._now())
        if isinstance(decision, (Run, Later)) and not is_served_by(head["queueName"], reservation.queue):
            self._drop(reservation, "dropped.moved")
            return False
        if isinstance(decision, Drop):
            self._drop(reservation, decision.counter)
        elif isinstance(decision, Later):
            self._count("released.early")
            self._put_back(reservation, decision.seconds)
        elif isinstance(decision, Stop):
            if self._stop_waiting(key, head, token):
                joblog.stopped(head)
                self._ack(reservation)
            else:
                self._put_back(reservation, 1.0)
        return isinstance(decision, Run)

    def inspect(self, head: Document, loader: Loader) -> Any:
        """Call ``loader``, and forget an earlier refusal."""
        loaded = loader(head)
        self.unskip(head["uuid"])
        return loaded

    def _give_back_unheld(self, head: Document, worker: WorkerIdentity) -> bool:
        """Release a job that names this worker as its owner without being held here: its claim was never answered."""
        owner = head.get("owner")
        if not isinstance(owner, dict) or owner.get("worker") != worker.name or worker.holds is None:
            return False
        if worker.holds(str(owner.get("nonce"))):
            return False
        return self.release(head["uuid"], RunGuard.of(head), "its claim was not answered", has_begun=False)

    def _take(self, key: str, head: Document, token: int, worker: WorkerIdentity, loaded: Any, nonce: str) -> Claim:
        operations, ready = transitions.claimed(head, worker, nonce, self._now()), transitions.ready_since(head)
        apply(head, operations)
        failpoint("claim.write")
        token = self.datastore.mutate(key, operations, cas=token).token
        failpoint("claim.written")
        return Claim(key, head["uuid"], head["epoch"], nonce, token, head, loaded, ready=ready)

    def read_back(self, claims: Sequence[Claim]) -> list[Claim]:
        """Return those claims with a lost answer that are stored.

        A claim that can't be read now is left out: the audit releases its job if it is stored after all.
        """
        stored = []
        for claim in claims:
            try:
                head, token = self.datastore.read_with_cas(claim.key, head=True)
            except (DatastoreError, *LEAVE_ALONE) as error:
                log.warning("the claim of job %s is not answered and can't be read back: %s", claim.uuid, error)
                continue
            if head is not None and token is not None and is_claimed(head, claim.nonce):
                self._count("claim.recovered")
                claim.head, claim.token, claim.seq = head, token, head["seq"]
                stored.append(claim)
        return stored

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
        """Do the part of ``settle`` that needs no server, to relieve the thread that settles."""

    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """End runs, each by one write under its numbers, so that the same settlements may be sent again."""
        return [self._answer(settlement) for settlement in settlements]

    def _answer(self, settlement: Settlement) -> Settled:
        """Settle one run separately."""
        try:
            return self._settle_one(settlement)
        except Exception as error:  # a driver's, too: the other runs must be settled
            return error

    def _settle_one(self, settlement: Settlement) -> bool:
        claim = settlement.claim
        operations = transitions.settled(settlement, self._now())
        failpoint("settle.write")
        try:
            mutation = self.datastore.mutate(claim.key, operations, run=settlement.run)
        except ClaimLost as error:
            log.warning("%s", error)
            self._count("settle.lost")
            return False
        failpoint("settle.written")
        if still_to_be_put(settlement, mutation):
            if mutation.cancel_requested:
                settlement.status = self._stop_settled(claim.key, mutation.token)
            else:
                ahead = settlement.kind == "release"
                self._deliver(claim.key, dict(claim.head), mutation.token, settlement.delay, "settle", ahead)
        return True

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
        """Settle and claim in one call; one transaction in an engine on one server. Raises nothing.

        ``deferred``: claims may be left for ``load_claim`` to read. ``batch`` as for ``claim``.
        """
        settled = self.settle(settlements)
        claims, trouble = self._claim(want, worker, loader, queues, batch or new_nonce()) if want > 0 else ([], None)
        return Step(settled, claims, trouble)


def new_nonce() -> str:
    """Return a name for one claim, or a prefix for several; all have the same length."""
    return os.urandom(6).hex()
