"""Run one loaded job and return its outcome. Touches no queue and settles nothing.

Each way out of ``run()`` has one branch here. What a run recorded on its way out (an error, an output) is gathered
in the outcome, so that the record and the end of the run are one write.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zerog.engine.run import Run
from zerog.engine.transitions import erred, error_record, expiry, is_to_pause
from zerog.exceptions import Cancelled, ClaimLost, InvalidValue, Paused
from zerog.jobs.base import BaseJob
from zerog.jobs.document import document_of
from zerog.jobs.history import described
from zerog.jobs.load import Loaded
from zerog.jobs.logfields import current_job, fields_of
from zerog.jobs.signals import ErrorContinue, ErrorFinish, WarningContinue, WarningFinish
from zerog.records.fields import NO_RESULT
from zerog.records.job import CANCELLED, CANCELLED_STATUS, EXPIRED, INTERNAL_ERROR, SUCCESS
from zerog.records.operations import Add, Append, Max, Operation, Set
from zerog.support.checks import is_delay, plain_code
from zerog.support.error_text import message_of, repr_of
from zerog.support.texts import LOGGED, shortened
from zerog.worker.hooks import called, leaves
from zerog.worker.outcome import FINISH, LOST, RELEASE, REQUEUE, Outcome, check_end, keep_output, place_of
from zerog.worker.retry import is_final, retry_delay
from zerog.worker.start import Start, begin, in_own_context, make_runnable

if TYPE_CHECKING:
    from zerog.app import App

log = logging.getLogger("zerog")

LEGAL = "a result code from 100 to 599, (code, None), NO_RESULT, (NO_RESULT, delay), a dict, or None"


@in_own_context
def run_loaded(app: App, job_class: type[BaseJob], loaded: Loaded, token: int, run: Run) -> Outcome:
    """Make the job object of a claimed document and run it, in a context for this run alone. Never raises."""
    job = make_runnable(app, job_class, loaded, token, run)
    return job if isinstance(job, Outcome) else execute(job)


def execute(job: BaseJob) -> Outcome:
    """Run ``job``, whose document has its run, to its outcome. Never raises."""
    token = current_job.set(job)
    try:
        return conclude(job, begin(job), lambda: called(job))
    finally:
        current_job.reset(token)


def conclude(job: BaseJob, start: Start, call: Callable[[], Any]) -> Outcome:
    """Return the outcome of a run. ``call`` returns what ``run()`` returned or raises what it raised. Never raises.

    ``call`` does the run itself, with its hooks, or replays one that has ended: event loops share all the rest.
    """
    outcome = _guarded(job, lambda: _attempt(job, start, call))
    outcome = _guarded(job, lambda: _storable(job, outcome))
    document = document_of(job)
    run = document.run
    assert run is not None
    if outcome.kind != LOST and run.is_revoked:
        outcome = Outcome("claim lost", LOST)
    seq = run.close()
    if seq is None:
        return Outcome("claim lost", LOST)
    outcome.seq = seq
    outcome.at = document.latest
    if outcome.kind in (REQUEUE, RELEASE):
        outcome.place = place_of(document.stored or {}, outcome.operations)
    return outcome


def _guarded(job: BaseJob, step: Callable[[], Outcome]) -> Outcome:
    """Run a step of ending the run, such that an error in a job's own hook doesn't hide how the run ended."""
    try:
        return step()
    except Cancelled:
        return _cancelled(job)
    except Paused:
        return _paused(job)
    except BaseException as error:
        if isinstance(error, ClaimLost) and _is_revoked(job):
            log.warning("%s %s", job.logId, error, extra=fields_of(job))
            return Outcome("claim lost", LOST)
        log.exception("%s a hook of job %s failed", job.logId, job.uuid, extra=fields_of(job))
        return _unhooked(job, error)


def _is_revoked(job: BaseJob) -> bool:
    """Return True if the claim of the run is lost; a ClaimLost that the job itself raised is a plain error."""
    run = document_of(job).run
    return run is not None and run.is_revoked


def _attempt(job: BaseJob, start: Start, call: Callable[[], Any]) -> Outcome:
    if not start.may_run:
        outcome = _not_run(job, start)
        if outcome.kind != RELEASE:
            outcome.operations.append(Add("attempts", -1, 0))  # they count runs that began
        return outcome
    run = document_of(job).run
    assert run is not None
    try:
        value = call()
    except BaseException as error:
        run.lift_limit()
        return _raised(job, error, start)
    run.lift_limit()
    return _value(job, value, start)


def _not_run(job: BaseJob, start: Start) -> Outcome:
    """Return the outcome of a job whose run does not begin."""
    if start.cancelled:
        return _paused(job) if is_to_pause(document_of(job).stored or {}) else _cancelled(job)
    if not start.expired:
        return _failed(job, str(start.exhausted))
    document = document_of(job)
    event = Append("events", expiry(document.stored or {}, document.now()), document.history_limit)
    operations = [*document.pending.take(), event, Set("startedAt", None)]
    return Outcome("expired", FINISH, EXPIRED, status=CANCELLED_STATUS, operations=operations)


def _raised(job: BaseJob, error: BaseException, start: Start) -> Outcome:
    """Return the outcome of an exception; one from a task group counts as if it had been raised directly."""
    parts = leaves(error)
    for part in parts:
        if isinstance(part, ClaimLost) and _is_revoked(job):
            raise part
    if any(isinstance(part, Cancelled) for part in parts):
        return _cancelled(job)
    if any(isinstance(part, Paused) for part in parts):
        return _paused(job)
    signal = parts[0] if len(parts) == 1 else error
    if isinstance(signal, (ErrorFinish, WarningFinish)):
        return _finish(job, signal)
    if isinstance(signal, ErrorContinue):
        return _error_continue(job, signal, start)
    if isinstance(signal, WarningContinue):
        return _warning_continue(job, signal)
    return _exception(job, error, start)


# the ways out


def _value(job: BaseJob, value: Any, start: Start) -> Outcome:
    if value is None:
        return _nothing(job, start)
    if isinstance(value, dict):
        try:
            keep_output(job, value)
        except InvalidValue as error:
            return _failed(job, f"run() returned a dict that can't be stored: {error}")
        return _result(job, "value", SUCCESS)
    code, delay = _code_and_delay(value)
    if type(code) is int and code == NO_RESULT:
        if not _is_delay(delay):
            return _failed(job, f"run() returned {repr_of(value)} with delay={repr_of(delay)}; expected seconds")
        return _again(job, delay or 0.0)
    if _is_code(code) and delay is None:
        return _result(job, "value", code)
    return _failed(job, f"run() returned {repr_of(value)}; expected {LEGAL}")


def _nothing(job: BaseJob, start: Start) -> Outcome:
    """Return the outcome of ``run()`` returning None: 200, unless this run has recorded another result."""
    if job.resultCode in (NO_RESULT, start.result):
        return _result(job, "value", SUCCESS)
    if _is_code(job.resultCode):
        return _result(job, "value", job.resultCode)
    return _failed(job, f"the run recorded the result {job.resultCode!r:.80}; expected {LEGAL}")


def _is_code(code: object) -> bool:
    return type(code) is int and 100 <= code <= 599


def _code_and_delay(value: Any) -> tuple[Any, Any]:
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return plain_code(value[0]), value[1]
    return plain_code(value), None


def _is_delay(delay: Any) -> bool:
    return delay is None or is_delay(delay)


def _again(job: BaseJob, delay: float) -> Outcome:
    if job.stopping:
        return Outcome("shutdown", RELEASE, delay=delay, operations=document_of(job).pending.take())
    return _continued(job, "value", delay)


def _finish(job: BaseJob, signal: ErrorFinish | WarningFinish) -> Outcome:
    code = plain_code(signal.code)
    is_error = isinstance(signal, ErrorFinish)
    if type(code) is not int or not 100 <= code <= 599 or (is_error and code < 300):
        code = INTERNAL_ERROR
    if not signal.recorded:
        if is_error:
            document_of(job).gathered(job.record_error, code, message_of(signal), signal)
        else:
            document_of(job).gathered(job.record_warning, message_of(signal))
    return _result(job, "finish", code)


def _error_continue(job: BaseJob, signal: ErrorContinue, start: Start) -> Outcome:
    if not signal.recorded:
        document_of(job).gathered(job.record_error, signal.code, message_of(signal), signal)
    if not _is_delay(signal.delay):
        return _failed(job, f"run() raised ErrorContinue with delay={repr_of(signal.delay)}; expected seconds")
    return _another_try(job, "continue", signal, start)


def _warning_continue(job: BaseJob, signal: WarningContinue) -> Outcome:
    if not signal.recorded:
        document_of(job).gathered(job.record_warning, message_of(signal))
    if not _is_delay(signal.delay):
        return _failed(job, f"run() raised WarningContinue with delay={repr_of(signal.delay)}; expected seconds")
    code = _asked(job)
    return _continued(job, "continue", signal.delay or 0.0) if code is None else _result(job, "continue", code)


def _exception(job: BaseJob, error: BaseException, start: Start) -> Outcome:
    message = message_of(error)
    log.error("%s raised %s", job.logId, shortened(message, LOGGED), exc_info=error, extra=fields_of(job))
    document_of(job).gathered(job.record_error, INTERNAL_ERROR, message, error)
    run = document_of(job).run
    if run is not None and run.cancelled and not run.is_pause:
        return _cancelled(job)  # it was cancelled, and failed while it was cleaning up
    if is_final(type(job), error):
        return _result(job, "exception", INTERNAL_ERROR)
    return _another_try(job, "exception", error, start)


def _another_try(job: BaseJob, branch: str, error: BaseException, start: Start) -> Outcome:
    """Return the outcome after an error, which the job's ``continue_running`` decides."""
    if job.errorCount <= start.errors:
        # An overridden record_error that doesn't count would otherwise let the job fail for ever.
        document = document_of(job)
        document.gathered(document.write, [Add("errorCount", 1)])
    code = _asked(job)
    if code is None:
        return Outcome(branch, REQUEUE, delay=_pause(job, error), operations=document_of(job).pending.take())
    return _result(job, branch, code)


