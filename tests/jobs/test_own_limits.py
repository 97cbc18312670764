"""Limits that a submit gives its jobs in place of their class's."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields

import zerog
from tests.jobs.builders import head_of
from tests.processes import until
from zerog.testing.inline import run_inline

OWN = {"maxErrors": 7, "softTimeout": 2.5, "hardTimeout": 30}
GIVEN: dict[str, Any] = {"max_errors": 7, "soft_timeout": 2.5, "timeout": 30}


def register(app: zerog.App, run: Any = lambda job: None, **attributes: Any) -> None:
    class Params(Schema):
        size = fields.Integer(load_default=1)

    app.register(type("Made", (zerog.BaseJob,), {"JOB_TYPE": "made", "run": run, "Params": Params, **attributes}))


def own(job: Any) -> dict[str, Any]:
    return {name: value for name, value in head_of(job).items() if name in OWN}


def test_they_are_kept_for_as_long_as_the_job(adapter_app: zerog.App) -> None:
    """Through a run, a retry and an edit, on every adapter; other jobs have none."""
    app = adapter_app
    register(app)
    uuid = app.submit("made", **GIVEN).uuid
    [many] = app.submit_many("made", [{}], timeout=5)
    other = app.submit("made")
    assert (own(app.get_job(many)), own(other)) == ({"hardTimeout": 5}, {})
    run_inline(app, uuid)
    app.edit(uuid, {"size": 2}, who="me", reason="a test", retry=True)
    run_inline(app, uuid)
    app.retry(uuid)
    job: Any = app.get_job(uuid)
    assert (own(job), job.size, job.status) == (OWN, 2, "queued")
    assert (job.MAX_ERRORS, job.SOFT_TIMEOUT, job.TIMEOUT) == (7, 2.5, 30)
    assert (other.MAX_ERRORS, other.SOFT_TIMEOUT, other.TIMEOUT) == (3, None, None)


def test_functions_and_jobs_of_jobs_have_them_too(app: zerog.App) -> None:
    @app.job
    def child(job: zerog.BaseJob, timeout: int) -> None:
        assert timeout == 9

    @app.job
    def parent(job: zerog.BaseJob) -> dict[str, Any]:
        return {"uuid": job.submit(child, {"timeout": 9}, **GIVEN).uuid, "many": job.submit_many(child, [], timeout=1)}

    job = app.submit(parent, max_errors=0)
    run_inline(app, job.uuid)
    made = app.get_job(app.get_job(job.uuid).output["uuid"])
    run_inline(app, made.uuid)
    assert (own(made), own(job), app.progress(made.uuid)["status"]) == (OWN, {"maxErrors": 0}, "succeeded")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"max_errors": -1}, r"max_errors=-1; expected a whole number, 0 or more, or None for what Made has"),
        ({"max_errors": 1.0}, r"max_errors=1.0; expected a whole"),
        ({"max_errors": True}, r"max_errors=True; expected a whole"),
        ({"timeout": 0}, r"timeout=0; expected seconds, more than 0, or None for what Made has"),
        ({"timeout": "60"}, r"timeout='60'; expected seconds"),
        ({"soft_timeout": float("inf")}, r"soft_timeout=inf; expected seconds"),
        ({"soft_timeout": float("nan")}, r"soft_timeout=nan; expected seconds"),
        ({"soft_timeout": 60}, r"a soft limit of 60 s and a hard one of 60 s; expected a soft limit below"),
        ({"timeout": 20}, r"soft_timeout=None and timeout=20 .* a soft limit of 20 s and a hard one of 20 s"),
    ],
)
def test_what_can_be_no_limit_is_refused(app: zerog.App, given: dict[str, Any], expected: str) -> None:
    """As it is for a class, whose own limits count beside those that are given; nothing is stored."""
    register(app, SOFT_TIMEOUT=20, TIMEOUT=60)
    with pytest.raises(zerog.InvalidValue, match=f"{expected}.*Nothing was stored"):
        app.submit("made", **given)
    with pytest.raises(zerog.InvalidValue, match=expected):
        app.submit_many("made", [{}, {}], **given)
    assert list(app.jobs()) == []


@pytest.mark.parametrize("most", [1, 5])
def test_its_own_errors_count(app: zerog.App, most: int) -> None:
    """In ``continue_running`` as the class wrote it, too, and when the class can't make the object."""

    def fail(job: Any) -> None:
        raise ValueError

    def continue_running(job: Any) -> int:
        return zerog.NO_RESULT if job.errorCount < job.MAX_ERRORS else 500

    class Unmade(zerog.BaseJob):
        JOB_TYPE = "unmade"
        BACKOFF = staticmethod(lambda count, error: 0)

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            if kwargs.get("attempts"):
                raise ValueError

        def run(self) -> None:
            pass

    register(app, fail, BACKOFF=lambda count, error: 0)
    app.register(type("Own", (zerog.BaseJob,), {"JOB_TYPE": "own", "run": fail, "continue_running": continue_running}))
    app.job_class("own").BACKOFF = lambda count, error: 0
    app.register(Unmade)
    uuids = [app.submit(name, max_errors=most).uuid for name in ("made", "own", "unmade")]
    zerog.Worker(app).run(burst=True)
    assert [app.progress(uuid)["errorCount"] for uuid in uuids] == [most] * 3
    assert {app.progress(uuid)["status"] for uuid in uuids} == {"failed"}


