"""Each transition of a job's life as a list of operations. Pure functions: no clock, no store, no queue.

The engines decide when a transition happens, and its order with the queue; its changes of the document are decided
here, once for all engines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from zerog.contracts.datastore import Mutation, RunGuard
from zerog.records.fields import IN_QUEUE, NO_RESULT, NOT_QUEUED, PARKED, PENDING
from zerog.records.job import (
    CANCELLED,
    CANCELLED_STATUS,
    EXPIRED,
    FAILED,
    PAUSED,
    QUEUED,
    RUNNING,
    SCHEDULED,
    SUCCEEDED,
    WAITING,
    Document,
    has_followers,
)
from zerog.records.limits import parked_in, unlisted
from zerog.records.operations import Add, Append, Max, Operation, Set
from zerog.records.slots import Sharing
from zerog.support.clock import text_after
from zerog.support.jsonvalues import storable_text

LAST_ERROR_CHARACTERS = 500
"""Characters of an error's message that ``lastError`` in the head holds; the whole of it is in ``errors``."""

PENDING_GRACE = 5.0
"""Seconds for the writer of a pending document to put it on the queue, before reconcile does."""

UNSUITABLE_DELAY = 5.0
"""Seconds until a claimed job is ready again whose class could not load it."""


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """The claiming worker: its name, the seconds of silence until it counts as dead, the build of its code."""

    name: str
    lease: float
    build: str | None = None
    knows: tuple[tuple[str, float], ...] = ()
    """Job types and schema versions that its code writes itself. An engine may claim such jobs before their heads are
    read."""
    holds: Callable[[str], bool] | None = field(default=None, compare=False)
    """True if the worker holds the run of a nonce. Used where the datastore can't find, so that no sweep can compare
    the worker's record with the documents."""

    def as_owner(self, nonce: str) -> Document:
        """Return the ``owner`` of a job that this worker claims."""
        owner = {"worker": self.name, "nonce": nonce, "lease": self.lease}
        return owner if self.build is None else {**owner, "build": self.build}


@dataclass(slots=True)
class Claim:
    """A job that this worker owns: the numbers that its writes must carry, and the head as of the claim."""

    key: str
    uuid: str
    epoch: int
    nonce: str
    token: int
    head: Document
    job: Any = None
    """The value that ``loader`` returned for the head before the claim, for ``load_job``."""
    seq: int = 0
    at: float = 0.0
    """Start of the call that made it, by the worker's monotonic clock; 0.0 if unknown."""
    raw_head: Any = None
    """Unread head of a job that an engine claimed unread; ``Engine.load_claim`` makes ``head`` and ``job`` of it."""
    ready: str = ""
    """Since when the job could be taken; empty if that is its ``queuedAt``, or unknown."""
    is_bound: bool = False
    """True if the job is unique or has limits, so that its run needs more than the claim."""
    is_confirmed: bool = False
    """True if the lock of a unique job was looked at, and the slots of limits are taken."""
    sharing: Sharing | None = None
    slot: str = ""
    """What lets it share a limit's slot with runs of its worker, which runs one of them at a time; and that slot."""
    ending: Settlement | None = None
    """The settlement of a job that must not run, or not now."""

    @property
    def run(self) -> RunGuard:
        """Return the name of the run that this claim allows."""
        return RunGuard(self.epoch, self.nonce)


