"""The place in a job's own code at which an error arose, and the fingerprint of the error.

Own code is that of the top-level package of the job's class; an exception that touches none of it is placed in the
innermost function that isn't ZeroG's.
"""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple

from zerog.records.fingerprints import fingerprint
from zerog.records.job import Document
from zerog.support.jsonvalues import storable_text

if TYPE_CHECKING:
    from zerog.jobs.base import BaseJob

LONGEST_LINE = 200
"""Characters kept of a line of code."""

_RECORDING = frozenset(["record_error", "record_errors", "job_log_error", "raise_error_continue", "raise_error_finish"])
"""Methods that classes override to record in their way: the error arose in what calls them."""


class _Step(NamedTuple):
    frame: FrameType
    line: int

    @property
    def module(self) -> str:
        return str(self.frame.f_globals.get("__name__", ""))


def origin_of(job_class: type[BaseJob], exception: BaseException | None, kind: str = "") -> Document:
    """Return ``fingerprint`` and, if it is known, ``where``, for an entry of ``errors``.

    Without an exception the place is that of the caller. ``kind``: the type under which the exception is recorded.
    """
    step = _innermost(job_class.__module__.partition(".")[0], exception)
    if step is None:
        return {"fingerprint": fingerprint(job_class.JOB_TYPE, kind)}
    code = step.frame.f_code
    place = f"{step.module}.{code.co_qualname}"
    line = linecache.getline(code.co_filename, step.line, step.frame.f_globals).strip()[:LONGEST_LINE]
    where = storable_text(f"{place}: {line}" if line else place)
    return {"fingerprint": fingerprint(job_class.JOB_TYPE, kind, place, line), "where": where}


def _innermost(package: str, exception: BaseException | None) -> _Step | None:
    foreign = None
    for step in _traced(exception) if exception is not None else _calling(inspect.currentframe()):
        if step.module.partition(".")[0] == package and (exception or step.frame.f_code.co_name not in _RECORDING):
            return step
        if foreign is None and step.module.partition(".")[0] != "zerog":
            foreign = step
    return None if exception is None else foreign


def _traced(exception: BaseException) -> Iterator[_Step]:
    """Yield the places of a traceback, the innermost first."""
    steps, trace = [], exception.__traceback__
    while trace is not None:
        steps.append(_Step(trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    return reversed(steps)


def _calling(frame: FrameType | None) -> Iterator[_Step]:
    """Yield the places of the present calls, the innermost first."""
    while frame is not None:
        yield _Step(frame, frame.f_lineno)
        frame = frame.f_back
