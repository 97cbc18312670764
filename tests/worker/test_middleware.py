"""Middleware of an app: what it may do with an error, the job's fate if it fails, what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

import zerog
from tests.worker.builders import async_generator, generator, raising
from tests.worker.worker_fixtures import Bed, noting, recorded
from zerog.exceptions import ConfigurationError


def test_middleware_that_swallows_an_error_makes_no_success_of_it(bed: Bed, form: Any, kind: tuple[str, bool]) -> None:
    @contextmanager
    def deaf(job: Any) -> Iterator[None]:
        try:
            yield
        except Exception:
            job.record_event("swallowed")

    @asynccontextmanager
    async def deaf_async(job: Any) -> AsyncIterator[None]:
        with deaf(job):
            yield

    bed.app.middleware(deaf_async if kind[1] else deaf)
    info = bed.run(form(raising(ValueError("x"))), MAX_ERRORS=1)
    assert (info["status"], recorded(info)) == ("failed", ["swallowed"])
    assert [error["msg"] for error in info["errors"]] == ["ValueError: x"]


def test_middleware_may_turn_an_error_into_a_decision(bed: Bed, form: Any) -> None:
    @bed.app.middleware
    @contextmanager
    def busy(job: Any) -> Iterator[None]:
        try:
            yield
        except ConnectionError as error:
            raise zerog.WarningContinue(str(error), delay=60) from error

    info = bed.run(form(raising(ConnectionError("no route"))))
    assert (info["status"], info["errorCount"], info["warnings"][0]["msg"]) == (
        "scheduled",
        0,
        "WarningContinue: no route",
    )


class Failing:
    """A context manager that fails on its way in or out."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        if self._where == "in":
            raise RuntimeError("on the way in")

    def __exit__(self, *_: object) -> None:
        if self._where == "out":
            raise RuntimeError("on the way out")


@pytest.mark.parametrize("where", ["made", "in", "out"])
def test_middleware_that_fails_is_an_error_of_the_job(bed: Bed, form: Any, where: str, surrounding: Any) -> None:
    def failing(job: Any) -> Any:
        if where == "made":
            raise RuntimeError("on the way made")
        return Failing(where)

    bed.app.middleware(surrounding("outer"))
    bed.app.middleware(failing)
    info = bed.run(form(noting("run")), MAX_ERRORS=1, on_error=form(noting("asked")))
    assert (info["status"], info["errors"][0]["msg"]) == ("failed", f"RuntimeError: on the way {where}")
    expected = {"made": [], "in": ["outer in", "outer sees RuntimeError"]}
    assert recorded(info) == expected.get(where, ["outer in", "run", "outer sees RuntimeError"])


def test_middleware_that_returns_no_context_manager_is_named(bed: Bed, form: Any) -> None:
    bed.app.middleware(lambda job: "tracing")
    info = bed.run(form(noting("run")), MAX_ERRORS=1)
    assert "returned 'tracing'; expected a context manager" in info["errors"][0]["msg"]
    assert recorded(info) == []


async def coroutine(job: Any) -> None:
    pass


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (None, "None can't be called"),
        (contextmanager(generator)(None), "is a context manager for one run"),
        (lambda: None, "can't be called with the job alone"),
        (lambda job, more: None, "can't be called with the job alone"),
        (generator, "put @contextmanager on it"),
        (async_generator, "put @asynccontextmanager on it"),
        (coroutine, "is a coroutine function"),
    ],
)
def test_what_is_no_middleware_is_refused_at_once(given: Any, named: str) -> None:
    with pytest.raises(ConfigurationError, match="middleware") as refused:
        zerog.App("memory://").middleware(given)
    assert named in str(refused.value)


def test_the_same_middleware_twice_is_refused() -> None:
    app = zerog.App("memory://")
    traced = contextmanager(generator)
    assert app.middleware(traced) is traced
    with pytest.raises(ConfigurationError, match="there already"):
        app.middleware(traced)
