"""``app.types()``: its description of a type is what ``submit`` takes."""

from __future__ import annotations

import enum
import json
import sys
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator
from marshmallow import EXCLUDE, INCLUDE, Schema, ValidationError, fields, validate

import zerog
from tests.jobs.builders import Documented


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Address(Schema):
    town = fields.String(required=True)
    zip = fields.String(validate=validate.Regexp(r"^\d{5}$"))


class Loose(Schema):
    class Meta:
        unknown = INCLUDE

    n = fields.Integer()


class Deaf(Schema):
    class Meta:
        unknown = EXCLUDE

    n = fields.Integer()


class Order(zerog.BaseJob):
    """Orders things.

    Many of them.
    """

    JOB_TYPE = "order"
    TITLE = "An order"
    SCHEMA_VERSION = "2.5"

    class Params(Schema):
        name = fields.String(required=True, validate=validate.Length(min=1, max=5))
        count = fields.Integer(required=True, validate=validate.Range(min=1, max=9), metadata={"description": "pieces"})
        colour = fields.Enum(Colour, load_default=Colour.RED, by_value=True)
        shade = fields.Enum(Colour)
        size = fields.String(validate=validate.OneOf(["s", "m"]))
        address = fields.Nested(Address)
        others = fields.List(fields.Nested(Address), validate=validate.Length(max=2))
        share = fields.Float(validate=validate.Range(min=0, max=1, max_inclusive=False))
        code = fields.String(validate=validate.Regexp(r"^[A-Z]+$"), allow_none=True)
        tail = fields.String(validate=validate.Regexp(r"[a-z]+$"))
        day = fields.Date(validate=validate.Range(min=date(2026, 1, 1)))
        price = fields.Decimal(as_string=True, load_default=Decimal("1.5"))
        urgent = fields.Boolean(load_default=False)
        when = fields.DateTime()
        labels = fields.Dict(keys=fields.String(), values=fields.Integer())
        loose = fields.Nested(Loose)
        deaf = fields.Nested(Deaf)
        anything = fields.Raw()
        dotted = fields.Integer(data_key="dotted-name")
        shown = fields.String(dump_only=True)

    class State(Schema):
        step = fields.Integer(load_default=0)

    @zerog.migration("1.0", "2.5")
    @staticmethod
    def same(document: dict[str, Any]) -> dict[str, Any]:
        return document

    def run(self) -> None: ...


class Nothing(zerog.BaseJob):
    JOB_TYPE = "nothing"

    def run(self) -> None: ...


@pytest.fixture
def app() -> zerog.App:
    made = zerog.App("memory://")
    made.register(Order, Nothing, Documented)

    @made.job("small")
    def small(
        job: Any,
        who: UUID,
        day: date,
        level: Literal["low", "high"] = "low",
        colour: Colour = Colour.BLUE,
        many: list[int] = [1],  # noqa: B006
        price: Decimal = Decimal("1.5"),
        pause: timedelta = timedelta(seconds=90),
        moment: datetime | None = None,
        choice: Literal[1, 2, None] = None,
        hue: Colour | None = None,
        rate: Annotated[float | None, validate.Range(min=0.5)] = None,
        free: Any = None,
        texts: dict[str, list[str]] = {},  # noqa: B006
    ) -> None:
        """Does little."""

    return made


def params(app: zerog.App, name: str) -> dict[str, Any]:
    [described] = [entry for entry in app.types() if entry["jobType"] == name]
    schema: dict[str, Any] = described["params"]
    return schema


def test_each_type_describes_itself(app: zerog.App) -> None:
    described = {entry.pop("jobType"): entry for entry in app.types()}
    assert list(described) == ["documented", "nothing", "order", "small"]
    for entry in described.values():
        schema = entry.pop("params")
        Draft202012Validator.check_schema(schema)
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert json.loads(json.dumps(schema)) == schema
    assert described["order"] == {"title": "An order", "summary": "Orders things.", "schemaVersion": 2.5}
    assert described["nothing"] == {"title": None, "summary": None, "schemaVersion": 1.0}
    assert described["small"]["summary"] == "Does little."


