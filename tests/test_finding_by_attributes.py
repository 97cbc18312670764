"""``App.jobs``, ``App.count`` and the commands, by attributes and by the last error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields

import zerog
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.exceptions import DatastoreError, InvalidValue


class Export(zerog.BaseJob):
    JOB_TYPE = "export"
    MAX_ERRORS = 1
    ATTRIBUTES = ("customer", "isPaid")

    class Params(Schema):
        customer = fields.Integer(required=True)
        isPaid = fields.Boolean(load_default=False)

    customer: int

    def run(self) -> None:
        if self.customer == 42:
            raise ConnectionError("no Route to 42")
        if self.customer == 43:
            raise ValueError("a ConnectionError before")


@pytest.fixture(params=["memory", "sqlite"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    made = zerog.App("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/jobs.db")
    made.register(Export)
    yield made
    made.close()


def customers(app: zerog.App, **query: Any) -> list[int]:
    return [int(app.info(job["uuid"])["attrs"]["customer"]) for job in app.jobs(**query)]


def test_by_attributes(app: zerog.App) -> None:
    """All given attributes have to fit; values of other kinds are compared as their texts."""
    for customer, paid in ((1, True), (2, False), (1, False)):
        app.submit("export", {"customer": customer, "isPaid": paid})
    assert customers(app, attrs={"customer": "1"}) == customers(app, attrs={"customer": 1}) == [1, 1]
    assert customers(app, attrs={"customer": 1, "isPaid": True}) == [1]
    assert customers(app, attrs={"isPaid": "false"}, order="newest") == [1, 2]
    assert customers(app, attrs={"customer": "1"}, status="failed") == []
    assert customers(app, attrs={}) == [1, 2, 1]
    assert app.count(attrs={"customer": 1}) == (2, False)
    assert app.count(attrs={"customer": 1, "isPaid": True}, status="queued") == (1, False)


@pytest.mark.parametrize("attrs", ["customer=1", ["customer"], {"customer": None}, {1: "a"}, {"": "a"}, {"a": [1]}])
def test_wrong_attributes_are_refused(app: zerog.App, attrs: Any) -> None:
    with pytest.raises(InvalidValue, match="attrs="):
        list(app.jobs(attrs=attrs))
    with pytest.raises(InvalidValue, match="attrs="):
        app.count(attrs=attrs)


def test_by_error(app: zerog.App) -> None:
    """The name of a class or a fingerprint is compared as a whole, any other text is a part of a message."""
    for customer in (42, 43, 44):
        app.submit("export", {"customer": customer})
    zerog.Worker(app).run(burst=True)
    assert customers(app, error="ConnectionError") == customers(app, error="no route") == [42]
    assert customers(app, error="connectionerror") == [42, 43]
    assert customers(app, error="ValueError", attrs={"customer": 43}) == [43]
    assert customers(app, error="Connection") == []
    assert app.count(error="ConnectionError") == (1, False)
    with pytest.raises(InvalidValue, match="a type or fingerprint"):
        app.count(error="no route")


def test_a_datastore_without_the_index() -> None:
    """It refuses attributes, and compares the heads by their errors."""

    class NoTerms(MemoryDatastore):
        can_find_terms = False

    other = zerog.App(datastore=NoTerms(), queue=MemoryQueue())
    other.register(Export)
    other.submit("export", {"customer": 42})
    zerog.Worker(other).run(burst=True)
    assert customers(other, error="ConnectionError") == [42]
    with pytest.raises(DatastoreError, match="NoTerms has no index of attributes"):
        list(other.jobs(attrs={"customer": 42}))
    with pytest.raises(DatastoreError):
        other.count(attrs={"customer": 42})
    with pytest.raises(InvalidValue, match="with their index"):
        other.count(error="ConnectionError")


def test_an_attribute_that_no_class_has(app: zerog.App) -> None:
    """It is refused with the names that there are, unless the classes aren't known here."""
    app.submit("export", {"customer": 1})
    for ask in (app.jobs, app.count):
        with pytest.raises(InvalidValue, match=r"'paid' in its ATTRIBUTES; there is customer \(export\), isPaid"):
            ask(attrs={"paid": "true"})
        with pytest.raises(InvalidValue, match="the class of type 'export' lacks the attribute 'paid'"):
            ask(job_type="export", attrs={"customer": 1, "paid": "true"})
    assert list(app.jobs(job_type="elsewhere", attrs={"paid": "true"})) == []
    with zerog.App(datastore=app.datastore, queue=MemoryQueue()) as without:
        assert without.count(attrs={"paid": "true"}) == (0, False)
        assert without.count(attrs={"customer": 1}) == (1, False)
