"""Jobs that are functions."""

from __future__ import annotations

import asyncio
import enum
import functools
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional
from uuid import UUID

import pytest
from marshmallow import Schema, ValidationError, fields, validate

import zerog
from zerog.testing.inline import run_inline

if TYPE_CHECKING:
    from collections import OrderedDict


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Truth(enum.Enum):
    YES = True


class Odd(enum.Enum):
    A = (1, 2)


@pytest.fixture
def app() -> zerog.App:
    return zerog.App("memory://")


def test_a_function_is_a_job(app: zerog.App) -> None:
    @app.job("resize")
    def resize(job: zerog.BaseJob, path: str, width: int = 100) -> dict[str, Any]:
        """Make a picture smaller.

        Or larger.
        """
        job.record_event(f"{path} at {width}")
        return {"path": path, "width": width}

    for job in (app.submit("resize", {"path": "a.png"}), app.submit(resize.job, {"path": "a.png", "width": "100"})):
        ended = run_inline(app, job.uuid)
        assert (ended.output, len(ended.events)) == ({"path": "a.png", "width": 100}, 1)
    assert app.job_class("resize") is resize.job
    assert resize.job.__doc__ == resize.__doc__
    assert (resize.job.__module__, resize.job.JOB_TYPE) == (__name__, "resize")
    unstarted = app.get_job(job.uuid)
    assert resize(unstarted, "b.png") == {"path": "b.png", "width": 100}, "it is still the function"
    assert isinstance(resize, type(lambda: 0))
    with pytest.raises(ValidationError) as caught:
        app.submit("resize", {"width": "wide", "heigth": 1})
    assert set(caught.value.normalized_messages()) == {"path", "width", "heigth"}


@pytest.mark.parametrize("executor", ["thread", "async"])
def test_it_may_be_asynchronous_and_bare(app: zerog.App, executor: str) -> None:
    @app.job
    async def fetch(job: zerog.BaseJob, *, pages: list[int]) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"sum": sum(pages)}

    job = app.submit("fetch", {"pages": [1, 2, 3]})
    zerog.Worker(app, executor=executor).run(burst=True)
    assert app.get_job(job.uuid).output == {"sum": 6}


def test_a_base_shares_what_its_jobs_have_in_common(app: zerog.App) -> None:
    class Careful(zerog.BaseJob):
        MAX_ERRORS = 1

        class State(Schema):
            seen = fields.List(fields.String(), load_default=list)

        def record_error(self, *args: Any, **kwargs: Any) -> None:
            self.update_attrs(seen=["error"])
            super().record_error(*args, **kwargs)

    @app.job(base=Careful)
    def break_down(job: Any) -> None:
        raise ValueError("x")

    ended: Any = run_inline(app, app.submit("break_down").uuid)
    assert (ended.attempts, ended.seen, isinstance(ended, Careful)) == (1, ["error"], True)


def note(app: zerog.App, annotation: Any, default: Any = ...) -> list[Any]:
    """Register a job whose one parameter has this annotation; what its runs get is in the list."""
    got: list[Any] = []

    def noting(job: Any, value: Any) -> None:
        got.append(value)

    noting.__annotations__["value"] = annotation
    if default is not ...:
        noting.__defaults__ = (default,)
    app.job(noting)
    return got


