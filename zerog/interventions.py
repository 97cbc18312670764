"""What is done to a job from outside: cancel, retry, discard."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

from zerog import logs, transitions
from zerog.crashpoints import point
from zerog.datastores.base import RunGuard
from zerog.datastores.operations import Append, Operation, Set, apply, dropped_field
from zerog.document import (
    CANCELLED_STATUS,
    NEW,
    PENDING,
    RUNNING,
    TERMINAL,
    Document,
    check_head,
    check_layout,
    make_key,
)
from zerog.exceptions import (
    AmbiguousWrite,
    ClaimLost,
    CorruptDocument,
    DatastoreError,
    InvalidValue,
    JobNotFound,
    JobStateError,
)
from zerog.orders import CANCELS, named, worker_key
from zerog.parts import LEAVE_ALONE, TRIES, UNANSWERED, Parts

log = logging.getLogger("zerog")


class Interventions(Parts):
    """Verbs that write by compare-and-swap, from a head they have just read."""

    def cancel(self, uuid: str, why: str = "") -> str:
        """Cancel a job: one that waits never starts, one that runs is told at its next write or tick.

        The mark in the document is what counts. A running job's worker is given a hint, so that it tells a run that
        writes nothing, too. ``why``: for the job's events.

        Returns the status it has now: ``cancelled``, or ``running`` until its owner has stopped it. Raises
        JobNotFound, and JobStateError for a job that has ended.
        """
        key = make_key(uuid)
        for _ in range(TRIES):
            head, token = self.read(uuid)
            check_layout(head)
            status = str(head["status"])
            if status in TERMINAL:
                raise JobStateError(f"job {uuid} is {status} already and can't be cancelled; nothing was changed")
            now = self._now()
            try:
                point("cancel.write")
                if status == RUNNING:
                    if head.get("cancelRequested") is None:
                        asked = [Set("cancelRequested", transitions.stamp(head, now)), *self._told(head, now, why)]
                        self.datastore.mutate(key, asked, run=RunGuard.of(head))
                        logs.cancel_requested(head)
                    self._hint(head)
                else:
                    ended = [*transitions.cancelled(head, now), *self._told(head, now, why)]
                    self.datastore.mutate(key, ended, cas=token)
                    status = CANCELLED_STATUS
                    logs.cancelled(head)
                point("cancel.written")
                return status
            except (ClaimLost, AmbiguousWrite, *self._refusals) as error:  # type: ignore[misc]
                if self._is_cancelled(key):
                    if isinstance(error, AmbiguousWrite) and status != CANCELLED_STATUS:
                        logs.cancelled(head)
                    return CANCELLED_STATUS
        raise self._collisions(key)

    def _hint(self, head: Document) -> None:
        """Have the worker look at a job that is to be cancelled; without that the run hears of it at its next write."""
        point("cancel.hint")
        key, run = worker_key(head["owner"]["worker"]), named(head["uuid"], head["epoch"])
        with suppress(DatastoreError, CorruptDocument, *self._refusals):  # a worker or a datastore that is gone
            try:
                self.datastore.mutate(key, [Append("cancels", run, CANCELS)])
            except InvalidValue:  # what lies there is no list of runs
                self.datastore.mutate(key, [Set("cancels", [run]), Set(dropped_field("cancels"), 0)])

    def _told(self, head: Document, now: str, why: str) -> list[Operation]:
        event = transitions.event_record(transitions.stamp(head, now), why)
        return [Append("events", event, self.kept(head))] if why else []

    def _is_cancelled(self, key: str) -> bool:
        head = self.datastore.read_with_cas(key, head=True)[0]
        return head is not None and head.get("status") == CANCELLED_STATUS

    def _end_cancelled(self, key: str, head: Document, token: int) -> bool:
        """End a waiting job whose run gave it back without having seen that it was cancelled."""
        try:
            self.datastore.mutate(key, transitions.cancelled(head, self._now()), cas=token)
        except (AmbiguousWrite, *self._refusals):  # type: ignore[misc]
            return False  # whoever sees the document next does it
        self._count("cancelled.waiting")
        return True

    def retry(self, uuid: str, reason: str = "", who: str = "", ended: str | None = None) -> Document:
        """Let a job that has ended run again, with its state as it is and its counters of trouble at 0.

        ``ended``: the ``finishedAt`` that was seen; a job that has ended again since is left alone. Returns the head.
        Raises JobNotFound, JobStateError for a job that hasn't ended, or not then, AmbiguousWrite if nobody can say
        whether it will run again.
        """
        key = make_key(uuid)
        unanswered: list[int] = []  # the epochs that a write without an answer may have given
        for _ in range(TRIES):
            head, token = self.read(uuid)
            check_layout(head)
            if head["status"] not in TERMINAL:
                if head["epoch"] in unanswered and head["queueState"] == PENDING:
                    return self._deliver(key, head, token, 0, "submit")[0]
                if unanswered:
                    return head
                raise JobStateError(f"job {uuid} is {head['status']}; only a job that has ended can be retried")
            _check_end(head, ended)
            now = self._now()
            text = f"retried{f' by {who}' if who else ''} after {head['status']} with {head['resultCode']}"
            text += f": {reason}" if reason else ""
            event = transitions.event_record(transitions.stamp(head, now), text, **({"who": who} if who else {}))
            operations = transitions.retried(head, event, now, self.kept(head))
            try:
                again = self._let_run(key, head, operations, token)
            except self._refusals:
                continue
            except AmbiguousWrite:
                unanswered.append(head["epoch"] + 1)
                if len(unanswered) > UNANSWERED:
                    raise
                self._wait_for_answer(len(unanswered))
                continue
            logs.retried(again, text)
            return again
        raise self._collisions(key)

    def _let_run(self, key: str, head: Document, operations: list[Operation], token: int) -> Document:
        """Write what makes a job wait, under its token, and put it on its queue; returns the head."""
        token = self.datastore.mutate(key, operations, cas=token).token
        apply(head, [operation for operation in operations if not isinstance(operation, Append)])
        return self._deliver(key, head, token, 0, "submit")[0]

    def discard(self, uuid: str, reason: str = "", ended: str | None = None) -> None:
        """Remove a job that has ended, or that was never enqueued, with its history.

        A delivery that still comes is dropped. ``reason`` is for the log; ``ended`` as for ``retry``. Raises
        JobNotFound, JobStateError for a job that waits or runs or has ended at another time, SchemaTooNew for a layout
        that newer code has written, AmbiguousWrite if nobody can say whether it is gone, DatastoreError if the
        datastore can't delete.
        """
        key = make_key(uuid)
        head: Document = {}
        unanswered = 0
        for _ in range(TRIES):
            try:
                head, token = self.read(uuid)
            except JobNotFound:
                if unanswered:
                    logs.discarded(head, reason)
                    return
                raise
            if head["status"] not in (NEW, *TERMINAL):
                raise JobStateError(f"job {uuid} is {head['status']} and can't be removed; cancel it first")
            check_layout(head)
            _check_end(head, ended)
            try:
                point("discard.delete")
                self.datastore.delete(key, cas=token)
                point("discard.deleted")
                logs.discarded(head, reason)
                return
            except self._refusals:
                continue
            except AmbiguousWrite:
                unanswered += 1
                if unanswered > UNANSWERED:
                    raise
                self._wait_for_answer(unanswered)
        raise self._collisions(key)

    def discard_damaged(self, uuid: str, reason: str = "") -> None:
        """Remove a job whose document makes no sense, whatever its status is; nothing can be done with it otherwise.

        Raises JobNotFound, JobStateError for a sound document, SchemaTooNew for what newer code can read, and
        DatastoreError if the document was changed meanwhile or the datastore can't delete.
        """
        key = make_key(uuid)
        token = None
        try:
            document, token = self.datastore.read_with_cas(key)
            if document is None:
                raise JobNotFound(f"there is no job {uuid}")
            check_head(key, document)
        except CorruptDocument as error:
            self.datastore.delete(key, cas=token)
            self.forgive(uuid)
            log.warning("job %s was removed%s: %s", uuid, f", {reason}" if reason else "", error)
            return
        raise JobStateError(f"job {uuid} is {document['status']} and its document makes sense; nothing was removed")

    # for reconcile

    def discard_all(self, heads: Sequence[Document], reason: str) -> list[str]:
        """Remove ended jobs, each only if it is still as it ended in its head; returns the uuids of those removed.

        What can't be removed now, whatever the reason, is left for another time.
        """
        removed = []
        for head in heads:
            try:
                self.discard(head["uuid"], reason, head["finishedAt"])
            except (JobNotFound, JobStateError, AmbiguousWrite, *LEAVE_ALONE, *self._refusals) as error:  # type: ignore[misc]
                log.debug("an ended job is not removed: %s", error)
            else:
                removed.append(head["uuid"])
        self._count("removed.old", len(removed))
        return removed


def _check_end(head: Document, ended: str | None) -> None:
    """Refuse a job that has ended again since somebody found it. Raises JobStateError."""
    if ended is not None and head.get("finishedAt") != ended:
        raise JobStateError(
            f"job {head['uuid']} was found as it ended at {ended}, and has ended at {head.get('finishedAt')} again; "
            "nothing was changed"
        )