def test_the_schema_agrees_with_the_class(app: zerog.App) -> None:
    schema = params(app, "order")
    assert schema["required"] == ["count", "name"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["count"] == {"type": "integer", "minimum": 1, "maximum": 9, "description": "pieces"}
    assert schema["properties"]["colour"]["default"] == "red"
    assert "shown" not in schema["properties"]
    assert "step" not in schema["properties"]
    assert "status" not in schema["properties"]
    assert set(schema["$defs"]) == {"Address", "Loose", "Deaf"}
    assert params(app, "nothing")["properties"] == {}
    assert params(app, "small")["properties"]["many"]["default"] == [1]
    assert params(app, "documented") == {
        "$schema": schema["$schema"],
        "type": "object",
        "properties": {"path": {"type": "string"}, "limit": {"type": "integer"}},
        "required": ["path"],
        "additionalProperties": False,
    }


MINIMAL: dict[str, dict[str, Any]] = {
    "order": {"name": "x", "count": 1},
    "small": {"who": "0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f", "day": "2026-01-02"},
    "nothing": {},
    "documented": {"path": "x"},
}

CASES: list[tuple[str, dict[str, Any], bool]] = [
    ("order", {}, True),
    ("order", {"name": ""}, False),
    ("order", {"name": "sixsix"}, False),
    ("order", {"name": None}, False),
    ("order", {"name": 5}, False),
    ("order", {"count": 9}, True),
    ("order", {"count": 0}, False),
    ("order", {"count": "many"}, False),
    ("order", {"colour": "blue"}, True),
    ("order", {"colour": "BLUE"}, False),
    ("order", {"shade": "BLUE"}, True),
    ("order", {"shade": "blue"}, False),
    ("order", {"size": "m"}, True),
    ("order", {"size": "l"}, False),
    ("order", {"address": {"town": "x", "zip": "12345"}}, True),
    ("order", {"address": {"town": "x", "zip": "1234"}}, False),
    ("order", {"address": {}}, False),
    ("order", {"address": {"town": "x", "street": "y"}}, False),
    ("order", {"others": [{"town": "x"}, {"town": "y"}]}, True),
    ("order", {"others": [{"town": "x"}] * 3}, False),
    ("order", {"price": "2.50"}, True),
    ("order", {"price": "cheap"}, False),
    ("order", {"others": [{"zip": "12345"}]}, False),
    ("order", {"others": {"town": "x"}}, False),
    ("order", {"share": 0}, True),
    ("order", {"share": 0.999}, True),
    ("order", {"share": 1}, False),
    ("order", {"share": -0.1}, False),
    ("order", {"code": "ABC"}, True),
    ("order", {"code": None}, True),
    ("order", {"code": "abc"}, False),
    ("order", {"tail": "abc"}, True),
    ("order", {"tail": "1abc"}, False),
    ("order", {"day": "2026-05-05"}, True),
    ("order", {"urgent": True}, True),
    ("order", {"urgent": None}, False),
    ("order", {"when": "2026-01-02T03:04:05Z"}, True),
    ("order", {"when": 5}, False),
    ("order", {"labels": {"a": 1}}, True),
    ("order", {"labels": {"a": "x"}}, False),
    ("order", {"labels": [1]}, False),
    ("order", {"loose": {"n": 1, "m": 2}}, True),
    ("order", {"loose": {"n": "x"}}, False),
    ("order", {"deaf": {"n": 1, "m": 2}}, True),
    ("order", {"anything": {"a": [1, "x"]}}, True),
    ("order", {"dotted-name": 1}, True),
    ("order", {"dotted": 1}, False),
    ("order", {"shown": "x"}, False),
    ("order", {"step": 1}, False),
    ("order", {"status": "succeeded"}, False),
    ("order", {"unknown": 1}, False),
    ("nothing", {}, True),
    ("nothing", {"x": 1}, False),
    ("documented", {"limit": 3}, True),
    ("documented", {"limit": [3]}, False),
    ("documented", {"priority": 3}, False),
    ("small", {}, True),
    ("small", {"who": 5}, False),
    ("small", {"day": None}, False),
    ("small", {"level": "high"}, True),
    ("small", {"level": "middle"}, False),
    ("small", {"level": None}, False),
    ("small", {"colour": "red"}, True),
    ("small", {"colour": "RED"}, False),
    ("small", {"many": [1, 2]}, True),
    ("small", {"many": [1.0]}, True),
    ("small", {"many": [1.5]}, False),
    ("small", {"many": [True]}, False),
    ("small", {"price": "1.50"}, True),
    ("small", {"price": 1.5}, True),
    ("small", {"price": True}, False),
    ("small", {"price": "much"}, False),
    ("small", {"pause": 0.5}, True),
    ("small", {"pause": "long"}, False),
    ("small", {"moment": None}, True),
    ("small", {"moment": "2026-01-02T03:04:05+01:00"}, True),
    ("small", {"moment": 5}, False),
    ("small", {"choice": 2}, True),
    ("small", {"choice": None}, True),
    ("small", {"choice": 3}, False),
    ("small", {"hue": "red"}, True),
    ("small", {"hue": None}, True),
    ("small", {"hue": "green"}, False),
    ("small", {"rate": None}, True),
    ("small", {"rate": 0.5}, True),
    ("small", {"rate": 0.4}, False),
    ("small", {"free": {"a": [None]}}, True),
    ("small", {"free": None}, True),
    ("small", {"texts": {"a": ["x"]}}, True),
    ("small", {"texts": {"a": [1]}}, False),
    ("small", {"texts": {"a": "x"}}, False),
]


@pytest.mark.parametrize(("name", "change", "is_taken"), CASES, ids=lambda value: json.dumps(value))
def test_what_the_schema_takes_submit_takes_and_the_reverse(
    app: zerog.App, name: str, change: dict[str, Any], is_taken: bool
) -> None:
    given = {**MINIMAL[name], **change}
    assert Draft202012Validator(params(app, name)).is_valid(given) is is_taken
    if is_taken:
        assert app.submit(name, given).status == "queued"
    else:
        with pytest.raises(ValidationError):
            app.submit(name, given)


@pytest.mark.parametrize("name", ["order", "small", "documented"])
def test_what_is_required_is_required_by_both(app: zerog.App, name: str) -> None:
    for left_out in MINIMAL[name]:
        given = {key: value for key, value in MINIMAL[name].items() if key != left_out}
        assert not Draft202012Validator(params(app, name)).is_valid(given)
        with pytest.raises(ValidationError):
            app.submit(name, given)


@pytest.mark.parametrize(("name", "lenient"), [("order", {"count": "3"}), ("order", {"urgent": "yes"})])
def test_submit_accepts_a_little_more_than_the_schema(app: zerog.App, name: str, lenient: dict[str, Any]) -> None:
    """Texts of numbers and the like, as from a command line."""
    given = {**MINIMAL[name], **lenient}
    assert not Draft202012Validator(params(app, name)).is_valid(given)
    assert app.submit(name, given).status == "queued"


def test_the_defaults_fit_the_schema(app: zerog.App) -> None:
    for entry in app.types():
        for name, described in entry["params"]["properties"].items():
            if "default" in described:
                own = {**entry["params"], "properties": {name: described}, "required": []}
                Draft202012Validator(own).validate({name: described["default"]})


def test_without_apispec_the_error_names_the_extra(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apispec", None)
    with pytest.raises(zerog.ConfigurationError, match=r"pip install -e .\.\[cli\]"):
        app.types()


def test_a_title_is_text() -> None:
    with pytest.raises(zerog.InvalidJobClass, match="TITLE is 5"):
        zerog.App("memory://").register(type("Odd", (Nothing,), {"JOB_TYPE": "odd", "TITLE": 5}))
