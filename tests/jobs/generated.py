"""Generated schemas, nested three deep, with hooks and fields of their own, and values that they take.

Classes with schemas of the plain kinds are registered and their values accepted. Of the odd kinds a class or a value
may be refused, in words; what is accepted must be kept as well.
"""

from __future__ import annotations

import json
import string
from typing import Any

from hypothesis import strategies as st
from marshmallow import (
    EXCLUDE,
    INCLUDE,
    Schema,
    ValidationError,
    fields,
    post_load,
    pre_load,
    validates_schema,
)

from tests.jobs.generated_kinds import LEAVES, ODD_LEAVES
from zerog.testing.contracts.datastore.machine import json_values

DEPTH = 3

Bases = list[tuple[tuple[type[Schema], ...], bool]]
"""Base classes of schemas, and whether a client sends their fields within an object."""


class Submitted:
    """Whether the submit is over: hooks and validators that run on a client's values afterwards are faults."""

    is_over = False

    def once(self) -> None:
        """Raise an error that makes a job unreadable."""
        if self.is_over:
            raise ValidationError("this ran once more")


submitted = Submitted()


class Made:
    """An object that a schema makes; it does not define equality."""

    def __init__(self, **parts: Any) -> None:
        self.__dict__.update(parts)


def _checked(value: Any) -> None:
    submitted.once()


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


class Dropping(Schema):
    """Drops what is empty."""

    @post_load
    def drop(self, data: Any, **_: Any) -> Any:
        return {name: value for name, value in data.items() if value not in (None, "", [], {})}


class Remembering(Schema):
    """Keeps the names that the client sent."""

    @post_load(pass_original=True)
    def remember(self, data: Any, original: Any, **_: Any) -> Any:
        data["sent"] = sorted(original)
        return data


class Turned(Schema):
    """Turns the list of its values round, where they are many."""

    @post_load(pass_collection=True)
    def turn(self, data: Any, many: bool = False, **_: Any) -> Any:
        return data[::-1] if many else data


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


class Popping(Schema):
    """Makes a dict of other keys."""

    @post_load
    def pop(self, data: Any, **_: Any) -> Any:
        return {"other": [data.pop(name) for name in sorted(data)]}


class Pairing(Schema):
    """Makes a list."""

    @post_load
    def pair(self, data: Any, **_: Any) -> Any:
        return sorted(data)


class Hiding(Schema):
    """Makes an object of more than its fields."""

    @post_load
    def make(self, data: Any, **_: Any) -> Any:
        return Made(**data, hidden=object())


WHOLE: Bases = [
    ((Schema,), False),
    ((Wrapped,), True),
    ((Dropping,), False),
    ((Checking,), False),
    ((Wrapped, Dropping, Checking), True),
]
"""What a whole ``Params`` may be, which makes a dict of no other fields than its own."""

NESTED: Bases = [
    ((Schema,), False),
    ((Wrapped,), True),
    ((Checking,), False),
    ((Counted,), False),
    ((Wrapped, Counted, Checking), True),
    ((Remembering,), False),
    ((Turned, Counted), False),
    ((Making,), False),
    ((Wrapped, Making), True),
]

ODD: Bases = [
    ((Dropping,), False),
    ((Popping,), False),
    ((Pairing,), False),
    ((Hiding,), False),
    ((Making, Counted), False),
    ((Wrapped, Popping), True),
]

names = st.text(string.ascii_lowercase, min_size=1, max_size=3).map(lambda text: f"x{text}")

Generated = tuple[fields.Field[Any], st.SearchStrategy[Any]]


@st.composite
def generated(draw: st.DrawFn, depth: int = DEPTH, odd: bool = False) -> Generated:
    """A field, and what a client may send for it."""
    more: dict[str, Any] = {"allow_none": draw(st.booleans())}
    if draw(st.booleans()):
        more["validate"] = [_checked]
    shapes = ["leaf", "nested", "many", "list", "dict", *(["pluck"] if odd else [])]
    shape = draw(st.sampled_from(shapes if depth else ["leaf"]))
    if shape == "leaf":
        kind = draw(st.sampled_from([*LEAVES, *(ODD_LEAVES * 2 if odd else [])]))
        return _with_none(kind.make(**more), kind.sent)
    if shape == "list":
        inner, sent = draw(generated(depth - 1, odd))
        return _with_none(fields.List(inner, **more), st.lists(sent, max_size=3))
    if shape == "dict":
        inner, sent = draw(generated(depth - 1, odd))
        key = draw(st.sampled_from([kind for kind in LEAVES if kind.as_key]))
        table = fields.Dict(keys=key.make(), values=inner, **more)
        return _with_none(table, st.dictionaries(key.sent, sent, max_size=3))
    if shape == "pluck":
        inner, sent = draw(generated(depth - 1, odd))
        return _with_none(fields.Pluck(Schema.from_dict({"one": inner}), "one", **more), sent)
    schema, sent = draw(schemas([*NESTED, *(ODD if odd else [])], depth - 1, odd))
    if shape == "many":
        return _with_none(fields.Nested(schema, many=True, **more), st.lists(sent, max_size=3))
    return _with_none(fields.Nested(schema, **more), sent)


def _with_none(field: fields.Field[Any], sent: st.SearchStrategy[Any]) -> Generated:
    return field, st.none() | sent if field.allow_none else sent


@st.composite
def schemas(
    draw: st.DrawFn, bases: Bases = WHOLE, depth: int = DEPTH, odd: bool = False
) -> tuple[type[Schema], st.SearchStrategy[Any]]:
    """A schema class, and what a client may send for it."""
    chosen, is_wrapped = draw(st.sampled_from(bases))
    is_whole = bases is WHOLE
    declared: dict[str, Any] = {}
    required, optional = {}, {}
    for name in draw(st.lists(names, min_size=1, max_size=3, unique=True)):
        field, sent = draw(generated(depth, odd))
        field.load_only = draw(st.booleans())
        if draw(st.booleans()):
            field.data_key = f"{name}Key"
        field.required = draw(st.booleans())
        if not field.required and draw(st.booleans()):
            field.load_default = draw(st.sampled_from([None, lambda: None]))
        (required if field.required else optional)[field.data_key or name] = sent
        declared[name] = field
    if not is_whole and draw(st.booleans()):
        declared["shown"] = fields.Method("describe", dump_only=True)
        declared["describe"] = lambda self, value: "shown"
    unknown: st.SearchStrategy[Any] = st.just({})
    # An object has no place for what its schema doesn't declare, nor has a job.
    rule = draw(st.sampled_from([None, EXCLUDE, *([] if is_whole or Making in chosen else [INCLUDE])]))
    if rule is not None:
        declared["Meta"] = type("Meta", (), {"unknown": rule})
        unknown = st.dictionaries(st.sampled_from(["uOne", "uTwo"]), json_values, max_size=2)
    known = st.fixed_dictionaries(required, optional=optional)
    sent = st.tuples(known, unknown).map(lambda pair: {**pair[1], **pair[0]})
    schema = type("Generated", chosen, declared)
    return schema, sent.map(lambda given: {"wrapped": given}) if is_wrapped else sent


def loaded(schema: type[Schema], sent: Any) -> dict[str, Any]:
    """What marshmallow makes of a client's parameters; None for a field that gets no value."""
    made = schema().load(sent)
    return {name: made.get(name) for name in schema().fields}


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
