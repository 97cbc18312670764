"""The codec of a field without parts, and what all codecs have in common."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError, fields

from zerog.jobs.bounds import OutOfRange, has_small_exponent
from zerog.jobs.known import known_of, plain_of


class Codec:
    """Writes and reads the values of one field. ``dump`` raises ValueError, TypeError or AttributeError, ``load`` what
    the field raises."""

    def __init__(self, field: fields.Field[Any]) -> None:
        self.field = field
        self.plain = plain_of(field)

    def dump(self, value: Any) -> Any:
        """Return the JSON of a value."""
        return value if value is None or type(value) in self.plain else self._dump(value)

    def dump_all(self, values: Collection[Any]) -> list[Any]:
        """Return the JSON of each value."""
        return list(map(self.dump, values))

    def load(self, value: Any) -> Any:
        """Return the value of its JSON."""
        return value if value is None or type(value) in self.plain else self._load(value)

    def keeps(self, value: Any) -> bool:
        """Return True if it is known, without trying, that ``load`` makes the same value of what ``dump`` makes."""
        return value is None or type(value) in self.plain or self._keeps(value)

    def keeps_all(self, values: Collection[Any]) -> bool:
        """Return True if that is known of all values."""
        return all(map(self.keeps, values))

    def validate(self, value: Any) -> None:
        """Run the validators of the field and its parts. Raises marshmallow's ValidationError."""
        if value is None:
            if not self.field.allow_none:
                raise self.field.make_error("null")
            return
        for validator in self.field.validators:
            validator(value)
        self._validate_parts(value)

    def _dump(self, value: Any) -> Any:
        raise NotImplementedError

    def _load(self, value: Any) -> Any:
        raise NotImplementedError

    def _keeps(self, value: Any) -> bool:
        return False

    def _validate_parts(self, value: Any) -> None:
        return


class LeafCodec(Codec):
    """A field without parts, written and read by a pair of conversions that belong together.

    A field class that overrides only one of the two converts in one direction: what it makes of a client's value is
    written and read by the marshmallow class that it is based on.
    """

    def __init__(self, field: fields.Field[Any]) -> None:
        super().__init__(field)
        self._known = known_of(field)
        own = converts(field)
        base = _marshmallows(type(field)) if len(own) == 1 else type(field)
        self._write: Callable[..., Any] = base._serialize
        self._read: Callable[..., Any] = base._deserialize
        self._reader: fields.Field[Any] = field
        if isinstance(field, (fields.Function, fields.Method)):
            self._write, self._read = fields.Field._serialize, fields.Field._deserialize
        elif isinstance(field, fields.Decimal) and "_serialize" not in own:
            self._reader = reader = copy.copy(field)
            reader.as_string = False
        elif isinstance(field, fields.AwareDateTime) and field.default_timezone is None:
            self._reader = aware = copy.copy(field)
            aware.default_timezone = UTC

    def dump_all(self, values: Collection[Any]) -> list[Any]:
        if not self._known.has_all(values):
            return super().dump_all(values)
        write, reader, name = self._write, self._reader, self.field.name
        dumped = [write(reader, value, name, {}) for value in values]
        return list(map(str, dumped)) if isinstance(self.field, fields.Decimal) else dumped

    def keeps_all(self, values: Collection[Any]) -> bool:
        return self._known.has_all(values) or super().keeps_all(values)

    def _keeps(self, value: Any) -> bool:
        return self._known.has(value)

    def _dump(self, value: Any) -> Any:
        name = self.field.name or ""
        dumped = self._write(self._reader, value, name, {name: value})
        if type(dumped) is float and isinstance(value, (datetime, timedelta)) and not self._known.has(value):
            return self._nearest(value, dumped)
        if not isinstance(dumped, Decimal):
            return dumped
        if not has_small_exponent(dumped):
            raise OutOfRange
        return str(dumped)  # as short as it was given, where marshmallow would write out its exponent

    def _nearest(self, value: Any, dumped: float) -> float:
        """Return the number that reads as this time to the microsecond, which the division may have missed."""
        if self._reads(dumped, value):
            return dumped
        around = (math.nextafter(dumped, math.inf), math.nextafter(dumped, -math.inf))
        return next((number for number in around if self._reads(number, value)), dumped)

    def _reads(self, number: float, value: Any) -> bool:
        try:
            return bool(self._load(number) == value)
        except ValidationError:
            return False

    def _load(self, value: Any) -> Any:
        return self._read(self._reader, value, self.field.name, {})


def converts(field: fields.Field[Any]) -> list[str]:
    """Return which of the two conversions the field's class, or a base of it that isn't marshmallow's, defines."""
    bases = [base for base in type(field).__mro__ if not _is_marshmallows(base)]
    return [name for name in ("_serialize", "_deserialize") if any(name in base.__dict__ for base in bases)]


def _marshmallows(kind: type) -> Any:
    return next(base for base in kind.__mro__ if _is_marshmallows(base))


def _is_marshmallows(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "marshmallow"
