"""Changes of a job by an operator: cancel, retry, edit, discard.

An edit is one write under the token of the document that the operator read; it records who made it and why.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from zerog.contracts.datastore import RunGuard
from zerog.engine import joblog, transitions
from zerog.engine.base import LEAVE_ALONE
from zerog.engine.cas import UNANSWERED
from zerog.engine.followers import is_to_be_followed, submit_followers, why_kept
from zerog.engine.locks import UniqueLocks, check_key_is_kept
from zerog.engine.scheduled import without_latest
from zerog.exceptions import (
    AmbiguousWrite,
    ClaimLost,
    CorruptDocument,
    DatastoreError,
    InvalidValue,
    JobNotFound,
    JobStateError,
)
from zerog.records.commands import CANCELS, run_name
from zerog.records.fields import NEW, PARKED, PENDING
from zerog.records.job import CANCELLED_STATUS, PAUSED, RUNNING, TERMINAL, Document, check_head, check_layout, make_key
from zerog.records.keys import worker_key
from zerog.records.limits import unlisted
from zerog.records.operations import Append, Operation, Set, apply, dropped_field
from zerog.records.unique import lock_in
from zerog.support.failpoints import failpoint
from zerog.support.texts import counted

log = logging.getLogger("zerog")


OnDiscard = Callable[[Document], None]
"""Calls the ``on_discard`` of the job of a head. Raises JobStateError if the job is to be kept."""


class OperatorVerbs(UniqueLocks):
    """Verbs that write by compare-and-swap, from a head they have just read."""

    def cancel(self, uuid: str, why: str = "") -> str:
        """Cancel a job: a waiting one never starts, a running one is interrupted at its next write or tick.

        The mark in the document is what counts. A running job's worker gets a hint, so that it also interrupts a run
        that writes nothing. ``why``: for the job's events.

        Returns the status it has now: ``cancelled``, or ``running`` until its owner has stopped it. Raises
        JobNotFound, and JobStateError for a job that has ended.
        """
        key = make_key(uuid)
        attempts = self._attempts(key, ClaimLost)
        while True:
            head, token = self.read(uuid)
            check_layout(head)
            status = str(head["status"])
            if status == CANCELLED_STATUS and (attempts.refused or attempts.unanswered):
                if attempts.unanswered:
                    joblog.cancelled(head)
                return status
            if status in TERMINAL:
                raise JobStateError(f"job {uuid} is {status} already and can't be cancelled; nothing was changed")
            now = self._now()
            with attempts:
                failpoint("cancel.write")
                if status == RUNNING:
                    if head.get("cancelRequested") is None or transitions.is_to_pause(head):
                        asked: list[Operation] = [Set("cancelRequested", transitions.stamp(head, now))]
                        asked += [*transitions.unpaused(head), *self._why_noted(head, now, why)]
                        self.datastore.mutate(key, asked, run=RunGuard.of(head))
                        joblog.cancel_requested(head)
                    self._hint(head, run_name(head["uuid"], head["epoch"]))
                else:
                    ended = [*transitions.cancelled(head, now), *self._why_noted(head, now, why)]
                    self.datastore.mutate(key, ended, cas=token)
                    status = CANCELLED_STATUS
                    joblog.cancelled(head)
                failpoint("cancel.written")
                return status

    def _hint(self, head: Document, run: str) -> None:
        """Notify the worker of a run that is to stop; without that it notices at its next write."""
        failpoint("cancel.hint")
        key = worker_key(head["owner"]["worker"])
        with suppress(DatastoreError, CorruptDocument, *self._refusals):  # the worker's record or the datastore is gone
            try:
                self.datastore.mutate(key, [Append("cancels", run, CANCELS)])
            except InvalidValue:  # the stored value is no list of runs
                self.datastore.mutate(key, [Set("cancels", [run]), Set(dropped_field("cancels"), 0)])

    def _why_noted(self, head: Document, now: str, why: str) -> list[Operation]:
        event = transitions.event_record(transitions.stamp(head, now), why)
        return [Append("events", event, self.kept(head))] if why else []

    def _stop_settled(self, key: str, token: int) -> str | None:
        """Stop a job whose run has just released it, as of ``token``; return its status, None if it is unknown."""
        with suppress(DatastoreError, CorruptDocument):  # the next reader of the document does it
            head, now = self.datastore.read_with_cas(key, head=True)
            if head is not None and now == token and self._stop_waiting(key, head, token):
                return PAUSED if transitions.is_to_pause(head) else CANCELLED_STATUS
        return None

    def _stop_waiting(self, key: str, head: Document, token: int) -> bool:
        """End or pause a waiting job whose run released it without having noticed that it was to stop."""
        try:
            failpoint("cancel.end")
            self.datastore.mutate(key, transitions.stopped(head, self._now()), cas=token)
            failpoint("cancel.ended")
        except (AmbiguousWrite, *self._refusals):  # type: ignore[misc]
            return False  # the next reader of the document does it
        self._count("cancelled.waiting", 0 if transitions.is_to_pause(head) else 1)
        return True

    def retry(
        self, uuid: str, reason: str = "", who: str = "", ended: str | None = None, reset: bool = True
    ) -> Document:
        """Let a job that has ended run again, with its state as it is and, with ``reset``, its counters at 0.

        ``ended``: the ``finishedAt`` that was read; a job that has ended again since is left alone. Returns the head.
        Raises JobNotFound, JobStateError for a job that hasn't ended, or not then, AmbiguousWrite if it is unknown
        whether it will run again.
        """
        key = make_key(uuid)
        epochs: list[int] = []  # those that unanswered writes may have set
        attempts = self._attempts(key)
        while True:
            head, token = self.read(uuid)
            check_layout(head)
            if head["status"] not in TERMINAL:
                if attempts.unanswered and head["epoch"] in epochs and head["queueState"] == PENDING:
                    return self._deliver(key, head, token, 0, "submit")[0]
                if attempts.unanswered:
                    return head
                instead = "; resume lets it go on" if head["status"] == PAUSED else ""
                raise JobStateError(
                    f"job {uuid} is {head['status']}; only a job that has ended can be retried{instead}"
                )
            _check_end(head, ended)
            if is_to_be_followed(head):  # the retry takes the mark of this end away
                submit_followers(self, head)
            self._hold_for_retry(head)
            now = self._now()
            text = f"retried{f' by {who}' if who else ''} after {head['status']} with {head['resultCode']}"
            text += "" if reset else f", {counted(head['errorCount'], 'error counts', 'errors count')} on"
            text += f": {reason}" if reason else ""
            event = transitions.event_record(transitions.stamp(head, now), text, **({"who": who} if who else {}))
            operations = transitions.retried(head, event, now, self.kept(head), reset)
            epochs.append(head["epoch"] + 1)
            with attempts:
                again = self._retry(key, head, operations, token)
                joblog.retried(again, text)
                return again

    def _retry(self, key: str, head: Document, operations: list[Operation], token: int) -> Document:
        """Write the operations that make a job wait, under its token, and put it on its queue; return the head."""
        failpoint("retry.write")
        token = self.datastore.mutate(key, operations, cas=token).token
        failpoint("retry.written")
        apply(head, [operation for operation in operations if not isinstance(operation, Append)])
        return self._deliver(key, head, token, 0, "submit")[0]

    def discard(
        self, uuid: str, reason: str = "", ended: str | None = None, on_discard: OnDiscard | None = None
    ) -> None:
        """Remove a job that has ended, or that was never enqueued, with its history.

        A later delivery is dropped. ``reason`` is for the log; ``ended`` as for ``retry``. ``on_discard`` is called
        with the head of a job that may be removed, before that is; what it raises keeps the job. Raises JobNotFound,
        JobStateError for a job that waits or runs or has ended at another time, SchemaTooNew for a layout that newer
        code has written, AmbiguousWrite if it is unknown whether it is gone, DatastoreError if the datastore can't
        delete.
        """
        key = make_key(uuid)
        head: Document = {}
        attempts = self._attempts(key)
        while True:
            try:
                head, token = self.read(uuid)
            except JobNotFound:
                if attempts.unanswered:
                    joblog.discarded(head, reason)
                    return
                raise
            if head["status"] not in (NEW, *TERMINAL):
                raise JobStateError(f"job {uuid} is {head['status']} and can't be removed; cancel it first")
            check_layout(head)
            _check_end(head, ended)
            if (why := why_kept(self, head)) is not None:
                raise JobStateError(f"job {uuid} can't be removed yet: {why}. Nothing was removed.")
            if on_discard is not None and not attempts.unanswered:
                on_discard(head)
            self._drop_lock(head)
            with attempts:
                failpoint("discard.delete")
                self.datastore.delete(key, cas=token)
                failpoint("discard.deleted")
                joblog.discarded(head, reason)
                return

    def discard_damaged(self, uuid: str, reason: str = "") -> None:
        """Remove a job whose document is corrupt, whatever its status: no other verb works on it.

        Raises JobNotFound, JobStateError for a valid document, SchemaTooNew for one that newer code can read, and
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
            failpoint("discard.delete")
            self.datastore.delete(key, cas=token)
            failpoint("discard.deleted")
            self.unskip(uuid)
            log.warning("job %s was removed%s: %s", uuid, f", {reason}" if reason else "", error)
            return
        raise JobStateError(f"job {uuid} is {document['status']} and its document makes sense; nothing was removed")

    # for reconcile

    def discard_all(self, heads: Sequence[Document], reason: str, on_discard: OnDiscard | None = None) -> list[str]:
        """Remove ended jobs, each only if its end is still that of its head; return the uuids of those removed.

        A job that can't be removed now, whatever the reason, is left for another time. ``on_discard`` as for
        ``discard``; with it jobs are removed one by one.
        """
        removed: list[Document] = []
        free = [head for head in without_latest(self, list(heads)) if why_kept(self, head) is None]
        locked = [head for head in free if lock_in(head) is not None]
        removed += self._discard_each(locked, reason, on_discard)
        for some in self._groups([head for head in free if lock_in(head) is None]):
            try:
                removed += self._discard_each(some, reason, on_discard) if on_discard else self._discard(some, reason)
            except AmbiguousWrite as error:
                log.debug("the next sweep finds which ended jobs are removed: %s", error)
            except LEAVE_ALONE:  # of one job: find out which
                removed += self._discard_each(some, reason)
        self._count("removed.old", len(removed))
        return [head["uuid"] for head in removed]

    def _discard(self, heads: Sequence[Document], reason: str) -> list[Document]:
        """Remove ended jobs in one step, all or none of those whose end is the same; return the heads of those."""
        return self._discard_each(heads, reason)

    def _discard_each(
        self, heads: Sequence[Document], reason: str, on_discard: OnDiscard | None = None
    ) -> list[Document]:
        removed = []
        for head in heads:
            try:
                self.discard(head["uuid"], reason, head["finishedAt"], on_discard)
            except (JobNotFound, JobStateError, AmbiguousWrite, *LEAVE_ALONE, *self._refusals) as error:  # type: ignore[misc]
                log.debug("an ended job is not removed: %s", error)
            else:
                removed.append(head)
        return removed


