"""Giving a job other values from outside: one write under the token that was looked at, and who and why beside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from zerog import logs, transitions
from zerog.crashpoints import point
from zerog.datastores.operations import Append, Operation, apply
from zerog.document import NEW, PENDING, RUNNING, TERMINAL, Document, check_layout, make_key
from zerog.exceptions import AmbiguousWrite, JobStateError
from zerog.parts import UNANSWERED, Parts


class Change(NamedTuple):
    """What is to be written to a document, and how it may be shown."""

    operations: list[Operation]
    fields: dict[str, Any]
    """By field: ``{"old": value, "new": value}``, shortened and without secrets."""


class Edits(Parts):
    """The verb of whoever mends a job by hand."""

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
        """Change a job that waits or has ended, if nobody else does meanwhile; recorded in its events.

        ``build`` makes the change from the present head. With ``retry`` a job that has ended is let run again by the
        same write. With ``cas`` a document that has another token is left alone; without it the token read here
        counts. With ``dry_run`` nothing is written. Returns the change; one without fields writes nothing, unless it
        is a retry.

        Raises JobNotFound, JobStateError for a job that runs, ``casException`` if somebody else changed it,
        AmbiguousWrite if nobody can say whether it is changed, and what ``build`` raises.
        """
        head, token = self.read(uuid)
        check_layout(head)
        _check_editable(head, retry)
        if cas is not None and cas != token:
            raise self._beaten(uuid)
        change = build(head)
        again = retry and head["status"] in TERMINAL
        if dry_run or not (change.fields or again):
            return change
        now, mark = self._now(), os.urandom(6).hex()
        text = f"edited by {who}: {', '.join(change.fields) or 'nothing'}; {reason}"
        if again:
            text = f"retried after {head['status']} with {head['resultCode']}, {text}"
        event = transitions.event_record(
            transitions.stamp(head, now), text, who=who, reason=reason, changed=change.fields, edit=mark
        )
        limit = self.kept(head)
        if again:
            operations = [*change.operations, *transitions.retried(head, event, now, limit)]
        else:
            operations = transitions.edited(change.operations, event, now, limit)
        head, token = self._edit(head, token, operations, mark)
        logs.edited(head, who, reason, list(change.fields))
        if again and head["queueState"] == PENDING:
            logs.retried(head, text)
            self._deliver(make_key(uuid), head, token, 0, "submit")
        return change

    def _edit(self, head: Document, token: int, operations: list[Operation], mark: str) -> tuple[Document, int]:
        """Write under ``token``, and again under it while the answer is lost: only one of these writes is stored."""
        uuid, key = head["uuid"], make_key(head["uuid"])
        for attempt in range(UNANSWERED):
            try:
                point("edit.write")
                stored = self.datastore.mutate(key, operations, cas=token).token
                point("edit.written")
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
        """Whether the document's events hold this very edit."""
        events = (self.datastore.read(key) or {}).get("events")
        return any(isinstance(event, dict) and event.get("edit") == mark for event in reversed(events or []))

    def _beaten(self, uuid: str) -> Exception:
        return self.datastore.casException(
            f"job {uuid} was changed, or is held, by somebody else; nothing was written. Look at it again."
        )


def _check_editable(head: Document, retry: bool) -> None:
    """Refuse what can't be edited as it stands. Raises JobStateError."""
    uuid, status = head["uuid"], head["status"]
    if status == RUNNING:
        raise JobStateError(
            f"job {uuid} is running, and only its run changes it; cancel it first. Nothing was changed."
        )
    if retry and status == NEW:
        raise JobStateError(f"job {uuid} was never enqueued, so it can't be retried; nothing was changed")
