"""Hooks of a class and middleware of an app: their order, what they see, and the job's fate if they fail."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import zerog
from tests.processes import until
from tests.worker.builders import Running, Started, async_generator, generator, raising
from tests.worker.worker_fixtures import EXECUTORS, Bed, as_async, noting, recorded
from zerog import backoff
from zerog.exceptions import Cancelled, InvalidJobClass
from zerog.records.job import make_key
from zerog.testing.inline import run_inline


def hooks(form: Any) -> dict[str, Any]:
    return {name: form(noting(name)) for name in ("before_run", "after_run", "on_error")}


# order


def test_middleware_is_outermost_and_everything_unwinds_in_reverse(bed: Bed, form: Any, surrounding: Any) -> None:
    bed.app.middleware(surrounding("first"))
    bed.app.middleware(surrounding("second"))
    info = bed.run(form(noting("run")), **hooks(form))
    assert recorded(info) == ["first in", "second in", "before_run", "run", "after_run", "second out", "first out"]
    assert info["status"] == "succeeded"


def test_an_error_passes_by_after_run_then_on_error_then_the_middleware(bed: Bed, form: Any, surrounding: Any) -> None:
    bed.app.middleware(surrounding("outer"))
    info = bed.run(form(raising(ValueError("x"))), MAX_ERRORS=1, **hooks(form))
    assert recorded(info) == ["outer in", "before_run", "after_run", "on_error", "outer sees ValueError"]
    assert (info["status"], info["errors"][0]["msg"]) == ("failed", "ValueError: x")


def test_hooks_of_a_base_class_are_shared_by_a_group_of_types(bed: Bed, form: Any) -> None:
    module = ModuleType("group_of_jobs")

    class Group(zerog.BaseJob):
        MAX_ERRORS = 1
        before_run = form(noting("group before"))
        after_run = form(noting("group after"))

    for name in ("a", "b"):
        made = type(name, (Group,), {"JOB_TYPE": name, "run": form(noting(name)), "__module__": "group_of_jobs"})
        setattr(module, name, made)
    module.Group = Group  # type: ignore[attr-defined]
    Group.__module__ = "group_of_jobs"
    bed.app.register(module)
    uuids = [bed.app.submit(name).uuid for name in ("a", "b")]
    bed.work()
    for uuid, name in zip(uuids, ("a", "b"), strict=True):
        assert recorded(bed.app.info(uuid)) == ["group before", name, "group after"]


@pytest.mark.parametrize("combination", list(itertools.product([False, True], repeat=3)))
@pytest.mark.parametrize("executor", EXECUTORS)
def test_plain_and_asynchronous_parts_go_together(
    executor: str, combination: tuple[bool, bool, bool], tmp_path: Path
) -> None:
    """Whatever is asynchronous runs in one loop: what before_run makes there run() and after_run can use."""
    before_is, run_is, after_is = combination
    bed = Bed(tmp_path, executor)

    async def before(self: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self.record_event("before")

    async def run(self: Any) -> dict[str, Any]:
        return {"same": getattr(self, "loop", None) in (None, asyncio.get_running_loop())}

    async def after(self: Any) -> None:
        assert getattr(self, "loop", None) in (None, asyncio.get_running_loop())
        self.record_event("after")

    info = bed.run(
        run if run_is else lambda self: {"same": True},
        before_run=before if before_is else noting("before"),
        after_run=after if after_is else noting("after"),
    )
    assert recorded(info) == ["before", "after"]
    assert bed.app.get_job(info["uuid"]).output == {"same": True}
    bed.app.close()


@pytest.mark.parametrize("executor", EXECUTORS)
def test_plain_and_asynchronous_middleware_go_together(executor: str, tmp_path: Path) -> None:
    bed = Bed(tmp_path, executor)

    @bed.app.middleware
    @contextmanager
    def plain(job: Any) -> Iterator[None]:
        job.record_event("plain in")
        yield
        job.record_event("plain out")

    @bed.app.middleware
    @asynccontextmanager
    async def awaited(job: Any) -> AsyncIterator[None]:
        await asyncio.sleep(0)
        job.record_event("async in")
        yield
        job.record_event("async out")

    for body in (noting("run"), as_async(noting("run"))):
        assert recorded(bed.run(body)) == ["plain in", "async in", "run", "async out", "plain out"]
    bed.app.close()


def test_what_middleware_sets_in_the_context_is_there_in_the_run(bed: Bed, form: Any) -> None:
    request: ContextVar[str] = ContextVar("request", default="none")

    @bed.app.middleware
    @contextmanager
    def set_for_the_run(job: Any) -> Iterator[None]:
        token = request.set(job.uuid)
        try:
            yield
        finally:
            request.reset(token)

    info = bed.run(form(lambda self: self.record_event(request.get())))
    assert recorded(info) == [info["uuid"]]


def test_hooks_surround_each_run_anew(bed: Bed, form: Any, surrounding: Any) -> None:
    bed.app.middleware(surrounding("m"))
    info = bed.run(form(lambda self: zerog.NO_RESULT if self.attempts < 2 else 200), before_run=form(noting("before")))
    assert recorded(info) == ["m in", "before", "m out"] * 2


def test_a_run_without_hooks_is_as_it_was(tmp_path: Path) -> None:
    """A job that must not run any more has no hooks called either."""
    started = Started(noting("run"), MAX_CRASHES=0, before_run=noting("before"))
    job = started.settle(started.go())
    assert (job.status, job.events) == ("failed", [])


# errors in them


@pytest.mark.parametrize("hook", ["before_run", "after_run"])
def test_a_hook_that_fails_is_an_error_of_the_job(bed: Bed, form: Any, hook: str) -> None:
    """Recorded, counted and tried again like any other, though run() itself succeeded."""
    info = bed.run(
        form(noting("run")),
        **{hook: form(raising(RuntimeError("in the hook"))), "on_error": form(noting("on_error"))},
        BACKOFF=backoff.none(),
        MAX_ERRORS=2,
    )
    assert (info["status"], info["result"], info["errorCount"], info["attempts"]) == ("failed", 500, 2, 2)
    assert [error["msg"] for error in info["errors"]] == ["RuntimeError: in the hook"] * 2
    assert recorded(info) == (["on_error"] if hook == "before_run" else ["run", "on_error"]) * 2


def test_after_run_is_called_only_if_before_run_succeeded(bed: Bed, form: Any) -> None:
    info = bed.run(form(noting("run")), before_run=form(raising(ValueError())), after_run=form(noting("after")))
    assert recorded(info) == []


def test_errors_of_run_and_of_after_run_are_both_in_the_record(bed: Bed, form: Any) -> None:
    info = bed.run(
        form(raising(ValueError("of the run"))), after_run=form(raising(KeyError("of the hook"))), MAX_ERRORS=1
    )
    [error] = info["errors"]
    assert error["msg"] == "KeyError: 'of the hook'"
    assert "ValueError: of the run" in error["traceback"]


def test_hooks_may_decide_by_the_four_exceptions(bed: Bed, form: Any) -> None:
    for hook in ("before_run", "after_run"):
        info = bed.run(form(noting("run")), **{hook: form(lambda self: self.raise_error_finish(409, "not now"))})
        assert (info["status"], info["result"], info["errorCount"]) == ("failed", 409, 1)
    info = bed.run(form(noting("run")), before_run=form(raising(zerog.WarningContinue("full", delay=60))))
    assert (info["status"], info["errorCount"], len(info["warnings"])) == ("scheduled", 0, 1)


@pytest.mark.parametrize("hook", ["before_run", "after_run", "on_error"])
def test_a_hook_that_returns_something_is_an_error_that_names_it(bed: Bed, form: Any, hook: str) -> None:
    body = form(raising(ValueError("x")) if hook == "on_error" else noting("run"))
    info = bed.run(body, **{hook: form(lambda self, *error: False)}, MAX_ERRORS=1)
    assert info["status"] == "failed"
    assert f"{hook}() returned False; expected None" in info["errors"][0]["msg"]


# on_error


def test_on_error_sees_the_exception_and_leaves_it_to_the_usual_order(bed: Bed, form: Any) -> None:
    def on_error(self: Any, error: BaseException) -> None:
        self.record_event(f"{error!r}, {len(self.errors)} recorded")

    info = bed.run(form(raising(ValueError("x"))), on_error=form(on_error), BACKOFF=backoff.none())
    assert recorded(info) == [f"ValueError('x'), {count} recorded" for count in (0, 1, 2)]
    assert (info["status"], info["errorCount"]) == ("failed", 3)


@pytest.mark.parametrize(
    ("raised", "status", "result", "errors", "warnings"),
    [
        (zerog.ErrorFinish("gone", code=410), "failed", 410, 1, 0),
        (zerog.ErrorContinue("later", code=503, delay=60), "scheduled", -1, 1, 0),
        (zerog.WarningContinue("not counted", delay=60), "scheduled", -1, 0, 1),
        (zerog.WarningFinish("good enough", code=206), "succeeded", 206, 0, 1),
        (KeyError("clearer"), "failed", 500, 1, 0),
    ],
    ids=repr,
)
def test_what_on_error_raises_takes_the_place_of_the_error(
    bed: Bed, form: Any, raised: Exception, status: str, result: int, errors: int, warnings: int
) -> None:
    info = bed.run(
        form(raising(ValueError("x"))), on_error=form(lambda self, error: raising(raised)(self)), MAX_ERRORS=2
    )
    if isinstance(raised, KeyError):
        assert info["status"] == "scheduled"
        assert (info["errors"][0]["type"], "ValueError: x" in info["errors"][0]["traceback"]) == ("KeyError", True)
        return
    assert (info["status"], info["result"]) == (status, result)
    assert (len(info["errors"]), len(info["warnings"]), info["attempts"]) == (errors, warnings, 1)


def test_on_error_may_raise_the_error_again(bed: Bed, form: Any) -> None:
    def on_error(self: Any, error: BaseException) -> None:
        raise error

    info = bed.run(form(raising(ValueError("x"))), on_error=form(on_error), MAX_ERRORS=1)
    assert [error["msg"] for error in info["errors"]] == ["ValueError: x"]


@pytest.mark.parametrize(
    "decided",
    [
        zerog.ErrorFinish("x"),
        zerog.ErrorContinue("x", delay=60),
        zerog.WarningContinue("x", delay=60),
        zerog.WarningFinish("x"),
        ExceptionGroup("x", [zerog.ErrorFinish("x")]),
        Cancelled("x"),
    ],
    ids=repr,
)
def test_on_error_is_not_called_where_the_job_has_decided(bed: Bed, form: Any, decided: BaseException) -> None:
    assert recorded(bed.run(form(raising(decided)), on_error=form(noting("asked")))) == []


def test_on_error_is_called_for_what_is_no_exception_too() -> None:
    for error in (SystemExit(3), KeyboardInterrupt(), ExceptionGroup("x", [ValueError(), zerog.ErrorFinish("x")])):
        started = Started(raising(error), on_error=noting("asked"))
        assert len(started.settle(started.go()).events) == 1


# cancelled, shut down, dead


def test_a_cancelled_job_has_its_after_run_and_is_cancelled_even_if_that_fails(bed: Bed, form: Any) -> None:
    def run(self: Any) -> None:
        self.app.cancel(self.uuid)
        self.record_event("recorded now")
        pytest.fail("it went on")

    def after(self: Any) -> None:
        self.update_attrs(output="cleaned")
        raise RuntimeError("while cleaning up")

    info = bed.run(form(run), app=bed.app, after_run=form(after), on_error=form(noting("asked")))
    assert (info["status"], info["result"], info["attempts"]) == ("cancelled", 410, 1)
    assert [error["msg"] for error in info["errors"]] == ["RuntimeError: while cleaning up"]
    assert bed.app.get_job(info["uuid"]).output == "cleaned"


def test_a_released_run_has_its_after_run_and_costs_nothing(bed: Bed, form: Any) -> None:
    def run(self: Any) -> Any:
        self.record_event("began")
        while not self.stopping:
            threading.Event().wait(0.01)
        return zerog.NO_RESULT

    uuid = bed.submit(form(run), after_run=form(noting("after")), on_error=form(noting("asked")))
    with Running(bed.app, executor=bed.executor):
        until(lambda: bed.app.info(uuid)["events"])
    info = bed.app.info(uuid)
    assert (info["status"], info["attempts"], info["errorCount"]) == ("queued", 0, 0)
    assert recorded(info) == ["began", "after"]


def test_a_task_whose_worker_leaves_is_unwound_without_an_error(tmp_path: Path) -> None:
    bed = Bed(tmp_path, "async")
    seen: list[str] = []

    async def run(self: Any) -> None:
        self.record_event("began")
        await asyncio.sleep(60)

    async def after(self: Any) -> None:
        seen.append("after")

    uuid = bed.submit(run, after_run=after, on_error=lambda self, error: seen.append("asked"))
    with Running(bed.app, executor="async", grace=0.1):
        until(lambda: bed.app.info(uuid)["events"])
    until(lambda: seen)
    assert seen == ["after"]
    assert bed.app.info(uuid)["errors"] == []
    bed.app.close()


def test_a_process_that_dies_in_after_run_has_one_result_all_the_same(tmp_path: Path) -> None:
    """The run isn't over before after_run is: it is repeated, and its result is stored once."""
    bed = Bed(tmp_path, "process")

    def after(self: Any) -> None:
        if self.attempts == 1:
            os._exit(9)

    info = bed.run(lambda self: self.record_event("run") or {"attempt": self.attempts}, after_run=after)
    assert (info["status"], info["attempts"], recorded(info)) == ("succeeded", 2, ["run", "run"])
    document = bed.app.datastore.read(make_key(info["uuid"]))
    assert document is not None
    assert (document["output"], document["crashes"]) == ({"attempt": 2}, 1)
    bed.app.close()


