"""MAX_EVENTS and MAX_DOCUMENT: limits of a class for its jobs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields

import zerog
from tests.jobs.builders import PlainStore
from zerog.backends.memory.queue import MemoryQueue
from zerog.jobs import size_limit
from zerog.records.job import make_key
from zerog.testing import run_inline

LIMIT = 4_000


class Bounded(zerog.BaseJob):
    """Does what its ``steps`` name."""

    JOB_TYPE = "bounded"
    MAX_DOCUMENT = LIMIT
    MAX_EVENTS = 3
    MAX_ERRORS = 1

    class Params(Schema):
        steps = fields.List(fields.Raw(), load_default=list)

    class State(Schema):
        notes = fields.String(load_default="")
        other = fields.String(load_default="")
        count = fields.Integer(load_default=0)

    steps: list[Any]
    notes: str
    other: str

    def run(self) -> Any:
        for name, length in self.steps:
            if name == "output":
                return {"text": "x" * length}
            if name == "save":
                self.notes = "x" * length
                self.save()
            elif name == "event":
                for number in range(length):
                    self.record_event(f"event {number}")
                    self.record_warning(f"warning {number}")
            elif name == "errors":
                for number in range(length):
                    self.record_error(400, f"error {number}")
            else:
                self.update_attrs(**{name: "x" * length}, flush=length % 2 == 0)
        return None


@pytest.fixture(params=["memory", "sqlite", "plain"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> zerog.App:
    if request.param == "plain":
        made = zerog.App(datastore=PlainStore(), queue=MemoryQueue())
    else:
        made = zerog.App("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/jobs.db")
    made.register(Bounded)
    return made


def ran(app: zerog.App, *steps: Any) -> Any:
    job = app.submit(Bounded, {"steps": [list(step) for step in steps]})
    run_inline(app, job.uuid)
    return app.get_job(job.uuid)


@pytest.mark.parametrize("step", ["notes", "save", "output"])
@pytest.mark.parametrize("length", [5_000, 5_001])
def test_a_write_beyond_the_limit_is_refused_where_it_is_made(app: zerog.App, step: str, length: int) -> None:
    """With the field, the sizes and the limit; the document keeps what it had, and its end is stored."""
    job = ran(app, ("other", 100), (step, length))
    assert job.status == "failed"
    error = job.errors[-1]
    field = "notes" if step == "save" else step
    assert f"{field} takes 5,0" in error.msg  # the value, and a few bytes around it
    assert f"MAX_DOCUMENT of bounded is {LIMIT:,}" in error.msg
    assert (job.notes, len(job.other), job.output) == ("", 100, None)
    if step == "notes":
        assert "self.update_attrs(" in (error.traceback or "")


def test_small_steps_are_refused_too(app: zerog.App) -> None:
    """The sum counts, however little each write adds."""
    job = ran(app, *(("notes", length) for length in range(0, 4_000, 100)))
    assert job.status == "failed"
    assert len(app.datastore.read(make_key(job.uuid))["notes"]) == len(job.notes) > 0
    assert size_limit.Sizes(app.datastore.read_with_cas(make_key(job.uuid), head=True)[0]).total < LIMIT + 800


def test_one_warning_at_four_fifths(app: zerog.App, caplog: pytest.LogCaptureFixture) -> None:
    """On the job and in the log, once, in the write that reaches it."""
    with caplog.at_level(logging.WARNING, "zerog"):
        job = ran(app, ("notes", 1_000), ("notes", 2_200), ("notes", 2_300), ("other", 50))
    assert job.status == "succeeded"
    assert len(job.warnings) == 1
    assert "MAX_DOCUMENT is 4,000" in job.warnings[0]["msg"]
    assert len([record for record in caplog.records if "MAX_DOCUMENT" in record.message]) == 1


def test_what_is_too_large_is_not_submitted(app: zerog.App) -> None:
    """Nothing is stored; what is nearly too large has the warning from its beginning."""
    with pytest.raises(zerog.InvalidValue, match=r"steps takes .* MAX_DOCUMENT of bounded is 4,000"):
        app.submit(Bounded, {"steps": ["x" * 5_000]})
    near = app.submit(Bounded, {"steps": ["x" * 2_800]})
    assert "MAX_DOCUMENT" in app.info(near.uuid)["warnings"][0]["msg"]


def test_an_edit_keeps_to_it(app: zerog.App) -> None:
    """As every other write of a job's fields does."""
    job = app.submit(Bounded)
    with pytest.raises(zerog.InvalidValue, match="MAX_DOCUMENT"):
        app.edit(job.uuid, {"steps": ["x" * 5_000]}, who="alice", reason="more")
    assert app.edit(job.uuid, {"steps": ["x"]}, who="alice", reason="more")


