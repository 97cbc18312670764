"""Convert validated values to what a document stores, and back, field by field.

A client's values have passed the hooks, conversions and validators of their schema once, at submit. Here none of them
runs again: a stored value is written and read by the fields' own pair of conversions, and a schema's ``post_load`` is
called only to make the object that it made before.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, NamedTuple, cast

from marshmallow import Schema, fields, missing

from zerog.jobs import checks
from zerog.jobs.leaf_codec import Codec, LeafCodec, converts


class _List(Codec):
    def __init__(self, field: fields.List[Any]) -> None:
        super().__init__(field)
        self._inner = codec_of(field.inner)

    def _dump(self, value: Any) -> Any:
        if type(value) is not list and isinstance(value, (str, bytes, Mapping)):
            raise TypeError(f"expected a list, not {type(value).__name__}")
        if self._inner.plain.issuperset(map(type, value)):
            return list(value)
        return self._inner.dump_all(value)

    def _keeps(self, value: Any) -> bool:
        inner = self._inner
        return type(value) is list and (inner.plain.issuperset(map(type, value)) or inner.keeps_all(value))

    def _load(self, value: Any) -> Any:
        if type(value) is not list:
            raise self.field.make_error("invalid")
        if self._inner.plain.issuperset(map(type, value)):
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
        self._make: Callable[[Any], Any] = field.mapping_type
        self._makes_dict = field.mapping_type is dict

    def _dump(self, value: Any) -> Any:
        if type(value) is not dict and not isinstance(value, Mapping):
            raise TypeError(f"expected a dict, not {type(value).__name__}")
        keys, parts = self._keys, self._values
        dumped = {
            key if keys is None else keys.dump(key): part if parts is None else parts.dump(part)
            for key, part in value.items()
        }
        if len(dumped) != len(value):
            raise ValueError("two of its keys are the same as JSON")
        return dumped

    def _keeps(self, value: Any) -> bool:
        keys, parts = self._keys, self._values
        return (
            self._makes_dict
            and type(value) is dict
            and (keys is None or keys.keeps_all(value))
            and (parts is None or parts.keeps_all(value.values()))
        )

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


class _Part(NamedTuple):
    """A field of a nested schema."""

    attribute: str
    key: str
    codec: Codec


class _Nested(Codec):
    """The values of a nested schema: dicts, or objects that its ``post_load`` makes of them."""

    def __init__(self, field: fields.Nested) -> None:
        super().__init__(field)
        self._nested = field

    # The parts are made when first used, since a schema may nest itself.

    @cached_property
    def _parts(self) -> list[_Part]:
        declared = self._nested.schema.fields.items()
        by_key = {
            field.data_key or name: _Part(_attribute(field), field.data_key or name, codec_of(field))
            for name, field in declared
        }
        return list(by_key.values())

    @cached_property
    def _attributes(self) -> frozenset[str]:
        return frozenset(part.attribute for part in self._parts)

    @cached_property
    def _keys(self) -> frozenset[str]:
        return frozenset(part.key for part in self._parts)

    @property
    def _hooks(self) -> list[tuple[str, bool, dict[str, Any]]]:
        """The schema's ``post_load`` methods: name, whether each takes all of many values, options."""
        return hooks_of(self._nested.schema)["post_load"]

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

    def _keeps(self, value: Any) -> bool:
        is_simple = not self._hooks and len(self._attributes) == len(self._parts)
        if not is_simple or not self.is_many:
            return is_simple and self._keeps_one(value)
        return type(value) is list and all(map(self._keeps_one, value))

    def _keeps_one(self, value: Any) -> bool:
        if type(value) is not dict:
            return False
        for name, _, codec in self._parts:
            if name in value:
                if not codec.keeps(value[name]):
                    return False
            elif codec.field.load_default is not missing:  # a read may add it
                return False
        return value.keys() <= self._attributes or self._keys.isdisjoint(value.keys() - self._attributes)

    def _dump_one(self, value: Any) -> Any:
        if type(value) is not dict and not isinstance(value, Mapping):
            return self._dump_object(value)
        dumped = {key: codec.dump(value[name]) for name, key, codec in self._parts if name in value}
        if value.keys() <= self._attributes:
            return dumped
        left = {name: part for name, part in value.items() if name not in self._attributes}
        if not dumped.keys().isdisjoint(left):
            raise ValueError(f"it has {', '.join(dumped.keys() & left)} twice")
        return {**dumped, **left}

    def _dump_object(self, value: Any) -> Any:
        dumped = {}
        for name, key, codec in self._parts:
            if not codec.field.dump_only:
                part = self._nested.schema.get_attribute(value, name, missing)
                if part is not missing:
                    dumped[key] = codec.dump(part)
        return dumped

    def _load_one(self, value: Any) -> Any:
        if type(value) is not dict:
            raise ValueError(f"expected an object, not {type(value).__name__}")
        loaded = {key: part for key, part in value.items() if key not in self._keys}
        for name, key, codec in self._parts:
            if key in value:
                loaded[name] = codec.load(value[key])
            elif codec.field.load_default is not missing and not self._nested.schema.partial:
                loaded[name] = initial(codec.field)
        return self._made(loaded, value)

    def _made(self, loaded: dict[str, Any], stored: dict[str, Any]) -> Any:
        """Return what ``post_load`` makes of the fields, if that is an object; a dict has passed it before."""
        if not self._hooks:
            return loaded
        schema = self._nested.schema
        made: Any = copy.deepcopy(loaded)
        for hook, pass_collection, options in self._hooks:
            if pass_collection and self.is_many:
                continue
            originals = (stored,) if options.get("pass_original") else ()
            made = getattr(schema, hook)(made, *originals, many=False, partial=schema.partial, unknown=schema.unknown)
        return loaded if isinstance(made, Mapping) else made

    def _validate_parts(self, value: Any) -> None:
        for item in value if self.is_many else [value]:
            for name, _, codec in self._parts:
                part = self._nested.schema.get_attribute(item, name, missing)
                if part is not missing:
                    codec.validate(part)