@pytest.fixture
def on_file(tmp_path: Path) -> Iterator[zerog.App]:
    with zerog.App(f"sqlite:///{tmp_path}/jobs.db") as made:
        yield made


def hang(job: Any) -> None:
    time.sleep(60)


async def nap(job: Any) -> None:
    await asyncio.sleep(60)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize(("executor", "run"), [("thread", hang), ("async", hang), ("async", nap), ("process", hang)])
@pytest.mark.parametrize("kind", ["timeout", "soft_timeout"])
def test_its_own_time_counts_in_every_executor(on_file: zerog.App, executor: str, run: Any, kind: str) -> None:
    """Beside a class without limits, in a worker that may fork, as ``zerog worker`` may."""
    register(on_file, run)
    limits = {"timeout": 0.3} if kind == "timeout" else {"timeout": 60, "soft_timeout": 0.3}
    uuid = on_file.submit("made", max_errors=1, **limits).uuid
    worker = zerog.Worker(on_file, executor=executor)
    worker.owns_process = True
    worker.run(burst=True)
    [error] = on_file.info(uuid)["errors"]
    assert error["type"] == ("Timeout" if kind == "timeout" else "SoftTimeout")
    assert ("TIMEOUT of 0.3 s" in error["msg"], on_file.progress(uuid)["status"]) == (True, "failed")


def test_a_worker_of_threads_without_children_takes_the_job_from_the_run(app: zerog.App) -> None:
    go = threading.Event()
    register(app, lambda job: go.wait(60) and None)
    uuid = app.submit("made", timeout=0.2, max_errors=1).uuid
    with zerog.Worker(app):
        until(lambda: app.progress(uuid)["status"] == "failed")
        go.set()
    assert app.info(uuid)["errors"][0]["type"] == "Timeout"


def test_pollers_are_given_the_errors_left(adapter_app: zerog.App) -> None:
    """By the job's own limit or its class's, wherever a job is shown; without either there is no number."""

    def run(job: Any) -> None:
        seen.append(job.progress()["errorsLeft"])
        job.record_error(500, "one")
        seen.append(job.info()["errorsLeft"])

    app, seen = adapter_app, list[Any]()
    register(app, run)
    uuids = [app.submit("made").uuid, app.submit("made", max_errors=1).uuid, app.submit("made", max_errors=0).uuid]
    for uuid in uuids:
        run_inline(app, uuid)
    shown = [[app.progress(uuid)["errorsLeft"], app.info(uuid)["errorsLeft"]] for uuid in uuids]
    assert shown == [[2, 2], [0, 0], [0, 0]]
    assert seen == [3, 2, 1, 0, 0, 0]
    assert sorted(job["errorsLeft"] for job in app.jobs()) == [0, 0, 2]
    app.unregister("made")
    assert [app.progress(uuid)["errorsLeft"] for uuid in uuids] == [None, 0, 0]
