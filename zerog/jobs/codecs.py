"""Convert validated values to what a document stores, and back, field by field.

A client's values have passed the hooks, conversions and validators of their schema once, at submit. Here none of them
runs again: a stored value is written and read by the fields' own pair of conversions, and a schema's ``post_load`` is
called only to make the object that it made before.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from marshmallow import ValidationError, fields, missing

from zerog.jobs import checks
from zerog.jobs.bounds import OutOfRange, has_small_exponent

PLAIN: dict[type, tuple[type, ...]] = {
    fields.String: (str,),
    fields.Integer: (int,),
    fields.Float: (float,),
    fields.Boolean: (bool,),
    fields.Raw: (str, int, float, bool, list, dict),
}
"""Field types that are stored as they are, with the exact types for which that holds."""


class Codec:
    """Writes and reads the values of one field. ``dump`` raises ValueError, TypeError or AttributeError, ``load`` what
    the field raises."""

    def __init__(self, field: fields.Field[Any]) -> None:
        self.field = field
        self.plain = PLAIN.get(type(field), ())

    def dump(self, value: Any) -> Any:
        """Return the JSON of a value."""
        return value if value is None or type(value) in self.plain else self._dump(value)

    def load(self, value: Any) -> Any:
        """Return the value of its JSON."""
        return value if value is None or type(value) in self.plain else self._load(value)

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

    def _validate_parts(self, value: Any) -> None:
        return


class _Leaf(Codec):
    """A field without parts, written and read by a pair of conversions that belong together.

    A field class that overrides only one of the two converts in one direction: what it makes of a client's value is
    written and read by the marshmallow class that it is based on.
    """

    def __init__(self, field: fields.Field[Any]) -> None:
        super().__init__(field)
        own = _converts(field)
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

    def _dump(self, value: Any) -> Any:
        name = self.field.name or ""
        dumped = self._write(self._reader, value, name, {name: value})
        if type(dumped) is float and isinstance(value, (datetime, timedelta)):
            return self._nearest(value, dumped)
        if not isinstance(dumped, Decimal):
            return dumped
        if not has_small_exponent(dumped):
            raise OutOfRange
        return str(dumped)  # as short as it was given, where marshmallow would write out its exponent

    def _nearest(self, value: Any, dumped: float) -> float:
        """Return the number that reads as this time to the microsecond, which the division may have missed."""
        for number in (dumped, math.nextafter(dumped, math.inf), math.nextafter(dumped, -math.inf)):
            with suppress(ValidationError):
                if self._load(number) == value:
                    return number
        return dumped

    def _load(self, value: Any) -> Any:
        return self._read(self._reader, value, self.field.name, {})


class _List(Codec):
    def __init__(self, field: fields.List[Any]) -> None:
        super().__init__(field)
        self._inner = codec_of(field.inner)

    def _dump(self, value: Any) -> Any:
        if isinstance(value, (str, bytes, Mapping)):
            raise TypeError(f"expected a list, not {type(value).__name__}")
        if set(map(type, value)).issubset(self._inner.plain):
            return list(value)
        dump = self._inner.dump
        return [dump(part) for part in value]

    def _load(self, value: Any) -> Any:
        if type(value) is not list:
            raise self.field.make_error("invalid")
        if set(map(type, value)).issubset(self._inner.plain):
            return value[:]
        load = self._inner.load
        return [load(part) for part in value]

    def _validate_parts(self, value: Any) -> None:
        for part in value:
            self._inner.validate(part)


class _Tuple(Codec):
    def __init__(self, field: fields.Tuple) -> None:
        super().__init__(field)
        self._parts = [codec_of(part) for part in field.tuple_fields]

    def _dump(self, value: Any) -> Any:
        return [codec.dump(part) for codec, part in zip(self._parts, value, strict=True)]

    def _load(self, value: Any) -> Any:
        return tuple(codec.load(part) for codec, part in zip(self._parts, value, strict=True))

    def _validate_parts(self, value: Any) -> None:
        for codec, part in zip(self._parts, value, strict=True):
            codec.validate(part)


class _Dict(Codec):
    def __init__(self, field: fields.Mapping[Any]) -> None:
        super().__init__(field)
        self._keys = None if field.key_field is None else codec_of(field.key_field)
        self._values = None if field.value_field is None else codec_of(field.value_field)
        self._make = cast("Callable[[Any], Any]", field.mapping_type)

    def _dump(self, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError(f"expected a dict, not {type(value).__name__}")
        keys, parts = self._keys, self._values
        dumped = {
            key if keys is None else keys.dump(key): part if parts is None else parts.dump(part)
            for key, part in value.items()
        }
        if len(dumped) != len(value):
            raise ValueError("two of its keys are the same as JSON")
        return dumped

    def _load(self, value: Any) -> Any:
        if type(value) is not dict:
            raise self.field.make_error("invalid")
        keys, parts = self._keys, self._values
        return self._make(
            {
                key if keys is None else keys.load(key): part if parts is None else parts.load(part)
                for key, part in value.items()
            }
        )

    def _validate_parts(self, value: Any) -> None:
        for key, part in value.items():
            if self._keys is not None:
                self._keys.validate(key)
            if self._values is not None:
                self._values.validate(part)


class _Nested(Codec):
    """The values of a nested schema: dicts, or objects that its ``post_load`` makes of them."""

    def __init__(self, field: fields.Nested) -> None:
        super().__init__(field)
        self._nested = field
        self._codecs: dict[str, Codec] | None = None

    def _parts(self) -> dict[str, Codec]:
        """Return the codecs of the schema's fields by key; made when first used, since a schema may nest itself."""
        if self._codecs is None:
            declared = self._nested.schema.fields
            self._codecs = {field.data_key or name: codec_of(field) for name, field in declared.items()}
        return self._codecs

    @property
    def is_many(self) -> bool:
        """True if a value is a list of the schema's values."""
        return bool(self._nested.schema.many or self._nested.many)

    def _dump(self, value: Any) -> Any:
        if not self.is_many:
            return self._dump_one(value)
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"expected a list, not {type(value).__name__}")
        return [self._dump_one(part) for part in value]

    def _load(self, value: Any) -> Any:
        if not self.is_many:
            return self._load_one(value)
        if type(value) is not list:
            raise ValueError(f"expected a list, not {type(value).__name__}")
        return [self._load_one(part) for part in value]

    def _dump_one(self, value: Any) -> Any:
        is_mapping = isinstance(value, Mapping)
        dumped: dict[str, Any] = {}
        left = dict(value) if is_mapping else {}
        for key, codec in self._parts().items():
            name = _attribute(codec.field)
            if is_mapping:
                part = value.get(name, missing)
                left.pop(name, None)
            elif codec.field.dump_only:
                continue
            else:
                part = self._nested.schema.get_attribute(value, name, missing)
            if part is not missing:
                dumped[key] = codec.dump(part)
        if not dumped.keys().isdisjoint(left):
            raise ValueError(f"it has {', '.join(dumped.keys() & left)} twice")
        return {**dumped, **left}

    def _load_one(self, value: Any) -> Any:
        if type(value) is not dict:
            raise ValueError(f"expected an object, not {type(value).__name__}")
        loaded = {key: part for key, part in value.items() if key not in self._parts()}
        for key, codec in self._parts().items():
            name = _attribute(codec.field)
            if key in value:
                loaded[name] = codec.load(value[key])
            elif codec.field.load_default is not missing and not self._nested.schema.partial:
                loaded[name] = initial(codec.field)
        return self._made(loaded, value)

    def _made(self, loaded: dict[str, Any], stored: dict[str, Any]) -> Any:
        """Return what ``post_load`` makes of the fields, if that is an object; a dict has passed it before."""
        schema = self._nested.schema
        if not schema._hooks["post_load"]:
            return loaded
        made: Any = copy.deepcopy(loaded)
        for hook, pass_collection, options in schema._hooks["post_load"]:
            if pass_collection and self.is_many:
                continue
            originals = (stored,) if options.get("pass_original") else ()
            made = getattr(schema, hook)(made, *originals, many=False, partial=schema.partial, unknown=schema.unknown)
        return loaded if isinstance(made, Mapping) else made

    def _validate_parts(self, value: Any) -> None:
        for item in value if self.is_many else [value]:
            for codec in self._parts().values():
                part = self._nested.schema.get_attribute(item, _attribute(codec.field), missing)
                if part is not missing:
                    codec.validate(part)


