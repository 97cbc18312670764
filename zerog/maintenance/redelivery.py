"""Put waiting jobs again whose queue entries were lost.

Each sweep looks up the entries of the next waiting documents on the queues, by ``Queue.holds``:

- the entry exists: nothing to do, however long the job waits;
- the entry is missing: the job is put again at once;
- the queue can't find out: the job is put again once it has waited for ``PATIENCE`` and the queue either has nothing
  to deliver or delivers a later put, no more than ``DOUBTFUL`` jobs a sweep and queue. Each time that is done for a
  job its patience doubles.

Jobs that no living worker takes are left as they are: their entries wait for the next worker that takes them, and a
missing one is put again when that worker exists.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from zerog.contracts.queue import Entry, Queue
from zerog.engine.engine import Engine
from zerog.engine.transitions import ready_since
from zerog.exceptions import ConfigurationError, CorruptDocument, InvalidUuid, QueueError, ReservationLost
from zerog.fleet.heartbeat import WorkerRecords
from zerog.maintenance.parked import ParkedJobs
from zerog.maintenance.sweep import Course, Report
from zerog.records.fields import IN_QUEUE
from zerog.records.job import QUEUED, SCHEDULED, Document, make_key
from zerog.records.worker import read_workers
from zerog.support.clock import from_text

log = logging.getLogger("zerog")

PATIENCE = 20.0
"""Seconds for which a job waits whose queue can't check for its entry, before it is put for the second time."""

DOUBTFUL = 100
"""Jobs of one queue put again in one sweep although their entries may exist."""

LOOKED_AT = 2_500
"""Waiting jobs, and scheduled ones, whose entries are looked up in one sweep: each costs about 80 microseconds."""

EMPTY = 600.0
"""Seconds between two checks for kinds that were set aside and of which nothing waits any more."""

REMEMBERED = 10_000
"""Jobs put again in doubt whose doubled patience is remembered, at most."""


