"""Options of a submit: when and where a job runs. Checked before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypedDict

from zerog.contracts.queue import PUT_TAKES
from zerog.exceptions import InvalidValue
from zerog.support import jsonvalues
from zerog.support.checks import LONGEST_DELAY, is_delay
from zerog.support.clock import in_utc

HIGHEST_PRIORITY = 2**31 - 1


Expires = float | timedelta | datetime | None
"""The time by which a run must begin: seconds or a timedelta from the submit, or a moment."""


Version = str | float | None
"""A schema version as text or number; None for that of the class."""


class SubmitKeywords(TypedDict, total=False):
    """The keyword arguments of ``App.submit_many`` that a job gives for others: see there."""

    delay: float
    at: datetime | None
    priority: int | None
    queue: str | None
    headers: Mapping[str, str] | None
    max_errors: int | None
    timeout: float | None
    soft_timeout: float | None
    expires: Expires
    notify: Sequence[str] | None
    connection: Any


def check_delay(value: Any, name: str = "delay") -> float:
    """Return the seconds as a float. Raises InvalidValue for anything that is no delay."""
    if not is_delay(value):
        raise InvalidValue(
            f"{name}={value!r:.80}; expected seconds, from 0 up to {LONGEST_DELAY:,}. Nothing was stored."
        )
    return float(value)


def delay_until(delay: float, at: datetime | None, now: Callable[[], datetime]) -> float:
    """Return the seconds to wait, given as ``delay`` or as the time ``at``, in UTC unless it has a timezone.

    Raises InvalidValue, and what ``now`` raises.
    """
    if at is None:
        return check_delay(delay)
    if delay:
        raise InvalidValue("give either delay= or at=, not both; nothing was stored")
    if not isinstance(at, datetime):
        raise InvalidValue(f"at={at!r:.80} is no datetime; nothing was stored")
    return check_delay(max(0.0, (_moment(at, "at") - now()).total_seconds()), "delay until at")


def _moment(value: datetime, name: str) -> datetime:
    try:
        return in_utc(value)
    except OverflowError:
        raise InvalidValue(f"{name}={value!r:.80} is out of range in UTC; nothing was stored") from None


def expires_at(expires: Expires, delay: float, now: Callable[[], datetime]) -> datetime | None:
    """Return the moment by which a run must begin; a datetime is in UTC unless it has a timezone.

    ``delay``: the seconds until it may. Raises InvalidValue, also for a moment by which no run can begin, and what
    ``now`` raises.
    """
    if expires is None:
        return None
    start = now()
    if isinstance(expires, datetime):
        seconds = max(0.0, (_moment(expires, "expires") - start).total_seconds())
    else:
        seconds = expires.total_seconds() if isinstance(expires, timedelta) else expires
    if check_delay(seconds, "expires") <= delay:
        raise InvalidValue(
            f"expires={expires!r:.80}; expected a time after the job may begin, which is in {delay:g} s. "
            "Nothing was stored."
        )
    return start + timedelta(seconds=seconds)


def check_named(value: object, name: str) -> None:
    """Check the name of a person who acts by hand, or the reason: a text that isn't blank. Raises InvalidValue."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidValue(f"{name}={value!r:.80}; expected a text for the job's events. Nothing was changed.")


def check_token(value: int | str) -> int:
    """Return a token as a number. Raises InvalidValue."""
    if isinstance(value, bool) or not str(value).isdecimal():
        raise InvalidValue(f"cas={value!r:.80}; expected the token of a job as it was seen. Nothing was changed.")
    return int(value)


def check_priority(value: Any) -> int:
    """Return the priority. Raises InvalidValue for anything but a whole number."""
    if type(value) is not int or abs(value) > HIGHEST_PRIORITY:
        raise InvalidValue(f"priority={value!r:.80}; expected a whole number, higher runs earlier. Nothing was stored.")
    return value


def check_headers(value: Mapping[str, str] | None) -> dict[str, str]:
    """Return headers as a dict of texts. Raises InvalidValue."""
    headers = {} if value is None else value
    if not isinstance(headers, Mapping) or not all(type(part) is str for pair in headers.items() for part in pair):
        raise InvalidValue(f"headers={value!r:.80}; expected texts by name. Nothing was stored.")
    return dict(headers)


def check_queue_options(options: dict[str, Any], takes: Callable[[str], bool]) -> None:
    """Check the options that ``enqueue`` gets for the queue; ``takes`` is the queue's own method.

    Raises TypeError for a name that the queue's ``put`` doesn't take, InvalidValue.
    """
    for name, value in options.items():
        if name in ("delay", "priority"):
            continue  # checked where they are read
        if name == "ttr":
            if not is_delay(value) or value == 0:
                raise InvalidValue(f"ttr={value!r:.80}; expected seconds, more than 0. Nothing was stored.")
        elif name in PUT_TAKES or not takes(name):
            raise TypeError(
                f"enqueue() got {name}={value!r:.80}; it takes delay, priority, ttr and what the put of the job's "
                "queue takes. Nothing was stored."
            )
    jsonvalues.check(options, "what enqueue() got")
