"""Kinds of fields for generated schemas, and the values that a client may send for each."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from marshmallow import Schema, fields, validate

import zerog


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


class Grown(enum.Enum):
    SMALL = "s"
    MEDIUM = "m"
    LARGE = "l"


class Line(Schema):
    price = fields.Integer(required=True)
    name = fields.String()


class Priced(Schema):
    price = fields.Float(required=True, validate=validate.Range(min=0))
    name = fields.String(load_default="x")
    tax = fields.Integer()


class Loose(Line):
    class Meta:
        unknown = "include"


Make = Callable[..., fields.Field[Any]]
_texts = st.text(max_size=6)
_whole = st.integers(-20, 20)
_line = st.fixed_dictionaries({"price": _whole}, optional={"name": _texts})
_priced = st.fixed_dictionaries({"price": st.integers(0, 9) | st.just(1.5)}, optional={"tax": _whole})

KINDS: dict[str, tuple[Make, st.SearchStrategy[Any]]] = {
    "text": (fields.String, _texts),
    "short": (lambda **o: fields.String(validate=validate.Length(max=3), **o), st.text(max_size=3)),
    "long": (lambda **o: fields.String(validate=validate.Length(min=2, max=6), **o), st.text(min_size=2, max_size=6)),
    "of three": (lambda **o: fields.String(validate=validate.Length(equal=3), **o), st.text(min_size=3, max_size=3)),
    "word": (lambda **o: fields.String(validate=validate.Regexp("^[a-z]*$"), **o), st.sampled_from(["", "abc"])),
    "choice": (lambda **o: fields.String(validate=validate.OneOf(["a", "b"]), **o), st.sampled_from("ab")),
    "more": (
        lambda **o: fields.String(validate=validate.OneOf(["a", "b", "12"]), **o),
        st.sampled_from(["a", "b", "12"]),
    ),
    "not a": (lambda **o: fields.String(validate=validate.NoneOf(["a"]), **o), _texts.filter(lambda t: t != "a")),
    "same": (lambda **o: fields.String(validate=validate.Equal("a"), **o), st.just("a")),
    "integer": (fields.Integer, _whole),
    "strict": (lambda **o: fields.Integer(strict=True, **o), _whole),
    "ranged": (lambda **o: fields.Integer(validate=validate.Range(0, 9), **o), st.integers(0, 9)),
    "inner": (
        lambda **o: fields.Integer(validate=validate.Range(0, 9, min_inclusive=False, max_inclusive=False), **o),
        st.integers(1, 8),
    ),
    "number": (fields.Float, _whole | st.sampled_from([0.5, -1.25])),
    "share": (lambda **o: fields.Float(validate=validate.Range(0, 1), **o), st.sampled_from([0, 0.5, 1])),
    "flag": (fields.Boolean, st.booleans()),
    "decimal": (lambda **o: fields.Decimal(as_string=True, **o), st.sampled_from(["1", "1.25", "-3"])),
    "money": (lambda **o: fields.Decimal(as_string=True, places=2, **o), st.sampled_from(["1.00", "1.25"])),
    "date": (fields.Date, st.dates().map(str)),
    "german": (lambda **o: fields.Date(format="%d.%m.%Y", **o), st.just("31.01.2026")),
    "moment": (fields.DateTime, st.datetimes().map(lambda m: m.isoformat())),
    "aware": (fields.AwareDateTime, st.datetimes().map(lambda m: m.isoformat() + "+00:00")),
    "stamp": (lambda **o: fields.DateTime(format="timestamp", **o), st.integers(0, 10**9)),
    "span": (fields.TimeDelta, _whole),
    "uuid": (fields.UUID, st.uuids().map(str)),
    "email": (fields.Email, st.just("a@example.com")),
    "url": (fields.Url, st.just("https://example.com/a")),
    "address": (fields.IP, st.ip_addresses().map(str)),
    "size": (lambda **o: fields.Enum(Size, **o), st.sampled_from(["SMALL", "LARGE"])),
    "grown": (lambda **o: fields.Enum(Grown, **o), st.sampled_from(["SMALL", "MEDIUM", "LARGE"])),
    "letter": (lambda **o: fields.Enum(Size, by_value=True, **o), st.sampled_from(["s", "l"])),
    "raw": (fields.Raw, _whole | _texts | st.lists(_whole, max_size=2)),
    "list": (lambda **o: fields.List(fields.Integer(), **o), st.lists(_whole, max_size=4)),
    "few": (
        lambda **o: fields.List(fields.Integer(), validate=validate.Length(max=2), **o),
        st.lists(_whole, max_size=2),
    ),
    "floats": (lambda **o: fields.List(fields.Float(), **o), st.lists(_whole | st.just(0.5), max_size=3)),
    "letters": (
        lambda **o: fields.List(fields.String(), validate=validate.ContainsOnly(["a", "b"]), **o),
        st.lists(st.sampled_from("ab"), max_size=3),
    ),
    "texts": (lambda **o: fields.List(fields.String(), **o), st.lists(_texts, max_size=3)),
    "counts": (
        lambda **o: fields.Dict(keys=fields.String(), values=fields.Integer(), **o),
        st.dictionaries(_texts, _whole, max_size=2),
    ),
    "dict": (fields.Dict, st.dictionaries(_texts, _texts | _whole, max_size=2)),
    "line": (lambda **o: fields.Nested(Line, **o), _line),
    "priced": (lambda **o: fields.Nested(Priced, **o), _priced),
    "loose": (lambda **o: fields.Nested(Loose, **o), _line.map(lambda one: {**one, "tax": "none"}) | _line),
    "lines": (lambda **o: fields.Nested(Line, many=True, **o), st.lists(_line, max_size=2)),
    "prices": (lambda **o: fields.List(fields.Nested(Priced), **o), st.lists(_priced, max_size=2)),
}
"""A field's maker and what a client may send."""

PRESENCE: dict[str, dict[str, Any]] = {
    "required": {"required": True},
    "optional": {},
    "nullable": {"allow_none": True},
    "null": {"load_default": None},
    "null required": {"required": True, "allow_none": True},
}

Chosen = dict[str, tuple[str, str]]
"""Kind and presence, by key."""

chosen: st.SearchStrategy[Chosen] = st.dictionaries(
    st.sampled_from("abc"), st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from(sorted(PRESENCE))), max_size=3
)


def job_class(declared: Chosen, version: str = "1.0", **more: Any) -> type[zerog.BaseJob]:
    """Return a class with these parameters."""
    params = Schema.from_dict({key: KINDS[kind][0](**PRESENCE[presence]) for key, (kind, presence) in declared.items()})
    own = {"JOB_TYPE": "made", "SCHEMA_VERSION": version, "Params": params, "run": lambda self: 200, **more}
    return type("Made", (zerog.BaseJob,), {"__module__": __name__, **own})


@st.composite
def parameters(draw: st.DrawFn, declared: Chosen) -> dict[str, Any]:
    """Parameters that the class accepts."""
    sent = {}
    for key, (kind, presence) in declared.items():
        value = KINDS[kind][1]
        if "null" in presence:
            value = st.none() | value
        if "required" in presence or draw(st.booleans()):
            sent[key] = draw(value)
    return sent
