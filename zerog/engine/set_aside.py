"""Set aside the entries of jobs that a worker can't take, so that they don't block jobs that it can.

At its first refusal an entry leaves its queue for one that holds only its *kind*: job type, schema version and layout.
That queue is named ``<queue>~<12 hexadecimal digits>``, and listed beside the pauses in one document. A worker serves
the queues of the kinds that it takes before the queue itself, as a part of it: with its pause, its order and its
share. The kind is a hint, corrected at the next refusal.

On queues that other programs also serve, and on queues without further queues beside them, a refused entry is put back
with a delay.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from zerog.contracts.queue import Reservation
from zerog.engine.base import EngineBase
from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import ConfigurationError, DatastoreError, QueueError, ZerogError
from zerog.records.fields import FORMAT
from zerog.records.job import Document, make_key
from zerog.records.keys import QUEUES
from zerog.support import jsonvalues
from zerog.support.clock import SYSTEM, Clock, from_text
from zerog.support.failpoints import failpoint

log = logging.getLogger("zerog")

LOOK = 1.0
"""Seconds between two reads of the list of kinds."""

LISTED = 1_000
"""Kinds listed for one queue, at most; further refused entries are put back with a delay."""

SHORTEST, LONGEST = 1.0, 60.0
"""Bounds of the seconds for which an entry that can't be set aside is put back: as long as its job has waited."""


class Kind(NamedTuple):
    """The properties that decide whether a worker's code can take a job."""

    job_type: str
    version: float
    layout: int

    @classmethod
    def of(cls, head: Document) -> Kind | None:
        """Return the kind of a job, None if its document lacks it."""
        return cls.read([head.get("jobType"), head.get("schemaVersion"), head.get("format")])

    @classmethod
    def read(cls, stored: Any) -> Kind | None:
        """Return a kind as it is listed, None if the value is invalid."""
        if not isinstance(stored, list) or len(stored) != 3 or not isinstance(stored[0], str):
            return None
        if not all(type(number) in (int, float) and math.isfinite(number) for number in stored[1:]):
            return None
        return cls(stored[0], stored[1], stored[2])

    def is_taken_by(self, worker: WorkerIdentity) -> bool:
        """True if the worker's code may take such jobs, according to its identity."""
        known = dict(worker.knows)
        return not known or (self.layout <= FORMAT and self.version <= known.get(self.job_type, -math.inf))

    def queue(self, name: str) -> str:
        """Return the name of the queue for entries of this kind that were refused on queue ``name``."""
        text = jsonvalues.encode_checked([self.job_type, float(self.version), int(self.layout)])
        return f"{name}~{hashlib.sha256(text.encode()).hexdigest()[:12]}"


Kinds = dict[str, dict[str, Kind]]
"""By queue, the queues beside it and their kinds."""


