"""The start of a run: the job object, whether it may begin, and a context of its own for what it sets there."""

from __future__ import annotations

import contextvars
import decimal
import logging
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, NamedTuple, ParamSpec, TypeVar

from zerog.engine import joblog
from zerog.engine.run import Run
from zerog.engine.transitions import begun, erred, error_record, is_to_pause, stamp
from zerog.jobs.base import BaseJob
from zerog.jobs.document import document_of
from zerog.jobs.history import described
from zerog.jobs.limits import run_limits_of
from zerog.jobs.load import Loaded, load_job
from zerog.records.job import CANCELLED, CANCELLED_STATUS, INTERNAL_ERROR, Document
from zerog.records.operations import Add, Append, Set
from zerog.support.clock import to_text
from zerog.support.error_text import message_of
from zerog.support.texts import counted
from zerog.worker.outcome import FINISH, RELEASE, REQUEUE, Outcome
from zerog.worker.retry import is_final, retry_delay

if TYPE_CHECKING:
    from zerog.app import App

log = logging.getLogger("zerog")


def make_runnable(app: App, job_class: type[BaseJob], loaded: Loaded, token: int, run: Run) -> BaseJob | Outcome:
    """Return the job object of a claimed document, or the outcome if the class can't make one. Never raises."""
    try:
        job = load_job(job_class, loaded, token, app.datastore, app.queue)
    except BaseException as error:
        log.exception("job %s could not be started", loaded[0]["uuid"], extra=joblog.fields(loaded[0]))
        return _not_started(app, job_class, loaded[0], error, run.build)
    app._attach(job)
    document_of(job).run = run
    return job


def _not_started(
    app: App, job_class: type[BaseJob], head: Document, error: BaseException, build: str | None
) -> Outcome:
    """Return the outcome of a job whose class's ``__init__`` failed: an error of the job."""
    if is_to_pause(head):
        return Outcome("paused", RELEASE, seq=1)
    if head["cancelRequested"] is not None:
        return Outcome("cancelled", FINISH, CANCELLED, status=CANCELLED_STATUS, seq=1)
    message = f"the job could not be started: {message_of(error)}"
    at = stamp(head, to_text(app.clock.now()))
    record = error_record(at, INTERNAL_ERROR, message, head["attempts"], build, **described(job_class, error))
    keep = job_class.MAX_EVENTS or app.engine.datastore.history_limit
    operations = [*erred(record, keep), Add("errorCount", 1)]
    errors = head["errorCount"] + 1
    if errors >= run_limits_of(job_class, head).max_errors or is_final(job_class, error):
        return Outcome("exception", FINISH, INTERNAL_ERROR, operations=operations, seq=1)
    pause = retry_delay(job_class, errors, error)
    if pause.complaint:
        complaint = error_record(
            at, INTERNAL_ERROR, pause.complaint, head["attempts"], build, **described(job_class, None)
        )
        operations.append(Append("errors", complaint, keep))
    return Outcome("exception", REQUEUE, delay=pause.seconds, operations=operations, seq=1)


class Start(NamedTuple):
    """State of the job when this run began."""

    errors: int
    result: int
    cancelled: bool
    expired: bool
    exhausted: str | None

    @property
    def may_run(self) -> bool:
        """True if ``run()`` is to be called."""
        return not (self.cancelled or self.expired or self.exhausted)


def begin(job: BaseJob) -> Start:
    """Return the state of a job before its run. A run that begins ends the job's time to expire by its next write."""
    document = document_of(job)
    is_expired = job.expiresAt is not None and job.expiresAt <= document.engine.now()
    start = Start(job.errorCount, job.resultCode, job.cancelRequested is not None, is_expired, _exhausted(job))
    stored = document.stored or {}
    operations = begun(stored) if start.may_run else []
    if job.completeness != stored.get("resumedFrom", 0.0):
        operations.append(Set("resumedFrom", job.completeness))
    if operations:
        document.write(operations, flush=False)
    return start


def _exhausted(job: BaseJob) -> str | None:
    """Return why the job must not run once more, if earlier runs died too often; otherwise None."""
    if job.crashes >= job.MAX_CRASHES:
        runs = counted(job.crashes, "run", "runs")
        return f"the process died in {runs} of this job (MAX_CRASHES {job.MAX_CRASHES}); see its errors"
    if job.lost >= job.MAX_LOST:
        return (
            f"{counted(job.lost, 'worker was', 'workers were')} lost while running this job (MAX_LOST {job.MAX_LOST})"
        )
    return None


P = ParamSpec("P")
T = TypeVar("T")


def in_own_context(function: Callable[P, T]) -> Callable[P, T]:
    """Make each call of a function run in a copy of its thread's context."""

    def with_own_decimals(*args: P.args, **kwargs: P.kwargs) -> T:
        decimal.setcontext(decimal.getcontext().copy())  # a copied context shares the object that has its settings
        return function(*args, **kwargs)

    @wraps(function)
    def in_a_copy(*args: P.args, **kwargs: P.kwargs) -> T:
        return contextvars.copy_context().run(with_own_decimals, *args, **kwargs)

    return in_a_copy
