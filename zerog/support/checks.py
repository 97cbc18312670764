"""Checks of values in several packages: codes, delays and names of queues."""

from __future__ import annotations

from numbers import Integral
from typing import Any, TypeGuard

from zerog.exceptions import InvalidValue

LONGEST_TEXT = 500
"""Characters of a reason, or of the author of a command."""

LONGEST_DELAY = 10**9
"""Seconds, about 30 years: more is a mistake in units."""


def plain_code(value: Any) -> Any:
    """Return a code of another type of integer, such as ``HTTPStatus.OK`` or numpy's, as an int; others as they are."""
    return int(value) if type(value) is not bool and isinstance(value, Integral) else value


def is_delay(value: object) -> TypeGuard[float]:
    """Return True for a number of seconds that a job can wait."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < LONGEST_DELAY


def check_text(option: str, value: object) -> str:
    """Return a reason, or the author of a command. Raises InvalidValue."""
    if type(value) is not str or len(value) > LONGEST_TEXT:
        raise InvalidValue(f"{option}={value!r:.80}; expected text of up to {LONGEST_TEXT} characters")
    return value


def check_queue_name(value: Any) -> str:
    """Return the name of a queue. Raises InvalidValue."""
    if type(value) is not str or not value or len(value) > 200 or not value.isprintable():
        raise InvalidValue(f"queue={value!r:.80}; expected a name of up to 200 characters. Nothing was stored.")
    if value == "*":  # stands for all queues where queues are paused
        raise InvalidValue("queue='*'; expected the name of one queue. Nothing was stored.")
    if "," in value or value != value.strip():  # ``zerog worker --queues`` couldn't name it
        raise InvalidValue(
            f"queue={value!r:.80}; expected a name without commas, and without spaces at its ends. Nothing was stored."
        )
    return value
