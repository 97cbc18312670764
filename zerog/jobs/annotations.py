"""From an annotation to a marshmallow field."""

from __future__ import annotations

import copy
import enum
import types
import typing
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, Union
from uuid import UUID

from marshmallow import fields, validate

SUPPORTED = (
    "str, int, float, bool, datetime, date, time, timedelta, UUID, Decimal, an Enum of texts or of whole numbers, "
    "Literal, list[T], dict[str, T], T | None, Any, or Annotated[T, a marshmallow field or validator]"
)


class Unsupported(Exception):
    """An annotation that no field stands for."""


class WholeNumber(fields.Integer):
    """An integer, or a text of one; a fraction is refused rather than cut off."""

    def _validated(self, value: Any) -> int:
        if isinstance(value, (float, Decimal)) and value % 1:
            raise self.make_error("invalid", input=value)
        return super()._validated(value)


_FIELDS: dict[Any, Callable[[], fields.Field[Any]]] = {
    str: fields.String,
    int: WholeNumber,
    float: fields.Float,
    bool: fields.Boolean,
    datetime: lambda: fields.AwareDateTime(default_timezone=UTC),
    date: fields.Date,
    time: fields.Time,
    timedelta: fields.TimeDelta,
    UUID: fields.UUID,
    Decimal: lambda: fields.Decimal(as_string=True),
    Any: lambda: fields.Raw(allow_none=True),
    list: lambda: fields.List(fields.Raw(allow_none=True)),
    dict: lambda: fields.Dict(keys=fields.String()),
}


def field_of(annotation: Any) -> fields.Field[Any]:
    """A new field for values of this type. Raises Unsupported, saying what is expected."""
    try:
        if annotation in _FIELDS:
            return _FIELDS[annotation]()
    except TypeError:  # not hashable: an instance of something, or Annotated with a list
        pass
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _annotated(arguments[0], arguments[1:])
    if origin in (Union, types.UnionType):
        return _optional(annotation, arguments)
    if origin is Literal:
        return _literal(annotation, arguments)
    if origin is list:
        return fields.List(field_of(arguments[0]))
    if origin is dict and arguments[0] is str:
        return fields.Dict(keys=fields.String(), values=field_of(arguments[1]))
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _enum(annotation)
    raise _unsupported(annotation)


def _annotated(annotation: Any, extras: tuple[Any, ...]) -> fields.Field[Any]:
    """The given field, or that of the type, with the given validators; what is neither is somebody else's."""
    made = [extra() if _is_field_class(extra) else extra for extra in extras]
    given = [extra for extra in made if isinstance(extra, fields.Field)]
    if len(given) > 1:
        raise Unsupported(f"is annotated with {len(given)} fields; expected one")
    field = copy.deepcopy(given[0]) if given else field_of(annotation)
    field.validators = [*field.validators, *(extra for extra in made if callable(extra))]
    return field


def _is_field_class(extra: Any) -> bool:
    return isinstance(extra, type) and issubclass(extra, fields.Field)


def _optional(annotation: Any, arguments: tuple[Any, ...]) -> fields.Field[Any]:
    others = [argument for argument in arguments if argument is not type(None)]
    if len(others) != 1 or len(arguments) != 2:
        raise _unsupported(annotation)
    field = field_of(others[0])
    field.allow_none = True
    return field


def _literal(annotation: Any, choices: tuple[Any, ...]) -> fields.Field[Any]:
    stated = [choice for choice in choices if choice is not None]
    kinds = {type(choice) for choice in stated}
    if kinds not in ({str}, {int}):
        raise _unsupported(annotation)
    field = field_of(kinds.pop())
    field.validators = [validate.OneOf(stated)]
    field.allow_none = None in choices
    return field


def _enum(annotation: type[enum.Enum]) -> fields.Field[Any]:
    """By value, which is what a client knows and what a document shows."""
    for kind in (str, int):
        if all(isinstance(member.value, kind) and not isinstance(member.value, bool) for member in annotation):
            return fields.Enum(annotation, by_value=field_of(kind))
    raise _unsupported(annotation)


def _unsupported(annotation: Any) -> Unsupported:
    shown = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return Unsupported(f"is annotated {shown!r:.100}; expected {SUPPORTED}")