@dataclass(slots=True)
class Settlement:
    """The end of a run, with everything that its last write must carry."""

    claim: Claim
    kind: str
    """``finish``, ``requeue``, ``release`` (requeue that costs the job nothing) or ``park`` (that, but without a place
    on its queue)."""
    seq: int
    """The number of this write: one more than the run's last."""
    result_code: int = NO_RESULT
    delay: float = 0.0
    status: str | None = None
    """Of a finished job, if it doesn't follow from the result code."""
    operations: list[Operation] = field(default_factory=list)
    """Changes of the run that waited for its next write, records of errors, output."""
    at: str = ""
    """The latest time that the run has written or is about to; its end is not earlier, whatever the clock shows."""
    seconds: float = 0.0
    """Duration of the run; for log lines, not stored."""
    prepared: Any = None
    """The result of ``Engine.prepare``; None again if the settlement is changed."""
    is_short: bool = False
    """True if it holds only result and reason, because its document refused the rest."""
    tries: int = 0
    """Number of times it was sent without having been stored."""

    @property
    def run(self) -> RunGuard:
        """Return the run that this ends, and the number of its last write."""
        return RunGuard(self.claim.epoch, self.claim.nonce, self.seq)


Settled = bool | Exception
"""Result of a settlement: True, it is stored, now or before; False, another run owns the job; an exception, the reason
why it is not stored. Settlements don't affect each other."""


class Step(NamedTuple):
    """The answer of ``Engine.step``."""

    settled: list[Settled]
    """One for each settlement, in their order."""
    claims: list[Claim]
    trouble: Exception | None = None
    """The error because of which the call claimed less than it could have, if any."""


def stamp(head: Document, now: str) -> str:
    """Return the time to write into a document: never earlier than what it holds, since clocks may be set back."""
    last = head.get("updatedAt")
    return max(now, last) if isinstance(last, str) else now


def waiting(now: str, delay: float) -> list[Operation]:
    """Return the operations for a job to be put on the queue, by this writer now or by reconcile soon."""
    return [
        Set("status", SCHEDULED if delay > 0 else QUEUED),
        Set("queueState", PENDING),
        Set("notBefore", text_after(now, delay) if delay > 0 else None),
        Set("due", text_after(now, PENDING_GRACE)),
        Max("updatedAt", now),
    ]


def woken(head: Document, found: Document, now: str, delay: float) -> tuple[bool, list[Operation]]:
    """Return whether a job is parked where it was ``found``, and the operations by which it waits for a worker."""
    if head.get("queueState") != PARKED or parked_in(head) != parked_in(found):
        return False, unlisted(head)
    return True, [*unlisted(head), *waiting(now, delay)]


def queued(now: str, queue_job_id: int | str, expires: str | None = None) -> list[Operation]:
    """Return the operations for a job that was put on the queue; ``expires``: when a sweep has to look at it."""
    return [
        Set("queueState", IN_QUEUE),
        Set("queuedAt", now),
        Set("queueJobId", queue_job_id),
        Set("due", expires),
    ]


def claimed(head: Document, worker: WorkerIdentity, nonce: str, now: str) -> list[Operation]:
    """Return the operations for a claimed job: a new epoch, whose writes start at 1."""
    return [
        Set("status", RUNNING),
        Set("epoch", head["epoch"] + 1),
        Set("seq", 0),
        Set("owner", worker.as_owner(nonce)),
        Set("run", nonce),
        Set("running", True),
        Add("attempts", 1),
        Set("startedAt", stamp(head, now)),
        Max("updatedAt", now),
        Set("queueState", NOT_QUEUED),
        Set("notBefore", None),
        Set("due", None),
    ]


def ready_since(head: Document) -> str:
    """Return when a waiting job could first be taken, as text; empty if its fields don't say."""
    return max(str(head.get("queuedAt") or ""), str(head.get("notBefore") or ""))


DISOWNED: list[Operation] = [Set("owner", None), Set("running", False)]
"""The operations for a job that no run owns any more."""

# Of each end of a run the same, so they are made once.
_OFF_QUEUE: tuple[Operation, ...] = (Set("queueState", NOT_QUEUED), Set("notBefore", None))
_NOT_DUE = Set("due", None)
_COMPLETE = Max("completeness", 1.0)


