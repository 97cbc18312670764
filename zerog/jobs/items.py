"""Load a client's parameters, and bound the items that their schema converts one by one: microseconds each.

An item is a part of a list, a key or a value of a dict, an object, or a field of one. Those of a plain list, of texts
or numbers that its schema neither changes nor validates, aren't counted: such a list is taken as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import InvalidOperation
from typing import Any

from marshmallow import Schema, ValidationError, fields

from zerog.jobs.bounds import TOO_LARGE
from zerog.jobs.known import WholeNumber
from zerog.support.jsonvalues import MAX_DEPTH

MAX_ITEMS = 10_000
"""What a class takes by default: with marshmallow's own fields they cost at most about 50 ms."""

_PLAIN = {fields.String: str, fields.Integer: int, WholeNumber: int, fields.Float: float}
"""Fields that take values of exactly these types as they are."""


_BEYOND = (OverflowError, InvalidOperation, RecursionError)
"""Errors of conversions for values that their type can't hold."""


class PlainList(fields.List[Any]):
    """A list whose parts are texts, integers or floats without validators and hooks."""

    def has_plain(self, value: Any) -> bool:
        """Return True if the field takes these parts as they are."""
        kind = _PLAIN[type(self.inner)]
        return type(value) is list and {kind}.issuperset(map(type, value)) and (kind is not float or _are_finite(value))

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        return value[:] if self.has_plain(value) else super()._deserialize(value, attr, data, **kwargs)


def _are_finite(values: list[float]) -> bool:
    return all(map(math.isfinite, values))


def hastened(schema: Schema) -> Schema:
    """Return a schema of whose fields the lists take plain values as a whole; it must be its caller's own instance."""
    for field in schema.fields.values():
        if type(field) is fields.List and _is_plain(field.inner):
            field.__class__ = PlainList
    return schema


def _is_plain(field: fields.Field[Any]) -> bool:
    return type(field) in _PLAIN and not (field.validators or field.pre_load or field.post_load)


def load(schema: Schema, data: Mapping[str, Any], partial: Sequence[str], most: int | None) -> Any:
    """Load ``data``, of which the fields ``partial`` may be missing, and which may have ``most`` items.

    Raises marshmallow's ValidationError, with messages by field also for values out of range.
    """
    if most is not None:
        _check_items(schema, data, most)
    try:
        return schema.load(data, partial=tuple(partial) or None)
    except _BEYOND as error:
        raise ValidationError(_out_of_range(schema, data)) from error


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


def _check_items(schema: Schema, data: Mapping[str, Any], most: int) -> None:
    total = 0
    for name, field in schema.load_fields.items():
        key = field.data_key or name
        if _has_parts(field) and key in data:
            total += _items_of(field, data[key], most - total)
            if total > most:
                raise ValidationError(
                    {key: [f"Too many items to be converted one by one: over {most:,}, which is MAX_ITEMS of the job."]}
                )


def _items_of(field: fields.Field[Any], value: Any, most: int) -> int:
    """Return the number of items of a value; any number above ``most`` if there are more."""
    count = 0
    todo = [(field, value, 0)]
    while todo and count <= most:
        field, value, depth = todo.pop()
        if depth > MAX_DEPTH:  # it will be refused
            continue
        number, parts = _parts_of(field, value)
        count += number
        if count <= most:
            todo.extend((inner, part, depth + 1) for inner, part in parts)
    return count


def _parts_of(field: fields.Field[Any], value: Any) -> tuple[int, list[tuple[fields.Field[Any], Any]]]:
    """Return the number of items at the top of a value, and the parts that may have items of their own."""
    if isinstance(field, fields.Nested):
        schema = field.schema
        objects = value if (field.many or schema.many) and isinstance(value, list) else [value]
        declared = schema.load_fields
        number = sum(1 + max(len(declared), len(each) if isinstance(each, dict) else 0) for each in objects)
        inner = {part.data_key or name: part for name, part in declared.items() if _has_parts(part)}
        found = [each for each in objects if isinstance(each, dict)] if inner else []
        return number, [(part, each[key]) for each in found for key, part in inner.items() if key in each]
    if isinstance(field, fields.List) and isinstance(value, list):
        if isinstance(field, PlainList) and field.has_plain(value):
            return 0, []
        return len(value), [(field.inner, part) for part in value] if _has_parts(field.inner) else []
    if isinstance(field, fields.Mapping) and isinstance(value, dict):
        number = len(value) * ((field.key_field is not None) + (field.value_field is not None))
        values = field.value_field
        return number, [] if values is None or not _has_parts(values) else [(values, part) for part in value.values()]
    return 0, []


def _has_parts(field: fields.Field[Any]) -> bool:
    return isinstance(field, (fields.Nested, fields.List, fields.Mapping))
