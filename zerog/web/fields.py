"""Fields of requests: as strict as JSON, also where a query has only text."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from zerog.records.job import is_uuid
from zerog.support import jsonvalues

LONGEST_TEXT = 500
"""Characters of a filter, a name or a reason."""

LINE = r"^[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+\Z"
"""Text without control characters and halves of surrogate pairs."""

_NUMBER = re.compile(r"-?\d{1,30}(\.\d{1,30})?([eE][+-]?\d{1,3})?").fullmatch
_WHOLE = re.compile(r"-?\d{1,15}").fullmatch
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d:\d\d)?").fullmatch


class Text(fields.String):
    """Text of one line, which every datastore can be searched for."""

    def __init__(self, longest: int = LONGEST_TEXT, **options: Any) -> None:
        line = validate.Regexp(LINE, error="Expected text without control characters.")
        super().__init__(validate=[validate.Length(1, longest), line], **options)


class Uuid(fields.String):
    """A uuid in its usual form."""

    def __init__(self, **options: Any) -> None:
        super().__init__(validate=_check_uuid, **options)


def _check_uuid(text: str) -> None:
    if not is_uuid(text):
        raise ValidationError("Not a uuid in its usual form.")


class Flag(fields.Boolean):
    """``true`` or ``false``; in a body no text."""

    truthy = frozenset({True, "true"})  # type: ignore[assignment]
    falsy = frozenset({False, "false"})  # type: ignore[assignment]

    def _deserialize(self, value: Any, *arguments: Any, **more: Any) -> Any:
        if type(value) is int:  # which equals a boolean
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, *arguments, **more)


class Whole(fields.Integer):
    """A whole number; in a query its digits."""

    def _deserialize(self, value: Any, *arguments: Any, **more: Any) -> Any:
        is_whole = value.is_integer() if isinstance(value, float) else not isinstance(value, bool)
        if not is_whole or (isinstance(value, str) and _WHOLE(value) is None):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, *arguments, **more)


class Number(fields.Float):
    """A number; in a query its digits."""

    def _deserialize(self, value: Any, *arguments: Any, **more: Any) -> Any:
        if isinstance(value, bool) or (isinstance(value, str) and _NUMBER(value) is None):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, *arguments, **more)


class Moment(fields.DateTime):
    """A date and a time, in UTC unless it has a zone."""

    def _deserialize(self, value: Any, *_arguments: Any, **_more: Any) -> datetime:
        try:
            if not isinstance(value, str) or _MOMENT(value) is None:
                raise ValueError
            moment = datetime.fromisoformat(value.upper())
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE) from None


class Body(Schema):
    """A JSON body: numbers and flags are given as such."""

    def take(self, given: Any) -> dict[str, Any]:
        """Return the values of a body. Raises ValidationError by field."""
        wrong = _texts_of(self, given)
        if wrong:
            raise ValidationError(wrong)
        loaded: dict[str, Any] = self.load(given)
        return loaded


def _texts_of(schema: Schema, given: Any) -> dict[str, Any]:
    """Return a message for each number and flag that is given as text, also within nested objects."""
    wrong: dict[str, Any] = {}
    for name, field in schema.load_fields.items() if isinstance(given, dict) else ():
        value = given.get(field.data_key or name)
        if isinstance(field, fields.Nested) and (within := _texts_of(field.schema, value)):
            wrong[field.data_key or name] = within
        if isinstance(value, str) and isinstance(field, (fields.Number, fields.Boolean)):
            wrong[field.data_key or name] = ["Expected a JSON number or flag, not text."]
    return wrong


def decoded(body: bytes) -> Any:
    """Return the value of a JSON body. Raises ValueError."""
    try:
        value = jsonvalues.decode(body)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value
