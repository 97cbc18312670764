"""Declarations of a class, and what is refused before a job of it exists."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields, post_load, validate

import zerog
from tests.jobs.builders import Declared, PlainQueue
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.exceptions import InvalidJobClass, InvalidValue
from zerog.jobs.base import BaseJob, BaseJobSchema


def make(**attributes: Any) -> type[BaseJob]:
    """A job class with these attributes."""
    return type("Made", (BaseJob,), {"JOB_TYPE": "made", "run": lambda self: None, **attributes})


def schema(**declared: Any) -> type[Schema]:
    return type("Params", (Schema,), declared)


def register(**attributes: Any) -> zerog.JobRegistry:
    registry = zerog.JobRegistry()
    registry.add_classes([make(**attributes)])
    return registry


def test_a_part_of_a_field_is_validated_whenever_it_is_written() -> None:
    """Reading takes what is stored; that must not loosen the checks of a write."""

    class Tagged(Declared):
        JOB_TYPE = "tagged"

        class State(Schema):
            tags = fields.List(fields.String(validate=validate.Length(max=3)), load_default=list)

    job = Tagged(MemoryDatastore(), PlainQueue(), path="x")
    job.update_attrs(tags=["abc"])
    with pytest.raises(ValidationError, match="tags"):
        job.update_attrs(tags=["abcd"])


@pytest.mark.parametrize("job_type", ["", None, 5, "x" * 201, "a\nb"])
def test_a_job_type_is_a_printable_text(job_type: Any) -> None:
    with pytest.raises(InvalidJobClass, match="JOB_TYPE"):
        register(JOB_TYPE=job_type)


def test_run_must_be_written() -> None:
    class Idle(BaseJob):
        JOB_TYPE = "idle"

    with pytest.raises(TypeError, match="abstract"):
        Idle(MemoryDatastore(), PlainQueue())  # type: ignore[abstract]
    with pytest.raises(InvalidJobClass, match=r"Idle has no run\(\)"):
        zerog.JobRegistry().add_classes([Idle])


def test_the_document_type_and_a_foreign_schema_are_refused_with_the_class() -> None:
    with pytest.raises(InvalidJobClass, match="DOCUMENT_TYPE"):
        make(DOCUMENT_TYPE="other")
    with pytest.raises(InvalidJobClass, match="expected a subclass of BaseJobSchema"):
        make(SCHEMA=Schema)


@pytest.mark.parametrize("name", ["status", "uuid", "resultCode", "events", "cas", "due", "owner"])
@pytest.mark.parametrize("group", ["Params", "State", "SCHEMA"])
def test_a_field_named_like_one_of_the_engine_s_is_refused_with_a_suggestion(group: str, name: str) -> None:
    declared = {name: fields.String()}
    part = type("S", (BaseJobSchema,), declared) if group == "SCHEMA" else schema(**declared)
    with pytest.raises(InvalidJobClass) as caught:
        register(**{group: part})
    suggestion = f"job{name[0].upper()}{name[1:]}"
    assert f"{group} declares {name}" in str(caught.value)
    assert suggestion in str(caught.value)


@pytest.mark.parametrize("name", ["save", "run", "tick", "stopping", "datastore", "keepalive", "_private", "Params"])
def test_a_field_named_like_a_part_of_the_job_is_refused(name: str) -> None:
    with pytest.raises(InvalidJobClass, match=f"declares {name}"):
        register(Params=schema(**{name: fields.String()}))


def test_a_field_named_like_a_method_of_the_class_itself_is_refused() -> None:
    for method in (lambda self: 1, property(lambda self: 1), staticmethod(lambda: 1)):
        with pytest.raises(InvalidJobClass, match="resize is a method of Made"):
            register(resize=method, Params=schema(resize=fields.String()))
    assert register(size=5, Params=schema(size=fields.Integer()))


def test_data_key_and_attribute_count_as_names() -> None:
    with pytest.raises(InvalidJobClass, match="status"):
        register(Params=schema(fine=fields.String(data_key="status")))
    with pytest.raises(InvalidJobClass, match="save"):
        register(Params=schema(fine=fields.String(attribute="save")))


def test_a_field_declared_twice_is_refused() -> None:
    with pytest.raises(InvalidJobClass, match="its Params has already"):
        register(Params=schema(path=fields.String()), State=schema(path=fields.String()))
    with pytest.raises(InvalidJobClass, match="declared once"):
        register(State=schema(path=fields.String()), SCHEMA=type("S", (BaseJobSchema,), {"path": fields.String()}))


@pytest.mark.parametrize("group", ["Params", "State"])
@pytest.mark.parametrize("wrong", [dict, "Params", 5, Schema()])
def test_params_and_state_are_schema_classes(group: str, wrong: Any) -> None:
    with pytest.raises(InvalidJobClass, match=f"{group} is .* expected a marshmallow Schema class"):
        register(**{group: wrong})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_ERRORS", "3"),
        ("MAX_ERRORS", None),
        ("MAX_CONTINUES", -1),
        ("MAX_CRASHES", 2.5),
        ("MAX_LOST", True),
        ("TIMEOUT", 0),
        ("TIMEOUT", "1m"),
        ("CANCEL_GRACE", -1),
        ("CANCEL_GRACE", 61),
        ("CANCEL_GRACE", None),
        ("ON_SHUTDOWN", "continue"),
        ("ON_SHUTDOWN", None),
        ("FINISH_ON", ValueError),
        ("FINISH_ON", ("ValueError",)),
    ],
)
def test_a_limit_that_could_not_work_is_refused_at_registration(name: str, value: Any) -> None:
    with pytest.raises(InvalidJobClass, match=f"{name} is"):
        register(**{name: value})


def test_parameters_that_become_an_object_are_refused() -> None:
    class Params(Schema):
        path = fields.String()

        @post_load
        def make(self, data: Any, **_: Any) -> Any:
            return object()

    with pytest.raises(InvalidJobClass, match="makes object of a client's parameters"):
        register(Params=Params).make_job({"jobType": "made", "path": "x"}, MemoryDatastore(), PlainQueue())


def test_values_keep_their_python_types_through_the_document() -> None:
    class Typed(zerog.BaseJob):
        JOB_TYPE = "typed"

        class Params(Schema):
            day = fields.Date()
            limits = fields.Dict(keys=fields.String(), values=fields.Integer())
            renamed = fields.Integer(data_key="wireName")

        def run(self) -> None: ...

    registry, store = zerog.JobRegistry(), MemoryDatastore()
    registry.add_classes([Typed])
    given = {"jobType": "typed", "day": "2024-02-29", "limits": {"a": 1}, "wireName": 7}
    job: Any = registry.make_job(given, store, PlainQueue())
    job.save()
    assert (job.day, job.limits, job.renamed) == (date(2024, 2, 29), {"a": 1}, 7)
    stored = store.read(job.key())
    assert stored is not None
    assert (stored["day"], stored["wireName"]) == ("2024-02-29", 7)
    loaded: Any = registry.get_job(job.uuid, store, PlainQueue())
    loaded.update_attrs(day=date(2025, 1, 1))
    assert registry.get_job(job.uuid, store, PlainQueue()).dump()["day"] == "2025-01-01"
    with pytest.raises(InvalidValue, match="day='yesterday'"):
        loaded.update_attrs(day="yesterday")


def test_validators_run_when_a_value_is_set_and_not_when_it_is_read() -> None:
    allowed = ["a", "b"]

    def check(value: str) -> None:
        validate.OneOf(allowed)(value)

    class Picky(zerog.BaseJob):
        JOB_TYPE = "picky"

        class Params(Schema):
            one = fields.String(required=True, validate=check)
            many = fields.List(fields.String(validate=check), load_default=list)
            named = fields.Dict(keys=fields.String(validate=check), values=fields.String(validate=check))

        def run(self) -> None: ...

    app = zerog.App("memory://")
    app.register(Picky)
    for wrong in ({"one": "c"}, {"one": "a", "many": ["c"]}, {"one": "a", "named": {"a": "c"}}):
        with pytest.raises(ValidationError):
            app.submit("picky", wrong)
    job = app.submit("picky", {"one": "a", "many": ["b"], "named": {"a": "b"}})
    allowed.clear()
    loaded: Any = app.get_job(job.uuid)
    assert (loaded.one, loaded.many, loaded.named) == ("a", ["b"], {"a": "b"})
    with pytest.raises(ValidationError):
        loaded.update_attrs(one="b")


def test_fields_of_an_own_schema_are_a_client_s_parameters_under_their_data_key() -> None:
    made = type("S", (BaseJobSchema,), {"size": fields.Integer(required=True, data_key="theSize")})
    registry = register(SCHEMA=made)
    job: Any = registry.make_job({"jobType": "made", "theSize": "5"}, MemoryDatastore(), PlainQueue())
    assert job.size == 5
    with pytest.raises(ValidationError, match="theSize"):
        registry.make_job({"jobType": "made"}, MemoryDatastore(), PlainQueue())


def test_state_is_not_a_client_s_to_set() -> None:
    registry = register(State=schema(offset=fields.Integer(load_default=0)))
    with pytest.raises(ValidationError) as caught:
        registry.make_job({"jobType": "made", "offset": 9}, MemoryDatastore(), PlainQueue())
    assert [*caught.value.normalized_messages()] == ["offset"]


class Positional:
    def __init__(self, datastore: Any, queue: Any) -> None: ...


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"run": lambda self, path: None}, "run takes path, which it is never given"),
        ({"run": lambda self, *, path: None}, "run takes path"),
        ({"__init__": Positional.__init__}, r"__init__ takes no \*\*kwargs"),
        ({"params": schema()}, "did you mean Params"),
        ({"state": schema()}, "did you mean State"),
        ({"State": schema(offset=fields.Integer(required=True))}, "offset as required.*load_default"),
        ({"Params": schema(price=fields.Decimal())}, "price as a Decimal.*as_string=True"),
        ({"Params": schema(prices=fields.List(fields.Decimal()))}, "prices as a Decimal"),
        ({"State": schema(pair=fields.Tuple((fields.Integer(), fields.Integer())))}, "pair as a Tuple.*List"),
    ],
)
def test_what_would_fail_only_in_a_worker_is_refused_at_once(attributes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidJobClass, match=words):
        register(**attributes)


def test_a_run_and_an_own_init_may_take_what_they_do_not_need() -> None:
    def made(self: Any, datastore: Any, queue: Any, keepalive: Any = None, **kwargs: Any) -> None:
        BaseJob.__init__(self, datastore, queue, keepalive, **kwargs)

    register(run=lambda self, step=1, *more, **options: None, __init__=made)


def test_none_is_a_value_only_where_the_field_allows_it() -> None:
    state = schema(done=fields.Integer(load_default=0), last=fields.Integer(load_default=None))
    registry = register(State=state)
    job: Any = registry.make_job({"jobType": "made"}, MemoryDatastore(), PlainQueue())
    job.save()
    with pytest.raises(ValidationError) as caught:
        job.update_attrs(done=None)
    assert [*caught.value.normalized_messages()] == ["done"]
    job.update_attrs(last=7)
    job.update_attrs(last=None)
    loaded: Any = registry.get_job(job.uuid, job.datastore, PlainQueue())
    assert (loaded.done, loaded.last) == (0, None)