def _check_end(head: Document, ended: str | None) -> None:
    """Refuse a job that has ended again since it was read. Raises JobStateError."""
    if ended is not None and head.get("finishedAt") != ended:
        raise JobStateError(
            f"job {head['uuid']} was found as it ended at {ended}, and has ended at {head.get('finishedAt')} again; "
            "nothing was changed"
        )


class Change(NamedTuple):
    """The operations of an edit, and the values to show of it."""

    operations: list[Operation]
    fields: dict[str, Any]
    """By field: ``{"old": value, "new": value}``, shortened and without secrets."""


class EditVerb(UniqueLocks):
    """The verb for repairing a job by hand."""

    def edit(
        self,
        uuid: str,
        build: Callable[[Document], Change],
        who: str,
        reason: str,
        retry: bool = False,
        cas: int | None = None,
        dry_run: bool = False,
    ) -> Change:
        """Change a job that waits or has ended, unless it is changed concurrently; recorded in its events.

        ``build`` makes the change from the present head. With ``retry`` the same write lets a job that has ended run
        again. With ``cas`` a document that has another token is left alone; without it the token read here counts. With
        ``dry_run`` nothing is written. Returns the change; one without fields writes nothing, unless it is a retry.

        Raises JobNotFound, JobStateError for a job that runs, ``casException`` after a concurrent change,
        AmbiguousWrite if it is unknown whether the change is stored, and any error of ``build``.
        """
        head, token = self.read(uuid)
        check_layout(head)
        _check_editable(head, retry)
        if cas is not None and cas != token:
            raise self._beaten(uuid)
        change = build(head)
        check_key_is_kept(head, change.fields)
        again, is_parked = retry and head["status"] in TERMINAL, head.get("queueState") == PARKED
        if dry_run or not (change.fields or again):
            return change
        now, mark = self._now(), os.urandom(6).hex()
        text = f"edited by {who}: {', '.join(change.fields) or 'nothing'}; {reason}"
        if again:
            self._hold_for_retry(head)
            text = f"retried after {head['status']} with {head['resultCode']}, {text}"
        event = transitions.event_record(
            transitions.stamp(head, now), text, who=who, reason=reason, changed=change.fields, edit=mark
        )
        if again and is_to_be_followed(head):
            submit_followers(self, head)
        operations = _edited(head, change.operations, event, now, self.kept(head), again)
        head, token = self._edit(head, token, operations, mark)
        joblog.edited(head, who, reason, list(change.fields))
        if again and head["queueState"] == PENDING:
            joblog.retried(head, text)
        if (again or is_parked) and head["queueState"] == PENDING:
            self._deliver(make_key(uuid), head, token, 0, "submit")
        return change

    def _edit(self, head: Document, token: int, operations: list[Operation], mark: str) -> tuple[Document, int]:
        """Write under ``token``, and repeat it while the answer is lost: only one of these writes is stored."""
        uuid, key = head["uuid"], make_key(head["uuid"])
        for attempt in range(UNANSWERED):
            try:
                failpoint("edit.write")
                stored = self.datastore.mutate(key, operations, cas=token).token
                failpoint("edit.written")
                apply(head, [operation for operation in operations if not isinstance(operation, Append)])
                return head, stored
            except self._refusals as error:
                if attempt and self._is_marked(key, mark):
                    return self.read(uuid)
                raise self._beaten(uuid) from error
            except AmbiguousWrite:
                self._wait_for_answer(attempt)
        if self._is_marked(key, mark):
            return self.read(uuid)
        raise AmbiguousWrite(f"job {uuid} is edited or not: the answers to the write were lost; look at its events")

    def _is_marked(self, key: str, mark: str) -> bool:
        """True if the document's events hold this very edit."""
        events = (self.datastore.read(key) or {}).get("events")
        return any(isinstance(event, dict) and event.get("edit") == mark for event in reversed(events or []))

    def _beaten(self, uuid: str) -> Exception:
        return self.datastore.casException(
            f"job {uuid} was changed, or is held, by another client; nothing was written. Read it again."
        )


def _edited(
    head: Document, changes: list[Operation], event: Document, now: str, keep: int, again: bool
) -> list[Operation]:
    """Return the operations of an edit; ``again``: the job has ended and is retried."""
    if again:
        return [*changes, *transitions.retried(head, event, now, keep)]
    operations = transitions.edited(changes, event, now, keep)
    if head.get("queueState") == PARKED:  # its place may be another one now
        operations += [*unlisted(head), *transitions.waiting(now, 0)]
    return operations


def _check_editable(head: Document, retry: bool) -> None:
    """Refuse a job that can't be edited in its present state. Raises JobStateError."""
    uuid, status = head["uuid"], head["status"]
    if status == RUNNING:
        raise JobStateError(
            f"job {uuid} is running, and only its run changes it; cancel it first. Nothing was changed."
        )
    if retry and status == NEW:
        raise JobStateError(f"job {uuid} was never enqueued, so it can't be retried; nothing was changed")
