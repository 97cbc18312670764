"""Transitions of a job that is taken from its run, as lists of operations. Pure functions, as in ``transitions``.

Each raises the epoch, so that the run can't write any more. A job that was to be cancelled ends, one that was to be
paused is paused, any other waits again.
"""

from __future__ import annotations

from zerog.engine.transitions import (
    DISOWNED,
    begun,
    erred,
    finished,
    is_to_pause,
    paused,
    shortened_message,
    stamp,
    waiting,
)
from zerog.records.fingerprints import fingerprint
from zerog.records.job import CANCELLED, CANCELLED_STATUS, INTERNAL_ERROR, Document
from zerog.records.operations import Add, Append, Operation, Set
from zerog.support.clock import text_after


def rescued(head: Document, counter: str, record: Document, now: str, keep: int) -> list[Operation]:
    """Return the operations for a job of a dead owner. ``counter``: ``crashes`` (run died), ``lost`` (worker died)."""
    taken = [*_taken(head), *erred(record, keep)]
    return taken + (_ended_as_cancelled(head, now) or [Add(counter, 1), *_again(head, now, 0)])


def released(head: Document, event: Document, now: str, keep: int, has_begun: bool = True) -> list[Operation]:
    """Return the operations for a job whose run had to end through no fault of the job; it costs the job nothing.

    ``has_begun``: False for a claim whose answer no worker has got, so that the job may still expire.
    """
    taken = [*_taken(head, has_begun), Append("events", event, keep)]
    return taken + (_ended_as_cancelled(head, now) or [Add("attempts", -1, low=0), *_again(head, now, 0)])


def given_up(head: Document, why: str, now: str, is_release: bool) -> list[Operation]:
    """Return the operations for a run whose end its document refuses. Only fields are set: a history may refuse."""
    taken = _taken(head)
    if ended := _ended_as_cancelled(head, now):
        return taken + ended
    if is_release:
        return taken + _again(head, now, 0)
    at = stamp(head, now)
    last = {"timestamp": at, "errorCode": INTERNAL_ERROR, "type": None, "msg": shortened_message(why)}
    last["fingerprint"] = fingerprint(str(head.get("jobType")), "given up")
    return [*taken, Set("lastError", last), *finished(head, INTERNAL_ERROR, at)]


def overrun(head: Document, record: Document, now: str, keep: int, again_after: float | None) -> list[Operation]:
    """Return the operations for an expired run: an error, and a run after ``again_after`` seconds, or an end (None)."""
    taken = [*_taken(head), *erred(record, keep), Add("errorCount", 1)]
    if ended := _ended_as_cancelled(head, now):
        return taken + ended
    return taken + (
        finished(head, INTERNAL_ERROR, stamp(head, now)) if again_after is None else _again(head, now, again_after)
    )


def _taken(head: Document, has_begun: bool = True) -> list[Operation]:
    return [Set("epoch", head["epoch"] + 1), Set("seq", 0), *DISOWNED, *(begun(head) if has_begun else [])]


def _ended_as_cancelled(head: Document, now: str) -> list[Operation]:
    """Return the operations that end a job that was to be cancelled; none for any other."""
    if head.get("cancelRequested") is None or is_to_pause(head):
        return []
    return finished(head, CANCELLED, stamp(head, now), CANCELLED_STATUS)


def _again(head: Document, now: str, delay: float) -> list[Operation]:
    """Return the operations for a job that is to run again: it waits, or is paused if its run was to stop for that."""
    if is_to_pause(head):
        return [*paused(head, now), Set("notBefore", text_after(now, delay) if delay > 0 else None)]
    return waiting(now, delay)
