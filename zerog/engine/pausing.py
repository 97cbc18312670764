"""Pause and resume one job.

The pause is a field of the document (``paused``: since when, by whom and why) and takes effect as a cancellation does:
a waiting job leaves the waiting ones at once, a running one once its run has given it back. A paused job is on no
queue's order; an entry that is delivered all the same is dropped.
"""

from __future__ import annotations

from zerog.contracts.datastore import RunGuard
from zerog.contracts.queue import Entry
from zerog.engine import joblog, transitions
from zerog.engine.operator import OperatorVerbs
from zerog.exceptions import ClaimLost, ConfigurationError, JobStateError, QueueError
from zerog.records.commands import pause_name
from zerog.records.fields import PENDING
from zerog.records.job import PAUSED, RUNNING, WAITING, Document, check_layout, make_key
from zerog.records.operations import Append, Operation, Set, apply
from zerog.support.checks import check_text
from zerog.support.failpoints import failpoint


class PauseVerbs(OperatorVerbs):
    """The verbs that keep one job from running for a while."""

    def pause(self, uuid: str, reason: str = "", who: str = "") -> str:
        """Pause a job: a waiting one doesn't start, a running one is interrupted at its next write or tick.

        Returns the status it has now: ``paused``, or ``running`` until its owner has stopped it. A job that is paused
        already stays as it is. Raises JobNotFound, InvalidValue, and JobStateError for a job that has ended, was never
        enqueued, or is being cancelled.
        """
        check_text("reason", reason), check_text("who", who)
        key = make_key(uuid)
        attempts = self._attempts(key, ClaimLost)
        while True:
            head, token = self.read(uuid)
            check_layout(head)
            status = str(head["status"])
            if status == PAUSED:
                if attempts.unanswered:
                    joblog.paused(head)
                return status
            self._check_pausable(head)
            now = self._now()
            mark = self._pause_noted(head, now, reason, who)
            with attempts:
                failpoint("pause.write")
                if status == RUNNING:
                    if not transitions.is_to_pause(head):
                        asked: list[Operation] = [Set("cancelRequested", transitions.stamp(head, now)), *mark]
                        self.datastore.mutate(key, asked, run=RunGuard.of(head))
                    self._hint(head, pause_name(uuid, head["epoch"]))
                else:
                    self.datastore.mutate(key, [*transitions.paused(head, now), *mark], cas=token)
                    status = PAUSED
                    joblog.paused(head)
                failpoint("pause.written")
                return status

    def _check_pausable(self, head: Document) -> None:
        status = head["status"]
        if status not in (*WAITING, RUNNING):
            raise JobStateError(f"job {head['uuid']} is {status} and can't be paused; nothing was changed")
        if head.get("cancelRequested") is not None and not transitions.is_to_pause(head):
            raise JobStateError(f"job {head['uuid']} is being cancelled and can't be paused; nothing was changed")

    def _pause_noted(self, head: Document, now: str, reason: str, who: str) -> list[Operation]:
        at = transitions.stamp(head, now)
        text = f"paused{f' by {who}' if who else ''}{f': {reason}' if reason else ''}"
        event = transitions.event_record(at, text, **({"who": who} if who else {}))
        return [Set("paused", {"at": at, "by": who, "reason": reason}), Append("events", event, self.kept(head))]

    def resume(self, uuid: str, who: str = "") -> str:
        """Let a paused job go on; return its status.

        It has the place that it had, if its entry is still on the queue; otherwise its turn has come before, and it
        goes ahead of those of its priority. It gets another entry in any case: a delivery of the one that it had may be
        about to be dropped. A run that was to stop for the pause and hasn't yet goes on, or gives the job back and
        another one goes on; what it gave back and wasn't made paused yet just waits. Raises JobNotFound, and
        JobStateError for a job that isn't paused.
        """
        check_text("who", who)
        key = make_key(uuid)
        attempts = self._attempts(key, ClaimLost)
        while True:
            head, token = self.read(uuid)
            check_layout(head)
            is_stopping = head["status"] in (*WAITING, RUNNING) and transitions.is_to_pause(head)
            if head["status"] != PAUSED and not is_stopping:
                if attempts.unanswered:
                    return str(head["status"])
                raise JobStateError(f"job {uuid} is {head['status']} and not paused; nothing was changed")
            now = self._now()
            operations = self._resumed(head, now, who, is_stopping)
            with attempts:
                failpoint("resume.write")
                if head["status"] == RUNNING:
                    self.datastore.mutate(key, operations, run=RunGuard.of(head))
                else:
                    token = self.datastore.mutate(key, operations, cas=token).token
                failpoint("resume.written")
                break
        has_entry = self._holds_entry(head)
        apply(head, [operation for operation in operations if not isinstance(operation, Append)])
        joblog.resumed(head)
        if head["queueState"] == PENDING:
            delay = max(0.0, self.early_by(head))
            self._deliver(key, head, token, delay, "resume", front=not (delay or has_entry))
        return str(head["status"])

    def _resumed(self, head: Document, now: str, who: str, is_stopping: bool) -> list[Operation]:
        event = transitions.event_record(
            transitions.stamp(head, now), f"resumed{f' by {who}' if who else ''}", **({"who": who} if who else {})
        )
        noted = [*transitions.unpaused(head), Append("events", event, self.kept(head))]
        if is_stopping:
            return [Set("cancelRequested", None), *noted]
        return [*transitions.waiting(now, max(0.0, self.early_by(head))), *noted]

    def _holds_entry(self, head: Document) -> bool:
        """True if the entry that the job had is on its queue still; a doubt is no."""
        entry = Entry(head.get("queueJobId"), head["uuid"], head["priority"], head["queueKwargs"].get("ttr"))
        try:
            return self.queue_named(head["queueName"]).holds(entry) is True
        except (QueueError, ConfigurationError):
            return False
