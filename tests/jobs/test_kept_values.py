"""What ``run()`` sees is what submit validated: single shapes, and what is refused."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from marshmallow import EXCLUDE, INCLUDE, Schema, ValidationError, fields, post_load, pre_load, validate

import zerog
from tests.jobs.generated import Made
from tests.jobs.generated_kinds import Forgets, Hashed, Hundredfold
from tests.jobs.seeing import Seeing, check_seen, register_seeing, seeing
from zerog.exceptions import InvalidJobClass, InvalidValue
from zerog.records.job import make_key
from zerog.testing import run_inline


def assert_seen(app: zerog.App, job_class: Any, value: Any) -> Any:
    """Check that the run sees what the submit validated; return it."""
    return check_seen(app, job_class, {"given": value})["given"]


class Cents(Schema):
    amount = fields.Integer(required=True, validate=validate.Range(max=500))

    @pre_load
    def to_cents(self, data: Any, **_: Any) -> Any:
        return {**data, "amount": data["amount"] * 100}


class Login(Schema):
    user = fields.String(required=True)
    password = fields.String(required=True, load_only=True)


class Free(Schema):
    class Meta:
        unknown = INCLUDE

    number = fields.Integer()


class Making(Schema):
    number = fields.Integer(data_key="theNumber")

    @post_load
    def make(self, data: Any, **_: Any) -> Any:
        return Made(**data)


class Tree(Schema):
    name = fields.String(required=True)
    below = fields.List(fields.Nested(lambda: Tree()))


@pytest.mark.parametrize(
    ("field", "value", "seen"),
    [
        (fields.Nested(Cents), {"amount": 3}, {"amount": 300}),
        (fields.Nested(Cents, many=True), [{"amount": 3}], [{"amount": 300}]),
        (fields.Dict(keys=fields.String(), values=fields.Nested(Cents)), {"a": {"amount": 3}}, {"a": {"amount": 300}}),
        (fields.Nested(Login), {"user": "a", "password": "s"}, {"user": "a", "password": "s"}),
        (fields.Nested(Free), {"number": "1", "a.b": {"c": [2]}}, {"number": 1, "a.b": {"c": [2]}}),
        (fields.Pluck(Schema.from_dict({"a": fields.Integer(data_key="b")}), "a"), 3, {"a": 3}),
        (fields.Nested(Tree), {"name": "a", "below": [{"name": "b"}]}, {"name": "a", "below": [{"name": "b"}]}),
        (Hundredfold(validate=validate.Range(max=500)), 3, 300),
        (fields.List(Hundredfold()), [1, 2], [100, 200]),
        (Hashed(), "pw", "h(pw)"),
        (fields.Function(deserialize=lambda value: value * 2), 2, 4),
        (fields.Nested(Login(partial=True)), {"user": "a"}, {"user": "a"}),
    ],
    ids=repr,
)
def test_conversions_happen_once(field: Any, value: Any, seen: Any) -> None:
    app, job_class = seeing(field)
    assert assert_seen(app, job_class, value) == seen


def test_an_object_is_made_once_more_by_what_made_it() -> None:
    """``post_load`` that makes an object runs when the document is read, and gives the same one."""
    app, job_class = seeing(fields.Nested(Making))
    assert assert_seen(app, job_class, {"theNumber": 5}).number == 5
    [head] = app.jobs()
    assert app.datastore.read(make_key(head["uuid"]))["given"] == {"theNumber": 5}


def test_a_state_of_a_converting_schema_is_kept_and_validated() -> None:
    """``update_attrs`` takes values, not what a client would send, and validates them as such."""

    class Keeps(zerog.BaseJob):
        JOB_TYPE = "keeps"

        class State(Schema):
            cents = fields.Nested(Cents, load_default=None)
            hundreds = Hundredfold(load_default=0, validate=validate.Range(max=500))

        def run(self) -> int:
            return 200

    app = zerog.App("memory://")
    app.register(Keeps)
    job: Any = app.submit(Keeps)
    job.update_attrs(cents={"amount": 300}, hundreds=500)
    loaded: Any = app.get_job(job.uuid)
    assert (loaded.cents, loaded.hundreds) == ({"amount": 300}, 500)
    for wrong in ({"cents": {"amount": 501}}, {"hundreds": 501}, {"hundreds": None}):
        with pytest.raises(ValidationError):
            job.update_attrs(**wrong)
    assert app.get_job(job.uuid).dump() == job.dump()


class Partly(Schema):
    number = fields.Integer()

    @post_load
    def make(self, data: Any, **_: Any) -> Any:
        return Made(**data, hidden=object())


class Popping(Schema):
    number = fields.Integer()

    @post_load
    def pop(self, data: Any, **_: Any) -> Any:
        return {"other": data.pop("number")}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (Forgets(), 1),
        (fields.List(fields.Nested({"deep": Forgets()})), [{"deep": 1}]),
        (fields.Nested(Partly), {"number": 1}),
        (fields.Nested(Popping), {"number": 1}),
        (fields.String(post_load=[Path]), "a"),
    ],
    ids=["field", "nested field", "object", "dict", "type"],
)
def test_what_can_t_be_kept_is_refused_in_words(field: Any, value: Any) -> None:
    """Nothing is stored, and the message is the field's."""
    app, _ = seeing(field)
    with pytest.raises(ValidationError) as caught:
        app.submit("seeing", {"given": value})
    assert "the run would see another value" in str(caught.value.messages["given"])
    assert list(app.jobs()) == []


