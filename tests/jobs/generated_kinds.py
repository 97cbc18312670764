"""Kinds of fields for generated schemas, and what a client may send for each."""

from __future__ import annotations

import enum
import string
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from hypothesis import strategies as st
from marshmallow import fields

from zerog.testing.contracts.datastore.machine import json_values


class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"


class Hundredfold(fields.Integer):
    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return super()._deserialize(value, *args, **kwargs) * 100


class Sevenfold(fields.Integer):
    """Converts in ``deserialize``, which marshmallow calls first."""

    def deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        made = super().deserialize(value, *args, **kwargs)
        return made * 7 if isinstance(made, int) else made


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


class Alternative(fields.Field[Any]):
    """Takes a number or a text, and makes something else of each."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return {"number": value} if type(value) is int else [value]


class Reversing(fields.List[Any]):
    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return super()._deserialize(value, *args, **kwargs)[::-1]


class Growing(fields.Dict):
    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        made = super()._deserialize(value, *args, **kwargs)
        return {**made, "size": len(made)}


class Forgets(fields.Integer):
    """Writes what it doesn't read as the same."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return super()._deserialize(value, *args, **kwargs) + 1

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return value


@dataclass
class Kind:
    """A way to make a field, and what a client may send for it."""

    make: Callable[..., fields.Field[Any]]
    sent: st.SearchStrategy[Any]
    as_key: bool = False


texts = st.text(max_size=5)
small = st.integers(-1000, 1000)
moments = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))
_names = st.text(string.ascii_letters, max_size=3)

LEAVES = [
    Kind(fields.String, texts, as_key=True),
    Kind(fields.Integer, small | small.map(str)),
    Kind(lambda **more: fields.Integer(strict=True, **more), small),
    Kind(fields.Float, st.floats(allow_nan=False, allow_infinity=False) | small),
    Kind(fields.Boolean, st.sampled_from([True, False, "yes", 0])),
    Kind(lambda **more: fields.Boolean(truthy={"ja"}, falsy={"nein"}, **more), st.sampled_from(["ja", "nein"])),
    Kind(lambda **more: fields.Raw(**{**more, "allow_none": True}), json_values),
    Kind(fields.Date, st.dates().map(str), as_key=True),
    Kind(lambda **more: fields.Date(format="%d.%m.%Y", **more), st.just("28.02.2027")),
    Kind(fields.DateTime, moments.map(lambda moment: moment.isoformat())),
    Kind(fields.DateTime, moments.map(lambda moment: moment.replace(tzinfo=UTC).isoformat())),
    Kind(lambda **more: fields.AwareDateTime(default_timezone=UTC, **more), moments.map(lambda m: m.isoformat())),
    Kind(lambda **more: fields.NaiveDateTime(timezone=UTC, **more), moments.map(lambda moment: moment.isoformat())),
    Kind(lambda **more: fields.DateTime(format="timestamp", **more), st.floats(0, 4e9)),
    Kind(lambda **more: fields.DateTime(format="timestamp_ms", **more), st.floats(0, 4e12)),
    Kind(lambda **more: fields.DateTime(format="rfc", **more), moments.map(format_datetime)),
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
    Kind(fields.IPInterface, st.sampled_from(["10.0.0.1/8", "fe80::1/64"])),
    Kind(fields.Email, _names.map(lambda name: f"a{name}@example.com"), as_key=True),
    Kind(fields.URL, _names.map(lambda name: f"https://example.com/{name}?b=c")),
    Kind(lambda **more: fields.Constant(7, **more), small),
    Kind(Hundredfold, small),
    Kind(Sevenfold, small),
    Kind(Hashed, texts),
    Kind(Masked, texts),
    Kind(Words, st.sampled_from(["a", "b,a", "c,b,a"])),
    Kind(Alternative, small | texts),
    Kind(lambda **more: Reversing(Hundredfold(), **more), st.lists(small, max_size=3)),
    Kind(lambda **more: Growing(values=fields.Integer(), **more), st.dictionaries(_names, small, max_size=3)),
    Kind(lambda **more: fields.Integer(post_load=[lambda value: value + 1], **more), small),
    Kind(lambda **more: fields.Function(deserialize=lambda value: [value], **more), small),
    Kind(lambda **more: fields.Function(lambda _: "shown", lambda value: value + 1, **more), small),
]
"""Kinds that can be kept: classes with them are registered, and their values accepted."""

ODD_LEAVES = [
    Kind(Forgets, small),
    Kind(lambda **more: fields.Float(allow_nan=True, **more), st.sampled_from(["nan", "inf", 1])),
    Kind(lambda **more: fields.Decimal(allow_nan=True, as_string=True, **more), st.sampled_from(["NaN", "-Infinity"])),
    Kind(lambda **more: fields.Decimal(as_string=True, **more), st.sampled_from(["1E+5000", "1E-5000", "5"])),
    Kind(lambda **more: fields.DateTime(format="%d.%m.%Y", **more), st.just("28.02.2027")),
    Kind(lambda **more: fields.Time(format="%H:%M", **more), st.just("23:59")),
    Kind(lambda **more: fields.String(post_load=[str.encode], **more), texts),
    Kind(lambda **more: fields.String(post_load=[set], **more), texts),
    Kind(lambda **more: fields.Integer(post_load=[range], **more), small),
    Kind(lambda **more: fields.Integer(post_load=[lambda value: value * 2**60], **more), small),
    Kind(lambda **more: fields.Raw(post_load=[lambda value: {1: value}], **more), small),
    Kind(lambda **more: fields.Raw(post_load=[lambda value: (value, [value])], **more), small),
    Kind(lambda **more: fields.Raw(post_load=[lambda value: OrderedDict(a=value)], **more), small),
    Kind(lambda **more: fields.Function(deserialize=lambda value: {value}, **more), small),
    Kind(lambda **more: fields.Function(deserialize=lambda value: object(), **more), small),
    Kind(lambda **more: fields.Tuple((fields.Integer(), Hundredfold()), **more), st.tuples(small, small).map(list)),
    Kind(lambda **more: fields.Dict(keys=fields.Integer(), **more), st.just({"1": 2})),
    Kind(lambda **more: fields.Integer(attribute="deep.er", **more), small),
]
"""Kinds of which a class or a value may be refused."""
