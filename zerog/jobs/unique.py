"""What makes a job unique: UNIQUE of its class, or the values that a submit gives."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from zerog.exceptions import InvalidJobClass, InvalidValue
from zerog.records.job import Document
from zerog.records.unique import STARTED, UNTIL, unique_lock
from zerog.support.checks import LONGEST_DELAY
from zerog.support.clock import to_text

if TYPE_CHECKING:
    from zerog.jobs.base import BaseJob

JOIN, REPLACE = CONFLICTS = ("join", "replace")
"""The values of ON_CONFLICT."""


def check_unique(job_class: type[BaseJob], client: Collection[str], secrets: Collection[str]) -> None:
    """Refuse a key that no job could have. ``client``: the keys of the parameters. Raises InvalidJobClass."""
    name = job_class.__qualname__
    key: object = job_class.UNIQUE
    if key is not None:
        if type(key) is not tuple or not key or not all(type(part) is str for part in key):
            raise InvalidJobClass(f"{name}.UNIQUE is {key!r:.80}; expected a tuple of names of its parameters, or None")
        for part in key:
            if part not in client:
                raise InvalidJobClass(
                    f"{name}.UNIQUE names {part!r:.80}, which is no parameter; expected some of {', '.join(client)}"
                )
            if part in secrets:
                raise InvalidJobClass(f"{name}.UNIQUE names the secret {part}; a key is shown, so it can't hold one")
    until: object = job_class.UNIQUE_UNTIL
    seconds = until.total_seconds() if isinstance(until, timedelta) else None
    if until not in UNTIL and (seconds is None or not 0 < seconds < LONGEST_DELAY):
        raise InvalidJobClass(
            f"{name}.UNIQUE_UNTIL is {until!r:.80}; expected 'started', 'ended', or a timedelta of more than 0 and up "
            "to 30 years"
        )
    if job_class.ON_CONFLICT not in CONFLICTS:
        raise InvalidJobClass(f"{name}.ON_CONFLICT is {job_class.ON_CONFLICT!r:.80}; expected 'join' or 'replace'")
    if job_class.ON_CONFLICT == REPLACE and until != STARTED:
        raise InvalidJobClass(
            f"{name}.ON_CONFLICT is 'replace' and its UNIQUE_UNTIL {until!r:.80}; expected 'started', since a run that "
            "has begun takes no other parameters: they would be lost"
        )
    if key is not None and seconds is not None:
        _check_kept(job_class, seconds)


def _check_kept(job_class: type[BaseJob], seconds: float) -> None:
    """Refuse to remove jobs before the time for which they hold their keys."""
    for name in ("RETAIN", "RETAIN_FAILED"):
        kept: object = getattr(job_class, name)
        kept = kept.total_seconds() if isinstance(kept, timedelta) else kept
        if isinstance(kept, (int, float)) and kept < seconds:
            raise InvalidJobClass(
                f"{job_class.__qualname__}.{name} is {kept} s and its UNIQUE_UNTIL {seconds} s; expected to keep a job "
                "for as long as it holds its key, which is removed together with it"
            )


def check_given(values: Any) -> list[Any]:
    """Return the values of a key that a submit gives. Raises InvalidValue."""
    if not isinstance(values, (tuple, list)) or not values or not all(map(_is_plain, values)):
        raise InvalidValue(
            f"unique={values!r:.80}; expected a tuple of texts, whole numbers, booleans or None, such as "
            "('invoice', 42). Nothing was stored."
        )
    return [*values]


def _is_plain(value: Any) -> bool:
    return value is None or type(value) in (str, int, bool)


def lock_of(job_class: type[BaseJob], document: Document, given: Sequence[Any] | None, now: datetime) -> Document:
    """Return the field that makes a new job unique, or nothing; ``given``: the values of its submit's own key."""
    values = [*given] if given is not None else {name: document.get(name) for name in job_class.UNIQUE or ()}
    if not values:
        return {}
    until = job_class.UNIQUE_UNTIL
    moment = to_text(now + until) if isinstance(until, timedelta) else until
    return {"uniqueLock": unique_lock(document["jobType"], values, moment)}
