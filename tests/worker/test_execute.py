"""Return values and exceptions of run(), up to the settled document."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import numpy
import pytest

import zerog
from tests.worker.builders import Started, finished, raising
from zerog.jobs.history import MAX_TRACEBACK
from zerog.testing.inline import ways_out
from zerog.worker.outcome import REQUEUE


@pytest.mark.parametrize(
    ("value", "code", "output"),
    [
        (None, 200, None),
        (200, 200, None),
        ((200, None), 200, None),
        ([204, None], 204, None),
        (404, 404, None),
        (599, 599, None),
        (100, 100, None),
        ({}, 200, {}),
        ({"words": [1, {"a": None}]}, 200, {"words": [1, {"a": None}]}),
    ],
)
def test_values_that_end_a_job(value: Any, code: int, output: Any) -> None:
    job = finished(lambda self: value)
    assert (job.resultCode, job.output, ways_out(job)) == (code, output, ("value",))
    assert job.status == ("succeeded" if 200 <= code < 300 else "failed")
    assert job.errors == []


@pytest.mark.parametrize(
    ("value", "delay"), [(-1, 0), ((-1, None), 0), ((-1, 5), 5), ([-1, 5], 5), ((-1, 0.25), 0.25), ([-1, 0], 0)]
)
def test_values_that_ask_for_another_run(value: Any, delay: float) -> None:
    started = Started(lambda self: value)
    outcome = started.go()
    assert (outcome.branch, outcome.kind, outcome.delay) == ("value", REQUEUE, delay)
    job = started.settle(outcome)
    assert (job.status, job.resultCode) == ("scheduled" if delay else "queued", -1)
    assert (job.continues, job.errorCount) == (1, 0)


class NoText:
    def __repr__(self) -> str:
        raise RuntimeError("no")


ILLEGAL: list[tuple[Any, str]] = [
    (True, "True"),
    (False, "False"),
    (0, "0"),
    (1, "1"),
    (99, "99"),
    (600, "600"),
    (-2, "-2"),
    ("text", "'text'"),
    ("FAILED: no data", "FAILED: no data"),
    (200.0, "200.0"),
    (float("nan"), "nan"),
    (10**400, "1000000000"),
    (10**5000, "int whose repr"),
    ((200, 5), "(200, 5)"),
    ((1, 2, 3), "(1, 2, 3)"),
    ((-1, -5), "(-1, -5)"),
    ((-1, "x"), "(-1, 'x')"),
    ((-1, float("nan")), "(-1, nan)"),
    ((-1, True), "(-1, True)"),
    ((-1, 10**400), "(-1, 1000000"),
    ((), "()"),
    ([], "[]"),
    (b"200", "b'200'"),
    (object(), "object object"),
    ("\ud800", "ud800"),
    (NoText(), "NoText whose repr() raised RuntimeError"),
    ({"a": "x" * 5_000_000}, "bytes"),
]


@pytest.mark.parametrize(("value", "named"), ILLEGAL, ids=[named for _, named in ILLEGAL])
def test_any_other_value_is_a_failure_that_names_it(value: Any, named: str) -> None:
    job = finished(lambda self: value)
    assert (job.status, job.resultCode, job.output) == ("failed", 500, None)
    [error] = job.errors
    assert named in error.msg
    assert "run() returned" in error.msg
    assert job.errorCount == 1


@pytest.mark.parametrize("code", [HTTPStatus.CREATED, numpy.int64(201)], ids=repr)
def test_codes_of_other_integer_types_are_codes(code: Any) -> None:
    """Wherever a job gives one: a run that has done its work doesn't fail for the type of its code."""

    def recorded(self: Any) -> None:
        self.record_result(code)

    def raised(self: Any) -> None:
        raise zerog.WarningFinish("enough", code=code)

    for run in (lambda self: code, lambda self: (code, None), recorded, raised):
        job = finished(run)
        assert (job.status, job.resultCode, type(job.resultCode)) == ("succeeded", 201, int)
    job = finished(lambda self: self.raise_error_finish(HTTPStatus.NOT_FOUND, "gone"))
    assert (job.resultCode, job.errors[0].errorCode) == (404, 404)


