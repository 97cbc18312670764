"""Compare documents, workers and queues, and repair the effects of crashes.

Any number of processes may reconcile at once: each repair is a compare-and-swap on the document, an entry in its
history and a count (``zerog.engine.base.COUNTERS``). Workers still take turns, through a sweeper record, so that a
hundred of them don't read the same pages:

- a pending document whose writer had its time: put on the queue again;
- a running document whose worker was silent for its lease: rescued, or settled if it was being cancelled;
- a running document whose worker is alive and doesn't hold it: released, uncounted (``zerog.maintenance.audit``);
- a waiting document whose time to begin is over: ended (``RecoveryVerbs.expire``);
- a parked document for whose limit a slot is free: put on its queue (``zerog.maintenance.parked``);
- a waiting document whose entry its queue has lost: put on the queue again (``zerog.maintenance.redelivery``);
- the record of a dead worker that owns nothing any more: removed;
- an ended document whose retention is over: removed (``zerog.maintenance.retention``);
- a document that must not be touched (unreadable, unknown type, too new): listed with the reason.

A sweep reads at most ``HEADS`` heads of each kind and continues there next time; of ended jobs it reads little or
nothing, so that it costs the same however many there are.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from zerog.contracts.datastore import RunGuard
from zerog.engine.base import LEAVE_ALONE
from zerog.engine.decision import is_expired
from zerog.engine.engine import Engine
from zerog.engine.followers import follow, is_to_be_followed
from zerog.engine.operator import OnDiscard
from zerog.engine.transitions import UNSUITABLE_DELAY, is_to_pause
from zerog.exceptions import AmbiguousWrite, JobNotFound, ZerogError
from zerog.fleet.heartbeat import WorkerRecords
from zerog.fleet.liveness import FailureDetector, lease_of
from zerog.maintenance.audit import Audit
from zerog.maintenance.discards import Discards
from zerog.maintenance.redelivery import Redelivery
from zerog.maintenance.retention import Retention
from zerog.maintenance.sweep import PAGE, Course
from zerog.maintenance.sweep import Report as Report
from zerog.maintenance.sweeper import SweeperRecord
from zerog.records.fields import COPIED, PENDING
from zerog.records.job import RUNNING, WAITING, Document, is_uuid, make_key
from zerog.records.worker import read_workers
from zerog.support.clock import SYSTEM, Clock, to_text

if TYPE_CHECKING:
    from zerog.maintenance.kept import Kept

log = logging.getLogger("zerog")

T = TypeVar("T")

INTERVAL = 10.0
"""Seconds between two sweeps of one worker, before jitter."""

CANCEL_GRACE = 90.0
"""Seconds for the owner of a running job to stop it once it is cancelled: more than any class's own CANCEL_GRACE,
after which the owner itself ends the run."""

RECHECKED = 100
"""Skipped jobs that a sweep checks again."""


class Reconciler:
    """Sweeps over one engine's documents. Keeps observations between two sweeps, so make one and call it again."""

    def __init__(
        self,
        engine: Engine,
        name: str = "",
        clock: Clock = SYSTEM,
        interval: float = INTERVAL,
        kept: Callable[[], Kept] = dict,
        on_discard: OnDiscard | None = None,
    ) -> None:
        """``kept``: how long ended jobs are kept. Without ``on_discard`` those stay whose classes have one."""
        self.engine = engine
        self._records = WorkerRecords(engine)
        self.name = name
        self.clock = clock
        self.interval = interval
        self._watch = FailureDetector(engine.datastore, clock)
        self._audit = Audit(engine.datastore)
        self._retention = Retention(engine, kept, Discards(engine, on_discard))
        self._sweeper: tuple[Any, float] = (None, clock.monotonic())
        self._record = SweeperRecord(engine.datastore, self._records, name)
        self._due = Course()
        self._owned = Course(status=RUNNING)
        self._owners: set[str] = set()
        self._cancelling: dict[str, float] = {}
        self._overdue_seen: set[str] = set()
        self._redelivery = Redelivery(engine)
        self._has_turned = False

    def pause(self) -> float:
        """Return the seconds until the next turn, fewer if retention is behind; jittered to spread the workers."""
        interval = self.interval / 10 if self._retention.is_behind else self.interval
        return interval * random.uniform(0.8, 1.2)

    def turn(self) -> Report | None:
        """Take one worker's regular turn: sweep if it is the sweeper, otherwise watch. None if nothing was swept.

        While the sweeper's record changes, watching costs one read. When it stands still the owners of running jobs are
        watched at once, so that a takeover doesn't start the observation of their leases from the beginning.

        The first turn looks up no queue entries: the worker has just started, and runs what waits at full speed.
        """
        is_first, self._has_turned = not self._has_turned, True
        self._retention.is_behind = False
        if not self.engine.datastore.can_find:
            return None
        record, token = self._record.read()
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
        beat = self._record.take(record, token)
        if beat is None:
            return None
        self._sweeper = ((self.name, beat), self.clock.monotonic())
        return self.sweep(looks_up=not is_first)

    def release(self) -> None:
        """Stop sweeping, and let another worker start at once."""
        self._record.release()

    def sweep(self, looks_up: bool = True) -> Report:
        """Check everything and repair it; with ``looks_up`` also waiting jobs whose queue entries were lost."""
        report = Report()
        self._pending(report)
        self._running(report)
        self._bury(report)
        self._redelivery.sweep(report, looks_up)
        self._recheck()
        report.removed = self._retention.sweep()
        report.stuck.update(self.engine.skipped)
        self._record.note_sweep(self._now())
        return report

    # pending

    def _pending(self, report: Report) -> None:
        now = self._now()
        for heads in self._due.walk(self.engine, report, due=now):
            late = [head["uuid"] for head in heads if is_expired(head, now)]
            report.expired += [uuid for uuid in late if self._done(self.engine.expire, uuid)]
            pending = [head for head in heads if head.get("queueState") == PENDING and head["uuid"] not in late]
            for why, is_copied in (("its writer did not", False), ("it was copied here", True)):
                uuids = [head["uuid"] for head in pending if (head.get("queueJobId") == COPIED) is is_copied]
                report.put_again += self.engine.put_again_all(uuids, why)
            ended = [head["uuid"] for head in heads if is_to_be_followed(head)]
            for uuid in ended:
                report.followed += self._done(lambda uuid: follow(self.engine, uuid), uuid) or []

    def _done(self, repair: Callable[[str], T], uuid: str) -> T | None:
        """Return what the repair of one job returned; None if it is left to the next sweep."""
        try:
            return repair(uuid)
        except LEAVE_ALONE as error:
            self.engine.set_aside(uuid, error, "sweep.left")
        except (AmbiguousWrite, JobNotFound) as error:
            log.debug("the next sweep finds how job %s has ended, and what follows: %s", uuid, error)
        return None

    # running

    def _running(self, report: Report) -> None:
        to_judge: list[Document] = []
        for heads in self._owned.walk(self.engine, report):
            silent = self._expired(heads)  # of this page only: a worker may have returned by the next one
            for head in heads:
                if self._why(head, silent):
                    to_judge.append(head)
                else:
                    self._check_held(head, report)
        # Each rescued job is put ahead of all that wait, so the last one first.
        to_judge.reverse()
        for start in range(0, len(to_judge), PAGE):
            silent = self._expired(to_judge[start : start + PAGE])
            for head in to_judge[start : start + PAGE]:
                why = self._why(head, silent)
                if why:
                    self._rescue(head, why, report)
        if self._owned.is_over:
            self._cancelling = {run: at for run, at in self._cancelling.items() if run in self._overdue_seen}
            self._overdue_seen = set()
            self._audit.end_course()

    def _check_held(self, head: Document, report: Report) -> None:
        """Release a job whose worker is alive and doesn't hold it. The worker's record was read after ``head``."""
        worker, uuid = head["owner"]["worker"], head["uuid"]
        try:
            token = self._audit.look(head, self._watch.record(worker))
            if token is None:
                return
            if self.engine.give_back_unheld(uuid, RunGuard.of(head), token, f"worker {worker} does not hold this run"):
                report.given_back.append(uuid)
        except LEAVE_ALONE as error:
            self.engine.set_aside(uuid, error, "sweep.left")

    def _expired(self, heads: list[Document]) -> dict[str, bool]:
        """Return for each owner of these running jobs whether it is silent."""
        return self._watch.expired({head["owner"]["worker"]: lease_of(head["owner"]) for head in heads})

    def _why(self, head: Document, silent: dict[str, bool]) -> str:
        """Return why a running job is to be taken from its owner, or "". ``silent``: whether each owner is."""
        owner = head["owner"]
        worker = owner["worker"]
        self._owners.add(worker)
        if silent[worker]:
            return f"worker {worker} was silent for its lease of {lease_of(owner):g} s"
        if head.get("cancelRequested") is not None and self._is_overdue(head):
            return f"the job was {'paused' if is_to_pause(head) else 'cancelled'} and its owner did not stop it in time"
        return ""

    def _watch_owners(self) -> None:
        """Observe the owners of running jobs without changing anything, to know how long they have been silent."""
        watched: set[str] = set()
        for heads in Course(status=RUNNING).walk(self.engine, Report()):
            new = [head for head in heads if head["owner"]["worker"] not in watched]
            watched |= self._expired(new).keys()

    def _is_overdue(self, head: Document) -> bool:
        run = f"{head['uuid']} {head.get('epoch')}"
        self._overdue_seen.add(run)
        now = self.clock.monotonic()
        return now - self._cancelling.setdefault(run, now) > CANCEL_GRACE

    def _rescue(self, head: Document, why: str, report: Report) -> None:
        uuid = head["uuid"]
        try:
            if not self.engine.rescue(uuid, RunGuard.of(head), "lost", why):
                return
        except LEAVE_ALONE as error:
            self.engine.set_aside(uuid, error, "sweep.left")
            return
        is_cancelled = head.get("cancelRequested") and not is_to_pause(head)
        (report.cancelled if is_cancelled else report.rescued).append(uuid)

    def _bury(self, report: Report) -> None:
        """Remove the records of silent workers that own nothing any more, once all running jobs were checked."""
        if not self._owned.is_over:
            return
        self._records.mend_directory()
        directory = self._records.directory()
        owners, self._owners = self._owners, set()
        for worker, record in read_workers(self.engine.datastore, directory).items():
            if record.damage:
                self._records.mend_record(worker)
        expired = self._watch.expired({worker: lease_of(entry) for worker, entry in directory.items()})
        for worker in directory:
            if expired[worker] and not self._owns_something(worker, owners):
                try:
                    self._records.forget(worker)
                    self.engine.counters["workers.forgotten"] += 1
                    report.forgotten.append(worker)
                except ZerogError as error:
                    log.debug("the record of worker %s stays: %s", worker, error)
        self._watch.keep_only({*directory, *owners})

    def _owns_something(self, worker: str, owners: set[str]) -> bool:
        if worker not in owners:
            return False
        rest = Report()
        course = Course(status=RUNNING)
        for heads in course.walk(self.engine, rest):
            if any(head["owner"]["worker"] == worker for head in heads):
                return True
        return not course.is_over

    # skipped jobs

    def _recheck(self) -> None:
        """Forget skipped jobs that don't wait any more: other code took them, or they were cancelled."""
        engine = self.engine
        # A delivery that was put back is inspected again soon, unless another worker gets it.
        old = [uuid for uuid in engine.skipped if not engine.was_refused_within(uuid, 6 * UNSUITABLE_DELAY)]
        keys = {uuid: make_key(uuid) for uuid in old[:RECHECKED] if is_uuid(uuid)}
        heads, unreadable = engine.datastore.read_heads([*keys.values()])
        for uuid, key in keys.items():
            if key not in unreadable and heads.get(key, {}).get("status") not in (*WAITING, RUNNING):
                engine.unskip(uuid)

    def _now(self) -> str:
        return to_text(self.engine.now())
