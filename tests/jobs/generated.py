"""Generated schemas, nested three deep, with hooks and fields of their own, and values that they take."""

from __future__ import annotations

import enum
import json
import string
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st
from marshmallow import INCLUDE, Schema, ValidationError, fields, post_load, pre_load, validates_schema

from zerog.testing.contracts.datastore.machine import json_values

DEPTH = 3


class Submitted:
    """Whether the submit is over: hooks and validators that run on a client's values afterwards are faults."""

    is_over = False

    def once(self) -> None:
        """Raise an error that makes a job unreadable."""
        if self.is_over:
            raise ValidationError("this ran once more")


submitted = Submitted()


class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"


class Made:
    """An object that a schema makes; it does not define equality."""

    def __init__(self, **parts: Any) -> None:
        self.__dict__.update(parts)


class Hundredfold(fields.Integer):
    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return super()._deserialize(value, *args, **kwargs) * 100


class Hashed(fields.String):
    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return f"h({super()._deserialize(value, *args, **kwargs)})"


class Masked(fields.String):
    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return "***"


class Words(fields.Field[Any]):
    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return set(value.split(","))

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return ",".join(sorted(value))


def _checked(value: Any) -> None:
    submitted.once()


@dataclass
class Kind:
    """A way to make a field, and what a client may send for it."""

    make: Callable[..., fields.Field[Any]]
    sent: st.SearchStrategy[Any]
    as_key: bool = False


names = st.text(string.ascii_lowercase, min_size=1, max_size=3).map(lambda text: f"x{text}")
texts = st.text(max_size=5)
small = st.integers(-1000, 1000)
moments = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))

LEAVES = [
    Kind(fields.String, texts, as_key=True),
    Kind(fields.Integer, small | small.map(str)),
    Kind(fields.Float, st.floats(allow_nan=False, allow_infinity=False) | small),
    Kind(fields.Boolean, st.sampled_from([True, False, "yes", 0])),
    Kind(lambda **more: fields.Boolean(truthy={"ja"}, falsy={"nein"}, **more), st.sampled_from(["ja", "nein"])),
    Kind(lambda **more: fields.Raw(**{**more, "allow_none": True}), json_values),
    Kind(fields.Date, st.dates().map(str), as_key=True),
    Kind(lambda **more: fields.Date(format="%d.%m.%Y", **more), st.just("28.02.2027")),
    Kind(fields.DateTime, moments.map(lambda moment: moment.isoformat())),
    Kind(fields.DateTime, moments.map(lambda moment: moment.replace(tzinfo=UTC).isoformat())),
    Kind(lambda **more: fields.AwareDateTime(default_timezone=UTC, **more), moments.map(lambda m: m.isoformat())),
    Kind(lambda **more: fields.DateTime(format="timestamp", **more), st.floats(0, 4e9)),
    Kind(lambda **more: fields.DateTime(format="timestamp_ms", **more), st.floats(0, 4e12)),
    Kind(fields.Time, st.times().map(lambda moment: moment.isoformat())),
    Kind(fields.TimeDelta, small | st.floats(-1e9, 1e9)),
    Kind(lambda **more: fields.TimeDelta(precision="milliseconds", **more), small),
    Kind(fields.UUID, st.uuids().map(str), as_key=True),
    Kind(lambda **more: fields.Decimal(as_string=True, **more), st.decimals(-1000, 1000, places=3).map(str)),
    Kind(lambda **more: fields.Decimal(as_string=True, **more), st.sampled_from(["1E+30", "0E-30", "1.10", "-0"])),
    Kind(lambda **more: fields.Decimal(as_string=True, places=2, **more), small.map(lambda n: f"{n}.1")),
    Kind(lambda **more: fields.Enum(Colour, **more), st.sampled_from(["RED", "BLUE"]), as_key=True),
    Kind(lambda **more: fields.Enum(Colour, by_value=True, **more), st.sampled_from(["r", "b"])),
    Kind(fields.IP, st.ip_addresses().map(str)),
    Kind(Hundredfold, small),
    Kind(Hashed, texts),
    Kind(Masked, texts),
    Kind(Words, st.sampled_from(["a", "b,a", "c,b,a"])),
    Kind(lambda **more: fields.Integer(post_load=[lambda value: value + 1], **more), small),
    Kind(lambda **more: fields.Function(deserialize=lambda value: [value], **more), small),
    Kind(lambda **more: fields.Function(lambda _: "shown", lambda value: value + 1, **more), small),
]