def test_what_json_cannot_hold_of_an_output_is_kept_as_text_and_named_in_a_warning() -> None:
    """The work is done: the job neither fails nor loses the rest of what it returned."""
    when = datetime(2026, 11, 30, 12, 30, tzinfo=UTC)
    returned = {
        "words": Counter(a=2),
        "mean": numpy.float32(0.5),
        "rows": numpy.int64(3),
        "grid": numpy.array([[1, 2], [3, 4]]),
        "kinds": {HTTPStatus.OK},
        1: (when, timedelta(minutes=1), Decimal("1.10")),
    }
    job = finished(lambda self: returned)
    assert (job.status, job.output) == (
        "succeeded",
        {
            "words": {"a": 2},
            "mean": 0.5,
            "rows": 3,
            "grid": [[1, 2], [3, 4]],
            "kinds": [200],
            "1": ["2026-11-30T12:30:00+00:00", 60.0, "1.10"],
        },
    )
    assert (job.warnings, job.errors) == ([], [])

    job = finished(lambda self: {"mean": numpy.float64("nan"), "lines": [open, 2**70], "left": 7})
    assert (job.status, job.errors) == ("succeeded", [])
    assert job.output == {"mean": None, "lines": ["<built-in function open>", str(2**70)], "left": 7}
    [warning] = job.warnings
    assert "output.mean, output.lines[0], output.lines[1]: kept as text" in warning["msg"]


def test_a_generator_is_no_result() -> None:
    assert "generator" in finished(lambda self: (code for code in [200])).errors[0].msg


def test_a_result_that_the_run_recorded_itself_is_kept_when_it_returns_nothing() -> None:
    assert finished(lambda self: self.record_result(404)).resultCode == 404

    def run(self: Any) -> Any:
        if self.attempts == 1:
            self.record_result(404)
            raise ValueError("again")

    assert finished(run).resultCode == 200, "a result of an earlier run is none of this one"

    def changed(self: Any) -> Any:
        self.update_attrs(resultCode=404, completeness=0.5, flush=False)
        return 201

    job = finished(changed)
    assert (job.status, job.resultCode, job.completeness) == ("succeeded", 201, 1.0), "what run() returns wins"
    job = finished(lambda self: self.update_attrs(resultCode=7))
    assert (job.resultCode, job.status) == (500, "failed")
    assert "the result 7" in job.errors[0].msg


def test_run_may_be_a_coroutine() -> None:
    async def run(self: Any) -> Any:
        self.record_event("async")
        return {"async": True}

    async def fail(self: Any) -> Any:
        raise ValueError("async")

    job = finished(run)
    assert (job.output, len(job.events)) == ({"async": True}, 1)
    assert finished(fail, MAX_ERRORS=1).errors[0].msg == "ValueError: async"


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def recursing(depth: int = 0) -> int:
    return recursing(depth + 1)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("bad"), "ValueError: bad"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (GeneratorExit(), "GeneratorExit"),
        (Mute(), "Mute: <str() of it raised RuntimeError>"),
        (ValueError("\ud800"), "ValueError: \\ud800"),
        (BaseException("base"), "BaseException: base"),
        (ExceptionGroup("many", [ValueError("a")]), "ExceptionGroup: many (1 sub-exception)"),
    ],
)
def test_an_exception_is_recorded_counted_and_tried_again(
    error: BaseException, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1, "zerog")  # a lone surrogate can't pass from one test process to another
    job = finished(raising(error))
    assert ways_out(job) == ("exception",) * 3
    assert (job.status, job.resultCode, job.errorCount, job.attempts) == ("failed", 500, 3, 3)
    assert [e.msg for e in job.errors] == [message] * 3
    assert [e.attempt for e in job.errors] == [1, 2, 3]
    assert "raise error" in job.errors[0].traceback
    assert job.errors[0].type.endswith(type(error).__qualname__)


def test_a_huge_traceback_is_cut_to_what_a_document_can_bear() -> None:
    def huge(self: Any) -> Any:
        raise ValueError("ü" * 1_000_000)

    for job in (finished(huge, MAX_ERRORS=1), finished(lambda self: recursing(), MAX_ERRORS=1)):
        [error] = job.errors
        assert len(error.traceback.encode()) <= MAX_TRACEBACK == 64 * 1024
        assert len(error.msg) < 70_000
        assert "Traceback" in error.traceback


def test_finish_on_ends_the_job_whatever_continue_running_returns() -> None:
    job = finished(raising(FileNotFoundError("x")), FINISH_ON=(OSError,), continue_running=lambda self: zerog.NO_RESULT)
    assert (job.attempts, job.resultCode, job.errorCount) == (1, 500, 1)


