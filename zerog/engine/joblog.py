"""Log each job transition: one line, by the process that made it, once it is stored (or part of a transaction).

All lines use the logger ``zerog``, which nothing here configures. The message begins with the job's ``logId``, type
and uuid; the same values, and those of the transition, are fields of the record, available to the user's own
formatter:

===================================  ==================================================================
``logId uuid jobType epoch worker``  of the job; ``worker`` is its owner, None if it has none
``transition``                       submitted, claimed, finished, requeued, released, parked, rescued, cancelled,
                                     expired, retried, edited, discarded, put again, cancel requested, paused, resumed
``status``, ``resultCode``           of a job that has ended
``seconds``, ``delay``               how long the run took; when the next one may begin
``attempts``, ``reason``             which run it is; why it was taken from its owner, put again, edited or discarded
``who``, ``changed``                 who edited it, and the names of the fields
===================================  ==================================================================

Parameters, state and output of a job are never logged. For many transitions at once, the logger's level is checked
once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zerog.records.job import CANCELLED, CANCELLED_STATUS, EXPIRED, FAILED, PAUSED
from zerog.records.limits import parked_in
from zerog.records.operations import apply
from zerog.support.texts import flat

if TYPE_CHECKING:
    from zerog.engine.transitions import Claim, Settlement

log = logging.getLogger("zerog")

INFO, WARNING, ERROR = logging.INFO, logging.WARNING, logging.ERROR


def fields(head: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that name a job, for ``extra=`` of a log call, from the head of its document."""
    return naming(head.get("logId"), head.get("uuid"), head.get("jobType"), head.get("epoch"), head.get("owner"))


def naming(log_id: Any, uuid: Any, job_type: Any, epoch: Any, owner: Any) -> dict[str, Any]:
    """Return the fields of a log record that name a job."""
    worker = owner.get("worker") if isinstance(owner, dict) else None
    return {"logId": log_id, "uuid": uuid, "jobType": job_type, "epoch": epoch, "worker": worker}


# the transitions


def submitted(heads: Iterable[Mapping[str, Any]], again: bool = False, is_uncommitted: bool = False) -> None:
    """Log jobs that were accepted and stored; with ``again`` a waiting job that was enqueued once more.

    ``is_uncommitted``: they are part of a transaction that their submitter has not committed yet.
    """
    if log.isEnabledFor(INFO):
        what = "enqueued again on" if again else "submitted to"
        then = "; waits for the caller's commit" if is_uncommitted else ""
        for head in heads:
            until = f", not before {head['notBefore']}" if head.get("notBefore") else ""
            _log_line(head, "submitted", f"{what} queue {head.get('queueName')}{until}{then}")


def claimed(claims: Sequence[Claim]) -> None:
    """Log jobs that this worker owns now, and runs as its slots become free."""
    if claims and log.isEnabledFor(INFO):
        for claim in claims:
            attempts = claim.head.get("attempts")
            who = claim.head["owner"]["worker"]
            _log_line(claim.head, "claimed", f"claimed by {who}, run {attempts}", attempts=attempts)


def settled(settlements: Sequence[Settlement], ends: Sequence[str]) -> None:
    """Log ended runs, failures at WARNING.

    ``ends``: a terminal status, requeued, released, parked, or lost for a job that another run owns.
    """
    if settlements and log.isEnabledFor(WARNING):
        is_verbose = log.isEnabledFor(INFO)
        for settlement, end in zip(settlements, ends, strict=True):
            if end == FAILED or (is_verbose and end != "lost"):
                _log_end(settlement, end)


