"""ATTRIBUTES: fields of a job that are copied into ``attrs`` of its head."""

from __future__ import annotations

from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields

import zerog
from zerog.exceptions import InvalidJobClass, InvalidValue
from zerog.jobs.declaration import declaration_of
from zerog.records.attrs import LONGEST, MOST
from zerog.testing import run_inline

LONG = "x" * (LONGEST + 1)


class Report(zerog.BaseJob):
    """Does what its ``steps`` name."""

    JOB_TYPE = "report"
    ATTRIBUTES = ("customer", "file", "isPaid")
    MAX_ERRORS = 1

    class Params(Schema):
        customer = fields.Raw(load_default=None, allow_none=True)
        isPaid = fields.Boolean(load_default=None, allow_none=True)
        steps = fields.List(fields.Dict(), load_default=list)

    class State(Schema):
        file = fields.String(load_default=None, allow_none=True)
        other = fields.Integer(load_default=0)

    customer: Any
    file: str | None
    isPaid: bool | None
    other: int
    steps: list[dict[str, Any]]

    def run(self) -> None:
        for step in self.steps:
            self.update_attrs(**step)


@pytest.fixture
def app() -> zerog.App:
    app = zerog.App("memory://")
    app.register(Report)
    return app


def head_of(app: zerog.App, job: zerog.BaseJob) -> dict[str, Any]:
    head = app.datastore.read(job.key())
    assert head is not None
    return dict(head)


@pytest.mark.parametrize(
    ("value", "text"),
    [("a b", "a b"), (42, "42"), (0.5, "0.5"), (True, "true"), ("", ""), ("x" * LONGEST, "x" * LONGEST)],
)
def test_a_submit_copies_them_as_text(app: zerog.App, value: Any, text: str) -> None:
    job = app.submit("report", {"customer": value})
    assert head_of(app, job)["attrs"] == {"customer": text}
    assert head_of(app, job)["customer"] == value


def test_info_shows_them(app: zerog.App) -> None:
    job = app.submit("report", {"customer": 42})
    assert app.info(job.uuid)["attrs"] == job.info()["attrs"] == {"customer": "42"}
    assert app.info(app.submit("report", {}).uuid)["attrs"] == {}


def test_a_job_without_values_has_none(app: zerog.App) -> None:
    assert "attrs" not in head_of(app, app.submit("report", {}))


def test_a_class_without_them_has_none(app: zerog.App) -> None:
    class Plain(zerog.BaseJob):
        JOB_TYPE = "plain"

        def run(self) -> None:
            pass

    app.register(Plain)
    job = app.submit("plain", {})
    job.record_event("x")
    assert "attrs" not in head_of(app, job)


def test_a_submit_refuses_a_longer_one(app: zerog.App) -> None:
    with pytest.raises(InvalidValue, match=rf"customer=.*129 characters.*{LONGEST}"):
        app.submit("report", {"customer": LONG})
    with pytest.raises(InvalidValue, match="customer"):
        app.submit_many("report", [{"customer": "42"}, {"customer": LONG}])
    assert not app.count().number
    app.submit("report", {"customer": "42"})


def test_writes_of_a_run_keep_them(app: zerog.App) -> None:
    job = app.submit(
        "report", {"customer": "42", "steps": [{"file": "a"}, {"other": 1}, {"file": "b", "flush": False}]}
    )
    zerog.Worker(app).run(burst=True)
    assert head_of(app, job)["attrs"] == {"customer": "42", "file": "b"}


def test_a_run_removes_one(app: zerog.App) -> None:
    job = app.submit("report", {"customer": "42", "steps": [{"file": "a"}, {"file": None}, {"customer": None}]})
    zerog.Worker(app).run(burst=True)
    assert head_of(app, job)["attrs"] == {}


def test_a_run_shortens_a_longer_one_with_one_warning(app: zerog.App) -> None:
    job = app.submit("report", {"steps": [{"file": LONG}, {"file": LONG + "2"}, {"other": 7}]})
    zerog.Worker(app).run(burst=True)
    head = head_of(app, job)
    assert head["attrs"] == {"file": "x" * LONGEST}
    assert (head["status"], head["file"], head["other"]) == ("succeeded", LONG + "2", 7)
    [warning] = head["warnings"]
    assert "file is shortened" in warning["msg"]