def test_a_limit_that_was_lowered_lets_a_job_go_on(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too large already may shrink, change its small fields and end."""
    job = app.submit(Bounded, {"steps": [["notes", 2_000], ["notes", 1_900], ["event", 1]]})
    monkeypatch.setattr(Bounded, "MAX_DOCUMENT", 2_048)
    run_inline(app, job.uuid)
    assert app.progress(job.uuid)["status"] == "failed"
    monkeypatch.setattr(Bounded, "MAX_DOCUMENT", LIMIT)
    large = app.submit(Bounded, {"steps": [["notes", 10], ["event", 1]]})
    app.get_job(large.uuid).update_attrs(other="x" * 2_000)
    monkeypatch.setattr(Bounded, "MAX_DOCUMENT", 2_048)
    job = app.get_job(large.uuid)
    job.update_attrs(other="x" * 1_900)
    job.record_event("still here")
    with pytest.raises(zerog.InvalidValue, match="other takes 1 bytes more"):
        job.update_attrs(other="x" * 1_901)
    job.update_attrs(other="")
    run_inline(app, large.uuid)
    assert app.progress(large.uuid)["status"] == "succeeded"


def test_an_update_costs_what_it_changes(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the fields of the write are encoded to know the size, not those that stay."""
    job = app.submit(Bounded)
    job.update_attrs(notes="x" * 1_000)
    measured: list[str] = []
    size = size_limit._size

    def watched(field: str, value: object) -> int:
        measured.append(field)
        return size(field, value)

    monkeypatch.setattr(size_limit, "_size", watched)
    job.update_attrs(count=1)  # type: ignore[call-arg]
    job.update_attrs(count=2)  # type: ignore[call-arg]
    job.record_event("x")
    assert measured == ["count", "count"]


@pytest.mark.parametrize("step", ["event", "errors"])
def test_the_history_is_bounded_by_the_class(app: zerog.App, step: str) -> None:
    """The latest entries stay, and what fell out is counted."""
    job = ran(app, (step, 10))
    if step == "event":
        assert [event["msg"] for event in job.events] == ["event 7", "event 8", "event 9"]
        assert [warning["msg"] for warning in job.warnings] == ["warning 7", "warning 8", "warning 9"]
        assert (job.dump()["eventsDropped"], job.dump()["warningsDropped"]) == (7, 7)
    else:
        assert [error.msg for error in job.errors] == ["error 7", "error 8", "error 9"]
        assert job.errorCount == 10


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *(("MAX_EVENTS", wrong) for wrong in (0, -1, "10", 1.5, True)),
        *(("MAX_DOCUMENT", wrong) for wrong in (0, 100, "1 MB", 1e6, True, 5 * 1024 * 1024)),
    ],
)
def test_a_wrong_bound_is_refused_at_registration(name: str, wrong: object) -> None:
    """With what was expected."""
    broken = type("Broken", (Bounded,), {"JOB_TYPE": "broken", name: wrong})
    with pytest.raises(zerog.InvalidJobClass, match=f"{name} is .*expected"):
        zerog.App("memory://").register(broken)
