"""Whether a failed job is tried again, when, and what its errors contain; with a real worker of each executor."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.processes import until
from tests.worker.builders import Running, Started, finished, raising
from zerog import backoff
from zerog.exceptions import InvalidJobClass
from zerog.testing.inline import run_inline


@pytest.fixture(params=["thread", "async", "process"])
def executor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[zerog.App]:
    made = zerog.App(f"sqlite:///{tmp_path}/jobs.db")
    yield made
    made.close()


def submitted(app: zerog.App, body: Any, **attributes: Any) -> str:
    app.register(type("Made", (zerog.BaseJob,), {"JOB_TYPE": "made", "run": body, **attributes}))
    return app.submit("made").uuid


def run_once(app: zerog.App, executor: str, body: Any, **attributes: Any) -> dict[str, Any]:
    """The progress that a poller sees once everything that is ready has run."""
    uuid = submitted(app, body, **attributes)
    zerog.Worker(app, executor=executor).run(burst=True)
    return app.info(uuid)


def seconds_until_next(info: dict[str, Any]) -> float:
    next_try = datetime.fromisoformat(info["notBefore"])
    return (next_try - datetime.fromisoformat(info["updatedAt"])).total_seconds()


def fail(self: Any) -> Any:
    raise ValueError("bad weather")


async def fail_async(self: Any) -> Any:
    raise ValueError("bad weather")


# when


@pytest.mark.parametrize("body", [fail, fail_async], ids=["def", "async def"])
def test_the_pause_is_that_of_backoff_and_a_poller_sees_the_time(app: zerog.App, executor: str, body: Any) -> None:
    info = run_once(app, executor, body, BACKOFF=backoff.constant(500))
    assert info["status"] == "scheduled"
    assert 499 < seconds_until_next(info) < 501
    assert app.progress(info["uuid"])["notBefore"] == info["notBefore"]


def test_without_a_pause_the_next_try_follows_at_once(app: zerog.App, executor: str) -> None:
    info = run_once(app, executor, fail, BACKOFF=backoff.none())
    assert (info["status"], info["attempts"], info["errorCount"]) == ("failed", 3, 3)


def test_backoff_may_be_any_callable_of_the_number_of_errors_and_the_exception(app: zerog.App, executor: str) -> None:
    def patience(error_count: int, error: BaseException | None) -> float:
        return 100.0 * error_count if isinstance(error, ValueError) else 0

    info = run_once(app, executor, fail, BACKOFF=patience)
    assert 99 < seconds_until_next(info) < 101


class Patience:
    def __call__(self, error_count: int) -> float:
        return 200.0 * error_count


@pytest.mark.parametrize("one", [lambda count: 200 * count, Patience(), lambda count, *, base=200: base * count])
def test_backoff_may_take_the_number_of_errors_alone(app: zerog.App, executor: str, one: Any) -> None:
    info = run_once(app, executor, fail, BACKOFF=one)
    assert 199 < seconds_until_next(info) < 201
    assert len(info["errors"]) == 1


def test_the_number_of_errors_grows() -> None:
    recorded: list[tuple[int, str]] = []

    def backoff_of(error_count: int, error: BaseException | None) -> int:
        recorded.append((error_count, repr(error)))
        return 0

    finished(fail, BACKOFF=backoff_of, MAX_ERRORS=4)
    assert recorded == [(count, "ValueError('bad weather')") for count in (1, 2, 3)]


def test_the_job_s_own_delay_overrides_backoff(app: zerog.App, executor: str) -> None:
    def run(self: Any) -> Any:
        self.raise_error_continue(503, "later", delay=700)

    info = run_once(app, executor, run, BACKOFF=lambda count, error: pytest.fail("it was asked"))
    assert 699 < seconds_until_next(info) < 701
    assert len(info["errors"]) == 1


def test_an_error_of_the_job_s_own_without_a_delay_waits_for_its_backoff() -> None:
    asked: list[BaseException | None] = []

    def backoff_of(error_count: int, error: BaseException | None) -> float:
        asked.append(error)
        return 42

    started = Started(lambda self: self.raise_error_continue(503, "later"), BACKOFF=backoff_of)
    assert started.go().delay == 42
    assert isinstance(asked[0], zerog.ErrorContinue)


def test_another_run_without_an_error_waits_for_the_job_s_own_delay() -> None:
    for body, delay in (
        (lambda self: zerog.NO_RESULT, 0),
        (lambda self: (zerog.NO_RESULT, 7), 7),
        (lambda self: self.raise_warning_continue(202, "not yet"), 0),
        (lambda self: self.raise_warning_continue(202, "not yet", delay=8), 8),
    ):
        started = Started(body, BACKOFF=lambda count, error: pytest.fail("it was asked"))
        assert started.go().delay == delay


def test_a_job_that_can_not_be_started_waits_for_its_backoff() -> None:
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        zerog.BaseJob.__init__(self, *args, **kwargs)
        if self.epoch:
            raise ValueError("no")

    for answer, delay, errors in ((33, 33, 1), ("soon", None, 2)):
        started = Started(lambda self: 200, __init__=init, BACKOFF=lambda count, error, _a=answer: _a)
        outcome = started.go()
        assert outcome.delay == delay or (delay is None and 0.75 <= outcome.delay <= 1)
        assert sum(operation.__class__.__name__ == "Append" for operation in outcome.operations) == errors


def test_a_run_killed_for_its_timeout_waits_for_its_backoff(app: zerog.App) -> None:
    def run(self: Any) -> Any:
        threading.Event().wait(60)

    def backoff_of(error_count: int, error: BaseException | None) -> float:
        return 300 if (error_count, error) == (1, None) else 1

    info = run_once(app, "process", run, TIMEOUT=0.2, BACKOFF=backoff_of)
    assert (info["status"], info["errorCount"]) == ("scheduled", 1)
    assert 299 < seconds_until_next(info) < 301


# invalid answers of BACKOFF


def boom(*_: Any) -> Any:
    raise RuntimeError("no idea")


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


WRONG = [
    (lambda count, error: -1, "returned -1"),
    (lambda count, error: float("nan"), "returned nan"),
    (lambda count, error: float("inf"), "returned inf"),
    (lambda count, error: "soon", "returned 'soon'"),
    (lambda count, error: None, "returned None"),
    (lambda count, error: True, "returned True"),
    (lambda count, error: 10**10, "returned 10000000000"),
    (lambda count, error: Unspeakable(), "returned a value of type Unspeakable"),
    (boom, "raised RuntimeError('no idea')"),
    (max, "raised TypeError"),  # it has no signature to inspect, so it could not be refused before
    (lambda count, error: raising(SystemExit(3))(None), "raised SystemExit(3)"),
]


@pytest.mark.parametrize(("wrong", "named"), WRONG)
def test_a_wrong_answer_is_an_error_that_names_it_and_the_job_waits_as_usual(wrong: Any, named: str) -> None:
    started = Started(fail, BACKOFF=wrong)
    outcome = started.go()
    assert 0.75 <= outcome.delay <= 1
    job = started.settle(outcome)
    first, second = job.errors
    assert first.msg == "ValueError: bad weather"
    assert f"BACKOFF of made for error 1 {named}" in second.msg
    assert (job.status, job.errorCount) == ("scheduled", 1)


def test_a_wrong_answer_costs_the_job_no_try() -> None:
    job = finished(fail, BACKOFF=lambda count, error: -1)
    assert (job.attempts, job.errorCount, len(job.errors)) == (3, 3, 5)


def test_a_wrong_answer_in_each_executor(app: zerog.App, executor: str) -> None:
    info = run_once(app, executor, fail, BACKOFF=lambda count, error: "soon")
    assert info["status"] == "scheduled"
    assert "returned 'soon'" in info["errors"][1]["msg"]


def test_a_wrong_answer_after_a_kill_is_in_the_error_of_the_kill(app: zerog.App) -> None:
    def run(self: Any) -> Any:
        threading.Event().wait(60)

    info = run_once(app, "process", run, TIMEOUT=0.2, BACKOFF=boom)
    [error] = info["errors"]
    assert "TIMEOUT of 0.2 s" in error["msg"] and "raised RuntimeError('no idea')" in error["msg"]
    assert (info["status"], info["errorCount"]) == ("scheduled", 1)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (30, "BACKOFF is 30"),
        (None, "BACKOFF is None"),
        ("exponential", "BACKOFF is 'exponential'"),
        (backoff.exponential, "is zerog.backoff.exponential itself; expected what it returns"),
        (backoff.none, "is zerog.backoff.none itself; expected what it returns"),
        (lambda: 1, "can't be called with one or two arguments"),
        (lambda self, count, error: 1, "can't be called with one or two arguments"),
        (int, "BACKOFF is <class 'int'>"),
        (fail_async, "BACKOFF is <function fail_async"),
    ],
)
def test_what_is_no_backoff_is_refused_at_registration(given: Any, named: str) -> None:
    app = zerog.App("memory://")
    with pytest.raises(InvalidJobClass, match="Made") as refused:
        submitted(app, fail, BACKOFF=given)
    assert named in str(refused.value)
    assert "zerog.backoff" in str(refused.value)
    assert app.registry.get_registered_classes() == {}


def test_a_method_of_the_class_may_be_its_backoff() -> None:
    class Patient(zerog.BaseJob):
        JOB_TYPE = "patient"

        @staticmethod
        def BACKOFF(error_count: int, error: BaseException | None) -> float:
            return 0.0

        def run(self) -> Any:
            raise ValueError

    app = zerog.App("memory://")
    app.register(Patient)
    job = app.submit(Patient)
    zerog.Worker(app).run(burst=True)
    assert app.progress(job.uuid)["attempts"] == 3


# whether


def test_what_decides_in_which_order(app: zerog.App, executor: str) -> None:
    """A signal before FINISH_ON, FINISH_ON before continue_running()."""

    class Fatal(zerog.ErrorContinue, ValueError):
        pass

    def asked(self: Any) -> int:
        self.record_event("continue_running was asked")
        return 418

    def run(self: Any) -> Any:
        raise {"signal": Fatal("x", delay=0), "final": ValueError("x"), "other": KeyError("x")}[self.headers["kind"]]

    submitted(app, run, FINISH_ON=(ValueError,), continue_running=asked)
    uuids = {kind: app.submit("made", headers={"kind": kind}).uuid for kind in ("signal", "final", "other")}
    zerog.Worker(app, executor=executor).run(burst=True)
    found = {kind: app.info(uuid) for kind, uuid in uuids.items()}
    assert {kind: len(info["events"]) for kind, info in found.items()} == {"signal": 1, "final": 0, "other": 1}
    assert {kind: info["result"] for kind, info in found.items()} == {"signal": 418, "final": 500, "other": 418}


def test_an_init_that_fails_for_good_is_not_tried_again() -> None:
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        zerog.BaseJob.__init__(self, *args, **kwargs)
        if self.epoch:
            raise PermissionError("not for you")

    started = Started(lambda self: 200, __init__=init, FINISH_ON=(OSError,))
    outcome = started.go()
    assert (outcome.kind, outcome.result_code) == ("finish", 500)


def test_a_job_that_is_interrupted_loses_no_try(app: zerog.App, executor: str) -> None:
    """By a shutdown, whether it checks for one or not: it still has all of its tries and waits for nothing."""

    def run(self: Any) -> Any:
        self.record_event("began")
        while not (self.stopping and self.headers["listens"] == "yes"):
            threading.Event().wait(0.01)
            self.keep_alive()  # raises once the worker has revoked the run
        return zerog.NO_RESULT

    submitted(app, run, MAX_ERRORS=1)
    uuids = [app.submit("made", headers={"listens": answer}).uuid for answer in ("yes", "no")]
    with Running(app, executor=executor, concurrency=3, grace=0.3):
        until(lambda: all(app.info(uuid)["events"] for uuid in uuids))
    for uuid in uuids:
        info = app.info(uuid)
        assert (info["status"], info["attempts"], info["errorCount"]) == ("queued", 0, 0)
        assert (info["notBefore"], info["errors"]) == (None, [])


# the content of an error


def test_an_error_keeps_its_type_message_traceback_attempt_and_build(app: zerog.App, executor: str) -> None:
    app.build_id = "2026.11-7"
    info = run_once(app, executor, fail, BACKOFF=backoff.none())
    assert [error["attempt"] for error in info["errors"]] == [1, 2, 3]
    for error in info["errors"]:
        assert (error["type"], error["msg"], error["build"]) == ("ValueError", "ValueError: bad weather", "2026.11-7")
        assert "in fail" in error["traceback"]
    assert app.get_job(info["uuid"]).errors[0].build == "2026.11-7"


def test_the_death_of_a_process_and_a_kill_keep_the_build_too(app: zerog.App) -> None:
    app.build_id = "7"
    died = run_once(app, "process", lambda self: os._exit(3), MAX_CRASHES=1)
    assert [error["build"] for error in died["errors"]] == ["7", "7"]
    late = run_once_more(app, lambda self: threading.Event().wait(60))
    assert [error["build"] for error in late["errors"]] == ["7"]


def run_once_more(app: zerog.App, body: Any) -> dict[str, Any]:
    app.unregister("made")
    return run_once(app, "process", body, TIMEOUT=0.2, MAX_ERRORS=1)


def test_without_a_build_nothing_is_kept_of_it() -> None:
    assert "build" not in finished(fail).dump()["errors"][0]


@pytest.mark.parametrize("method", ["raise_error_continue", "raise_error_finish"])
def test_an_error_keeps_the_data_that_it_is_given(app: zerog.App, executor: str, method: str) -> None:
    def run(self: Any) -> Any:
        getattr(self, method)(422, "refused", data={"field": "amount", "limits": [1, 5]})

    info = run_once(app, executor, run, MAX_ERRORS=1)
    [error] = info["errors"]
    assert error["data"] == {"field": "amount", "limits": [1, 5]}
    assert app.get_job(info["uuid"]).errors[0].data == error["data"]


@pytest.mark.parametrize(
    ("data", "named"),
    [({"a": {1}}, "data.a is of type set"), (float("nan"), "data is nan"), ("x" * 70_000, "70,002 bytes of JSON")],
)
def test_data_that_can_not_be_stored_do_not_hide_their_error(data: Any, named: str) -> None:
    job = finished(lambda self: self.raise_error_finish(422, "refused", data=data))
    assert (job.resultCode, job.errors[0].errorCode, job.errors[0].data) == (422, 422, None)
    assert job.errors[0].msg.startswith("refused (its data can't be stored")
    assert named in job.errors[0].msg


def test_data_belong_to_one_error_and_pass_a_record_error_of_the_class_s_own() -> None:
    def run(self: Any) -> Any:
        if self.attempts == 1:
            self.raise_error_continue(500, "first", data=[1])
        self.record_error(500, "second")
        return 200

    class Own(zerog.BaseJob):
        JOB_TYPE = "own"

        def record_error(self, errorCode: int, msg: str, exception: BaseException | None = None) -> None:
            super().record_error(errorCode, msg.upper(), exception)

        def run(self) -> Any:
            return run(self)

    app = zerog.App("memory://")
    app.register(Own)
    job = run_inline(app, app.submit(Own).uuid)
    assert [(error.msg, error.data) for error in job.errors] == [("FIRST", [1]), ("SECOND", None)]
    assert json.loads(job.dumps())["errors"][0]["data"] == [1]