class SetAside(EngineBase):
    """Keep track of the kinds that were set aside, and of their queues."""

    def __init__(self, datastore: Any, queue: Any, clock: Clock = SYSTEM) -> None:
        super().__init__(datastore, queue, clock)
        self._kinds: Kinds = {}
        self._empty: set[tuple[str, str]] = set()
        self._unlistable: set[str] = set()
        self._looked = -math.inf
        self._latest: WorkerIdentity | None = None

    def serving(self, queues: Sequence[str], worker: WorkerIdentity | None = None) -> tuple[str, ...]:
        """Return the queues that a worker of ``queues`` polls, in its order; by default the latest worker's."""
        self._latest = worker or self._latest
        names = tuple(queues) or (self.queue.name,)
        self.look_up_kinds()
        return tuple(self._with_asides(names)) if self._kinds else names

    def refused_kinds(self) -> Kinds:
        """Return the kinds that are set aside now, by queue. Raises the errors of the datastore."""
        return _kinds_in(self.datastore.read_with_cas(QUEUES, head=True)[0])

    def look_up_kinds(self) -> None:
        """Read the kinds that were set aside, unless that was done lately."""
        now = self.clock.monotonic()
        if now - self._looked >= LOOK:
            self._looked = now
            self._unlistable.clear()
            with suppress(ZerogError):  # keep the last list; a claim meets the same error and raises it
                self._kinds = _kinds_in(self.datastore.read_with_cas(QUEUES, head=True)[0])

    def _with_asides(self, queues: Sequence[str]) -> Iterator[str]:
        for name in queues:
            for aside, kind in self._kinds.get(name, {}).items():
                if self._latest is None or kind.is_taken_by(self._latest):
                    yield aside
            yield name

    def aside_of(self, head: Document) -> str | None:
        """Return the queue with the entry of a waiting job if it was set aside; None if its kind never was."""
        kind, name = Kind.of(head), head.get("queueName")
        if kind is None or not isinstance(name, str):
            return None
        aside = kind.queue(name)
        return aside if aside in self._kinds.get(name, {}) else None

    def aside_for(self, head: Document, worker: WorkerIdentity) -> str | None:
        """Return the queue for the entry of a job that ``worker`` has refused; None if it is only to be put back."""
        kind = self.must_list(head, worker)
        if kind is not None:
            self.list_or_give_up(head["queueName"], kind)
        return self.aside_of(head) if _is_of_others(head, worker) else None

    def must_list(self, head: Document, worker: WorkerIdentity) -> Kind | None:
        """Return the kind of a refused job that must be listed before its entry can be set aside."""
        kind, name = Kind.of(head), head.get("queueName")
        if kind is None or not isinstance(name, str) or kind.is_taken_by(worker):
            return None
        listed = self._kinds.get(name, {})
        if kind.queue(name) in listed or kind.queue(name) in self._unlistable or len(listed) >= LISTED:
            return None
        try:
            return kind if self.queue_named(name).sets_aside and self.queue_named(kind.queue(name)) else None
        except ConfigurationError:
            return None

    def list_or_give_up(self, name: str, kind: Kind) -> None:
        """List a kind; on failure its entries are put back with a delay until the next read of the list."""
        try:
            self.list_kind(name, kind)
        except DatastoreError as error:
            log.warning("%s is not listed as set aside from queue %s: %s", kind, name, error)
            self._unlistable.add(kind.queue(name))

    def put_aside(self, reservation: Reservation, worker: WorkerIdentity) -> None:
        """Move the entry of a refused delivery to the queue of its kind, or put it back."""
        head: Document | None = None
        try:
            head = self.datastore.read_with_cas(make_key(reservation.uuid), head=True)[0]
            aside = None if head is None else self.aside_for(head, worker)
            if head is not None and aside is not None:
                ttr = head["queueKwargs"].get("ttr")
                failpoint("aside.put")
                identity = self.queue_named(aside).put(head["uuid"], priority=head["priority"], ttr=ttr)
                failpoint("aside.note")
                if not _is_newer(head, worker):  # this code leaves newer documents untouched
                    self.note_entry(head["uuid"], head["queueName"], identity)
                failpoint("aside.ack")
                reservation.delete()
                return
        except (ZerogError, KeyError, AttributeError) as error:
            log.debug("the entry of job %s is put back: %s", reservation.uuid, error)
        with suppress(QueueError):
            reservation.release(self.patience(head))

    def list_kind(self, name: str, kind: Kind) -> None:
        """List a kind of queue ``name``. Raises the errors of the datastore."""

        def add(kinds: Kinds) -> None:
            kinds.setdefault(name, {})[kind.queue(name)] = kind

        self._change_kinds(add)
        log.warning(
            "jobs of type %s, version %s, format %s on queue %s can't be taken by this worker; "
            "they are set aside on %s for workers that can",
            *(*kind, name, kind.queue(name)),
        )

    def drop_empty_kinds(self) -> None:
        """Remove from the list the kinds whose queues are empty now and were at the last call.

        Each is one more queue to poll with every claim. The next sweep considers an entry lost that is set aside at
        this very moment, and puts its job again. Raises the errors of the datastore.
        """
        empty = {(name, aside) for name, some in self._kinds.items() for aside in some if self._is_empty(aside)}
        unused, self._empty = empty & self._empty, empty

        def drop(kinds: Kinds) -> None:
            for name, aside in unused:
                kinds.get(name, {}).pop(aside, None)

        if unused:
            self._change_kinds(drop)

    def _is_empty(self, name: str) -> bool:
        try:
            return self.queue_named(name).size() == 0
        except (QueueError, ConfigurationError):
            return False

    def _change_kinds(self, change: Callable[[Kinds], None]) -> None:
        attempts = self._attempts(QUEUES)
        while True:
            record, token = self.datastore.read_with_cas(QUEUES)
            kinds = _kinds_in(record)
            change(kinds)
            stored = {queue: {aside: list(each) for aside, each in some.items()} for queue, some in kinds.items()}
            with attempts:
                changed = {**(record or {}), "documentType": QUEUES, "asides": stored}
                failpoint("aside.list")
                self.datastore.set_with_cas(QUEUES, changed, token or 0)
                failpoint("aside.listed")
                self._kinds = kinds
                return

    def patience(self, head: Document | None) -> float:
        """Return the seconds for which a refused entry is put back: as long as it has waited, so that they double."""
        try:
            waited = (self.now() - from_text((head or {})["queuedAt"])).total_seconds()
        except (KeyError, TypeError, ValueError):
            waited = LONGEST
        return min(max(waited, SHORTEST), LONGEST)


def is_served_by(name: str, delivered: str | None) -> bool:
    """Return True if queue ``delivered`` may deliver jobs of queue ``name``: it is that one, or holds a kind of it."""
    return delivered is None or delivered == name or delivered.startswith(f"{name}~")


def _is_newer(head: Document, worker: WorkerIdentity) -> bool:
    """True if newer code has written a job: its layout, or a version unknown to this code."""
    kind = Kind.of(head)
    return kind is not None and (kind.layout > FORMAT or kind.version > dict(worker.knows).get(kind.job_type, math.inf))


def _is_of_others(head: Document, worker: WorkerIdentity) -> bool:
    kind = Kind.of(head)
    return kind is not None and not kind.is_taken_by(worker)


def _kinds_in(record: Document | None) -> Kinds:
    """Return the listed kinds; invalid ones are left out."""
    kinds: Kinds = {}
    stored = (record or {}).get("asides")
    for name, some in (stored if isinstance(stored, dict) else {}).items():
        read = {aside: Kind.read(kind) for aside, kind in some.items()} if isinstance(some, dict) else {}
        kinds[name] = {aside: kind for aside, kind in read.items() if kind is not None and kind.queue(name) == aside}
    return kinds