def test_what_json_can_t_hold_is_refused() -> None:
    """As any other value that can't be stored."""

    class Sets(fields.Field[Any]):
        def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
            return set(value)

    app, _ = seeing(Sets())
    with pytest.raises(InvalidValue, match="given is of type set"):
        app.submit("seeing", {"given": [1]})


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (fields.List(fields.Method("show")), "schema that can't be made .*show"),
        (fields.Nested("NowhereSchema"), "nested schema isn't there .*NowhereSchema"),
        (
            fields.Nested({"a": fields.Integer(), "b": fields.Integer(attribute="a")}),
            "nested schema can't be made .*ValueError",
        ),
        (fields.Nested(lambda: 1 / 0), "nested schema can't be made .*ZeroDivisionError"),
        (fields.Dict(keys=fields.Integer()), "keys of type Integer"),
        (fields.Nested({"inner": fields.Dict(keys=fields.Boolean())}), "inner is declared.*keys of type Boolean"),
        (fields.Nested({"a.b": fields.Integer()}), "attribute 'a.b'"),
        (fields.List(fields.Nested({"a": fields.Integer(attribute="b.c")})), "attribute 'b.c'"),
        (fields.Integer(attribute="b.c"), "attribute 'b.c'"),
    ],
    ids=repr,
)
def test_fields_that_can_only_fail_are_refused_at_registration(field: Any, words: str) -> None:
    with pytest.raises(InvalidJobClass, match=words):
        seeing(field)


@pytest.mark.parametrize("more", [{}, {"deserialize": "take"}, {"dump_only": True}])
def test_method_fields_are_refused_at_registration(more: dict[str, Any]) -> None:
    """A job has none of its schema's methods; a nested schema that shows one takes and keeps its other fields."""

    class Params(Schema):
        given = fields.Method("show", **more)

        def show(self, value: Any) -> Any:
            return "shown"

        def take(self, value: Any) -> Any:
            return value

    with pytest.raises(InvalidJobClass, match="as a Method"):
        zerog.App("memory://").register(type("Sees", (Seeing,), {"Params": Params}))


def test_a_key_with_dots_may_be_a_client_s_name_of_a_field() -> None:
    app, job_class = seeing(fields.Nested({"inner": fields.Integer(data_key="a.b")}))
    assert assert_seen(app, job_class, {"a.b": 1}) == {"inner": 1}


def test_a_run_that_yields_is_refused_at_registration() -> None:
    """Calling it would run nothing of it."""

    def yields(self: Any) -> Any:
        yield 1

    async def yields_async(self: Any) -> Any:
        yield 1

    app = zerog.App("memory://")
    for run in (yields, yields_async):
        with pytest.raises(InvalidJobClass, match="run yields"):
            app.register(type("Yields", (zerog.BaseJob,), {"JOB_TYPE": "yields", "run": run}))
        with pytest.raises(InvalidJobClass, match="yields"):
            app.job("yields")(run)