def _asked(job: BaseJob) -> int | None:
    """Return the code with which ``continue_running`` ends the job; None if it lets the job run again."""
    decision: Any = None

    def ask() -> None:
        nonlocal decision
        decision = job.continue_running()

    document_of(job).gathered(ask)
    if decision == NO_RESULT and type(decision) is int:
        return None
    return decision if type(decision) is int and 300 <= decision <= 599 else INTERNAL_ERROR


def _pause(job: BaseJob, error: BaseException) -> float:
    """Return the seconds until the next try: those of the job's ErrorContinue, or its class's BACKOFF."""
    if isinstance(error, ErrorContinue) and error.delay is not None:
        return float(error.delay)
    pause = retry_delay(type(job), job.errorCount, error)
    if pause.complaint:
        _complain(job, pause.complaint)
    return pause.seconds


def _complain(job: BaseJob, complaint: str) -> None:
    """Record what is wrong with the class, without ``errorCount``: that counts failed runs, and this is none."""
    log.error("%s job %s: %s", job.logId, job.uuid, complaint, extra=fields_of(job))
    document = document_of(job)
    more = described(type(job), None)
    record = error_record(document.now(), INTERNAL_ERROR, complaint, job.attempts, document.build, **more)
    document.gathered(document.append, "errors", [record])