def _log_end(settlement: Settlement, end: str) -> None:
    head, seconds = settlement.claim.head, round(settlement.seconds, 3)
    if end in ("released", PAUSED):
        _log_line(head, end, f"{end} after {seconds} s, uncounted", seconds=seconds)
    elif end == "parked":
        parked = parked_in(apply({}, settlement.operations))
        _log_line(head, "parked", f"parked: waits for a slot of {parked.limit if parked else 'a limit'}")
    elif end == "requeued":
        delay = round(settlement.delay, 3)
        _log_line(
            head, "requeued", f"requeued after {seconds} s, runs again in {delay} s", seconds=seconds, delay=delay
        )
    else:
        code = settlement.result_code
        if end == CANCELLED_STATUS and code != EXPIRED:
            code = CANCELLED
        text = f"finished: {end} with {code} after {seconds} s"
        level = WARNING if end == FAILED else INFO
        _log_line(head, "finished", text, level, status=end, resultCode=code, seconds=seconds)


def taken(head: Mapping[str, Any], transition: str, reason: str, level: int) -> None:
    """Log a job taken from an owner that could not end the run; ``head`` as it is now."""
    if head.get("finishedAt"):
        status, code = head.get("status"), head.get("resultCode")
        text = f"finished: {status} with {code}: {reason}"
        _log_line(head, "finished", text, level, reason=reason, status=status, resultCode=code)
    else:
        _log_line(head, transition, f"{transition}: {reason}", level, reason=reason)


def cancelled(head: Mapping[str, Any]) -> None:
    """Log a job that ended before it ran, or before it ran again."""
    _log_line(head, "cancelled", "cancelled", status=CANCELLED_STATUS, resultCode=CANCELLED)


def expired(head: Mapping[str, Any]) -> None:
    """Log a job that ended because no run had begun in time."""
    text = f"expired: no run had begun by {head.get('expiresAt')}"
    _log_line(head, "expired", text, WARNING, status=CANCELLED_STATUS, resultCode=EXPIRED)


def stopped(head: Mapping[str, Any]) -> None:
    """Log a job that is cancelled or paused after its run gave it back; ``head`` as it was before."""
    if isinstance(head.get("paused"), dict):
        paused(head)
    else:
        cancelled(head)


def paused(head: Mapping[str, Any]) -> None:
    """Log a job that waits for an operator to resume it."""
    _log_line(head, "paused", "paused")


def resumed(head: Mapping[str, Any]) -> None:
    """Log a job that an operator lets go on."""
    _log_line(head, "resumed", "resumed")


def cancel_requested(head: Mapping[str, Any]) -> None:
    """Log that a running job is to be cancelled; its owner, or reconcile, logs the end."""
    _log_line(head, "cancel requested", "is to be cancelled while it runs")


def retried(head: Mapping[str, Any], reason: str) -> None:
    """Log a job that an operator took out of a terminal state."""
    _log_line(head, "retried", reason, reason=reason)


def moved(head: Mapping[str, Any], reason: str) -> None:
    """Log a waiting job that an operator moved to another queue or priority."""
    _log_line(head, "moved", reason, reason=reason)


def edited(head: Mapping[str, Any], who: str, reason: str, changed: Sequence[str]) -> None:
    """Log a job that an operator edited; only the names of the fields are logged."""
    _log_line(
        head, "edited", f"edited by {who}: {', '.join(changed)}; {reason}", who=who, reason=reason, changed=changed
    )


def discarded(head: Mapping[str, Any], reason: str = "") -> None:
    """Log a job removed with its history; ``head`` as it was last read."""
    why = f": {reason}" if reason else ""
    _log_line(head, "discarded", f"discarded after {head.get('status')}{why}", status=head.get("status"), reason=reason)


def put_again(heads: Iterable[Mapping[str, Any]], reason: str) -> None:
    """Log jobs that were put on their queue once more, because they may have been missing there."""
    if log.isEnabledFor(INFO):
        for head in heads:
            _log_line(head, "put again", f"put on queue {head.get('queueName')} again: {reason}", reason=reason)


def _log_line(head: Mapping[str, Any], transition: str, text: str, level: int = INFO, **more: Any) -> None:
    if log.isEnabledFor(level):
        named = fields(head)
        extra = {**named, "transition": transition, **more}
        log.log(level, "%s %s %s %s", *map(flat, (named["logId"], named["jobType"], named["uuid"], text)), extra=extra)
