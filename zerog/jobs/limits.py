"""The limits of one job: those that its submit gave it, or else its class's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from zerog.exceptions import InvalidValue
from zerog.records.job import Document, is_sound
from zerog.support import jsonvalues

if TYPE_CHECKING:
    from zerog.jobs.base import BaseJob

OVERRIDDEN = {"maxErrors": "MAX_ERRORS", "softTimeout": "SOFT_TIMEOUT", "hardTimeout": "TIMEOUT"}
"""The fields of a document that stand for attributes of its class, where it has them."""


class Limits(NamedTuple):
    """What bounds the runs of one job: errors, and seconds of a run; None for no limit."""

    max_errors: int
    soft_timeout: float | None
    timeout: float | None


def own_limits(head: Document) -> dict[str, Any]:
    """Return the limits that a job has of its own, by the attribute of its class."""
    return {attribute: head[field] for field, attribute in OVERRIDDEN.items() if field in head}


def run_limits_of(job_class: type[BaseJob], head: Document) -> Limits:
    """Return the limits of a stored job."""
    get = head.get
    return Limits(
        get("maxErrors", job_class.MAX_ERRORS),
        get("softTimeout", job_class.SOFT_TIMEOUT),
        get("hardTimeout", job_class.TIMEOUT),
    )


def check_limits_given(
    job_class: type[BaseJob], max_errors: int | None, soft_timeout: float | None, timeout: float | None
) -> Document:
    """Return the fields of limits given to jobs of a class, None for the class's own. Raises InvalidValue."""
    if max_errors is None and soft_timeout is None and timeout is None:
        return {}
    given = {"max_errors": max_errors, "soft_timeout": soft_timeout, "timeout": timeout}
    fields = dict(zip(OVERRIDDEN, given, strict=True))
    stored = {field: given[name] for field, name in fields.items() if given[name] is not None}
    for field, value in stored.items():
        if not is_sound(field, value):
            expected = "a whole number, 0 or more" if field == "maxErrors" else "seconds, more than 0"
            raise InvalidValue(
                f"{fields[field]}={jsonvalues.short_repr(value)}; expected {expected}, or None for what "
                f"{job_class.__qualname__} has. Nothing was stored."
            )
    limits = run_limits_of(job_class, stored)
    if limits.soft_timeout and limits.timeout and limits.soft_timeout >= limits.timeout:
        raise InvalidValue(
            f"soft_timeout={soft_timeout!r} and timeout={timeout!r} with what {job_class.__qualname__} has come to a "
            f"soft limit of {limits.soft_timeout!r} s and a hard one of {limits.timeout!r} s; expected a soft limit "
            "below the hard one. Nothing was stored."
        )
    return stored
