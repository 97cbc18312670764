"""A job and its app: what a run submits, and what it finds there, on every executor and in tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields

import zerog
from zerog.jobs.base import BaseJob
from zerog.testing import drain, isolated, run_inline
from zerog.testing.crash_matrix import crash_matrix


class Line(zerog.BaseJob):
    JOB_TYPE = "line"

    class Params(Schema):
        number = fields.Integer(required=True)

    def run(self) -> Any:
        return {"from": self.parent}


class Sheet(zerog.BaseJob):
    """Submits a job a line, under uuids that its document keeps, so that a repeated run submits none again."""

    JOB_TYPE = "sheet"

    class Params(Schema):
        lines = fields.Integer(load_default=2)

    class State(Schema):
        uuids = fields.List(fields.String(), load_default=list)

    lines: int
    uuids: list[str]

    def run(self) -> Any:
        if not self.uuids:
            made = [self.submit(Line, {"number": 0}, delay=60, headers={"by": "sheet"}).uuid]
            self.update_attrs(uuids=[*made, *self.submit_many("line", [{"number": 1}, {"number": 2}])])
        return {"words": self.app.resources.words}


@pytest.fixture
def app() -> zerog.App:
    app = zerog.App("memory://")
    app.register(Sheet, Line)
    app.resource("words", lambda: "its own")
    return app


@pytest.mark.parametrize("executor", ["thread", "process", "async"])
def test_a_run_submits_through_its_own_app(executor: str, tmp_path: Path) -> None:
    """And each of the others names it as its parent, in progress(), too."""
    app = zerog.App(f"sqlite:///{tmp_path}/jobs.db")
    app.register(Sheet, Line)
    app.resource("words", lambda: "its own")
    uuid = app.submit(Sheet).uuid
    zerog.Worker(app, executor=executor).run(burst=True)
    sheet = app.get_job(uuid, Sheet)
    assert (sheet.status, sheet.output, sheet.parent) == ("succeeded", {"words": "its own"}, None)
    lines = [app.progress(line) for line in sheet.uuids]
    assert [line["parent"] for line in lines] == [uuid] * 3
    assert [line["status"] for line in lines] == ["scheduled", "succeeded", "succeeded"]
    assert app.get_job(sheet.uuids[0]).headers == {"by": "sheet"}
    assert app.get_job(sheet.uuids[1], Line).output == {"from": uuid}
    app.close()


def test_a_parent_is_a_uuid(app: zerog.App) -> None:
    with pytest.raises(zerog.InvalidUuid, match="'mine' is no job uuid"):
        app.submit(Line, {"number": 1}, parent="mine")
    assert list(app.jobs()) == []
    parent = app.submit(Sheet).uuid
    assert app.submit(Line, {"number": 1}, parent=parent).parent == parent


def test_a_job_made_by_hand_has_no_app(app: zerog.App) -> None:
    job = Line(app.datastore, app.queue, number=1)
    with pytest.raises(zerog.ConfigurationError, match=f"job {job.uuid} belongs to no app"):
        _ = job.app
    with pytest.raises(zerog.ConfigurationError, match="belongs to no app"):
        job.submit(Line, {"number": 1})
    assert app.submit(Line, {"number": 1}).app is app


def test_a_test_runs_jobs_with_the_app_that_they_belong_to(app: zerog.App) -> None:
    job = run_inline(app.submit(Sheet))
    assert (job.status, job.output, job.app) == ("succeeded", {"words": "its own"}, app)
    assert [line.output for line in drain(app)] == [{"from": job.uuid}] * 3


# what a test isolates


class Reaching(zerog.BaseJob):
    """Uses an app of its module, as code that was written without ``self.app`` does."""

    JOB_TYPE = "reaching"
    MAX_ERRORS = 1
    elsewhere: zerog.App

    def run(self) -> Any:
        verb = self.headers.get("verb")
        if verb == "open":
            zerog.App(f"sqlite:///{self.headers['path']}").submit("line", {"number": 1})
        elif verb == "workers":
            self.elsewhere.workers()
        else:
            self.elsewhere.submit("line", {"number": 1})
        return 200


@pytest.fixture
def production(tmp_path: Path) -> Any:
    app = zerog.App(f"sqlite:///{tmp_path}/production.db")
    app.register(Line)
    Reaching.elsewhere = app
    yield app
    assert list(app.jobs()) == []
    assert app.workers() == []
    app.close()


def ended(job: BaseJob) -> tuple[str, str]:
    return job.status, job.errors[-1].msg if job.errors else ""


@pytest.mark.parametrize("verb", ["submit", "workers", "open"])
def test_isolated_refuses_a_run_that_reaches_another_app(
    app: zerog.App, production: zerog.App, verb: str, tmp_path: Path
) -> None:
    """Nothing is written there, and the test itself may go on using it."""
    app.register(Reaching)
    with isolated(app):
        app.submit(Reaching, headers={"verb": verb, "path": str(tmp_path / "new.db")})
        [job] = drain(app)
        assert list(production.jobs()) == []
    status, message = ended(job)
    assert (status, "a run of reaching used another app" in message) == ("failed", True)
    assert "use self.app or self.submit" in message


def test_apps_in_memory_are_isolated_already(app: zerog.App) -> None:
    other = zerog.App("memory://")
    other.register(Line)
    app.register(Reaching)
    Reaching.elsewhere = other
    with isolated(app):
        app.submit(Reaching)
        assert [job.status for job in drain(app)] == ["succeeded"]
    assert len(list(other.jobs())) == 1


def test_the_crash_matrix_refuses_a_run_that_reaches_another_app(production: zerog.App, tmp_path: Path) -> None:
    def check(job: Any) -> None:
        assert "a run of reaching used another app" in job.errors[-1].msg

    report = crash_matrix(tmp_path / "matrix", Reaching, check=check)
    assert "settle.write #1" in report.killed


@pytest.mark.wide
def test_the_crash_matrix_takes_an_app_and_its_resources(app: zerog.App, tmp_path: Path) -> None:
    """What a run submits is under the matrix's own app; the app given is not touched."""

    def same(job: Any, first: Any) -> None:
        assert job.output == first.output == {"words": "pretended"}

    report = crash_matrix(tmp_path / "matrix", Sheet, app=app, resources={"words": lambda: "pretended"}, same=same)
    assert "run.write #1" in report.killed
    assert list(app.jobs()) == []
    with pytest.raises(zerog.ConfigurationError, match="did you mean 'words'"):
        crash_matrix(tmp_path / "matrix", Sheet, app=app, resources={"wrds": list})


def test_the_crash_matrix_declares_resources_for_a_class_alone(tmp_path: Path) -> None:
    class Reading(zerog.BaseJob):
        JOB_TYPE = "reading"

        def run(self) -> Any:
            return {"read": self.resources.text}

    def same(job: Any, first: Any) -> bool:
        return job.output == {"read": "given"} and first.status == "succeeded"

    assert crash_matrix(tmp_path, Reading, resources={"text": lambda: "given"}, same=same).killed
    with pytest.raises(AssertionError, match="same returned False"):
        crash_matrix(tmp_path, Reading, resources={"text": lambda: "given"}, same=lambda job, first: False)
    with pytest.raises(AssertionError, match="same failed: not so"):
        crash_matrix(tmp_path, Reading, resources={"text": lambda: "given"}, same=not_so)


def not_so(job: Any, first: Any) -> None:
    raise AssertionError("not so")
