"""How long a job waits before its next try: what its class's ``BACKOFF`` says, or why that can't be used."""

from __future__ import annotations

from typing import NamedTuple

from zerog import backoff, values
from zerog.jobs.base import BaseJob
from zerog.jobs.options import LONGEST_DELAY, is_delay


class Pause(NamedTuple):
    """Seconds until the next try, and what was wrong with the class's own answer, if anything was."""

    seconds: float
    complaint: str | None = None


def pause_after(job_class: type[BaseJob], error_count: int, error: BaseException | None) -> Pause:
    """The pause after the ``error_count``-th error. Never raises: a wrong answer must not lose the job.

    ``error`` is what the run raised, None if it was killed.
    """
    try:
        answer: object = job_class.BACKOFF(error_count, error)  # from the class: a function there is no method
    except BaseException as failure:  # sys.exit() in it ends no worker
        return _instead(job_class, error_count, f"raised {values.shown(failure)}")
    if is_delay(answer):
        return Pause(float(answer))
    expected = f"expected seconds, from 0 up to {LONGEST_DELAY:,}"
    return _instead(job_class, error_count, f"returned {values.shown(answer)}; {expected}")


def _instead(job_class: type[BaseJob], error_count: int, trouble: str) -> Pause:
    seconds = backoff.DEFAULT(error_count, None)
    where = f"BACKOFF of {job_class.JOB_TYPE} for error {error_count} {trouble}"
    return Pause(seconds, f"{where}. The job waits {seconds:.1f} s instead, as jobs without a BACKOFF do.")
