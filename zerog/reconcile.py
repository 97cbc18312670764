"""Compare documents, workers and queue, and repair what a crash left.

Any number of processes may reconcile at once: each repair is a compare-and-swap on the document, an event in its
history and a count. Workers take turns all the same, through a sweeper record, so that a hundred of them don't read
the same pages:

- a pending document whose writer had its time: put on the queue again;
- a running document whose worker was silent for its lease: rescued, or settled if it was being cancelled;
- waiting documents while the queue came back empty for two sweeps: put on the queue again, oldest first;
- what must not be touched (unreadable, unknown type, too new) is listed with the reason.

A lease has ended by the store's clock or, where it has none, when the same beat was seen for a whole lease of this
process's monotonic clock. Clocks of two machines are never compared.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from zerog.clock import SYSTEM, Clock, from_text, text_after, to_text
from zerog.document import IN_QUEUE, PENDING, QUEUED, RUNNING, SCHEDULED, Document, make_key
from zerog.exceptions import AmbiguousWrite, CasMismatch, DatastoreError, InvalidUuid
from zerog.lifecycle import UNSUITABLE_DELAY, Engine, worker_key

log = logging.getLogger("zerog")

INTERVAL = 10.0
"""Seconds between two sweeps of one worker, before jitter."""

CANCEL_GRACE = 30.0
"""Seconds that the owner of a running job has to stop it once it is cancelled."""

PAGE = 500
"""Heads read at a time."""

PUT_LIMIT = 20_000
"""Documents put on the queue again in one sweep."""

SWEEPER = "zerog_sweeper"
"""Key of the record that says who sweeps."""


@dataclass
class Report:
    """What one sweep did, by uuid."""

    put_again: list[str] = field(default_factory=list)
    rescued: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    stuck: dict[str, str] = field(default_factory=dict)
    """Jobs that were left alone, and why."""

    def __bool__(self) -> bool:
        return bool(self.put_again or self.rescued or self.cancelled)


class Reconciler:
    """Sweeps over one engine's documents. Keeps what it saw between two sweeps, so make one and call it again."""

    def __init__(self, engine: Engine, name: str = "", clock: Clock = SYSTEM, interval: float = INTERVAL) -> None:
        self.engine = engine
        self.name = name
        self.clock = clock
        self.interval = interval
        self._seen: dict[str, tuple[Any, float]] = {}
        self._sweeper: tuple[Any, float] = (None, clock.monotonic())
        self._cancelling: dict[str, float] = {}
        self._empty_sweeps = 0

    def pause(self) -> float:
        """Seconds until the next turn, jittered so that workers started together spread out."""
        return self.interval * random.uniform(0.8, 1.2)

    def turn(self, queue_was_empty: bool) -> Report | None:
        """One worker's regular turn: sweep if the turn is this worker's, otherwise watch. None if nothing was swept.

        While the sweeper's record moves, watching costs one read. When it stands still the owners of running jobs
        are watched at once, so that a takeover doesn't start the observation of their leases from the beginning.
        """
        if not self.engine.datastore.can_find:
            return None
        record, token = self.engine.datastore.read_with_cas(SWEEPER)
        now = self.clock.monotonic()
        state = record and (record.get("worker"), record.get("beat"))
        if state != self._sweeper[0]:
            moved = self._sweeper[0] is not None
            self._sweeper = (state, now)
            if moved and record is not None and record.get("worker") not in (None, self.name):
                return None
        mine = record is not None and record.get("worker") == self.name
        vacant = record is None or record.get("worker") is None
        if not mine and not vacant and now - self._sweeper[1] < 1.5 * self.interval:
            self._watch_owners()
            return None
        if not self._become_sweeper(record, token):
            return None
        return self.sweep(queue_was_empty)

    def sweep(self, queue_was_empty: bool | None = None) -> Report:
        """Look at everything once and repair it. ``queue_was_empty``: None asks the queue's size."""
        report = Report()
        self._pending(report)
        self._running(report)
        if queue_was_empty is None:
            queue_was_empty = self.engine.queue.size() == 0
        self._empty_sweeps = self._empty_sweeps + 1 if queue_was_empty else 0
        if self._empty_sweeps >= 2:
            self._missing(report)
        report.stuck.update(self.engine.unsuitable)
        return report

    def release(self) -> None:
        """Let another worker sweep at once."""
        record, token = self.engine.datastore.read_with_cas(SWEEPER)
        if record is not None and token is not None and record.get("worker") == self.name:
            self._write_sweeper({"worker": None, "beat": 0}, token)

    def _become_sweeper(self, record: Document | None, token: int | None) -> bool:
        beat = (record or {}).get("beat", 0) + 1
        if not self._write_sweeper({"worker": self.name, "beat": beat}, token or 0):
            return False
        self._sweeper = ((self.name, beat), self.clock.monotonic())
        return True

    def _write_sweeper(self, record: Document, token: int) -> bool:
        datastore = self.engine.datastore
        try:
            datastore.set_with_cas(SWEEPER, {"documentType": SWEEPER, **record}, token)
            return True
        except (datastore.casException, CasMismatch, AmbiguousWrite):
            return False

    # pending

    def _pending(self, report: Report) -> None:
        now = self._now()
        for head in self._find(due=now):
            if head.get("queueState") == PENDING and self._put(head, "its writer did not"):
                report.put_again.append(head["uuid"])

    def _put(self, head: Document, why: str, unless_queued_after: str | None = None) -> bool:
        try:
            return self.engine.put_again(head["uuid"], why, unless_queued_after)
        except InvalidUuid as error:
            self.engine.refuse(str(head.get("uuid")), str(error))
            return False

    # running

    def _running(self, report: Report) -> None:
        owners: dict[str, bool] = {}
        cancelling: set[str] = set()
        for head in self._find(status=RUNNING):
            owner = head.get("owner")
            if not isinstance(owner, dict) or "worker" not in owner:
                report.stuck[str(head.get("uuid"))] = f"runs without an owner: {owner!r}"
                continue
            worker = str(owner["worker"])
            if worker not in owners:
                owners[worker] = self._is_silent(worker, float(owner.get("lease") or 0))
            if owners[worker]:
                self._rescue(head, f"worker {worker} was silent for its lease of {owner.get('lease')} s", report)
            elif head.get("cancelRequested") and self._is_overdue(head, cancelling):
                self._rescue(head, "the job was cancelled and its owner did not stop it in time", report)
        self._seen = {worker: seen for worker, seen in self._seen.items() if worker in owners}
        self._cancelling = {key: since for key, since in self._cancelling.items() if key in cancelling}
        for worker, silent in owners.items():
            if silent:
                self._forget(worker)

    def _watch_owners(self) -> None:
        for head in self._find(status=RUNNING):
            owner = head.get("owner")
            if isinstance(owner, dict):
                self._is_silent(str(owner.get("worker")), float(owner.get("lease") or 0))

    def _is_silent(self, worker: str, lease: float) -> bool:
        datastore = self.engine.datastore
        record = datastore.read_with_cas(worker_key(worker))[0]
        server_now = datastore.now()
        if server_now is not None and record is not None and record.get("beatAt"):
            return (server_now - from_text(record["beatAt"])).total_seconds() > lease
        beat = record and record.get("beat")
        now = self.clock.monotonic()
        seen = self._seen.get(worker)
        if seen is None or seen[0] != beat:
            self._seen[worker] = (beat, now)
            return False
        return now - seen[1] > lease

    def _is_overdue(self, head: Document, cancelling: set[str]) -> bool:
        run = f"{head['uuid']} {head['epoch']}"
        cancelling.add(run)
        now = self.clock.monotonic()
        return now - self._cancelling.setdefault(run, now) > CANCEL_GRACE

    def _rescue(self, head: Document, why: str, report: Report) -> None:
        if self.engine.rescue(head["uuid"], head["epoch"], "lost", why):
            log.warning("job %s: %s", head["uuid"], why)
            (report.cancelled if head.get("cancelRequested") else report.rescued).append(head["uuid"])

    def _forget(self, worker: str) -> None:
        """Remove a dead worker's record, once none of its jobs is left."""
        if any((head.get("owner") or {}).get("worker") == worker for head in self._find(status=RUNNING)):
            return
        try:
            self.engine.datastore.delete(worker_key(worker))
        except DatastoreError as error:
            log.debug("the record of worker %s stays: %s", worker, error)
        self._seen.pop(worker, None)

    # queued, but not on the queue

    def _missing(self, report: Report) -> None:
        """Put documents again that wait although the queue had nothing to give for two sweeps."""
        now = self._now()
        before = text_after(now, -2 * self.interval)
        for status in (QUEUED, SCHEDULED):
            for head in self._find(status=status):
                if len(report.put_again) >= PUT_LIMIT:
                    return
                ready = max(str(head.get("queuedAt") or ""), str(head.get("notBefore") or ""))
                if head.get("queueState") != IN_QUEUE or ready > before:
                    continue
                if self.engine.was_refused_within(head["uuid"], 6 * UNSUITABLE_DELAY):
                    continue
                if self._put(head, "it was missing there", unless_queued_after=before):
                    report.put_again.append(head["uuid"])

    def _find(self, **query: Any) -> Iterator[Document]:
        after = None
        while True:
            page = self.engine.datastore.find(**query, after=after, limit=PAGE)
            for head in page.heads:
                if self._is_job(head):
                    yield head
            after = page.after
            if after is None:
                return

    def _is_job(self, head: Document) -> bool:
        try:
            make_key(head.get("uuid") or "")
            return True
        except InvalidUuid:
            self.engine.refuse(str(head.get("uuid")), "its document has no valid uuid; it was left as it is")
            return False

    def _now(self) -> str:
        return to_text(self.clock.now())
