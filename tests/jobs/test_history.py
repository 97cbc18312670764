"""Events, warnings and errors."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

import pytest

import zerog
from tests.jobs.builders import Declared, again, declared, head_of
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.exceptions import DatastoreUnavailable
from zerog.jobs.error import Error


def test_what_is_recorded_is_stored_at_once_and_shown_in_order(app: Any) -> None:
    job = app.submit("declared", {"path": "x"})
    job.record_event("first")
    job.record_event("second")
    job.record_warning("careful")
    job.record_error(404, "gone")
    fresh = app.get_job(job.uuid)
    for shown in (job, fresh):
        assert [event["msg"] for event in shown.events] == ["first", "second"]
        assert [warning["msg"] for warning in shown.warnings] == ["careful"]
        assert [(error.errorCode, error.msg) for error in shown.errors] == [(404, "gone")]
        assert isinstance(shown.errors[0], Error)
        assert all(isinstance(event["timestamp"], datetime) and event["timestamp"].tzinfo for event in shown.events)
        assert shown.errorCount == 1
    assert [event["msg"] for event in app.info(job.uuid)["events"]] == ["first", "second"]


def test_an_error_and_its_count_are_one_write() -> None:
    job = declared()
    job.save()
    before = int(job.cas)
    job.record_error(500, "x")
    assert int(job.cas) == before + 1


def test_an_exception_s_type_and_traceback_are_kept(app: Any) -> None:
    job = app.submit("declared", {"path": "x"})
    try:
        raise zerog.JobNotFound("no such thing")
    except LookupError as error:
        job.record_error(500, "failed", error)
    [error] = app.get_job(job.uuid).errors
    assert error.type == "zerog.exceptions.JobNotFound"
    assert "test_an_exception_s_type_and_traceback_are_kept" in error.traceback
    assert error.attempt == 0


def test_two_holders_lose_neither_error_nor_event(app: Any) -> None:
    uuid = app.submit("declared", {"path": "x"}).uuid
    first, second = app.get_job(uuid), app.get_job(uuid)
    first.record_error(500, "one")
    second.record_error(500, "two")
    first.record_event("three")
    fresh = app.get_job(uuid)
    assert fresh.errorCount == 2
    assert [error.msg for error in fresh.errors] == ["one", "two"]


@pytest.mark.parametrize("code", ["E_DISK", None, 1.5, float("nan"), 10**400, True])
def test_an_odd_error_code_does_not_hide_its_error(code: Any) -> None:
    job = declared()
    job.save()
    job.record_error(code, "disk full")
    [error] = again(job).errors
    assert error.errorCode == 500
    assert error.msg.startswith("disk full (error code ")
    assert again(job).errorCount == 1


def test_text_that_utf8_can_t_hold_is_escaped_and_huge_text_is_cut() -> None:
    job = declared()
    job.save()
    job.record_event("bad \ud800 text")
    job.record_event("x" * 1_000_000)
    texts = [event["msg"] for event in again(job).events]
    assert texts[0] == "bad \\ud800 text"
    assert len(texts[1]) < 70_000
    assert "left out" in texts[1]


def test_history_is_bounded_and_what_fell_out_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryDatastore()
    monkeypatch.setattr(store, "history_limit", 3, raising=False)
    job = declared(store)
    job.save()
    for number in range(5):
        job.record_event(str(number))
    # A save of something else must not set the count back.
    job.record_event("5")
    job.offset = 1
    job.save()
    stored = head_of(job)
    assert [event["msg"] for event in stored["events"]] == ["3", "4", "5"]
    assert stored["eventsDropped"] == 3
    assert again(job).dump()["eventsDropped"] == 3
    other = again(job)
    other.record_event("6")
    other.offset = 2
    other.save()
    assert (head_of(job)["eventsDropped"], other.dump()["eventsDropped"]) == (4, 4)


def test_a_refused_entry_is_not_shown() -> None:
    class Failing(MemoryDatastore):
        down = False

        def mutate(self, *args: Any, **kwargs: Any) -> Any:
            if self.down:
                raise DatastoreUnavailable("down")
            return super().mutate(*args, **kwargs)

    job = declared(Failing())
    job.save()
    job.record_event("stored")
    assert len(job.events) == 1
    job.datastore.down = True
    with pytest.raises(DatastoreUnavailable):
        job.record_event("refused")
    assert [event["msg"] for event in job.events] == ["stored"]


def test_the_log_methods_record_and_log(caplog: pytest.LogCaptureFixture) -> None:
    job = declared()
    job.save()
    with caplog.at_level(logging.INFO, "zerog"):
        job.job_log_info("an event")
        job.job_log_warning("a warning")
        job.job_log_error(418, "an error")
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("INFO", f"{job.logId} an event"),
        ("WARNING", f"{job.logId} a warning"),
        ("ERROR", f"{job.logId} [418] an error"),
    ]
    info = again(job).info()
    assert [len(info[name]) for name in ("events", "warnings", "errors")] == [1, 1, 1]


def test_record_error_may_be_overridden_for_particular_exceptions() -> None:
    class Special(Declared):
        JOB_TYPE = "special"

        def record_error(self, errorCode: int, msg: str, exception: BaseException | None = None) -> None:
            if isinstance(exception, OSError):
                errorCode = 503
            super().record_error(errorCode, msg, exception)

    job = Special(MemoryDatastore(), MemoryQueue(), path="x")
    job.save()
    job.job_log_error(500, "disk", OSError("full"))
    assert again(job).errors[0].errorCode == 503


def test_a_new_job_keeps_its_history_when_it_is_stored() -> None:
    job = declared()
    job.record_event("before the first save")
    job.save()
    job.record_event("after")
    assert [event["msg"] for event in again(job).events] == ["before the first save", "after"]


@pytest.mark.parametrize(("bound", "stored"), [(None, None), (10_000, None), (3, 3), (20_000, 20_000)])
def test_a_class_s_bound_is_stored_where_it_differs(bound: int | None, stored: int | None) -> None:
    """So that a program which doesn't know the class keeps as many entries as the class does."""
    app = zerog.App(datastore=MemoryDatastore(), queue=MemoryQueue())
    made = type("Made", (zerog.BaseJob,), {"JOB_TYPE": "made", "run": lambda self: 200, "MAX_EVENTS": bound})
    app.register(made)
    job = app.get_job(app.submit("made").uuid)
    assert head_of(job).get("maxEvents") == stored
    job.record_event("one")
    job.update_attrs(output="x")
    assert head_of(job).get("maxEvents") == stored
    assert "maxEvents" not in vars(job)
