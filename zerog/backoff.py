"""Pauses between an error and the next run: values for the class attribute ``BACKOFF``.

Any callable of the number of recorded errors, counted from 1, that returns seconds will do, or one of that number and
the exception (None if the run was killed); these are the usual ones. With ``jitter`` each pause is shorter by a share
drawn at random, so that jobs which failed together aren't retried together: ``True`` stands for up to a quarter, a
number from 0 to 1 for another share. ``cap`` is the longest pause. All raise ConfigurationError for invalid arguments.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from zerog.exceptions import ConfigurationError
from zerog.support import jsonvalues
from zerog.support.callables import signature_error
from zerog.support.checks import LONGEST_DELAY, is_delay

Backoff = Callable[[int, BaseException | None], float]
AnyBackoff = Backoff | Callable[[int], float]

JITTER = 0.25
"""Share of a pause by which ``jitter=True`` may shorten it."""

LONGEST = 3600.0
"""Seconds of the longest pause, unless another ``cap`` is given."""


class _Pauses:
    """Pauses by the number of errors."""

    def __init__(self, text: str, seconds: Callable[[int], float], cap: float, jitter: bool | float) -> None:
        self._text = text
        self._seconds = seconds
        self._cap = cap
        self._share = _share(text, jitter)

    def __call__(self, error_count: int, error: BaseException | None = None) -> float:
        try:
            pause = min(self._seconds(max(error_count, 1)), self._cap)
        except OverflowError:
            pause = self._cap
        return pause * random.uniform(1 - self._share, 1)

    def __repr__(self) -> str:
        return self._text


def none() -> Backoff:
    """Return a backoff without pauses: the next run follows at once."""
    return _Pauses("none()", lambda count: 0.0, 0.0, jitter=False)


def constant(seconds: float, *, jitter: bool | float = False) -> Backoff:
    """Return a backoff with the same pause after every error, exactly unless ``jitter`` is given."""
    text = f"constant({jsonvalues.short_repr(seconds)})"
    _check_seconds(text, "seconds", seconds)
    return _Pauses(text, lambda count: seconds, seconds, jitter)


def linear(step: float, *, cap: float = LONGEST, jitter: bool | float = True) -> Backoff:
    """Return a backoff of ``step`` seconds after the first error, twice as many after the second, and so on."""
    text = f"linear({jsonvalues.short_repr(step)}, cap={jsonvalues.short_repr(cap)})"
    _check_seconds(text, "step", step)
    _check_cap(text, cap, step)
    return _Pauses(text, lambda count: step * count, cap, jitter)


def exponential(
    first: float = 1.0, *, factor: float = 2.0, cap: float = LONGEST, jitter: bool | float = True
) -> Backoff:
    """Return a backoff of ``first`` seconds after the first error, ``factor`` times as many after each further one."""
    shown = [jsonvalues.short_repr(value) for value in (first, factor, cap)]
    text = "exponential({}, factor={}, cap={})".format(*shown)
    _check_seconds(text, "first", first)
    _check_cap(text, cap, first)
    if not is_delay(factor) or factor < 1:
        raise ConfigurationError(f"{text}: factor={jsonvalues.short_repr(factor)}; expected a number, 1 or more")
    return _Pauses(text, lambda count: first * float(factor) ** (count - 1), cap, jitter)


def pause_of(given: Any, error_count: int, error: BaseException | None) -> object:
    """Return what a BACKOFF returns. One that can be called with the number alone or with both gets both."""
    return given(error_count) if signature_error(given, error_count, error) else given(error_count, error)


def _check_seconds(text: str, name: str, value: object) -> None:
    if not is_delay(value):
        raise ConfigurationError(
            f"{text}: {name}={jsonvalues.short_repr(value)}; expected seconds, from 0 up to {LONGEST_DELAY:,}"
        )


def _check_cap(text: str, cap: float, first: float) -> None:
    _check_seconds(text, "cap", cap)
    if cap < first:
        raise ConfigurationError(f"{text}: cap={cap!r} is below the first pause of {first!r} s; expected at least that")


def _share(text: str, jitter: object) -> float:
    if isinstance(jitter, bool):
        return JITTER if jitter else 0.0
    if is_delay(jitter) and jitter <= 1:
        return float(jitter)
    raise ConfigurationError(
        f"{text}: jitter={jsonvalues.short_repr(jitter)}; expected True, False, or the share of a pause that chance "
        "may take off, from 0 to 1"
    )


DEFAULT = exponential(1.0, cap=60.0)
"""The default ``BACKOFF``: 1 second, doubled each time up to a minute, up to a quarter less."""