def settled(settlement: Settlement, now: str) -> list[Operation]:
    """Return the operations for the end of a run."""
    operations = [*settlement.operations, *DISOWNED]
    if settlement.kind == "finish":
        ended = max(stamp(settlement.claim.head, now), settlement.at)
        return operations + finished(settlement.claim.head, settlement.result_code, ended, settlement.status)
    if settlement.kind != "requeue":
        operations.append(Add("attempts", -1, low=0))
    if settlement.kind == "park":
        return operations
    return operations + waiting(now, settlement.delay)


def keeps_its_place(head: Document) -> bool:
    """True if a job that was taken from its owner is put ahead of those that wait: it had its turn.

    False if runs of it died before. It may be what kills workers, and would take the jobs beside it along again and
    again.
    """
    return bool(head["crashes"] + head["lost"] <= 1)


def finished(head: Document, result_code: int, now: str, status: str | None = None) -> list[Operation]:
    """Return the operations for a terminal status. A job that failed keeps the completeness it had.

    A job with followers is due from then on: a sweep submits them.
    """
    succeeded = 200 <= result_code < 300
    operations: list[Operation] = [
        Set("status", status or (SUCCEEDED if succeeded else FAILED)),
        Set("resultCode", result_code),
        Set("finishedAt", now),
        Max("updatedAt", now),
        *_OFF_QUEUE,
        Set("due", now) if has_followers(head) else _NOT_DUE,
    ]
    if succeeded:
        operations.append(_COMPLETE)
    return operations + unlisted(head) if head.get("attrs") else operations


def begun(head: Document) -> list[Operation]:
    """Return the operations for a job of which a run has begun: it doesn't expire, nor lose its key to another job."""
    operations: list[Operation] = [] if head.get("expiresAt") is None else [Set("expiresAt", None)]
    lock = head.get("uniqueLock")
    if isinstance(lock, dict) and not lock.get("begun"):
        operations.append(Set("uniqueLock", {**lock, "begun": True}))
    return operations


def _afresh(head: Document) -> list[Operation]:
    """Return the operations for a job that is to begin anew: it has all the time, and its lock is looked at again."""
    operations: list[Operation] = [] if head.get("expiresAt") is None else [Set("expiresAt", None)]
    lock = head.get("uniqueLock")
    if isinstance(lock, dict) and lock.get("begun"):
        kept = {name: value for name, value in lock.items() if name != "begun"}
        operations.append(Set("uniqueLock", kept))
    return operations


def stopped(head: Document, now: str) -> list[Operation]:
    """Return the operations for a waiting job that was to stop before its run gave it back: paused, or cancelled."""
    return paused(head, now) if is_to_pause(head) else cancelled(head, now)


def is_to_pause(head: Document) -> bool:
    """True if a run was asked to stop for a pause of its job, which may go on later."""
    return head.get("cancelRequested") is not None and isinstance(head.get("paused"), dict)


def paused(head: Document, now: str) -> list[Operation]:
    """Return the operations for a job that is paused from now on, beside the field that holds by whom and why."""
    return [
        Set("status", PAUSED),
        Set("cancelRequested", None),
        Set("queueState", NOT_QUEUED),
        Set("due", None),
        Max("updatedAt", stamp(head, now)),
    ]


def expired(head: Document, now: str, keep: int) -> list[Operation]:
    """Return the operations for a job that nothing has begun by the time that its submitter gave."""
    at = stamp(head, now)
    return [Append("events", expiry(head, at), keep), *finished(head, EXPIRED, at, CANCELLED_STATUS)]


def expiry(head: Document, at: str) -> Document:
    """Return the entry of ``events`` for a job that has expired."""
    return event_record(at, f"expired: no run had begun by {head['expiresAt']}")


def cancelled(head: Document, now: str) -> list[Operation]:
    """Return the operations for a job that was cancelled before it ran."""
    at = stamp(head, now)
    mark = [Set("cancelRequested", head.get("cancelRequested") or at), *unpaused(head)]
    return [*mark, *finished(head, CANCELLED, at, CANCELLED_STATUS)]


