"""Jobs with a hard limit in workers of threads and event loops, which can't end a thread."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.processes import alive, until
from tests.worker.builders import app_with
from tests.worker.worker_fixtures import Bed

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


@pytest.fixture(params=["thread", "async"])
def executor(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def bed(tmp_path: Path, executor: str) -> Iterator[Bed]:
    made = Bed(tmp_path, executor)
    yield made
    made.app.close()


def hang(job: Any) -> None:
    job.update_attrs(output=[os.getpid(), os.getppid()])
    time.sleep(60)


def test_a_run_over_its_limit_is_killed(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    """In a child of its own; the log says once that there are children."""
    caplog.set_level(logging.INFO, "zerog")
    info = bed.run(hang, TIMEOUT=0.3, MAX_ERRORS=1)
    assert (info["status"], info["errors"][0]["type"]) == ("failed", "Timeout")
    assert "TIMEOUT of 0.3 s and was killed" in info["errors"][0]["msg"]
    child, nursery = bed.app.get_job(info["uuid"]).output
    assert os.getpid() not in (child, nursery)
    until(lambda: not alive(child) and not alive(nursery))
    assert len([r for r in caplog.records if "runs made in child processes" in r.getMessage()]) == 1


def test_a_run_in_time_ends_as_it_would_in_a_thread(bed: Bed) -> None:
    def run(job: Any) -> dict[str, int]:
        job.record_event("here")
        return {"pid": os.getpid()}

    info = bed.run(run, TIMEOUT=60)
    assert (info["status"], [event["msg"] for event in info["events"]]) == ("succeeded", ["here"])
    assert bed.app.get_job(info["uuid"]).output["pid"] != os.getpid()


def test_other_jobs_stay_in_the_process_of_the_worker(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "zerog")
    bed.app.register(type("Timed", (zerog.BaseJob,), {"JOB_TYPE": "timed", "run": lambda job: None, "TIMEOUT": 60}))
    info = bed.run(lambda job: {"pid": os.getpid()})
    assert bed.app.get_job(info["uuid"]).output == {"pid": os.getpid()}
    assert "runs timed in child processes" in caplog.text


def test_without_limited_classes_nothing_is_forked(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "zerog")
    nurseries: list[str] = []

    def run(job: Any) -> None:
        nurseries.extend(thread.name for thread in threading.enumerate() if "forkserver" in thread.name)

    assert bed.run(run)["status"] == "succeeded"
    assert (nurseries, "child processes" in caplog.text) == ([], False)


def test_a_cancellation_and_a_stop_reach_the_child(bed: Bed) -> None:
    """The first interrupts a blocking call; at the second the run sees ``stopping``, and continues in another one."""
    uuid = bed.submit(hang, TIMEOUT=60)
    with zerog.Worker(bed.app, executor=bed.executor):
        until(lambda: bed.app.get_job(uuid).output)
        bed.app.cancel(uuid)
        until(lambda: bed.app.progress(uuid)["status"] == "cancelled")

    def until_stopped(job: Any) -> Any:
        job.record_event("begun")
        while not job.stopping and job.attempts == 1:
            time.sleep(0.01)
        return (zerog.NO_RESULT, 0) if job.stopping else 200

    second = bed.submit(until_stopped, TIMEOUT=60)
    with zerog.Worker(bed.app, executor=bed.executor):
        until(lambda: bed.app.info(second)["events"])
    until(lambda: bed.app.progress(second)["status"] == "queued")


def test_a_child_that_dies_costs_its_own_job_only(bed: Bed) -> None:
    info = bed.run(lambda job: os._exit(3), TIMEOUT=60, MAX_CRASHES=1)
    assert (info["status"], "exit code 3" in info["errors"][0]["msg"]) == ("failed", True)


def test_where_no_child_can_be_the_run_loses_its_job(executor: str, caplog: pytest.LogCaptureFixture) -> None:
    """It can write no more, and has its slot until it returns; the worker's log says so at the start."""
    go, lost = threading.Event(), list[BaseException]()

    def run(job: Any) -> None:
        go.wait(60)
        try:
            job.record_event("too late")
        except BaseException as error:
            lost.append(error)
            raise

    app, uuid = app_with(run, TIMEOUT=0.2)
    worker = zerog.Worker(app, executor=executor)
    with worker:
        until(lambda: app.progress(uuid)["status"] == "failed")
        go.set()
        until(lambda: lost)
    assert (app.get_job(uuid).errors[0].type, type(lost[0]).__name__) == ("Timeout", "ClaimLost")
    assert len([r for r in caplog.records if "can't kill a run of made at its TIMEOUT" in r.getMessage()]) == 1