class _Pluck(_Nested):
    """A nested schema of which the JSON has one field's value alone."""

    def _key(self) -> str:
        return self._parts[0].key

    def _keeps(self, value: Any) -> bool:
        return False

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
    if len(converts(field)) < 2:  # else its class converts in both directions
        for kind, codec in _KINDS:
            if isinstance(field, kind):
                return codec(field)
    return LeafCodec(field)


def is_straight(field: fields.Field[Any], seen: frozenset[type] = frozenset()) -> bool:
    """Return True if a stored value can be validated as if a client had sent it: nothing would convert it again."""
    if field.pre_load or field.post_load or len(converts(field)) == 1 or isinstance(field, fields.Function):
        return False
    if isinstance(field, fields.Nested) and type(field.schema) not in seen:
        schema, seen = field.schema, seen | {type(field.schema)}
        hooks = hooks_of(schema)
        if hooks["pre_load"] or hooks["post_load"]:
            return False
        return all(is_straight(part, seen) and not part.dump_only for part in schema.fields.values())
    return all(is_straight(part, seen) for part in checks.parts(field))


def hooks_of(schema: Schema) -> dict[str, list[tuple[str, bool, dict[str, Any]]]]:
    """Return the methods of a schema that marshmallow calls around its conversions, by their kind.

    Each is its name, whether it takes all of many values at once, and its options.
    """
    return schema._hooks


def initial(field: fields.Field[Any]) -> Any:
    """Return a value for a field without one: its default, or None."""
    default = field.load_default
    if default is missing:
        return None
    return default() if callable(default) else copy.deepcopy(default)


def _attribute(field: fields.Field[Any]) -> str:
    return field.attribute or cast("str", field.name)
