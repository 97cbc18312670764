"""Build marshmallow fields from their description, and let them read and accept values as a job's own fields do."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import UTC
from typing import Any, Literal, cast

from marshmallow import EXCLUDE, INCLUDE, RAISE, Schema, ValidationError, fields, missing

from zerog.exceptions import ZerogError
from zerog.jobs import bounds
from zerog.jobs.declared_field import OwnField
from zerog.schemas.describe import MADE, Described
from zerog.schemas.validators import built

_WORDS: dict[str, Literal["raise", "exclude", "include"]] = {"raise": RAISE, "exclude": EXCLUDE, "include": INCLUDE}

READ, ACCEPT = "read", "accept"
"""What is done with a stored value: read it from a document, or take it from a client."""


class Opaque(Exception):
    """A field that is code: it can't be built from its description."""


def is_opaque(described: Described) -> bool:
    """Return True if a field, or a part of it, is code."""
    try:
        build(described)
    except Opaque:
        return True
    return False


def build(described: Described) -> fields.Field[Any]:
    """Return the field of a description, without the validators that are code. Raises Opaque."""
    spec = described["x-field"]
    if "opaque" in spec:
        raise Opaque(", ".join(spec["opaque"]))
    options = {name: value for name, value in spec.get("options", {}).items() if name != "many"}
    options.update({name: True for name in ("required", "dump_only") if spec.get(name)})
    if "load_default" in spec and not options.get("required"):
        options["load_default"] = _default_of(described)
    options["allow_none"] = bool(spec.get("allow_none"))
    make = _MAKE.get(spec["class"], _plain)
    if not spec.get("validators"):
        return make(described, options)
    own = OwnField("x", _bound(make(described, {"allow_none": True})))
    part = described.get("items", {"x-field": {"class": "Raw"}})
    inner = OwnField("x", _bound(build(part))) if "x-field" in part else own
    return make(described, {**options, "validate": built(spec["validators"], own.load, inner.load)})


def _default_of(described: Described) -> Any:
    default = described["x-field"]["load_default"]
    if default is None:
        return None
    if isinstance(default, dict) and MADE in default:
        return missing
    plain = {**described, "x-field": {**described["x-field"]}}
    for name in ("load_default", "validators", "required"):
        plain["x-field"].pop(name, None)
    return OwnField("x", _bound(build(plain))).load(default)


def _bound(field: fields.Field[Any]) -> fields.Field[Any]:
    return Schema.from_dict({"x": field})().fields["x"]


def _plain(described: Described, options: dict[str, Any]) -> fields.Field[Any]:
    kind = described["x-field"]["class"]
    made: Callable[..., fields.Field[Any]] | None = getattr(fields, kind, None)
    if made is None:
        raise Opaque(f"a field class {kind} that this version of marshmallow doesn't have")
    for name in ("timezone", "default_timezone"):
        if name in options:
            options = {**options, name: UTC}
    if kind == "Constant":
        raise Opaque("Constant")
    return made(**options)


def _enum(described: Described, options: dict[str, Any]) -> fields.Field[Any]:
    more = {name: value for name, value in options.items() if name not in ("members", "by_value")}
    given = described["x-field"]["options"]
    by_value = given["by_value"]
    members = {name: (value if by_value else name) for name, value in given["members"].items()}
    return fields.Enum(cast("type[enum.Enum]", enum.Enum("Choices", members)), by_value=by_value, **more)


def _list(described: Described, options: dict[str, Any]) -> fields.Field[Any]:
    return fields.List(build(described["items"]), **options)


def _dict(described: Described, options: dict[str, Any]) -> fields.Field[Any]:
    keys, values = described.get("propertyNames"), described.get("additionalProperties")
    return fields.Dict(
        keys=build(keys) if keys else None, values=build(values) if isinstance(values, dict) else None, **options
    )


def _nested(described: Described, options: dict[str, Any]) -> fields.Field[Any]:
    many = described["x-field"].get("options", {}).get("many", False)
    inner = described["items"] if many else described
    return fields.Nested(schema_of(inner), many=many, unknown=_WORDS[inner["x-schema"]["unknown"]], **options)


def schema_of(described: Described) -> type[Schema]:
    """Return the schema class of an object's description. Raises Opaque."""
    return Schema.from_dict({key: build(part) for key, part in described["properties"].items()})


_MAKE: dict[str, Callable[[Described, dict[str, Any]], fields.Field[Any]]] = {
    "Enum": _enum,
    "List": _list,
    "Dict": _dict,
    "Mapping": _dict,
    "Nested": _nested,
}


class Model:
    """A field built from its description. Raises Opaque."""

    def __init__(self, key: str, described: Described) -> None:
        self.own = OwnField(key, Schema.from_dict({key: build(described)})().fields[key])
        self.key = key

    def problem(self, mode: str, value: Any) -> str | None:
        """Return why a value can't be read from a document, or isn't accepted from a client; None if it can."""
        try:
            if mode == READ:
                self.own.load(value)
            else:
                self.own.declared.deserialize(value, self.key, {self.key: value})
        except ValidationError as error:
            return _flat(error.messages)
        except (bounds.OutOfRange, OverflowError):
            return bounds.TOO_LARGE
        except Exception as error:  # conversions of marshmallow's own raise several kinds
            return f"{type(error).__name__}: {error}"
        return None

    def reads_as(self, value: Any) -> tuple[Any, Any]:
        """Return what a stored value is read as, and how that would be stored. Raises what a conversion raises."""
        loaded = self.own.load(value)
        return loaded, self.own.dump(loaded)

    def stores(self, value: Any) -> bool:
        """Return True if a job of this schema may have stored a value, in this form."""
        if value is None:
            return bool(self.own.declared.allow_none) or not self.own.is_left_out
        try:
            return self.problem(ACCEPT, value) is None and is_same_json(self.reads_as(value)[1], value)
        except (ZerogError, ValidationError, ValueError, TypeError, ArithmeticError):
            return False


def is_same_json(one: Any, other: Any) -> bool:
    """Return True for equal values of JSON; true isn't 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same_json, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same_json(part, other[key]) for key, part in one.items())
    return bool(one == other)


def _flat(messages: Any) -> str:
    """Return marshmallow's messages as one text, each with where in the value it applies."""
    if isinstance(messages, dict):
        return "; ".join(f"{key}: {_flat(part)}" for key, part in messages.items())
    return " ".join(map(str, messages)) if isinstance(messages, list) else str(messages)
