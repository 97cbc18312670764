"""Take a job from a run that is dead, stopped or can't end, and put waiting jobs on their queue again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from zerog.contracts.datastore import RunGuard
from zerog.engine import joblog, takeovers, transitions
from zerog.engine.base import LEAVE_ALONE
from zerog.engine.decision import is_expired
from zerog.engine.operator import OperatorVerbs
from zerog.engine.transitions import Claim
from zerog.exceptions import AmbiguousWrite, InvalidValue, QueueError
from zerog.records.fields import IN_QUEUE, PENDING
from zerog.records.fingerprints import fingerprint
from zerog.records.job import EXPIRED, WAITING, Document, check_head, check_layout, make_key
from zerog.records.operations import Append, Max, Operation, apply
from zerog.support.failpoints import failpoint

log = logging.getLogger("zerog")

Lost = Mapping[str, Any]
"""By uuid, the id of the entry that is missing on a job's queue."""

PUT_AGAIN = "put on the queue again"
"""The beginning of the event that records a repair of a waiting job."""


class RecoveryVerbs(OperatorVerbs):
    """The verbs of sweeps, supervisors and workers that can't continue a run."""

    def rescue(self, uuid: str, run: RunGuard, counter: str, message: str, code: int = 500) -> bool:
        """Take a job from a dead owner and let it run again; False if ``run`` doesn't own it any more.

        ``counter``: ``crashes`` if only the run died, ``lost`` if its worker did.
        """

        def operations(head: Document, now: str) -> list[Operation]:
            at = transitions.stamp(head, now)
            # The run's name lets its worker notice that it was taken for dead (``zerog.maintenance.losses``).
            more = {"run": (head.get("owner") or {}).get("nonce")} if counter == "lost" else {}
            more["fingerprint"] = fingerprint(str(head.get("jobType")), counter)
            build = transitions.build_of(head)
            record = transitions.error_record(at, code, message, head.get("attempts"), build, **more)
            return takeovers.rescued(head, counter, record, now, self.kept(head))

        level = joblog.ERROR if counter == "crashes" else joblog.WARNING
        taken = self.revoke_run(uuid, run, operations, "rescued", message, level)
        if taken:
            self._count(f"rescued.{counter}")
        return taken

    def release(self, uuid: str, run: RunGuard, message: str, has_begun: bool = True) -> bool:
        """Take a job from a run that must end through no fault of the job, and let it run again, uncounted.

        ``has_begun``: False for a claim of which no run has begun, so that the job may still expire.
        """

        def build(head: Document, now: str) -> list[Operation]:
            event = transitions.event_record(transitions.stamp(head, now), message)
            return takeovers.released(head, event, now, self.kept(head), has_begun)

        return self.revoke_run(uuid, run, build, "released", message)

    def give_back_unheld(self, uuid: str, run: RunGuard, token: int, message: str) -> bool:
        """Release a job that names a living worker which doesn't hold it; False if it has changed since ``token``."""

        def build(head: Document, now: str) -> list[Operation]:
            event = transitions.event_record(transitions.stamp(head, now), message)
            return takeovers.released(head, event, now, self.kept(head), has_begun=False)

        given_back = self.revoke_run(uuid, run, build, "released", message, joblog.WARNING, token)
        if given_back:
            self._count("released.unheld")
        return given_back

    def give_up(self, claim: Claim, why: str, is_release: bool) -> bool:
        """Take a job from its own run, whose end its document refuses: it fails, or with ``is_release`` waits again.

        False if the run doesn't own the job any more.
        """

        def build(head: Document, now: str) -> list[Operation]:
            return takeovers.given_up(head, why, now, is_release)

        return self.revoke_run(claim.uuid, claim.run, build, "released", why, joblog.ERROR, is_damaged=True)

    def revoke_run(
        self,
        uuid: str,
        run: RunGuard,
        build: Callable[[Document, str], list[Operation]],
        what: str = "requeued",
        why: str = "its run was ended from outside",
        level: int = joblog.INFO,
        seen: int | None = None,
        is_damaged: bool = False,
    ) -> bool:
        """End a run from outside, by compare-and-swap; False if ``run`` doesn't own the job any more.

        ``build`` makes the operations from the present head and time; they must raise the epoch. ``what`` and ``why``
        are logged at ``level``. ``seen``: the token of the only state of the document in which to do so.
        ``is_damaged``: the document may be corrupt; ``build`` doesn't use its values.
        """
        key = make_key(uuid)
        attempts = self._attempts(key)
        while True:
            head, token = self.datastore.read_with_cas(key, head=True)
            if head is None or token is None:
                return False
            if attempts.unanswered and head.get("epoch") == run.epoch + 1 and not head.get("owner"):
                break  # by the unanswered write
            if not run.owns(head):
                return False
            if seen is not None and token != seen:
                return False
            if not is_damaged:
                check_head(key, head)
            check_layout(head)
            operations = build(head, self._now())
            with attempts:
                failpoint("rescue.write")
                token = self.datastore.mutate(key, operations, cas=token).token
                failpoint("rescue.written")
                apply(head, [operation for operation in operations if not isinstance(operation, Append)])
                break
        joblog.taken(head, what, why, level)
        if head["queueState"] == PENDING:
            ahead = transitions.keeps_its_place(head)
            self._deliver(key, head, token, max(0.0, self.early_by(head)), "rescue", ahead)
        self.free_slots(head, run.nonce)
        return True

    def expire(self, uuid: str) -> bool:
        """End a waiting job whose time is over; False if it doesn't wait any more, or may wait longer.

        Raises the errors of ``read`` and LEAVE_ALONE, AmbiguousWrite if it is unknown whether it has ended.
        """
        key = make_key(uuid)
        attempts = self._attempts(key)
        while True:
            head, token = self.read(uuid)
            check_layout(head)
            now = self._now()
            if not is_expired(head, now):
                return attempts.unanswered > 0 and head["resultCode"] == EXPIRED
            with attempts:
                failpoint("expire.write")
                self.datastore.mutate(key, transitions.expired(head, now, self.kept(head)), cas=token)
                failpoint("expire.written")
                self._count("expired.waiting")
                joblog.expired(head)
                return True

    def put_again_all(self, uuids: Sequence[str], why: str, lost: Lost | None = None) -> list[str]:
        """Call ``put_again`` for many jobs; return those that were put. Jobs that can't be put are skipped.

        ``lost``: by uuid, the ids of the entries that are not on their queue any more.
        """
        done: list[str] = []
        for some in self._groups(uuids):
            try:
                done += self._put_again(some, why, lost)
            except AmbiguousWrite as error:
                log.warning("the next sweep checks whether %d jobs are on their queue again: %s", len(some), error)
            except LEAVE_ALONE:  # of one job: find out which
                done += self._put_again_each(some, why, lost)
        return done

    def _put_again(self, uuids: Sequence[str], why: str, lost: Lost | None) -> list[str]:
        """Put again jobs in one step, all or none of them."""
        return self._put_again_each(uuids, why, lost)

    def _put_again_each(self, uuids: Sequence[str], why: str, lost: Lost | None) -> list[str]:
        done = []
        for uuid in uuids:
            try:
                if self.put_again(uuid, why, lost):
                    done.append(uuid)
            except LEAVE_ALONE as error:
                self.set_aside(uuid, error, "sweep.left")
        return done

    def put_again(self, uuid: str, why: str, lost: Lost | None = None) -> bool:
        """Put a waiting document on its queue once more; recorded in its events.

        False if it isn't pending any more, or was put again since the entry that ``lost`` names. A job that was
        cancelled, or paused, is that from now on instead. Raises the errors of LEAVE_ALONE, and those of the datastore.
        """
        key = make_key(uuid)
        head, token = self.datastore.read_with_cas(key, head=True)
        if head is None or token is None or not self._is_missing(key, head, lost):
            return False
        if head.get("cancelRequested") is not None:
            if self._stop_waiting(key, head, token):
                joblog.stopped(head)
            return False
        failpoint("reconcile.put")
        try:
            identity = self._put(head, max(0.0, self.early_by(head)))
        except QueueError as error:
            log.warning("job %s could not be put on queue %s again: %s", uuid, head["queueName"], error)
            self._count("put.failed")
            return False
        failpoint("reconcile.mark")
        with suppress(AmbiguousWrite, *self._refusals):
            self._mark_repair(key, head, identity, why, token)
            failpoint("reconcile.marked")
        self._count("put.again")
        joblog.put_again([head], why)
        return True

    def _is_missing(self, key: str, head: Document, lost: Lost | None) -> bool:
        """True if a waiting document is to be put again. Raises CorruptDocument."""
        if head.get("status") not in WAITING:
            return False
        check_head(key, head)
        check_layout(head)
        if lost is None:
            return head.get("queueState") == PENDING
        return head.get("queueState") == IN_QUEUE and head.get("queueJobId") == lost[head["uuid"]]

    def _mark_repair(self, key: str, head: Document, identity: int | str, why: str, token: int) -> None:
        now = self._now()
        marks = transitions.queued(now, identity, head.get("expiresAt"))
        try:
            self.datastore.mutate(key, [*marks, *self._repair_event(head, now, why)], cas=token)
        except InvalidValue as error:  # a history that can't take it; unmarked, the job would be put for ever
            log.warning("job %s was put on the queue again, which its events can't show: %s", key, error)
            self.datastore.mutate(key, marks, cas=token)

    def _repair_event(self, head: Document, now: str, why: str) -> list[Operation]:
        event = transitions.event_record(transitions.stamp(head, now), f"{PUT_AGAIN}: {why}")
        return [Append("events", event, self.kept(head)), Max("updatedAt", now)]
