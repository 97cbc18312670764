"""Decide about a delivery from its job's head and the time alone.

Every engine uses ``decide``. The script of a Redis server has one translation of it, ``begin`` in ``jobs.lua``, which
claims only jobs that ``decide`` allows to run and leaves everything else to it.
"""

from __future__ import annotations

from typing import NamedTuple

from zerog.exceptions import CorruptDocument
from zerog.records.job import WAITING, Document
from zerog.support.checks import LONGEST_DELAY
from zerog.support.clock import seconds_between

EARLY = 0.05
"""Seconds by which a delivery may be early and still count as due."""

LONGEST_EARLY = 60.0
"""Seconds for which an early delivery is put back at most: this clock may be the one that is wrong."""

LONGEST_WAIT = float(LONGEST_DELAY)
"""Seconds for which a delivery is delayed at most, about 30 years: queues compute with dates, which end."""


class Run(NamedTuple):
    """The job may be claimed."""


class Stop(NamedTuple):
    """The job was cancelled or paused while a run had it that did not notice: that takes effect now."""


class Later(NamedTuple):
    """The delivery is early and is put back."""

    seconds: float


class Drop(NamedTuple):
    """The delivery is useless: its job is gone, running or has ended."""

    counter: str
    """The name under which ``Engine.counters`` counts it."""


Decision = Run | Stop | Later | Drop


def decide(head: Document | None, now: str) -> Decision:
    """Return the decision about a delivery at the time ``now``, a stored timestamp.

    ``head``: of a document that ``check_head`` accepted, or None if there is none. Raises CorruptDocument for a
    ``notBefore`` that is no timestamp.
    """
    if head is None:
        return Drop("dropped.unknown")
    if head["status"] not in WAITING:
        return Drop(f"dropped.{head['status']}")
    if head.get("cancelRequested") is not None:
        return Stop()
    early = early_by(head, now)
    return Later(min(early, LONGEST_EARLY)) if early > EARLY else Run()


def is_expired(head: Document, now: str) -> bool:
    """Return True if a job still waits at the time by which its submitter wanted a run to begin."""
    expires = head.get("expiresAt")
    if expires is None or head.get("status") not in WAITING or head.get("cancelRequested") is not None:
        return False
    return seconds_between(now, expires) <= 0


def early_by(head: Document, now: str) -> float:
    """Return the seconds until a waiting document may run, LONGEST_WAIT at most; 0 or less if it may.

    Raises CorruptDocument for a ``notBefore`` that is no timestamp.
    """
    not_before = head.get("notBefore")
    if not not_before:
        return 0.0
    try:
        return min(seconds_between(now, not_before), LONGEST_WAIT)
    except (TypeError, ValueError):
        raise CorruptDocument(
            f"job {head.get('uuid')} has notBefore {not_before!r:.80}, which is no timestamp; it was left as it is"
        ) from None
