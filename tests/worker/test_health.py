"""Logging that fails, and threads of a worker that end: neither leaves a job or a worker hanging."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import zerog
from tests.worker.builders import app_with, work
from zerog.exceptions import ZerogError
from zerog.support.logger import SteadyLogger, make_steady
from zerog.worker.control import CommandPoller
from zerog.worker.executors.thread import ThreadExecutor
from zerog.worker.lease import Lease
from zerog.worker.sweeping import SweepThread


class Broken(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("this handler is broken")


def broken_factory(*_args: Any, **_fields: Any) -> logging.LogRecord:
    raise RuntimeError("this factory is broken")


@contextmanager
def broken_handler() -> Iterator[None]:
    handler = Broken()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


@contextmanager
def broken_records() -> Iterator[None]:
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(broken_factory)
    try:
        yield
    finally:
        logging.setLogRecordFactory(before)


@pytest.mark.parametrize("executor", ["thread", "async"])
@pytest.mark.parametrize("broken", [broken_handler, broken_records])
def test_logging_that_raises_disturbs_no_run(
    executor: str, broken: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the slots, which log what a job raised, nor what the job itself logs through ZeroG."""

    def run(self: Any) -> None:
        self.job_log_info("about to fail")
        raise ValueError("it fails")

    app, uuid = app_with(run)
    caplog.set_level(logging.INFO, "zerog")
    with broken():
        stats = work(app, executor)
    assert (stats.ran, stats.failed) == (1, 1)
    assert app.get_job(uuid).errors[0].msg == "ValueError: it fails"


def test_records_name_the_code_that_logged(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("zerog").error("here")
    assert (caplog.records[-1].filename, caplog.records[-1].funcName) == (
        "test_health.py",
        "test_records_name_the_code_that_logged",
    )


def test_a_logger_class_of_the_program_is_kept() -> None:
    class Own(logging.Logger):
        pass

    logger: Any = Own("own")
    make_steady(logger)
    make_steady(logger)
    assert isinstance(logger, SteadyLogger) and isinstance(logger, Own)


@pytest.mark.parametrize(
    ("owner", "method", "named"),
    [
        (Lease, "_loop", "renews the lease"),
        (CommandPoller, "_loop", "reads orders"),
        (SweepThread, "_loop", "reconciles"),
        (ThreadExecutor, "_loop", "runs jobs"),
    ],
)
def test_a_worker_one_of_whose_threads_has_ended_ends(
    owner: type[Any], method: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can't do its work any more, and would hold its jobs for ever."""
    app, _ = app_with(lambda self: 200)
    monkeypatch.setattr(owner, method, lambda _self: None)
    with pytest.raises(ZerogError, match=f"{named}.* has ended"):
        zerog.Worker(app).run()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_job_of_a_slot_whose_thread_ended_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uncounted: it is the engine that failed."""
    app, uuid = app_with(lambda self: 200)

    def fail(*_arguments: Any) -> None:
        raise SystemExit

    monkeypatch.setattr(ThreadExecutor, "_pass_on", fail)
    with pytest.raises(ZerogError, match="has ended"):
        zerog.Worker(app, grace=0.1).run()
    head = app.datastore.read(f"zerog_job_{uuid}")
    assert (head["status"], head["attempts"], head["lost"]) == ("queued", 0, 0)