class _Pluck(_Nested):
    """A nested schema of which the JSON has one field's value alone."""

    def _key(self) -> str:
        return next(iter(self._parts()))

    def _dump_one(self, value: Any) -> Any:
        dumped = super()._dump_one(value)
        if dumped.keys() != {self._key()}:
            raise ValueError(f"expected {self._key()} alone, not {', '.join(dumped)}")
        return dumped[self._key()]

    def _load_one(self, value: Any) -> Any:
        return super()._load_one({self._key(): value})


_KINDS: tuple[tuple[type, type[Codec]], ...] = (
    (fields.Pluck, _Pluck),
    (fields.Nested, _Nested),
    (fields.List, _List),
    (fields.Tuple, _Tuple),
    (fields.Mapping, _Dict),
)


def codec_of(field: fields.Field[Any]) -> Codec:
    """Return the codec of a field that is bound to its schema."""
    if len(_converts(field)) < 2:  # else its class converts in both directions
        for kind, codec in _KINDS:
            if isinstance(field, kind):
                return codec(field)
    return _Leaf(field)


def is_straight(field: fields.Field[Any], seen: frozenset[type] = frozenset()) -> bool:
    """Return True if a stored value can be validated as if a client had sent it: nothing would convert it again."""
    if field.pre_load or field.post_load or len(_converts(field)) == 1 or isinstance(field, fields.Function):
        return False
    if isinstance(field, fields.Nested) and type(field.schema) not in seen:
        schema, seen = field.schema, seen | {type(field.schema)}
        if schema._hooks["pre_load"] or schema._hooks["post_load"]:
            return False
        return all(is_straight(part, seen) and not part.dump_only for part in schema.fields.values())
    return all(is_straight(part, seen) for part in checks.parts(field))