class Wrapped(Schema):
    """Takes its fields within an object, and raises at any other."""

    @pre_load
    def unwrap(self, data: Any, **_: Any) -> Any:
        submitted.once()
        return dict(data["wrapped"])


class Counted(Schema):
    """Counts how often it was loaded."""

    @post_load
    def count(self, data: Any, **_: Any) -> Any:
        data["calls"] = data.get("calls", 0) + 1
        return data


class Making(Schema):
    """Makes an object."""

    @post_load
    def make(self, data: Any, **_: Any) -> Any:
        return Made(**data)


class Checking(Schema):
    """Validates with a call to the outside world."""

    @validates_schema
    def check(self, data: Any, **_: Any) -> None:
        submitted.once()


BASES: list[tuple[tuple[type[Schema], ...], bool]] = [
    ((Schema,), False),
    ((Wrapped,), True),
    ((Counted,), False),
    ((Making,), False),
    ((Checking,), False),
    ((Wrapped, Counted, Checking), True),
    ((Wrapped, Making), True),
]


@st.composite
def generated(draw: st.DrawFn, depth: int = DEPTH) -> tuple[fields.Field[Any], st.SearchStrategy[Any]]:
    """A field, and what a client may send for it."""
    more: dict[str, Any] = {"allow_none": draw(st.booleans())}
    if draw(st.booleans()):
        more["validate"] = [_checked]
    shape = draw(st.sampled_from(["leaf", "nested", "many", "list", "dict"] if depth else ["leaf"]))
    if shape == "leaf":
        kind = draw(st.sampled_from(LEAVES))
        return _with_none(kind.make(**more), kind.sent)
    if shape == "list":
        inner, sent = draw(generated(depth - 1))
        return _with_none(fields.List(inner, **more), st.lists(sent, max_size=3))
    if shape == "dict":
        inner, sent = draw(generated(depth - 1))
        key = draw(st.sampled_from([kind for kind in LEAVES if kind.as_key]))
        table = fields.Dict(keys=key.make(), values=inner, **more)
        return _with_none(table, st.dictionaries(key.sent, sent, max_size=3))
    schema, sent = draw(_schemas(depth - 1))
    if shape == "many":
        return _with_none(fields.Nested(schema, many=True, **more), st.lists(sent, max_size=3))
    return _with_none(fields.Nested(schema, **more), sent)


def _with_none(field: fields.Field[Any], sent: st.SearchStrategy[Any]) -> tuple[fields.Field[Any], Any]:
    return field, st.none() | sent if field.allow_none else sent


@st.composite
def _schemas(draw: st.DrawFn, depth: int) -> tuple[type[Schema], st.SearchStrategy[Any]]:
    bases, is_wrapped = draw(st.sampled_from(BASES))
    declared: dict[str, Any] = {}
    required, optional = {}, {}
    for name in draw(st.lists(names, min_size=1, max_size=3, unique=True)):
        field, sent = draw(generated(depth))
        field.load_only = draw(st.booleans())
        if draw(st.booleans()):
            field.data_key = f"{name}Key"
        field.required = draw(st.booleans())
        (required if field.required else optional)[field.data_key or name] = sent
        declared[name] = field
    if draw(st.booleans()):
        declared["shown"] = fields.Method("describe", dump_only=True)
    unknown: st.SearchStrategy[Any] = st.just({})
    if Making not in bases and draw(st.booleans()):  # an object has no place for what its schema doesn't declare
        declared["Meta"] = type("Meta", (), {"unknown": INCLUDE})
        unknown = st.dictionaries(st.sampled_from(["uOne", "uTwo"]), json_values, max_size=2)
    declared["describe"] = lambda self, value: "shown"
    known = st.fixed_dictionaries(required, optional=optional)
    sent = st.tuples(known, unknown).map(lambda pair: {**pair[1], **pair[0]})
    schema = type("Generated", bases, declared)
    return schema, sent.map(lambda fields: {"wrapped": fields}) if is_wrapped else sent


def shown(value: Any) -> Any:
    """A value such that two are equal if a job can't distinguish them."""
    if isinstance(value, Made):
        return ["made", shown(vars(value))]
    if isinstance(value, dict):
        return {repr(key): shown(part) for key, part in value.items()}
    if isinstance(value, list):
        return [shown(part) for part in value]
    return sorted(value) if isinstance(value, set) else repr(value)


def as_sent(value: Any) -> Any:
    """The part of a client's value that is loaded."""
    return json.loads(json.dumps(value))