ID = UUID("0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f")
MOMENT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("annotation", "given", "expected"),
    [
        (str, "x", "x"),
        (int, 3, 3),
        (int, "3", 3),
        (int, 3.0, 3),
        (float, 3, 3.0),
        (float, "0.5", 0.5),
        (bool, True, True),
        (bool, "no", False),
        (datetime, "2026-01-02T03:04:00Z", MOMENT),
        (datetime, "2026-01-02T03:04:00", MOMENT),
        (datetime, MOMENT, MOMENT),
        (date, "2026-01-02", date(2026, 1, 2)),
        (time, "03:04", time(3, 4)),
        (timedelta, 90, timedelta(seconds=90)),
        (UUID, str(ID), ID),
        (Decimal, "0.10", Decimal("0.10")),
        (Colour, "red", Colour.RED),
        (Level, 2, Level.HIGH),
        (Literal["a", "b"], "b", "b"),
        (Literal[1, 2], 2, 2),
        (Literal["a", None], None, None),
        (list[int], ["1", 2], [1, 2]),
        (list[list[date]], [["2026-01-02"]], [[date(2026, 1, 2)]]),
        (dict[str, Decimal], {"a": "1.5"}, {"a": Decimal("1.5")}),
        (list, [1, "a", None], [1, "a", None]),
        (dict, {"a": [1]}, {"a": [1]}),
        (Optional[int], None, None),  # noqa: UP045
        (Colour | None, "blue", Colour.BLUE),
        (list[int | None], [None, 1], [None, 1]),
        (Any, {"a": [1, None]}, {"a": [1, None]}),
        (Any, None, None),
        (Annotated[str, fields.Email()], "a@b.org", "a@b.org"),
        (Annotated[int, validate.Range(min=1)], 1, 1),
        (Annotated[object, fields.Integer], 1, 1),
        (Annotated[str, "said of it elsewhere"], "x", "x"),
        ("datetime", "2026-01-02T03:04:00Z", MOMENT),
        ("list[Colour] | None", ["red"], [Colour.RED]),
    ],
    ids=str,
)
def test_a_run_gets_the_annotated_type(app: zerog.App, annotation: Any, given: Any, expected: Any) -> None:
    """After the way through the document, and of the same type."""
    got = note(app, annotation)
    uuid = app.submit("noting", {"value": given}).uuid
    ended = run_inline(app, uuid)
    assert ended.status == "succeeded", ended.errors
    assert got == [expected]
    assert type(got[0]) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "given"),
    [
        (int, 3.7),
        (int, "3.7"),
        (int, True),
        (int, Decimal("3.7")),
        (int, float("nan")),
        (int, None),
        (float, True),
        (float, "nan"),
        (float, "much"),
        (str, 5),
        (bool, "perhaps"),
        (datetime, "yesterday"),
        (Colour, "RED"),
        (Colour, "green"),
        (Level, True),
        (Level, 3),
        (Literal["a"], "b"),
        (Literal[1], True),
        (list[int], [1.5]),
        (list[int], "12"),
        (dict[str, int], {"a": "x"}),
        (dict[str, int], [1]),
        (Annotated[int, validate.Range(min=1)], 0),
        (list[Annotated[str, validate.Length(max=2)]], ["abc"]),
        (Annotated[str, fields.Email], "nobody"),
    ],
    ids=str,
)
def test_submit_refuses_what_is_something_else(app: zerog.App, annotation: Any, given: Any) -> None:
    got = note(app, annotation)
    with pytest.raises(ValidationError) as caught:
        app.submit("noting", {"value": given})
    assert list(caught.value.messages) == ["value"]
    assert (list(app.jobs()), got) == ([], [])


@pytest.mark.parametrize(
    ("annotation", "default"),
    [
        (int, 5),
        (int | None, None),
        (Colour, Colour.RED),
        (datetime, MOMENT),
        (Decimal, Decimal("0.1")),
        (list[int], [1, 2]),
        (dict[str, list[int]], {"a": [1]}),
        (timedelta, timedelta(minutes=5)),
        (Any, None),
        (Annotated[str, fields.Email()], "a@b.org"),
    ],
    ids=str,
)
def test_a_default_is_what_the_run_gets_if_nothing_is_given(app: zerog.App, annotation: Any, default: Any) -> None:
    got = note(app, annotation, default)
    for _ in range(2):
        job: Any = app.submit("noting")
        run_inline(app, job.uuid)
        if isinstance(default, (list, dict)):
            job.value.clear()  # whatever one job does to its value, the next one gets the default
    assert got == [default, default]
    assert got[0] or default is None
    assert type(got[0]) is type(default)


def test_a_whole_number_is_a_default_for_a_float(app: zerog.App) -> None:
    got = note(app, float, 1)
    run_inline(app, app.submit("noting").uuid)
    assert (got, type(got[0])) == ([1.0], float)


