"""Middleware around the submits of an app: what it sees, what it may change, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.worker.builders import async_generator, generator
from tests.worker.worker_fixtures import EXECUTORS
from zerog.exceptions import ConfigurationError, DatastoreUnavailable, InvalidValue
from zerog.testing import isolated
from zerog.testing.inline import drain


@pytest.fixture
def app() -> zerog.App:
    made = zerog.App("memory://")

    @made.job
    def greet(job: Any, name: str = "Ann") -> None: ...

    @made.job
    def parent(job: Any) -> None:
        job.submit("greet")

    return made


@pytest.fixture
def seen(app: zerog.App) -> list[tuple[str, list[str]]]:
    """What a middleware of the app sees before and after each submit."""
    noted: list[tuple[str, list[str]]] = []

    @app.submit_middleware
    @contextmanager
    def watched(jobs: list[zerog.BaseJob]) -> Iterator[None]:
        noted.append(("before", [job.status for job in jobs]))
        try:
            yield
        except Exception as error:
            noted.append((type(error).__name__, [job.status for job in jobs]))
            raise
        noted.append(("after", [app.progress(job.uuid)["status"] for job in jobs]))

    return noted


def test_it_surrounds_each_submit(app: zerog.App, seen: list[Any]) -> None:
    app.submit("greet", delay=60)
    assert seen == [("before", ["new"]), ("after", ["scheduled"])]
    seen.clear()
    app.submit_many("greet", [{"name": "Bob"}, {"name": "Cid"}])
    assert seen == [("before", ["new", "new"]), ("after", ["queued", "queued"])]
    seen.clear()
    app.submit("parent")
    drain(app)
    assert seen == [("before", ["new"]), ("after", ["queued"])] * 2  # the job's own submit, too


def test_the_first_is_outermost(app: zerog.App) -> None:
    order: list[str] = []

    def named(name: str) -> Any:
        @contextmanager
        def around(jobs: Any) -> Iterator[None]:
            order.append(f"{name} in")
            yield
            order.append(f"{name} out")

        return around

    for name in ("a", "b"):
        app.submit_middleware(named(name))
    app.submit("greet")
    assert order == ["a in", "b in", "b out", "a out"]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_trace_goes_from_the_submit_to_the_run(executor: str, tmp_path: Path) -> None:
    app = zerog.App(f"sqlite:///{tmp_path}/jobs.db")

    @app.submit_middleware
    @contextmanager
    def send(jobs: list[zerog.BaseJob]) -> Iterator[None]:
        for job in jobs:
            job.headers["trace"] = f"of {job.uuid}"
        yield

    @app.middleware
    @contextmanager
    def receive(job: zerog.BaseJob) -> Iterator[None]:
        job.record_event(f"{job.headers['trace']}, by {job.headers.get('by')}")
        yield

    @app.job
    def made(job: Any) -> None: ...

    uuids = [app.submit("made", headers={"by": "Ann"}).uuid, *app.submit_many("made", [{}, {}])]
    zerog.Worker(app, executor=executor).run(burst=True)
    for uuid, by in zip(uuids, ("Ann", None, None), strict=True):
        assert [event["msg"] for event in app.info(uuid)["events"]] == [f"of {uuid}, by {by}"]
    app.close()


@pytest.mark.parametrize("where", ["made", "in"])
def test_what_it_raises_before_refuses_all(app: zerog.App, where: str) -> None:
    @contextmanager
    def refusing(jobs: Any) -> Iterator[None]:
        raise PermissionError("over the quota")
        yield

    def failing(jobs: Any) -> Any:
        if where == "made":
            raise PermissionError("over the quota")
        return refusing(jobs)

    app.submit_middleware(failing)
    with pytest.raises(PermissionError, match="quota"):
        app.submit_many("greet", [{}, {}])
    assert list(app.jobs()) == []


@pytest.fixture
def away(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the app's submits fail."""

    def submit(*_: Any) -> None:
        raise DatastoreUnavailable("away")

    monkeypatch.setattr(app.engine, "submit", submit)


@pytest.mark.usefixtures("away")
def test_it_sees_an_error_of_the_submit(app: zerog.App, seen: list[Any]) -> None:
    with pytest.raises(DatastoreUnavailable, match="away"):
        app.submit("greet")
    assert seen == [("before", ["new"]), ("DatastoreUnavailable", ["new"])]


@pytest.mark.usefixtures("away")
def test_one_that_swallows_an_error_makes_no_success_of_it(app: zerog.App) -> None:
    @app.submit_middleware
    @contextmanager
    def deaf(jobs: Any) -> Iterator[None]:
        with suppress(Exception):
            yield

    with pytest.raises(DatastoreUnavailable, match="away"):
        app.submit("greet")


def test_wrong_parameters_are_refused_before_it(app: zerog.App, seen: list[Any]) -> None:
    for params in ({"name": 5}, {"nam": "Ann"}):
        with pytest.raises(Exception, match="nam"):
            app.submit("greet", params)
    assert seen == []


def test_headers_that_are_no_texts_are_refused(app: zerog.App) -> None:
    @app.submit_middleware
    @contextmanager
    def wrong(jobs: Any) -> Iterator[None]:
        jobs[0].headers["n"] = 5
        yield

    with pytest.raises(InvalidValue, match="expected texts by name"):
        app.submit("greet")
    assert list(app.jobs()) == []


def test_an_isolated_app_keeps_it(app: zerog.App, seen: list[Any]) -> None:
    with isolated(app):
        app.submit("greet")
    assert len(seen) == 2


async def coroutine(jobs: Any) -> None: ...


class Asynchronous:
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (None, "can't be called"),
        (contextmanager(generator)(None), "is a context manager for one run"),
        (lambda: None, "can't be called with the list of new jobs alone"),
        (generator, "put @contextmanager on it"),
        (async_generator, "is asynchronous, and a submit is not"),
        (asynccontextmanager(async_generator), "is asynchronous, and a submit is not"),
        (coroutine, "is asynchronous, and a submit is not"),
        (Asynchronous, "is asynchronous, and a submit is not"),
    ],
)
def test_what_is_no_middleware_of_submits_is_refused_at_once(app: zerog.App, given: Any, named: str) -> None:
    with pytest.raises(ConfigurationError, match="middleware") as refused:
        app.submit_middleware(given)
    assert named in str(refused.value)


def test_the_same_twice_is_refused(app: zerog.App) -> None:
    made = contextmanager(generator)
    assert app.submit_middleware(made) is made
    with pytest.raises(ConfigurationError, match="there already"):
        app.submit_middleware(made)


def test_one_that_returns_no_context_manager_is_named(app: zerog.App) -> None:
    app.submit_middleware(lambda jobs: "tracing")  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match="returned 'tracing'; expected a context manager"):
        app.submit("greet")
    assert list(app.jobs()) == []