def initial(field: fields.Field[Any]) -> Any:
    """Return a value for a field without one: its default, or None."""
    default = field.load_default
    if default is missing:
        return None
    return default() if callable(default) else copy.deepcopy(default)


def is_same(one: Any, other: Any) -> bool:
    """Return True if two values are the same for a job: of the same types, and equal in all their parts."""
    if one is other:
        return True
    kind = type(one)
    if kind is not type(other):
        if isinstance(one, Mapping) and isinstance(other, dict):
            return is_same(dict(one), other)
        return {kind, type(other)} == {int, float} and bool(one == other)  # a default may be written 1 for 1.0
    if kind in (list, tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    if kind is dict:
        return one.keys() == other.keys() and all(is_same(part, other[key]) for key, part in one.items())
    if kind is Decimal:
        return str(one) == str(other)
    if kind is datetime:
        return bool(one == other) and one.utcoffset() == other.utcoffset()
    if _has_no_equality(kind):
        return hasattr(one, "__dict__") and is_same(vars(one), vars(other))
    return bool(one == other) or (one != one and other != other)


def _has_no_equality(kind: type) -> bool:
    return all("__eq__" not in base.__dict__ for base in kind.__mro__ if base is not object)


def _attribute(field: fields.Field[Any]) -> str:
    return field.attribute or cast("str", field.name)


def _converts(field: fields.Field[Any]) -> list[str]:
    """Return which of the two conversions the field's class, or a base of it that isn't marshmallow's, defines."""
    bases = [base for base in type(field).__mro__ if not _is_marshmallows(base)]
    return [name for name in ("_serialize", "_deserialize") if any(name in base.__dict__ for base in bases)]


def _marshmallows(kind: type) -> Any:
    return next(base for base in kind.__mro__ if _is_marshmallows(base))


def _is_marshmallows(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "marshmallow"
