"""The arithmetic of completeness and ticks, and the answers to pollers. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any, cast

from zerog.jobs.answers import Info, Progress
from zerog.jobs.estimate import Past, estimate
from zerog.records.attrs import shown_attrs
from zerog.records.fields import named
from zerog.records.job import RUNNING, Document
from zerog.records.limits import shown_limit
from zerog.records.operations import Add, Operation, Set
from zerog.records.unique import shown_key
from zerog.support.clock import from_text

RECORDED_AT = 0.01
"""Ticks are written once they add up to this much completeness."""

ROUNDING = 1e-6
"""A sum of floats may exceed 1.0 by so much."""

_EPSILON = 1e-9
"""Ten ticks of 0.001 add up to a little less than 0.01 in floats, and are meant to be enough."""

STALLED_AFTER = 900.0
"""Seconds without a write after which a running job is shown as stalled, unless its class has others. Nothing is done
to it."""

_SHOWN = named(lambda field: field.is_shown)


def is_worth_recording(tickcount: float) -> bool:
    """Return True if collected ticks should be written now."""
    return tickcount >= RECORDED_AT - _EPSILON


def absorbing(head: Document, delta: float, own: Iterable[Operation] | None = None) -> list[Operation]:
    """Return the operations that add ``delta`` and the ticks not yet recorded to the completeness.

    ``own``: the operations that wait here while another process runs the job; the other ticks are that run's.
    """
    if own is None:
        return [Add("completeness", delta + head["tickcount"], 0.0, 1.0), Set("tickcount", 0.0)]
    ticks = sum(o.amount for o in own if isinstance(o, Add) and o.field == "tickcount")
    return [Add("completeness", delta + ticks, 0.0, 1.0), Add("tickcount", -ticks)]


def clamp(completeness: float) -> float:
    """Clamp a completeness to 0.0–1.0. Raises ValueError for what is no number."""
    if isinstance(completeness, bool) or not isinstance(completeness, (int, float)) or completeness != completeness:
        raise ValueError(f"completeness is a number from 0.0 to 1.0, not {completeness!r}; nothing was changed")
    return max(0.0, min(1.0, float(completeness)))


def share(completeness: Any) -> Any:
    """Return a completeness as it is shown: within 0.0 and 1.0; what is no number stays as it is."""
    if type(completeness) is float and 0.0 <= completeness <= 1.0:
        return completeness
    return clamp(completeness) if type(completeness) in (int, float) and completeness == completeness else completeness


def stalled_after(head: Document) -> float | None:
    """Return the seconds without a write after which a job is shown as stalled; None if it never is."""
    seconds = head.get("stalledAfter", STALLED_AFTER)
    is_usable = seconds is None or (type(seconds) in (int, float) and seconds > 0)
    return seconds if is_usable else STALLED_AFTER


def is_stalled(head: Document, now: datetime) -> bool:
    """Return True if a job runs but has written nothing for the STALLED_AFTER of its class.

    ``now`` is the caller's clock and ``updatedAt`` the writer's: good enough for a hint; nothing else depends on it.
    """
    seconds = stalled_after(head)
    if head.get("status") == RUNNING and seconds is not None:
        with suppress(KeyError, TypeError, ValueError):  # a damaged timestamp must not hide the rest of the job
            return (now - from_text(head["updatedAt"])).total_seconds() > seconds
    return False


def errors_left(head: Document, most: int | None) -> int | None:
    """Return how many errors a job may still have; ``most`` is its class's MAX_ERRORS, None if that isn't known."""
    most, count = head.get("maxErrors", most), head.get("errorCount")
    return max(0, most - count) if type(most) is int and type(count) is int else None


def progress_of(head: Document, now: datetime, most: int | None = None, past: Past | None = None) -> Progress:
    """Return the answer to a poller: ``completeness``, ``result``, ``status`` and more. JSON values.

    ``most``: the MAX_ERRORS of its class, if that is known. ``past``: returns the seconds of earlier runs of a type.
    """
    # A listing must not fail at the one document in a thousand that is truncated.
    shown = {
        "completeness": share(head.get("completeness")),
        "result": head.get("resultCode"),
        "status": head.get("status"),
        "stalled": is_stalled(head, now),
        "errorsLeft": errors_left(head, most),
        "uniqueKey": shown_key(head),
        **estimate(head, now, past)._asdict(),
        "parked": shown_limit(head),
    }
    return cast("Progress", {**shown, **{field: head.get(field) for field in _SHOWN}})


def info_of(document: Document, now: datetime, most: int | None = None, past: Past | None = None) -> Info:
    """Return ``progress_of`` with the attributes and the history: ``events``, ``warnings``, ``errors``."""
    lists = {field: document.get(field) or [] for field in ("events", "warnings", "errors")}
    return cast("Info", {**progress_of(document, now, most, past), "attrs": shown_attrs(document), **lists})
