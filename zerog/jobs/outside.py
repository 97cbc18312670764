"""Writes of a job object outside a run, for example in a web application.

Such an object may be stale, so the stored document decides what it may change, and the write is a compare-and-swap on
the head that was checked: a job that has ended stays as it is, and only the run itself writes its result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zerog.contracts.datastore import Mutation
from zerog.engine.cas import Attempts
from zerog.exceptions import JobStateError
from zerog.jobs.additions import upgrade
from zerog.records.job import TERMINAL, Document
from zerog.records.operations import Append, Max, Operation

if TYPE_CHECKING:
    from zerog.jobs.document import JobDocument

NOTES = ("events", "warnings")
"""Fields that any writer may append to at any time."""

RESULT = ("output", "resultCode")
"""Fields that only the run may write while there is one."""


def write(
    document: JobDocument, waiting: Sequence[Operation], operations: Sequence[Operation], cas: int | None
) -> tuple[Mutation | None, list[Operation]]:
    """Store ``operations`` and what waits; returns what was stored, and which of ``waiting`` still has to wait.

    Raises JobStateError if the document's state doesn't allow it, ``casException`` if ``cas`` is stale, and
    TooManyCollisions; nothing is stored then.
    """
    store, key, stamp = document.engine.datastore, document.key, Max("updatedAt", document.now())
    if cas is None and not waiting and all(map(_is_note, operations)):
        return store.mutate(key, [*operations, stamp]), []
    attempts = Attempts(store, key, unanswered=0)
    while True:
        head, token = store.read_with_cas(key, head=True)
        sent, left = ([*waiting, *operations], []) if head is None else _allowed(document, head, waiting, operations)
        if not sent:
            return None, left
        if cas is not None or head is None:  # the caller's token decides, or the document is gone
            return store.mutate(key, [*sent, stamp], cas=token if cas is None else cas), left
        with attempts:
            return store.mutate(key, [*sent, stamp], cas=token), left


def _allowed(
    document: JobDocument, head: Document, waiting: Sequence[Operation], operations: Sequence[Operation]
) -> tuple[list[Operation], list[Operation]]:
    """Return what may be stored on this head, and what has to wait. Raises JobStateError for refused ``operations``."""
    together = [*waiting, *operations]
    if head.get("status") in TERMINAL:
        refused = [operation for operation in together if not _is_note(operation)]
    elif head.get("owner") is not None:
        refused = [operation for operation in together if operation.field in RESULT]
    else:
        refused = []
    if not refused:
        return together, []
    stored = document.stored
    lifted = [] if stored is None else upgrade(document.declaration, stored, document.declaration.chain.lift(stored))
    asked = [operation for operation in refused if operation not in lifted]
    if asked and not (operations and all(map(_is_note, operations))):
        raise _refusal(head, asked)
    return [o for o in together if _is_note(o)], [o for o in waiting if not _is_note(o)]


def _is_note(operation: Operation) -> bool:
    return isinstance(operation, Append) and operation.field in NOTES


def _refusal(head: Document, asked: Sequence[Operation]) -> JobStateError:
    fields = ", ".join(dict.fromkeys(operation.field for operation in asked))
    if head["status"] in TERMINAL:
        return JobStateError(
            f"job {head['uuid']} has ended ({head['status']}); what has ended stays as it is, and takes only events "
            f"and warnings. Nothing was changed ({fields}). retry() lets it run again."
        )
    owner = head["owner"].get("worker") if isinstance(head["owner"], dict) else head["owner"]
    return JobStateError(
        f"job {head['uuid']} is being run by {owner}, and only that run writes its {fields}. Nothing was changed. "
        "Cancel it to end it."
    )