def test_a_function_s_parameter_can_t_be_called_self() -> None:
    def takes(job: Any, self: int) -> None: ...

    with pytest.raises(InvalidJobClass, match="self is a parameter of"):
        zerog.App("memory://").job(takes)


@pytest.mark.parametrize("inherited", [True, False])
def test_params_decide_what_becomes_of_unknown_parameters(inherited: bool) -> None:
    """EXCLUDE drops them; RAISE refuses them, and so does INCLUDE, for a job has no place for them."""
    app = zerog.App("memory://")
    for name, unknown in (("exclude", EXCLUDE), ("include", INCLUDE), ("plain", None)):
        meta = {} if unknown is None else {"Meta": type("Meta", (), {"unknown": unknown})}
        base = type("Base", (Schema,), meta)
        params = type(
            "Params", (base if inherited else Schema,), {"a": fields.Integer(), **({} if inherited else meta)}
        )
        app.register(type("Job", (Seeing,), {"JOB_TYPE": name, "Params": params}))
    assert [shown["params"]["additionalProperties"] for shown in app.types()] == [True, False, False]
    job: Any = app.submit("exclude", {"a": 1, "b": 2})
    assert job.a == 1
    assert "b" not in app.datastore.read(job.key())
    for name in ("include", "plain"):
        with pytest.raises(ValidationError) as caught:
            app.submit(name, {"a": 1, "b": 2})
        assert list(caught.value.messages) == ["b"]
        assert app.submit(name, {"a": 1}).a == 1
    with pytest.raises(ValidationError, match="is set by ZeroG"):
        app.submit("exclude", {"status": "done"})


@pytest.mark.parametrize("unknown", [None, EXCLUDE])
def test_a_hook_that_adds_what_the_job_has_no_field_for_is_refused_in_words(unknown: str | None) -> None:
    """It is a fault of the class, not of the client's values; nothing is stored."""

    class Adds(Schema):
        a = fields.Integer()

        @post_load
        def add(self, data: Any, **_: Any) -> Any:
            return {**data, "counted": 1}

    meta = {} if unknown is None else {"Meta": type("Meta", (), {"unknown": unknown})}
    app = zerog.App("memory://")
    app.register(type("Sees", (Seeing,), {"Params": type("Params", (Adds,), meta)}))
    for params in ({"a": 1}, {}):
        with pytest.raises(InvalidJobClass, match=r"Params of seeing has a hook that adds counted.*Nothing was stored"):
            app.submit("seeing", params)
    assert list(app.jobs()) == []


def test_a_field_that_a_hook_removes_has_no_value() -> None:
    """Not its default, which the hook has seen and removed."""

    class Removes(Schema):
        a = fields.Integer(load_default=7)
        b = fields.Integer(load_default=8)

        @post_load
        def remove(self, data: Any, **_: Any) -> Any:
            return {name: value for name, value in data.items() if value != 7}

    app = zerog.App("memory://")
    job_class = register_seeing(app, Removes)
    assert check_seen(app, job_class, {}) == {"a": None, "b": 8}
    assert check_seen(app, job_class, {"a": 1, "b": 7}) == {"a": 1, "b": None}


def test_defaults_of_nested_fields_are_kept_and_added_to_older_documents() -> None:
    """A default that is new each time is the one that submit made; a field that was added later has its own."""
    app, job_class = seeing(fields.Nested({"token": fields.String(load_default=lambda: os.urandom(4).hex())}))
    job: Any = app.submit("seeing", {"given": {}})
    assert len(job.given["token"]) == 8
    run_inline(app, job.uuid)
    assert job_class.seen == {"given": job.given}
    uuid = app.submit("seeing", {"given": {}}).uuid
    later = {"token": fields.String(), "day": fields.Date(load_default=date(2027, 1, 1))}
    seeing(fields.Nested(later), app)
    assert app.get_job(uuid).given["day"] == date(2027, 1, 1)


def test_a_moment_without_a_timezone_that_a_run_sets_deep_inside_means_utc() -> None:
    app, _ = seeing(fields.List(fields.Nested({"at": fields.AwareDateTime()})))
    job: Any = app.submit("seeing", {"given": []})
    job.given = [{"at": datetime(2027, 1, 1)}]
    job.save()
    assert app.get_job(job.uuid).given == [{"at": datetime(2027, 1, 1, tzinfo=UTC)}]
