"""How many jobs of a class run at once or start in a time: MAX_RUNNING, RATE, and those of each CONCURRENCY_KEY."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zerog.exceptions import InvalidJobClass, InvalidValue
from zerog.records.attrs import shown_attrs
from zerog.records.fields import is_count
from zerog.records.job import Document
from zerog.records.limits import Limit, Limits
from zerog.records.settings import Rate

if TYPE_CHECKING:
    from zerog.jobs.base import BaseJob


def check_concurrency(job_class: type[BaseJob]) -> None:
    """Refuse limits that make no sense. Raises InvalidJobClass."""
    name, key = job_class.__qualname__, job_class.CONCURRENCY_KEY
    for option in ("MAX_RUNNING", "MAX_RUNNING_PER_KEY"):
        most: object = getattr(job_class, option)
        if most is not None and not (is_count(most) and most > 0):
            raise InvalidJobClass(f"{name}.{option} is {most!r:.80}; expected a whole number, 1 or more, or None")
    if key is not None and key not in job_class.ATTRIBUTES:
        raise InvalidJobClass(
            f"{name}.CONCURRENCY_KEY is {key!r:.80}; expected one of its ATTRIBUTES ({', '.join(job_class.ATTRIBUTES)})"
        )
    for option in ("RATE", "RATE_PER_KEY"):
        try:
            rate_of(getattr(job_class, option))
        except InvalidValue as error:
            raise InvalidJobClass(f"{name}.{option}: {error}") from None
    for option in ("MAX_RUNNING_PER_KEY", "RATE_PER_KEY"):
        if key is None and getattr(job_class, option) is not None:
            raise InvalidJobClass(
                f"{name}.{option} is {getattr(job_class, option)} without a CONCURRENCY_KEY; expected the name of an "
                "attribute there, such as 'customer'"
            )


def rate_of(text: object) -> Rate | None:
    """Return the rate of a text such as ``100/hour``, None for None. Raises InvalidValue."""
    return None if text is None else Rate.read(text)


def is_limited(job_class: type[BaseJob]) -> bool:
    """Return True if jobs of a class may have limits."""
    return any(each is not None for each in (job_class.MAX_RUNNING, job_class.RATE, job_class.CONCURRENCY_KEY))


def limits_of(job_class: type[BaseJob], head: Document) -> Limits:
    """Return the limits of a job, by its head: first that of its key, so that what waits for it has no other slot."""
    key, job_type = job_class.CONCURRENCY_KEY, job_class.JOB_TYPE
    text = None if key is None else shown_attrs(head).get(key)
    slots, starts = list[Limit](), list[Limit]()
    all_parts: list[tuple[str, ...]] = [("type", job_type)]
    if key is not None and text is not None:
        all_parts.insert(0, ("key", job_type, key, text))
    for parts in all_parts:
        most, rate = (
            (job_class.MAX_RUNNING_PER_KEY, job_class.RATE_PER_KEY)
            if parts[0] == "key"
            else (job_class.MAX_RUNNING, job_class.RATE)
        )
        if most is not None:
            slots.append(Limit(parts, most))
        if rate is not None:
            starts.append(Limit((*parts, "rate"), rate=Rate.read(rate)))
    return Limits((*slots, *starts), text or "")