def test_max_errors_counts_errors_over_runs() -> None:
    assert finished(raising(ValueError()), MAX_ERRORS=1).attempts == 1
    assert finished(raising(ValueError()), MAX_ERRORS=5).attempts == 5


@pytest.mark.parametrize(
    ("decision", "code"), [(500, 500), (418, 418), (None, 500), (True, 500), ("go on", 500), (200, 500), (-1.0, 500)]
)
def test_continue_running_decides(decision: Any, code: int) -> None:
    job = finished(raising(ValueError()), continue_running=lambda self: decision)
    assert (job.attempts, job.resultCode, job.status) == (1, code, "failed")


# the four exceptions


def test_raise_error_continue_records_and_runs_again_until_max_errors() -> None:
    job = finished(lambda self: self.raise_error_continue(418, "teapot"))
    assert ways_out(job) == ("continue",) * 3
    assert [(e.errorCode, e.msg) for e in job.errors] == [(418, "teapot")] * 3
    assert (job.resultCode, job.errorCount) == (500, 3)


def test_raise_error_finish_ends_with_its_code() -> None:
    job = finished(lambda self: self.raise_error_finish(404, "no such file"))
    assert (ways_out(job), job.resultCode, job.status) == (("finish",), 404, "failed")
    assert [(e.errorCode, e.msg) for e in job.errors] == [(404, "no such file")]
    assert job.errorCount == 1


def test_raise_warning_continue_warns_and_runs_again() -> None:
    def run(self: Any) -> Any:
        if self.attempts < 3:
            self.raise_warning_continue(202, "not yet")
        return 200

    job = finished(run)
    assert ways_out(job) == ("continue", "continue", "value")
    assert [w["msg"] for w in job.warnings] == ["not yet"] * 2
    assert (job.errorCount, job.continues) == (0, 2)


def test_raise_warning_finish_ends_with_its_code() -> None:
    job = finished(lambda self: self.raise_warning_finish(206, "partly"))
    assert (job.resultCode, job.status, job.errorCount) == (206, "succeeded", 0)
    assert [w["msg"] for w in job.warnings] == ["partly"]


@pytest.mark.parametrize(
    ("signal", "code", "runs", "errors", "warnings"),
    [
        (zerog.ErrorFinish("x"), 500, 1, 1, 0),
        (zerog.ErrorFinish("x", code=404), 404, 1, 1, 0),
        (zerog.ErrorContinue("x"), 500, 3, 3, 0),
        (zerog.WarningFinish("x", code=206), 206, 1, 0, 1),
        (zerog.WarningFinish("x"), 500, 1, 0, 1),
        (zerog.WarningContinue("x"), 500, 5, 1, 5),
    ],
)
def test_the_four_exceptions_may_be_raised_by_hand(
    signal: Any, code: int, runs: int, errors: int, warnings: int
) -> None:
    job = finished(raising(signal), MAX_CONTINUES=4)
    assert (job.resultCode, job.attempts) == (code, runs)
    assert (len(job.errors), len(job.warnings)) == (errors, warnings)


@pytest.mark.parametrize("code", ["E404", None, 0, -1, 99, 600, 200, 10**400, float("nan"), True, object()])
def test_an_odd_code_makes_no_error_look_like_success(code: Any) -> None:
    for body in (lambda self: self.raise_error_finish(code, "why"), raising(zerog.ErrorFinish("why", code=code))):
        job = finished(body)
        assert (job.status, job.resultCode) == ("failed", 500)
        assert "why" in job.errors[0].msg
    job = finished(lambda self: self.raise_error_continue(code, "why"), MAX_ERRORS=1)
    assert (job.status, job.resultCode) == ("failed", 500)
    assert "why" in job.errors[0].msg


@pytest.mark.parametrize("delay", [-1, "soon", float("nan"), True])
def test_an_odd_delay_is_a_failure_that_names_it(delay: Any) -> None:
    for signal in (zerog.ErrorContinue("x", delay=delay), zerog.WarningContinue("x", delay=delay)):
        job = finished(raising(signal))
        assert (job.status, job.attempts) == ("failed", 1)
        assert f"delay={delay!r}" in job.errors[-1].msg
    job = finished(lambda self: self.raise_error_continue(500, "x", delay=delay), MAX_ERRORS=1)
    assert f"delay={delay!r}" in job.errors[0].msg


def test_a_signal_s_own_delay_is_kept() -> None:
    for error in (zerog.ErrorContinue("x", delay=42), zerog.WarningContinue("x", delay=42)):
        assert Started(raising(error)).go().delay == 42
