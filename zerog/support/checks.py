"""Checks of values in several packages: delays and names of queues."""

from __future__ import annotations

from typing import Any, TypeGuard

from zerog.exceptions import InvalidValue

LONGEST_DELAY = 10**9
"""Seconds, about 30 years: more is a mistake in units."""


def is_delay(value: object) -> TypeGuard[float]:
    """Return True for a number of seconds that a job can wait."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < LONGEST_DELAY


def check_queue_name(value: Any) -> str:
    """Return the name of a queue. Raises InvalidValue."""
    if type(value) is not str or not value or len(value) > 200 or not value.isprintable():
        raise InvalidValue(f"queue={value!r:.80}; expected a name of up to 200 characters. Nothing was stored.")
    if "," in value or value != value.strip():  # ``zerog worker --queues`` couldn't name it
        raise InvalidValue(
            f"queue={value!r:.80}; expected a name without commas, and without spaces at its ends. Nothing was stored."
        )
    return value
