"""What a client's values may come to: numbers that are out of range are refused by a message, as any wrong value is."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

from marshmallow import Schema, ValidationError

MAX_EXPONENT = 1_000
"""Digits before or after the point of a Decimal: written out, one of eleven characters may take gigabytes."""

TOO_LARGE = "Out of range: too large, too small or too deep to be stored."

_BEYOND = (OverflowError, InvalidOperation, RecursionError)
"""What conversions raise of values that their type can't hold."""


def load(schema: Schema, data: Any) -> Any:
    """Load ``data``. Raises marshmallow's ValidationError, with messages by field also for values out of range."""
    try:
        loaded = schema.load(data)
    except _BEYOND as error:
        raise ValidationError(_out_of_range(schema, data)) from error
    messages = {name: [TOO_LARGE] for name, value in _items(loaded) if not has_small_exponents(value)}
    if messages:
        raise ValidationError(messages)
    return loaded


def has_small_exponents(value: Any) -> bool:
    """True if no Decimal in ``value``, or in lists and dicts of it, has an exponent beyond MAX_EXPONENT."""
    todo: list[Any] = [[value]]
    while todo:
        parts = todo.pop()
        if isinstance(parts, dict):
            todo.append([*parts])
            parts = parts.values()
        for kind in set(map(type, parts)):
            if issubclass(kind, Decimal):
                if not all(_is_small(part) for part in parts if isinstance(part, Decimal)):
                    return False
            elif issubclass(kind, (list, dict, tuple, set, frozenset)):
                todo.extend(part for part in parts if type(part) is kind and part)
    return True


def _is_small(number: Decimal) -> bool:
    exponent = number.as_tuple().exponent
    return not isinstance(exponent, int) or max(abs(exponent), abs(number.adjusted())) <= MAX_EXPONENT


def _items(loaded: Any) -> Any:
    return loaded.items() if isinstance(loaded, dict) else ()


def _out_of_range(schema: Schema, data: Any) -> dict[str, Any]:
    messages: dict[str, Any] = {}
    for name, field in schema.load_fields.items():
        key = field.data_key or name
        if key in data:
            try:
                with suppress(ValidationError):  # the others' messages follow once this one is in range
                    field.deserialize(data[key], key, data)
            except _BEYOND:
                messages[key] = [TOO_LARGE]
    return messages or {"_schema": [TOO_LARGE]}
