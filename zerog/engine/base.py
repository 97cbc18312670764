"""Base class of the engines: reading, delivering, counting and skipping jobs."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, TypeVar

from zerog.contracts.datastore import Datastore
from zerog.contracts.foreign import as_datastore
from zerog.contracts.queue import PUT_TAKES, Queue, as_queue
from zerog.engine import transitions
from zerog.engine.cas import Attempts, pause_after, refusals_of
from zerog.engine.decision import early_by
from zerog.engine.live import LiveLimits
from zerog.exceptions import (
    ConfigurationError,
    CorruptDocument,
    DatastoreError,
    InvalidUuid,
    InvalidValue,
    JobNotFound,
    QueueError,
    QueueUnavailable,
    SchemaTooNew,
    TooManyCollisions,
)
from zerog.records.fields import IN_QUEUE
from zerog.records.job import Document, check_head, entries_kept, make_key
from zerog.records.limits import NO_LIMITS, Limits
from zerog.records.operations import Set, apply
from zerog.support.clock import SYSTEM, Clock, to_text
from zerog.support.driver_connection import name_of_kind
from zerog.support.failpoints import failpoint

log = logging.getLogger("zerog")

REMEMBERED = 1_000
"""Number of skipped jobs whose reasons are kept: the latest."""

COUNTERS = {
    "put.failed": "puts that the queue did not take; the job is pending",
    "put.again": "waiting jobs that reconcile put on their queue again",
    "rescued.crashes": "runs taken back because their process died",
    "rescued.lost": "runs taken back because their worker was silent, or did not stop a cancelled job in time",
    "cancelled.waiting": "jobs given back by a run although they had been cancelled, and ended as cancelled",
    "cancelled.duplicate": "jobs that ended as cancelled since another job had their key",
    "woken": "parked jobs that were put on their queue again, for a slot of their limit",
    "expired.waiting": "jobs that a sweep ended because no run had begun by the time that their submitter gave",
    "claim.recovered": "claims whose answer was lost and that were read back as stored",
    "released.unheld": "jobs given back because the worker that they named did not hold them",
    "settle.lost": "runs that ended after their job had been taken from them",
    "dropped.unknown": "deliveries of a uuid without a document",
    "dropped.invalid": "deliveries of something that is no uuid",
    "dropped.unreadable": "deliveries of a document that makes no sense, which was set aside",
    "dropped.moved": "deliveries by a queue from which their job was moved to another one",
    "dropped.new": "deliveries of a job that was saved but never enqueued",
    "dropped.paused": "deliveries of a job that is paused",
    "dropped.running": "deliveries of a job that is running",
    "dropped.succeeded": "deliveries of a job that has ended",
    "dropped.failed": "deliveries of a job that has ended",
    "dropped.cancelled": "deliveries of a job that has ended",
    "released.early": "deliveries that came before their time and were put back",
    "released.unsuitable": "deliveries put back because this code can't take the job",
    "sweep.left": "jobs that reconcile could not repair and left as they are",
    "removed.old": "jobs that had ended and that their class keeps no longer, removed",
    "workers.forgotten": "records of dead workers that were removed",
}
"""Everything that ``Engine.counters`` may hold."""

T = TypeVar("T")

LEFT = "sweep.left"
"""The counter of jobs that a sweep sets aside, each once."""

LEAVE_ALONE = (CorruptDocument, SchemaTooNew, InvalidValue, InvalidUuid, ConfigurationError, TooManyCollisions)
"""Errors caused by one document's content or fate: the document is left as it is and must not block other jobs."""


Create = Callable[[list[Document], str, float], list[tuple[Document, int]]]
"""Stores new documents in one step and puts them on their queues, given the time and the delay."""


class Within(NamedTuple):
    """What works in the transaction of a caller's connection."""

    create: Create
    datastore: Datastore


Chosen = tuple[Document, float]
"""The head of a parked job for which a slot is kept, and the seconds until it may start."""


