"""Bounds of a client's values: numbers that are out of range are refused by a message, as any wrong value is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

from marshmallow import Schema, ValidationError

MAX_EXPONENT = 1_000
"""Digits before or after the point of a Decimal: written out, one of eleven characters may take gigabytes."""

TOO_LARGE = "Out of range: too large, too small or too deep to be stored."

_BEYOND = (OverflowError, InvalidOperation, RecursionError)
"""Errors of conversions for values that their type can't hold."""


class OutOfRange(ValueError):
    """A number that isn't stored."""

    def __init__(self) -> None:
        super().__init__(f"it has an exponent beyond {MAX_EXPONENT:,}")


def load(schema: Schema, data: Any, partial: Sequence[str] = ()) -> Any:
    """Load ``data``, of which the fields ``partial`` may be missing.

    Raises marshmallow's ValidationError, with messages by field also for values out of range.
    """
    try:
        return schema.load(data, partial=tuple(partial) or None)
    except _BEYOND as error:
        raise ValidationError(_out_of_range(schema, data)) from error


def has_small_exponent(number: Decimal) -> bool:
    """Return True if neither end of the number has an exponent beyond MAX_EXPONENT."""
    text = str(number)
    if len(text) <= MAX_EXPONENT and "E" not in text:  # it is as long as its digits are many
        return True
    exponent = number.as_tuple().exponent
    return not isinstance(exponent, int) or max(abs(exponent), abs(number.adjusted())) <= MAX_EXPONENT


def _out_of_range(schema: Schema, data: Any) -> dict[str, Any]:
    messages: dict[str, Any] = {}
    for name, field in schema.load_fields.items():
        key = field.data_key or name
        if key in data:
            try:
                with suppress(ValidationError):  # messages of the remaining fields follow once this one is in range
                    field.deserialize(data[key], key, data)
            except _BEYOND:
                messages[key] = [TOO_LARGE]
    return messages or {"_schema": [TOO_LARGE]}
