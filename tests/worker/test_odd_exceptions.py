"""Exceptions whose text, class or traceback can't be had: errors of the job like any other, with its tries."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest

import zerog
from tests.worker.builders import finished
from zerog.cli.logging import LONGEST_TRACEBACK, _json, _Plain


class Exits(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class Closes(Exception):
    def __str__(self) -> str:
        raise GeneratorExit


class Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in ("__qualname__", "__name__", "__module__"):
            raise AttributeError("no name")
        return super().__getattribute__(name)


class Nameless(Exception, metaclass=Meta):
    pass


def nested(depth: int) -> BaseException:
    error: Exception = ValueError("innermost")
    for _ in range(depth):
        error = ExceptionGroup("outer", [error])
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Exits("given"), "Exits"),
        (Closes("given"), "Closes"),
        (Nameless("given"), "Nameless"),
        (nested(5_000), "ExceptionGroup"),
        (asyncio.CancelledError("given"), "CancelledError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_odd_exception_is_an_error_of_its_job(
    error: BaseException, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is recorded once for each try, with its type; no hook of the job is blamed."""
    monkeypatch.setattr(logging.getLogger("zerog"), "disabled", True)  # pytest formats records, and fails at it

    def body(job: zerog.BaseJob) -> None:
        raise error

    job = finished(body, MAX_ERRORS=2, BACKOFF=zerog.backoff.constant(0))
    assert (job.status, job.errorCount, len(job.errors)) == ("failed", 2, 2)
    assert all(entry.type.endswith(kind) and kind in entry.msg for entry in job.errors)
    assert not any("hook" in entry.msg for entry in job.errors)


@pytest.mark.parametrize("formatter", [_Plain, _json])
def test_a_traceback_in_the_log_is_short(formatter: Callable[[], logging.Formatter]) -> None:
    """A text of megabytes, of a driver's error for instance, fills no disk; its begin and its end are logged."""
    try:
        raise ValueError("begin" + "x" * 5_000_000 + "end")
    except ValueError:
        record = logging.LogRecord("zerog", logging.ERROR, __file__, 1, "it failed", (), sys.exc_info())
    written = formatter().format(record)
    assert "it failed" in written and "begin" in written and "end" in written
    assert "characters left out" in written
    assert len(written) < 2 * LONGEST_TRACEBACK


def test_a_log_message_holds_a_part_of_a_job_s_text(caplog: pytest.LogCaptureFixture) -> None:
    """However long the text of an exception, an event, a warning or an error is; a document keeps more of it."""
    caplog.set_level(logging.INFO, logger="zerog")
    app = zerog.App("memory://")

    @app.job
    def talk(job: zerog.BaseJob) -> None:
        for log in (job.job_log_info, job.job_log_warning, lambda text: job.job_log_error(500, text)):
            log("x" * 1_000_000)
        error = ValueError("y" * 1_000_000)
        error.add_note("z" * 1_000_000)
        raise error

    uuid = app.submit(talk, max_errors=1).uuid
    zerog.Worker(app).run(burst=True)
    texts = [record.getMessage() for record in caplog.records]
    assert sum("x" * 1_000 in text for text in texts) == 3
    assert sum("raised ValueError: yyy" in text for text in texts) == 1
    assert max(map(len, texts)) < 5_000
    assert len(app.info(uuid)["errors"][-1]["msg"]) > 5_000
