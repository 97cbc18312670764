"""Stored fields that a class doesn't declare: named in the log, by the doctor and where a job is shown."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from marshmallow import Schema, fields

import zerog
from tests.maintenance.doctors import doctor_of
from zerog.cli.root import cli
from zerog.records.job import make_key
from zerog.records.operations import Add


class Scan(zerog.BaseJob):
    JOB_TYPE = "scan"

    class Params(Schema):
        path = fields.String(load_default="/")

    def run(self) -> Any:
        return 200


def renamed(**attributes: Any) -> type[zerog.BaseJob]:
    """Return the class after its parameter was renamed."""

    class Renamed(zerog.BaseJob):
        JOB_TYPE = "scan"

        class Params(Schema):
            root = fields.String(load_default="/")

        def run(self) -> Any:
            return {"root": self.root}

    return type("Renamed", (Renamed,), attributes)


def deployed(url: str, job_class: type[zerog.BaseJob]) -> zerog.App:
    app = zerog.App(url)
    app.register(job_class)
    return app


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/jobs.db"
    app = deployed(url, Scan)
    app.submit_many(Scan, [{"path": "/home"}, {"path": "/var"}])
    for job in list(app.jobs())[:1]:
        app.datastore.mutate(make_key(job["uuid"]), [Add("eventsDropped", 1)])  # the engine's own, declared nowhere
    app.close()
    return url


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "does not declare" in record.getMessage()]


@pytest.mark.parametrize("by", ["worker", "get_job"])
def test_a_renamed_parameter_is_logged_once(url: str, by: str, caplog: pytest.LogCaptureFixture) -> None:
    """Both jobs run with the default, and the first of them names what that is about."""
    app = deployed(url, renamed())
    with caplog.at_level(logging.WARNING, "zerog"):
        if by == "worker":
            zerog.Worker(app).run(burst=True)
        jobs = [app.get_job(job["uuid"]) for job in app.jobs()]
    [warning] = warnings_of(caplog)
    for part in ("type scan", "a stored field path", "Renamed in version 1.0", "raise SCHEMA_VERSION"):
        assert part in warning
    assert len(jobs) == 2
    assert all(job.dump()["path"] in ("/home", "/var") for job in jobs)  # what newer or older code stored stays
    app.close()


def test_the_doctor_names_the_jobs_and_the_field(url: str) -> None:
    app = deployed(url, renamed())
    [finding] = [each for each in doctor_of(app).examine().findings if "does not declare" in each.what]
    assert (finding.count, finding.needs_person) == (2, True)
    assert set(finding.jobs.values()) == {"path"}
    assert "add a migration" in finding.mend
    app.close()


def test_a_migration_is_the_answer(url: str, caplog: pytest.LogCaptureFixture) -> None:
    @zerog.migration("1.0", "2.0")
    def rename(document: dict[str, Any]) -> dict[str, Any]:
        document["root"] = document.pop("path")
        return document

    app = deployed(url, renamed(SCHEMA_VERSION="2.0", rename=rename))
    with caplog.at_level(logging.WARNING, "zerog"):
        zerog.Worker(app).run(burst=True)
    assert warnings_of(caplog) == []
    assert sorted(app.get_job(job["uuid"]).output["root"] for job in app.jobs()) == ["/home", "/var"]
    assert not [each for each in doctor_of(app).examine().findings if "does not declare" in each.what and each.count]
    app.close()


def test_jobs_show_marks_the_field(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "renamedapp.py").write_text(
        f"""
import zerog
from marshmallow import Schema, fields

class Scan(zerog.BaseJob):
    JOB_TYPE = "scan"

    class Params(Schema):
        root = fields.String(load_default="/")

    def run(self):
        return 200

app = zerog.App({url!r})
app.register(Scan)
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    app = deployed(url, Scan)
    uuid = next(app.jobs())["uuid"]
    shown = CliRunner().invoke(cli, ["jobs", "show", "renamedapp:app", uuid], catch_exceptions=False).stdout
    assert 'path: "/home"  (not declared by its class)' in shown.replace("/var", "/home")
    app.close()