class EngineBase:
    """A datastore, a family of queues and a clock, with counters of what happened between them.

    ``counters`` counts events that are not transitions of jobs, under the names of ``COUNTERS``. ``skipped`` maps the
    uuids of skipped jobs to the reason.
    """

    at_once: ClassVar[int] = 1
    """Jobs that are submitted, put again or removed in one step, at most."""

    def __init__(self, datastore: Any, queue: Any, clock: Clock = SYSTEM) -> None:
        self.datastore: Datastore = as_datastore(datastore)
        self.queue: Queue = as_queue(queue)
        self.clock = clock
        self.counters: Counter[str] = Counter()
        self.skipped: dict[str, str] = {}
        self._refused_at: dict[str, float] = {}
        self._setting_aside = threading.Lock()
        self._queues = {self.queue.name: self.queue}
        self._refusals = refusals_of(self.datastore)
        self.live_limits = LiveLimits(self.datastore, clock)
        self.limits_of: Callable[[Document], Limits] = lambda head: NO_LIMITS
        """Returns the limits of a job, by its head."""
        self.knows_limits: Callable[[], bool] = lambda: False
        """Returns True if some job has limits by its class."""

    def read(self, uuid: str) -> tuple[Document, int]:
        """Return a job's head and token. Raises InvalidUuid, JobNotFound, CorruptDocument."""
        key = make_key(uuid)
        head, token = self.datastore.read_with_cas(key, head=True)
        if head is None or token is None:
            raise JobNotFound(f"there is no job {uuid}")
        check_head(key, head)
        return head, token

    def may_begin(self, claim: transitions.Claim) -> bool:
        """Return True if the run of a claim may begin. Otherwise ``given_back`` returns the settlement in its place.

        A job that isn't bound needs nothing but its claim, and nothing further is looked at.
        """
        claim.is_bound = claim.is_bound or self._is_bound(claim.head)
        return not claim.is_bound or self.confirm(claim)

    def confirm(self, claim: transitions.Claim) -> bool:
        """Take what the run of a bound job needs; see ``UniqueLocks``."""
        raise NotImplementedError

    def _is_bound(self, head: Document) -> bool:
        """Return True if a job is unique, is parked, or has limits: by its class, or by its queue's settings."""
        if "uniqueLock" in head or "parked" in head or self.limits_of(head) is not NO_LIMITS:
            return True
        return self.live_limits.of_queue(str(head.get("queueName"))) is not None

    def queue_named(self, name: str) -> Queue:
        """Return the queue called ``name``."""
        if name not in self._queues:
            self._queues[name] = self.queue.queue_named(name)
        return self._queues[name]

    def close(self) -> None:
        """Close the datastore and the queue."""
        for queue in self._queues.values():
            queue.close()
        self.datastore.close()

    def early_by(self, head: Document) -> float:
        """Return the seconds until a waiting document may run; 0 or less if it may. Raises CorruptDocument."""
        return early_by(head, self._now())

    def skip(self, uuid: str, why: str, counter: str = "released.unsuitable") -> None:
        """Leave a job alone; remember the reason and the time."""
        self.unskip(uuid)
        while len(self.skipped) >= REMEMBERED:
            self.unskip(next(iter(self.skipped)))
        self.skipped[uuid] = why
        self._refused_at[uuid] = self.clock.monotonic()
        self._count(counter)

    def leave(self, uuid: str, error: Exception, is_faulty: bool) -> None:
        """Skip a job that can't be claimed here; log it if ``is_faulty``: its class is here and can't load it."""
        if is_faulty and self.skipped.get(uuid) != str(error):
            log.warning("job %s is left alone: its class can't load it here: %s", uuid, error)
        self.skip(uuid, str(error))

    def set_aside(self, uuid: str, error: Exception, counter: str) -> None:
        """Skip a job because of an error that its own document caused, and log it once."""
        why = str(error)
        with self._setting_aside:  # the claiming and the sweeping thread may meet the same job
            is_known = self.skipped.get(uuid) == why
            self.skipped[uuid], self._refused_at[uuid] = why, self.clock.monotonic()
        if counter != LEFT or not is_known:  # one sweep meets a job several times, and the next sweep meets it again
            self._count(counter)
        if not is_known:
            log.warning("job %s is set aside: %s", uuid, why)

    def unskip(self, uuid: str) -> None:
        """Forget that a job was skipped."""
        self.skipped.pop(uuid, None)
        self._refused_at.pop(uuid, None)

    def was_refused_within(self, uuid: str, seconds: float) -> bool:
        """True if a delivery of this job was put back within ``seconds``, so that it must be on the queue."""
        return self.clock.monotonic() - self._refused_at.get(uuid, -seconds - 1) <= seconds

    def note_entry(self, uuid: str, name: str, identity: int | str) -> None:
        """Record the new entry of a waiting job whose delivery could only be released by another put on queue ``name``.

        Otherwise reconcile would consider the job lost.
        """
        key = make_key(uuid)
        with suppress(*self._refusals, DatastoreError):
            head, token = self.datastore.read_with_cas(key, head=True)
            if head is not None and head.get("queueState") == IN_QUEUE and head.get("queueName") == name:
                self.datastore.mutate(key, [Set("queueJobId", identity)], cas=token)

    def _deliver(
        self, key: str, head: Document, token: int, delay: float, step: str, front: bool = False
    ) -> tuple[Document, int]:
        """Put a pending document's uuid on its queue and mark it; if anything fails here, the document stays pending.

        The document is stored, so the job is accepted: an error here must not look like a refusal.
        """
        failpoint(f"{step}.put")
        try:
            identity = self._put(head, delay, front)
        except (QueueError, ConfigurationError, InvalidValue) as error:
            log.warning("job %s is stored but not yet on queue %s: %s", head["uuid"], head["queueName"], error)
            self._count("put.failed")
            return head, token
        failpoint(f"{step}.mark")
        marks = transitions.queued(self._now(), identity, head.get("expiresAt"))
        with suppress(*self._refusals, DatastoreError):
            token = self.datastore.mutate(key, marks, cas=token).token
            failpoint(f"{step}.marked")
        apply(head, marks)
        return head, token

    def _put(self, head: Document, delay: float, front: bool = False) -> int | str:
        queue, options = self.queue_named(head["queueName"]), head["queueKwargs"]
        more = {name: value for name, value in options.items() if name not in PUT_TAKES and queue.takes(name)}
        identity: int | str | None = queue.put(
            head["uuid"], delay=delay, priority=head["priority"], ttr=options.get("ttr"), front=front, **more
        )
        if identity is None:
            raise QueueUnavailable(f"{head['uuid']} was not put on {queue.name}: its put answered None")
        return identity

    def _wait_for_answer(self, attempt: int) -> None:
        """Pause before asking a datastore again whose answer was lost, longer each time."""
        self.clock.pause(pause_after(attempt))

    def now(self) -> datetime:
        """Return the time for delays and due times: the datastore's, or this machine's if it has no clock."""
        return self.datastore.now() or self.clock.now()

    def kept(self, head: Document) -> int:
        """Return how many entries each history list of a job keeps, whether or not its class is known here."""
        return entries_kept(head, self.datastore.history_limit)

    def _now(self) -> str:
        return to_text(self.now())

    def _within(self, connection: Any) -> AbstractContextManager[Within]:
        """Yield what works in the transaction of a caller's connection. Raises ConfigurationError."""
        raise ConfigurationError(
            "connection= needs documents and queue in one SQLite file or one PostgreSQL database, given as one URL; "
            f"this app has {type(self.datastore).__name__} and {type(self.queue).__name__}, which can't write in the "
            f"transaction of a {name_of_kind(connection)}. Nothing was stored."
        )

    def _groups(self, every: Sequence[T]) -> Iterator[Sequence[T]]:
        """Yield the parts of a sequence that are handled in one step each."""
        return (every[start : start + self.at_once] for start in range(0, len(every), self.at_once))

    def _count(self, what: str, times: int = 1) -> None:
        if times:
            self.counters[what] += times

    def _attempts(self, key: str, *also: type[BaseException]) -> Attempts:
        return Attempts(self.datastore, key, self.clock, also)