def no_annotation(job: Any, path) -> None: ...  # type: ignore[no-untyped-def]
def variadic(job: Any, *paths: str) -> None: ...
def keywords(job: Any, **options: set[str]) -> None: ...
def positional(job: Any, path: str, /) -> None: ...
def unsupported(job: Any, path: set[str]) -> None: ...
def a_pair(job: Any, path: tuple[int, int]) -> None: ...
def keyed(job: Any, path: dict[int, str]) -> None: ...
def either(job: Any, path: int | str) -> None: ...
def odd_enum(job: Any, path: Odd) -> None: ...
def truth(job: Any, path: Truth) -> None: ...
def mixed(job: Any, path: Literal["a", 1]) -> None: ...
def unresolved(job: Any, path: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def two_fields(job: Any, path: Annotated[str, fields.String(), fields.Email()]) -> None: ...
def unjson(job: Any, path: Any = set()) -> None: ...  # noqa: B006
def wrong_default(job: Any, path: int = "5") -> None: ...  # type: ignore[assignment]
def no_number(job: Any, path: int = True) -> None: ...
def no_option(job: Any, path: int = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013
def objects(job: Any, path: list[Any] = [object()]) -> None: ...  # noqa: B006, B008
def naive(job: Any, path: datetime = datetime(2026, 1, 1)) -> None: ...
def engine_field(job: Any, status: str) -> None: ...
def engine_method(job: Any, tick: str) -> None: ...
def private(job: Any, _path: str) -> None: ...
def takes_nothing() -> None: ...
def takes_all(*jobs: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (no_annotation, ["path", "no annotation", "path: str"]),
        (variadic, ["paths", "variadic positional", "path: str"]),
        (keywords, ["**options", "set[str]", "list[T]"]),
        (positional, ["path", "positional-only"]),
        (unsupported, ["path", "set[str]", "list[T]"]),
        (a_pair, ["path", "tuple[int, int]", "list[T]"]),
        (keyed, ["path", "dict[int, str]", "dict[str, T]"]),
        (either, ["path", "int | str", "T | None"]),
        (odd_enum, ["path", "Odd", "an Enum of texts"]),
        (mixed, ["path", "Literal['a', 1]"]),
        (unresolved, ["path", "Nowhere", "when it runs"]),
        (two_fields, ["path", "2 fields", "one"]),
        (unjson, ["path", "set()", "JSON"]),
        (wrong_default, ["path", "'5'", "its own type"]),
        (truth, ["path", "Truth", "an Enum of texts"]),
        (no_number, ["path", "True", "come back as 1"]),
        (no_option, ["path", "None", "str | None"]),
        (objects, ["path", "object object", "JSON"]),
        (naive, ["path", "datetime.datetime(2026, 1, 1", "come back"]),
        (engine_field, ["status", "jobStatus"]),
        (engine_method, ["tick", "jobTick"]),
        (private, ["_path"]),
        (takes_nothing, ["no job", "takes_nothing(job"]),
        (takes_all, ["no job", "takes_all(job"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_can_be_no_job_is_refused_where_it_is_defined(
    app: zerog.App, function: Callable[..., Any], message: list[str]
) -> None:
    with pytest.raises(zerog.InvalidJobClass) as caught:
        app.job(function)
    for part in (function.__name__, *message):
        assert part in str(caught.value)
    assert app.registry.get_registered_classes() == {}
    assert not hasattr(function, "job")


@pytest.mark.parametrize("wrong", [zerog.BaseJob, functools.partial(print), print])
def test_only_functions_are_made_into_jobs(app: zerog.App, wrong: Any) -> None:
    with pytest.raises(zerog.InvalidJobClass, match="no function"):
        app.job(wrong)
    with pytest.raises(zerog.InvalidJobClass, match="base=<class 'object'>"):
        app.job(base=object)(lambda job: None)  # type: ignore[arg-type]
    with pytest.raises(zerog.InvalidJobClass, match="JOB_TYPE 5"):
        app.job(5)(lambda job: None)  # type: ignore[call-overload]


def test_a_type_is_taken_once(app: zerog.App) -> None:
    app.job("same")(lambda job: None)
    with pytest.raises(zerog.DuplicateJobType, match="same"):
        app.job("same")(lambda job: None)


def test_what_a_checker_alone_imports_may_annotate_the_job_and_the_result(app: zerog.App) -> None:
    @app.job
    def made(job: OrderedDict[str, int], n: int) -> OrderedDict[str, int] | None:
        return None

    assert run_inline(app, app.submit("made", {"n": 1}).uuid).status == "succeeded"