def test_a_write_outside_refuses_a_longer_one(app: zerog.App) -> None:
    job = app.submit("report", {"customer": "42"})
    with pytest.raises(InvalidValue, match=r"file=.*129"):
        job.update_attrs(file=LONG)
    job.update_attrs(file="short")
    assert head_of(app, job)["attrs"] == {"customer": "42", "file": "short"}


def test_writes_from_two_sides_merge(app: zerog.App) -> None:
    """An object that was loaded earlier changes its own attributes alone."""
    job = app.submit("report", {"customer": "42"})
    other = app.get_job(job.uuid)
    other.update_attrs(customer="43")
    job.update_attrs(file="a")
    assert head_of(app, job)["attrs"] == {"customer": "43", "file": "a"}


def test_save_keeps_them(app: zerog.App) -> None:
    job = app.submit("report", {"customer": "42"})
    job.file = "a"  # type: ignore[attr-defined]
    job.save()
    assert head_of(app, job)["attrs"] == {"customer": "42", "file": "a"}


def test_an_edit_keeps_them(app: zerog.App) -> None:
    job = app.submit("report", {"customer": "42"})
    app.edit(job.uuid, {"customer": 43}, who="ann", reason="moved")
    assert head_of(app, job)["attrs"] == {"customer": "43"}
    with pytest.raises((InvalidValue, ValidationError)):
        app.edit(job.uuid, {"customer": LONG}, who="ann", reason="moved")
    assert head_of(app, job)["attrs"] == {"customer": "43"}


def test_an_upgrade_keeps_them(app: zerog.App) -> None:
    """A migration that moves a value into a field of ATTRIBUTES stores the attribute, too."""
    job = app.submit("report", {"customer": "42"})

    class Newer(Report):
        SCHEMA_VERSION = "2.0"
        ATTRIBUTES = ("client",)

        class Params(Schema):
            client = fields.Raw(load_default=None, allow_none=True)

        @zerog.migration("1.0", "2.0")
        def lift(document: dict[str, Any]) -> dict[str, Any]:  # type: ignore[misc]
            return {**document, "client": document.pop("customer")}

        def run(self) -> None:
            pass

    newer = zerog.App(datastore=app.datastore, queue=app.queue)
    newer.register(Newer)
    zerog.Worker(newer).run(burst=True)
    head = head_of(app, job)
    assert (head["status"], head["attrs"]) == ("succeeded", {"client": "42"}), head


def test_run_inline_keeps_them() -> None:
    app = zerog.App("memory://")
    app.register(Report)
    job = run_inline(app.submit("report", {"customer": "42", "steps": [{"file": "a"}]}))
    assert job.datastore.read(job.key())["attrs"] == {"customer": "42", "file": "a"}


def test_of_a_function() -> None:
    app = zerog.App("memory://")

    class OfCustomers(zerog.BaseJob):
        ATTRIBUTES = ("customer",)

    @app.job("bill", base=OfCustomers)
    def bill(job: Any, customer: int) -> None:
        pass

    assert head_of(app, app.submit("bill", {"customer": 42}))["attrs"] == {"customer": "42"}


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (("costumer",), "did you mean customer"),
        (("uuid",), "no field of Params or State"),
        (("password",), "secret"),
        (("rows",), "a List"),
        (("customer", "customer"), "each of them once"),
        (("customer",) * (MOST + 1), f"at most {MOST}"),
        ("customer", "expected names"),
        ((1,), "expected names"),
    ],
)
def test_a_wrong_declaration_is_refused(names: Any, why: str) -> None:
    class Wrong(zerog.BaseJob):
        JOB_TYPE = "wrong"
        ATTRIBUTES = names

        class Params(Schema):
            customer = fields.String()
            password = fields.String(metadata={"secret": True})
            rows = fields.List(fields.String())

    with pytest.raises(InvalidJobClass, match=why):
        declaration_of(Wrong)


def test_the_key_in_the_document_may_differ() -> None:
    class Renamed(zerog.BaseJob):
        JOB_TYPE = "renamed"
        ATTRIBUTES = ("customer",)

        class Params(Schema):
            customer = fields.String(data_key="customer-number")

        def run(self) -> None:
            pass

    app = zerog.App("memory://")
    app.register(Renamed)
    job = app.submit("renamed", {"customer-number": "42"})
    assert head_of(app, job)["attrs"] == {"customer": "42"}
