"""Functions with ``**kwargs``: a client's other parameters, by name."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any

import pytest
from marshmallow import Schema, ValidationError, fields, validate

import zerog
from tests.worker.worker_fixtures import EXECUTORS
from zerog.testing import assert_not_submitted, assert_submitted
from zerog.testing.inline import run_inline


@pytest.fixture
def app() -> zerog.App:
    made = zerog.App("memory://")

    @made.job
    def render(job: Any, book: str, size: int = 1, **options: int) -> dict[str, Any]:
        return {"book": book, "size": size, "options": options}

    @made.job
    def free(job: Any, **kwargs) -> dict[str, Any]:  # type: ignore[no-untyped-def]
        return {"got": kwargs}

    return made


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("is_async", [False, True])
def test_the_run_gets_them_by_name(executor: str, is_async: bool, tmp_path: Path) -> None:
    app = zerog.App(f"sqlite:///{tmp_path}/jobs.db")

    def plain(job: Any, book: str, **options: date) -> dict[str, Any]:
        return {"of": book, **{name: day.isoformat() for name, day in options.items()}}

    async def awaited(job: Any, book: str, **options: date) -> dict[str, Any]:
        return plain(job, book, **options)

    app.job("made")(awaited if is_async else plain)
    uuid = app.submit("made", {"book": "Emma", "from": "1815-12-23", "to day": "1816-01-01"}).uuid
    zerog.Worker(app, executor=executor).run(burst=True)
    assert app.get_job(uuid).output == {"of": "Emma", "from": "1815-12-23", "to day": "1816-01-01"}
    app.close()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        ({"a": 1, "b": None, "c": [{"d": "e"}]}, {"a": 1, "b": None, "c": [{"d": "e"}]}),
        ({"self": 1, "function": 2, "names": 3, "args": 4}, {"self": 1, "function": 2, "names": 3, "args": 4}),
    ],
)
def test_without_an_annotation_they_are_any_json(app: zerog.App, given: Any, expected: Any) -> None:
    assert run_inline(app, app.submit("free", given).uuid).output == {"got": expected}


def test_it_is_still_the_function(app: zerog.App) -> None:
    made = app.submit("render", {"book": "Emma", "dpi": 300})
    assert made.options == {"dpi": 300}  # type: ignore[attr-defined]
    assert app.get_job(made.uuid).dump()["options"] == {"dpi": 300}


@pytest.mark.parametrize(
    ("params", "messages"),
    [
        ({"dpi": 3}, {"book"}),
        ({"book": "Emma", "dpi": "fine"}, {"dpi"}),
        ({"book": "Emma", "dpi": "fine", "size": "big", "pages": 3}, {"dpi", "size"}),
        ({"book": "Emma", "status": 5}, {"status"}),
        ({"book": "Emma", "job": 5}, {"job"}),
        ({"book": "Emma", "options": 5}, {"options"}),
        ({"book": "Emma", "options": 5, "dpi": 300}, {"options", "dpi"}),
    ],
)
def test_wrong_ones_are_refused_by_name(app: zerog.App, params: dict[str, Any], messages: set[str]) -> None:
    with pytest.raises(ValidationError) as refused:
        app.submit("render", params)
    assert set(refused.value.normalized_messages()) == messages
    assert all(isinstance(each, list) for each in refused.value.normalized_messages().values())
    assert list(app.jobs()) == []


def test_the_name_of_a_positional_only_job_may_be_given(app: zerog.App) -> None:
    @app.job
    def made(job: Any, /, **rest: str) -> dict[str, Any]:
        return rest  # type: ignore[return-value]

    assert run_inline(app, app.submit("made", {"job": "x"}).uuid).output == {"job": "x"}


def test_validators_of_the_annotation_count(app: zerog.App) -> None:
    @app.job
    def made(job: Any, **sizes: Annotated[int, validate.Range(min=1)]) -> None: ...

    app.submit("made", {"a": 1})
    with pytest.raises(ValidationError) as caught:
        app.submit("made", {"a": 0})
    assert list(caught.value.messages_dict) == ["a"]


def test_fields_of_the_base_are_no_arguments(app: zerog.App) -> None:
    class Shared(zerog.BaseJob):
        class Params(Schema):
            customer = fields.String(load_default="none")

    @app.job(base=Shared)
    def made(job: Any, **rest: str) -> dict[str, Any]:
        return {"customer": job.customer, **rest}

    @app.job(base=made.job)
    def derived(job: Any, path: str) -> dict[str, Any]:
        return {"path": path}

    output = run_inline(app, app.submit("made", {"customer": "ACME", "a": "b"}).uuid).output
    assert output == {"customer": "ACME", "a": "b"}
    with pytest.raises(ValidationError) as caught:
        app.submit("derived", {"path": "x", "a": "b"})
    assert list(caught.value.messages_dict) == ["a"]


def test_an_edit_changes_them_one_by_one(app: zerog.App) -> None:
    job = app.submit("render", {"book": "Emma", "dpi": 300, "pages": 3})
    changed = app.edit(job.uuid, {"dpi": 600, "size": 2}, who="Ann", reason="too coarse")
    assert changed["options"] == {"old": {"dpi": 300, "pages": 3}, "new": {"dpi": 600, "pages": 3}}
    with pytest.raises(ValidationError, match="dpi"):
        app.edit(job.uuid, {"dpi": "fine"}, who="Ann", reason="finer")
    app.edit(job.uuid, {"options": {"pages": 4}}, who="Ann", reason="without")
    assert run_inline(app, job.uuid).output == {"book": "Emma", "size": 2, "options": {"pages": 4}}


def test_assertions_know_them(app: zerog.App) -> None:
    app.submit("render", {"book": "Emma", "dpi": 300})
    assert_submitted(app, "render", {"book": "Emma", "dpi": 300}, times=1)
    assert_not_submitted(app, "render", {"dpi": 600})
    assert_not_submitted(app, "render", {"pages": None})
    with pytest.raises(AssertionError, match="'dpi': 300"):
        assert_submitted(app, "render", {"dpi": 600})


def test_types_describe_them(app: zerog.App) -> None:
    described = {each["jobType"]: each["params"] for each in app.types()}
    assert described["render"]["additionalProperties"] == {"type": "integer"}
    assert set(described["render"]["properties"]) == {"book", "size"}
    assert described["free"]["additionalProperties"] in ({}, True)
