"""The start of a run: whether a job may begin, and a context of its own for what it sets there."""

from __future__ import annotations

import contextvars
import decimal
from collections.abc import Callable
from functools import wraps
from typing import NamedTuple, ParamSpec, TypeVar

from zerog.engine.transitions import begun
from zerog.jobs.base import BaseJob
from zerog.jobs.document import document_of
from zerog.records.operations import Set
from zerog.support.texts import counted


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
