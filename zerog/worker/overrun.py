"""A run whose TIMEOUT is over: taken from its owner as an error, and the class decides about another try."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from zerog import logs, transitions
from zerog.datastores.operations import Operation
from zerog.document import INTERNAL_ERROR, NO_RESULT, Document
from zerog.jobs.base import load_job, read_head
from zerog.transitions import Claim
from zerog.worker.pauses import pause_after

if TYPE_CHECKING:
    from zerog.app import App

log = logging.getLogger("zerog")


def take_overrun(app: App, claim: Claim, message: str) -> bool:
    """End the claimed run from outside, with an error that says ``message``; False if it doesn't own the job any more.

    Raises what the datastore raises.
    """
    engine = app.engine

    def build(head: Document, now: str) -> list[Operation]:
        errors = head["errorCount"] + 1
        pause = pause_after(claim.loaded[0], errors, None) if _goes_on(app, claim, head, errors) else None
        told = f"{message}. {pause.complaint}" if pause and pause.complaint else message
        record = transitions.error_record(now, INTERNAL_ERROR, told, head["attempts"], app.build_id, type="Timeout")
        return transitions.overrun(head, record, now, engine.kept(head), pause and pause.seconds)

    return engine.take_away(claim.uuid, claim.run, build, "requeued", message, logs.ERROR)


def _goes_on(app: App, claim: Claim, head: Document, errors: int) -> bool:
    job_class = claim.loaded[0]
    try:
        loaded = read_head(job_class, {**head, "errorCount": errors})
        job = load_job(job_class, loaded, claim.token, app.datastore, app.queue)
        return bool(job.continue_running() == NO_RESULT)
    except Exception:
        log.exception("job %s: continue_running() failed after a timeout", claim.uuid)
        return False
