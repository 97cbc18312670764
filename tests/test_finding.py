"""``App.count``, and the filters of ``App.jobs`` by build and stored version."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.jobs.builders import Declared, Documented
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.contracts.datastore import Datastore
from zerog.exceptions import DatastoreError, InvalidValue
from zerog.records.operations import Set


@pytest.fixture(params=["memory", "sqlite"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    made = zerog.App("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/jobs.db")
    made.register(Declared, Documented)
    yield made
    made.close()


def test_count_is_exact_up_to_its_cap(app: Any) -> None:
    """By status, type, queue and time, and as a number with a plus if there may be more."""
    uuids = app.submit_many("declared", [{"path": str(n)} for n in range(5)])
    app.submit("documented", {"path": "x"}, queue="slow", delay=60)
    assert (app.count(), app.count(status="queued")) == ((6, False), (5, False))
    assert app.count(job_type=Documented) == app.count(queue="slow") == app.count(status="scheduled") == (1, False)
    assert app.count(job_type=Documented, status="queued") == app.count(status="failed") == (0, False)
    created = datetime.fromisoformat(app.progress(uuids[0])["createdAt"])
    assert app.count(until=created - timedelta(microseconds=1)) == (0, False)
    assert app.count(since=created, job_type="declared") == (5, False)
    assert str(app.count(status="queued", cap=3)) == "3+"
    for wrong in ({"status": "done"}, {"cap": 0}, {"since": "2026-01-01"}):
        with pytest.raises(InvalidValue, match=f"{next(iter(wrong))}|no job ever"):
            app.count(**wrong)


def test_count_names_a_datastore_that_cannot_list() -> None:
    """It doesn't answer 0."""

    class TwoVerbs(MemoryDatastore):
        find, count = Datastore.find, Datastore.count

    app = zerog.App(datastore=TwoVerbs(), queue=MemoryQueue())
    with pytest.raises(DatastoreError, match="TwoVerbs has no find"):
        app.count()


class Broken(zerog.BaseJob):
    JOB_TYPE = "broken"
    MAX_ERRORS = 1

    def run(self) -> Any:
        raise ValueError("nothing works")


def test_jobs_are_found_by_the_build_that_broke_them(app: Any) -> None:
    """By that of the last error: jobs that failed before, or have no error, don't match."""
    app.register(Broken)
    uuids = []
    for build in (None, "1f2e", "3d4c"):
        uuids.append(app.submit("broken").uuid)
        app.submit("declared", {"path": "a"})
        zerog.Worker(app, build_id=build).run(burst=True)
    assert [job["uuid"] for job in app.jobs(build="1f2e")] == uuids[1:2]
    assert [job["uuid"] for job in app.jobs(build="3d4c", status="failed", limit=1)] == uuids[2:]
    assert app.progress(uuids[1])["lastError"]["build"] == "1f2e"
    assert "build" not in app.progress(uuids[0])["lastError"]
    assert list(app.jobs(build="other")) == []
    assert [job["uuid"] for job in app.jobs(build="1f2e..")] == uuids[1:]
    assert [job["uuid"] for job in app.jobs(build="..1f2e")] == uuids[1:2]
    for empty in ("..", "3d4c..1f2e"):
        with pytest.raises(InvalidValue, match="a range without builds"):
            app.jobs(build=empty)


def test_jobs_are_found_by_the_version_that_they_are_stored_in(app: Any) -> None:
    """As it stands in the document, whatever version the class has now."""
    old, new = (app.submit("declared", {"path": path}).uuid for path in "ab")
    app.datastore.mutate(f"zerog_job_{old}", [Set("schemaVersion", 0.5)])
    assert [job["uuid"] for job in app.jobs(schema_version=0.5)] == [old]
    assert [job["uuid"] for job in app.jobs(schema_version=app.get_job(new).schemaVersion)] == [new]
    for wrong in ({"schema_version": "1"}, {"schema_version": True}, {"build": ""}, {"build": 5}):
        with pytest.raises(InvalidValue, match=f"{next(iter(wrong))}="):
            app.jobs(**wrong)