def test_run_inline_runs_hooks_and_middleware_too(tmp_path: Path) -> None:
    app = zerog.App("memory://")

    @app.middleware
    @contextmanager
    def noted(job: Any) -> Iterator[None]:
        job.record_event("middleware")
        yield

    app.register(
        type("Made", (zerog.BaseJob,), {"JOB_TYPE": "made", "run": noting("run"), "after_run": noting("after")})
    )
    for job in (run_inline(app, app.submit("made").uuid), run_inline(app.submit("made"))):
        assert [event["msg"] for event in job.events] == ["middleware", "run", "after"]


# declaration


@pytest.mark.parametrize("hook", ["before_run", "after_run", "on_error"])
@pytest.mark.parametrize(
    ("given", "named"),
    [
        (5, "is 5"),
        (lambda: None, "can't be called as it will be"),
        (lambda self, error, more: None, "can't be called as it will be"),
        (generator, "yields, so calling it would do nothing"),
        (async_generator, "yields, so calling it would do nothing"),
    ],
)
def test_what_is_no_hook_is_refused_at_registration(hook: str, given: Any, named: str) -> None:
    with pytest.raises(InvalidJobClass, match=f"Made.{hook}") as refused:
        Started(noting("run"), **{hook: given})
    assert named in str(refused.value)
    assert f"expected def {hook}(self" in str(refused.value)


def test_hooks_of_functions_come_from_their_base() -> None:
    app = zerog.App("memory://")

    class Noted(zerog.BaseJob):
        def before_run(self) -> None:
            self.record_event("before")

    @app.job(base=Noted)
    def greet(job: zerog.BaseJob, name: str) -> None:
        job.record_event(name)

    job = run_inline(app, app.submit("greet", {"name": "Ada"}).uuid)
    assert [event["msg"] for event in job.events] == ["before", "Ada"]
