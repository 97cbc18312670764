"""How fast a run is, how long it may still take, and for how long it has been quiet. Pure functions.

All three change only with the document and once a minute, so that a poller which has the answer needs no other one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from zerog.records.job import RUNNING, Document
from zerog.support.clock import from_text

STEP = 60
"""Seconds in which the time without a write is counted."""

DOUBT = 0.5
"""By which share of itself an estimate may be wrong when nothing of the run is seen; nothing at its end."""

LEAST = 1.0
"""Seconds of a run from which on its rate means something."""

Past = Callable[[str], float | None]
"""Returns the seconds that runs of a type have taken, None if too few are known."""


class Estimate(NamedTuple):
    """The fields of ``progress()``; None of what isn't known, and of a job that doesn't run."""

    rate: float | None = None
    eta_low: float | None = None
    eta_high: float | None = None
    quiet_for: int | None = None


class _Run(NamedTuple):
    """What the head says of the run."""

    done: float
    """Completeness, from 0.0 to 1.0."""
    seen: float
    """The share of what was left at the run's start that it has done, from 0.0 to 1.0."""
    gained: float
    """Completeness since the run's start."""
    seconds: float
    """From the start to the last write."""
    quiet: int
    """Seconds since the last write, in whole minutes."""


def estimate(head: Document, now: datetime, past: Past | None = None) -> Estimate:
    """Return how a job goes on, from its head alone and, with ``past``, from earlier runs of its type.

    ``now`` is the caller's clock and the times are the writer's: good enough for a hint; nothing depends on it.
    """
    if head.get("status") != RUNNING:
        return Estimate()
    run = None
    with suppress(KeyError, TypeError, ValueError):  # a damaged head must not hide the rest of the job
        run = _run_of(head, now)
    if run is None:
        return Estimate()
    rate = run.gained / run.seconds if run.gained > 0 and run.seconds >= LEAST else None
    usual = None if past is None else past(str(head.get("jobType")))
    low, high = _left(run, rate, usual)
    return Estimate(rate, _after(low, run.quiet), _after(high, run.quiet), run.quiet)


def _run_of(head: Document, now: datetime) -> _Run:
    written, done = from_text(head["updatedAt"]), min(1.0, max(0.0, float(head["completeness"])))
    first = head.get("resumedFrom", 0.0)
    first = first if type(first) in (int, float) and 0 <= first <= done else 0.0
    seconds = (written - from_text(head["startedAt"])).total_seconds()
    quiet = max(0.0, (now - written).total_seconds())
    seen = (done - first) / (1 - first) if first < 1 else 0.0
    return _Run(done, seen, done - first, max(0.0, seconds), int(quiet // STEP) * STEP)


def _left(run: _Run, rate: float | None, usual: float | None) -> tuple[float | None, float | None]:
    """Return the least and the most seconds that are left as of the last write."""
    if rate is None:
        if usual is None or run.seconds + run.quiet > usual * (1 + DOUBT):
            return None, None
        if run.gained > 0:  # in its first second
            return usual * (1 - run.done) * (1 - DOUBT), usual * (1 - run.done) * (1 + DOUBT)
        return usual * (1 - DOUBT) - run.seconds, usual * (1 + DOUBT) - run.seconds
    own = (1 - run.done) / rate
    other = own if usual is None else own * run.seen + usual * (1 - run.done) * (1 - run.seen)
    doubt = DOUBT * (1 - run.seen)
    return min(own, other) * (1 - doubt), max(own, other) * (1 + doubt)


def _after(seconds: float | None, quiet: int) -> float | None:
    return None if seconds is None else round(max(0.0, seconds - quiet), 1)
