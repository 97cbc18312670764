"""Bounds of numbers: those out of range are refused by a message, as any wrong value is."""

from __future__ import annotations

from decimal import Decimal

MAX_EXPONENT = 1_000
"""Digits before or after the point of a Decimal: written out, one of eleven characters may take gigabytes."""

TOO_LARGE = "Out of range: too large, too small or too deep to be stored."


class OutOfRange(ValueError):
    """A number that isn't stored."""

    def __init__(self) -> None:
        super().__init__(f"it has an exponent beyond {MAX_EXPONENT:,}")


def has_small_exponent(number: Decimal) -> bool:
    """Return True if neither end of the number has an exponent beyond MAX_EXPONENT."""
    text = str(number)
    if len(text) <= MAX_EXPONENT and "E" not in text:  # it is as long as its digits are many
        return True
    exponent = number.as_tuple().exponent
    return not isinstance(exponent, int) or max(abs(exponent), abs(number.adjusted())) <= MAX_EXPONENT