def _continued(job: BaseJob, branch: str, delay: float) -> Outcome:
    """Return the outcome of a run that asks to run again without an error; MAX_CONTINUES bounds that."""
    limit = job.MAX_CONTINUES
    if limit is not None and job.continues >= limit:
        return _failed(job, f"the job asked to run again {job.continues + 1} times (MAX_CONTINUES {limit})")
    operations = [*document_of(job).pending.take(), Add("continues", 1)]
    return Outcome(branch, REQUEUE, delay=delay, operations=operations)


def _cancelled(job: BaseJob) -> Outcome:
    return Outcome("cancelled", FINISH, CANCELLED, status=CANCELLED_STATUS, operations=document_of(job).pending.take())


def _paused(job: BaseJob) -> Outcome:
    """Return the outcome of a run that stops since its job is paused, which its settlement looks up."""
    return Outcome("paused", RELEASE, operations=document_of(job).pending.take())


def _failed(job: BaseJob, message: str) -> Outcome:
    """Return the outcome of a run that the engine ends as failed."""
    log.error("%s job %s: %s", job.logId, job.uuid, message, extra=fields_of(job))
    document_of(job).gathered(job.record_error, INTERNAL_ERROR, message)
    return _result(job, "exception", INTERNAL_ERROR)


def _result(job: BaseJob, branch: str, code: int) -> Outcome:
    document = document_of(job)
    # Settling the run writes what ``record_result`` does, which is skipped where it would show in nothing else.
    if type(job).record_result is not BaseJob.record_result or job.lastError is not None:
        document.gathered(job.record_result, code)
    return Outcome(branch, FINISH, code, operations=[o for o in document.pending.take() if not _is_implied(o, code)])


def _is_implied(operation: Operation, code: int) -> bool:
    """Return True if settling the run with this result writes the same anyway."""
    if isinstance(operation, Set):
        return operation.field == "resultCode" and operation.value == code
    is_full = isinstance(operation, Max) and operation.field == "completeness" and operation.value == 1.0
    return is_full and 200 <= code < 300


def _storable(job: BaseJob, outcome: Outcome) -> Outcome:
    """Return the outcome, or a failure if its operations can't be stored."""
    try:
        check_end(job, outcome.operations)
    except InvalidValue as error:
        document_of(job).pending.take()
        return _failed(job, f"the end of the run can't be stored: {error}")
    return outcome


def _unhooked(job: BaseJob, error: BaseException) -> Outcome:
    """Return the outcome of a job whose own hooks fail: recorded without calling any of them."""
    message = f"a hook of the job failed: {message_of(error)}"
    document = document_of(job)
    more = described(type(job), error)
    record = error_record(document.now(), INTERNAL_ERROR, message, job.attempts, document.build, **more)
    operations = [*document.pending.take(), *erred(record, document.history_limit), Add("errorCount", 1)]
    return Outcome("exception", FINISH, INTERNAL_ERROR, operations=[*operations, Set("resultCode", INTERNAL_ERROR)])