class Redelivery:
    """Walks all waiting jobs, over as many sweeps as it takes, and begins again."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._courses = [Course(LOOKED_AT, status=status) for status in (QUEUED, SCHEDULED)]
        self._puts: Counter[str] = Counter()
        self._known: dict[str, float] | None = None
        self._is_known = False
        self._looked_for_empty = -EMPTY
        self._parked = ParkedJobs(engine)

    def sweep(self, report: Report, looks_up: bool = True) -> None:
        """Wake parked jobs; with ``looks_up`` check the next waiting ones, and put again those without an entry."""
        self._parked.sweep(report)
        self._is_known = False
        self._engine.look_up_kinds()
        self._drop_empty_kinds()
        doubtful: dict[str, list[Document]] = defaultdict(list)
        for course in self._courses if looks_up else ():
            for heads in course.walk(self._engine, report):
                by_queue: dict[str, list[Document]] = defaultdict(list)
                for head in heads:
                    if head.get("queueState") == IN_QUEUE and isinstance(head.get("queueName"), str):
                        by_queue[head["queueName"]].append(head)
                for name, some in by_queue.items():
                    self._judge(name, some, doubtful[name], report)
        for name, heads in doubtful.items():
            self._settle_doubts(name, heads, report)

    def _drop_empty_kinds(self) -> None:
        now = self._engine.clock.monotonic()
        if now - self._looked_for_empty >= EMPTY:
            self._looked_for_empty = now
            self._engine.drop_empty_kinds()

    def _judge(self, name: str, heads: list[Document], doubtful: list[Document], report: Report) -> None:
        """Put again jobs whose entries are missing; add to ``doubtful`` those that the queue can't look up."""
        try:
            answers = self._engine.queue_named(name).holds_all([entry_of(head) for head in heads])
        except (QueueError, ConfigurationError) as error:  # unreachable, or a name that this queue can't have
            log.debug("queue %s was not asked for %d jobs: %s", name, len(heads), error)
            return
        gone = self._not_aside([head for head, held in zip(heads, answers, strict=True) if held is False])
        self._put(gone, "its entry was gone", report)
        if None in answers and len(doubtful) < DOUBTFUL:
            unknown = [head for head, held in zip(heads, answers, strict=True) if held is None]
            doubtful += [head for head in unknown if self._has_waited(head)][: DOUBTFUL - len(doubtful)]

    def _not_aside(self, heads: list[Document]) -> list[Document]:
        """Leave out jobs whose entries are on the queue of their kind."""
        by_aside: dict[str | None, list[Document]] = defaultdict(list)
        for head in heads:
            by_aside[self._engine.aside_of(head)].append(head)
        gone = by_aside.pop(None, [])
        for aside, some in by_aside.items():
            try:
                answers = self._engine.queue_named(str(aside)).holds_all([entry_of(head) for head in some])
            except (QueueError, ConfigurationError) as error:
                log.debug("queue %s was not asked for %d jobs: %s", aside, len(some), error)
                continue
            gone += [head for head, held in zip(some, answers, strict=True) if held is False]
        return gone

    def _settle_doubts(self, name: str, heads: list[Document], report: Report) -> None:
        """Put jobs again that the queue would have delivered by now."""
        if not heads:
            return
        try:
            next_one = self._next_of(self._engine.queue_named(name))
        except QueueError as error:
            log.debug("queue %s was not asked for its next entry: %s", name, error)
            return
        missing = [head for head in heads if next_one is None or _is_before(head, next_one)]
        for uuid in self._put(missing, "its queue has delivered what was put later, or nothing", report):
            self._puts[uuid] += 1
        while len(self._puts) > REMEMBERED:
            del self._puts[next(iter(self._puts))]

    def _next_of(self, queue: Queue) -> Document | None:
        """Return the head of the job that is delivered next, empty if it has none; None if nothing is delivered."""
        reservation = queue.reserve(0)
        if reservation is None:
            return None
        try:
            return self._engine.datastore.read_with_cas(make_key(reservation.uuid), head=True)[0] or {}
        except (InvalidUuid, CorruptDocument):
            return {}
        finally:
            try:
                reservation.release(0)
            except ReservationLost as error:
                log.debug("an entry of queue %s went to another consumer: %s", queue.name, error)

    def _put(self, heads: Sequence[Document], why: str, report: Report) -> list[str]:
        lost = {head["uuid"]: head.get("queueJobId") for head in heads if self._is_takeable(head)}
        done = self._engine.put_again_all(list(lost), why, lost) if lost else []
        report.put_again += done
        return done

    def _has_waited(self, head: Document) -> bool:
        ready = ready_since(head)
        try:
            waited = (self._engine.now() - from_text(ready)).total_seconds()
        except ValueError:
            return False
        return waited >= PATIENCE * 2.0 ** self._puts[head["uuid"]]

    def _is_takeable(self, head: Document) -> bool:
        """True unless, by the workers' records, none of them takes this kind of job."""
        if not self._is_known:
            self._known, self._is_known = _known_to_workers(self._engine), True
        if self._known is None:
            return True
        version = head.get("schemaVersion")
        newest = self._known.get(str(head.get("jobType")))
        return newest is not None and (not isinstance(version, (int, float)) or version <= newest)


def _known_to_workers(engine: Engine) -> dict[str, float] | None:
    """Return the newest schema version of each job type that any worker takes; None if a worker lists no types."""
    known: dict[str, float] = {}
    records = read_workers(engine.datastore, WorkerRecords(engine).directory())
    for record in records.values():
        listed: Any = (record.fields or {}).get("knows")
        if listed is None:
            return None
        for job_type, version in listed:
            known[job_type] = max(known.get(job_type, version), version)
    return known if records else None


def entry_of(head: Document) -> Entry:
    """Return the entry of a waiting job according to its head."""
    options = head.get("queueKwargs")
    ttr = options.get("ttr") if isinstance(options, dict) else None
    return Entry(head.get("queueJobId"), head["uuid"], head.get("priority", 0), ttr)


def _is_before(head: Document, other: Document) -> bool:
    """True if a queue that keeps its order delivers ``head`` before ``other``."""
    try:
        return bool(head["priority"] >= other["priority"] and ready_since(head) < ready_since(other))
    except (KeyError, TypeError):
        return False