def unpaused(head: Document) -> list[Operation]:
    """Return the operation that takes the pause out of a document, if it has one."""
    return [] if head.get("paused") is None else [Set("paused", None)]


def retried(head: Document, event: Document, now: str, keep: int, reset: bool = True) -> list[Operation]:
    """Return the operations for an ended job that an operator retries, with all counters of trouble at 0 again.

    Without ``reset`` those stay that count what the job itself did. The others would keep it from running at all.
    """
    of_job = ("errorCount", "continues") if reset else ()
    return [
        Set("epoch", head["epoch"] + 1),
        Set("seq", 0),
        Set("resultCode", NO_RESULT),
        Set("output", None),
        Set("finishedAt", None),
        Set("cancelRequested", None),
        *(Set(counter, 0) for counter in (*of_job, "crashes", "lost")),
        Append("events", event, keep),
        *_afresh(head),
        *unpaused(head),
        *waiting(now, 0),
    ]


def edited(changes: list[Operation], event: Document, now: str, keep: int) -> list[Operation]:
    """Return the operations for a job that an operator edits, while it waits or after it has ended."""
    return [*changes, Append("events", event, keep), Max("updatedAt", now)]


def erred(record: Document, keep: int) -> list[Operation]:
    """Return the operations for an error: in the history and, shortened, in the head, for lists and filters."""
    last = {name: record.get(name) for name in ("timestamp", "errorCode", "type")}
    last |= {name: record[name] for name in ("build", "fingerprint") if record.get(name) is not None}
    last["msg"] = shortened_message(str(record.get("msg")))
    return [Append("errors", record, keep), Set("lastError", last)]


def shortened_message(text: str) -> str:
    """Return a message as ``lastError`` holds it."""
    text = storable_text(text)
    return text if len(text) <= LAST_ERROR_CHARACTERS else f"{text[: LAST_ERROR_CHARACTERS - 1]}…"


def event_record(now: str, message: str, **more: Any) -> Document:
    """Return an entry of ``events``; ``more`` may hold the author (``who``) and anything else to keep with it."""
    return {"timestamp": now, "msg": storable_text(message), **more}


def build_of(head: Document) -> str | None:
    """Return the build of the code that a job's owner runs, None if unknown."""
    owner = head.get("owner")
    return owner.get("build") if isinstance(owner, dict) else None


def error_record(
    now: str, code: int, message: str, attempt: int | None = None, build: str | None = None, **more: Any
) -> Document:
    """Return an entry of ``errors``; ``build``: the code that ran; ``more``: ``type``, ``traceback``, ``data``."""
    record = {"timestamp": now, "errorCode": code, "msg": storable_text(message), **more}
    known = {"attempt": attempt, "build": build}
    return record | {name: value for name, value in known.items() if value is not None}


def still_to_be_put(settlement: Settlement, mutation: Mutation) -> bool:
    """True if a settled job has to be put on its queue: it runs again, and no other write has changed that since.

    Also for a parked one that was cancelled: it ends instead.

    A repeated settlement is answered "done" also when the job was put, cancelled or ended long ago.
    """
    if settlement.kind == "finish":
        return False
    state = mutation.values.get("queueState")
    is_to_end = state == PARKED and mutation.cancel_requested
    return mutation.values.get("status") in WAITING and (state == PENDING or is_to_end)


def given_back(claim: Claim, delay: float = UNSUITABLE_DELAY) -> Settlement:
    """Return the settlement of a claimed job whose run hasn't begun: as a rule its release, which costs it nothing."""
    return claim.ending or Settlement(claim, "release", claim.seq + 1, delay=delay)


def is_claimed(head: Document, nonce: str) -> bool:
    """True if the claim of this nonce owns the job of a head."""
    owner = head.get("owner")
    return isinstance(owner, dict) and owner.get("nonce") == nonce
