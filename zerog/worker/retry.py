"""Retries: errors that end the job, the delay by ``BACKOFF``, and the end of a run whose ``TIMEOUT`` has expired."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from zerog import backoff
from zerog.engine import joblog, takeovers, transitions
from zerog.engine.transitions import Claim
from zerog.jobs.base import BaseJob
from zerog.jobs.load import load_job, read_head
from zerog.records.fields import NO_RESULT
from zerog.records.fingerprints import fingerprint
from zerog.records.job import INTERNAL_ERROR, Document
from zerog.records.operations import Operation
from zerog.support import jsonvalues
from zerog.support.checks import LONGEST_DELAY, is_delay
from zerog.worker.hooks import leaves

if TYPE_CHECKING:
    from zerog.app import App


def is_final(job_class: type[BaseJob], error: BaseException) -> bool:
    """Return True if the class declares by FINISH_ON that another run after this exception is pointless."""
    return any(isinstance(part, job_class.FINISH_ON) for part in (error, *leaves(error)))


class Pause(NamedTuple):
    """Seconds until the next try, and what was wrong with what BACKOFF returned, if anything was."""

    seconds: float
    complaint: str | None = None


def retry_delay(job_class: type[BaseJob], error_count: int, error: BaseException | None) -> Pause:
    """Return the pause after the ``error_count``-th error. Never raises: a faulty BACKOFF must not lose the job.

    ``error`` is what the run raised, None if it was killed.
    """
    try:
        # From the class: a function there is no method.
        answer = backoff.pause_of(job_class.BACKOFF, error_count, error)
    except BaseException as failure:  # sys.exit() in it ends no worker
        return _instead(job_class, error_count, f"raised {jsonvalues.short_repr(failure)}")
    if is_delay(answer):
        return Pause(float(answer))
    expected = f"expected seconds, from 0 up to {LONGEST_DELAY:,}"
    return _instead(job_class, error_count, f"returned {jsonvalues.short_repr(answer)}; {expected}")


def _instead(job_class: type[BaseJob], error_count: int, trouble: str) -> Pause:
    seconds = backoff.DEFAULT(error_count, None)
    where = f"BACKOFF of {job_class.JOB_TYPE} for error {error_count} {trouble}"
    return Pause(seconds, f"{where}. The job waits {seconds:.1f} s instead, as jobs without a BACKOFF do.")


log = logging.getLogger("zerog")


def expire_run(app: App, claim: Claim, message: str) -> bool:
    """End the claimed run from outside, with the error ``message``; False if it doesn't own the job any more.

    Raises what the datastore raises.
    """
    engine = app.engine

    def build(head: Document, now: str) -> list[Operation]:
        errors = head["errorCount"] + 1
        pause = retry_delay(claim.job[0], errors, None) if _goes_on(app, claim, head, errors) else None
        reason = f"{message}. {pause.complaint}" if pause and pause.complaint else message
        record = transitions.error_record(now, INTERNAL_ERROR, reason, head["attempts"], app.build_id, type="Timeout")
        record["fingerprint"] = fingerprint(head["jobType"], "Timeout")
        return takeovers.overrun(head, record, now, engine.kept(head), pause and pause.seconds)

    return engine.revoke_run(claim.uuid, claim.run, build, "requeued", message, joblog.ERROR)


def _goes_on(app: App, claim: Claim, head: Document, errors: int) -> bool:
    job_class = claim.job[0]
    try:
        loaded = read_head(job_class, {**head, "errorCount": errors})
        job = load_job(job_class, loaded, claim.token, app.datastore, app.queue)
        return bool(job.continue_running() == NO_RESULT)
    except Exception:
        log.exception("job %s: continue_running() failed after a timeout", claim.uuid)
        return False
