"""MAX_ITEMS: the number of items of a client's parameters that their schema converts one by one."""

from __future__ import annotations

import math
from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields, validate

import zerog
from tests.jobs.seeing import check_seen, register_seeing
from zerog.exceptions import InvalidJobClass
from zerog.schemas.describe import described

ROW = {"a": fields.Integer(), "b": fields.Integer(load_default=0)}


class Counting(fields.Integer):
    """Counts what is converted."""

    calls = 0

    def _deserialize(self, *args: Any, **kwargs: Any) -> Any:
        Counting.calls += 1
        return super()._deserialize(*args, **kwargs)


def taking(field: fields.Field[Any], most: int | None = zerog.BaseJob.MAX_ITEMS) -> tuple[zerog.App, Any]:
    app = zerog.App("memory://")
    job_class = register_seeing(app, type("Params", (Schema,), {"given": field}))
    job_class.MAX_ITEMS = most
    return app, job_class


COUNTED: dict[str, tuple[fields.Field[Any], Any, int]] = {
    "parts that are converted": (fields.List(fields.TimeDelta()), [1] * 7, 7),
    "parts that are validated": (fields.List(fields.Integer(validate=validate.Range(0))), [1] * 7, 7),
    "wrong parts": (fields.List(fields.Integer()), ["1"] * 7, 7),
    "no part of its own field's type": (fields.List(fields.Float()), [1] * 7, 7),
    "lists within a list": (fields.List(fields.List(fields.Integer())), [[1, 2], [3, 4, 5]], 2 + 5),
    "keys and values": (fields.Dict(keys=fields.String(), values=fields.Integer()), {"a": 1, "b": 2}, 4),
    "values": (fields.Dict(values=fields.List(fields.Date())), {"a": ["2027-01-01"] * 2, "b": []}, 2 + 2),
    "objects and their fields": (fields.Nested(ROW, many=True), [{"a": 1}, {}], 2 * (1 + 2)),
    "objects within a list": (fields.List(fields.Nested(ROW)), [{"a": 1}, {}], 2 * (1 + 1 + 2)),
    "lists of an object": (fields.Nested({"a": fields.List(fields.Integer())}), {"a": [1, 2, 3]}, 1 + 1 + 3),
    "keys of another name": (
        fields.Nested({"a": fields.List(fields.Integer(), data_key="A")}),
        {"A": [1, 2, 3]},
        1 + 1 + 3,
    ),
}


@pytest.mark.parametrize("shape", list(COUNTED))
def test_items_are_counted(shape: str) -> None:
    """So many are accepted; with one less allowed they are refused by name, before anything is converted or stored."""
    field, value, number = COUNTED[shape]
    app, job_class = taking(field, number)
    check_seen(app, job_class, {"given": value})
    app, _ = taking(field, number - 1)
    with pytest.raises(ValidationError) as caught:
        app.submit("seeing", {"given": value})
    assert caught.value.messages == {
        "given": [f"Too many items to be converted one by one: over {number - 1}, which is MAX_ITEMS of the job."]
    }
    assert list(app.jobs()) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (fields.List(fields.Integer()), [1] * 20_000),
        (fields.List(fields.String()), ["a"] * 20_000),
        (fields.List(fields.Float(), validate=validate.Length(min=1)), [0.5] * 20_000),
        (fields.Raw(), [[1]] * 20_000),
        (fields.Dict(), {str(number): 1 for number in range(20_000)}),
    ],
    ids=["integers", "texts", "floats", "raw", "dict"],
)
def test_what_is_taken_as_it_is_is_not_counted(field: fields.Field[Any], value: Any) -> None:
    app, job_class = taking(field)
    assert check_seen(app, job_class, {"given": value}) == {"given": value}


def test_plain_lists_are_refused_as_marshmallow_does() -> None:
    """Each by the messages of the schema alone."""
    wrong: list[tuple[fields.Field[Any], Any]] = [
        (fields.List(fields.Float()), [0.5, math.nan]),
        (fields.List(fields.Integer()), [1, None, "a"]),
        (fields.List(fields.String()), ["a", 1]),
        (fields.List(fields.Integer(), validate=validate.Length(max=1)), [1, 2]),
        (fields.List(fields.Integer(), required=True), None),
    ]
    for field, value in wrong:
        app, job_class = taking(field)
        with pytest.raises(ValidationError) as expected:
            job_class.Params().load({"given": value})
        with pytest.raises(ValidationError) as caught:
            app.submit("seeing", {"given": value})
        assert caught.value.messages == expected.value.messages


def test_the_items_of_all_fields_count_together() -> None:
    app = zerog.App("memory://")
    params = {"one": fields.List(fields.Date()), "two": fields.List(fields.Date())}
    register_seeing(app, type("Params", (Schema,), params)).MAX_ITEMS = 3
    app.submit("seeing", {"one": ["2027-01-01"], "two": ["2027-01-01"] * 2})
    with pytest.raises(ValidationError) as caught:
        app.submit("seeing", {"one": ["2027-01-01"] * 2, "two": ["2027-01-01"] * 2})
    assert list(caught.value.messages) == ["two"]


def test_nothing_of_too_many_items_is_converted() -> None:
    """The default is 10,000; None is no limit."""
    for most, calls in ((zerog.BaseJob.MAX_ITEMS, 0), (None, 10_001)):
        app, _ = taking(fields.List(Counting()), most)
        Counting.calls = 0
        if most is not None:
            with pytest.raises(ValidationError, match="over 10,000"):
                app.submit("seeing", {"given": [1] * 10_001})
        else:
            app.submit("seeing", {"given": [1] * 10_001})
        assert Counting.calls >= calls
        assert calls or not Counting.calls


def test_the_schema_of_the_class_stays_as_it_is() -> None:
    """Its lists are marshmallow's own where they are described, and for whoever else loads by it."""
    app, job_class = taking(fields.List(fields.Integer()))
    app.submit("seeing", {"given": [1]})
    shown = described(job_class)["params"]["properties"]["given"]
    assert shown["x-field"] == {"class": "List"}
    assert type(job_class.Params().fields["given"]) is fields.List


@pytest.mark.parametrize("most", [0, -1, 1.5, "many", True])
def test_a_limit_that_is_none_is_refused(most: Any) -> None:
    bad = type("Bad", (zerog.BaseJob,), {"JOB_TYPE": "bad", "MAX_ITEMS": most, "run": lambda self: 200})
    with pytest.raises(InvalidJobClass, match=r"MAX_ITEMS is .*; expected a whole number, 1 or more, or None"):
        zerog.App("memory://").register(bad)
