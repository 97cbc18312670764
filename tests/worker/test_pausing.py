"""Paused jobs, as their runs and a worker see them."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from marshmallow import Schema, fields

import zerog
from tests.processes import until
from tests.worker.builders import Running, Started, app_with
from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import DatastoreUnavailable
from zerog.records.commands import Stop
from zerog.support.clock import SYSTEM
from zerog.worker.gate import Gate

STEPS = 400
"""Steps of a job that is paused amid them."""


class Steps(zerog.BaseJob):
    JOB_TYPE = "steps"

    def run(self) -> Any:
        while self.completeness < 0.999:
            self.update_attrs(completeness=self.completeness + 1 / STEPS)
            time.sleep(0.005)
        return 200


class AsyncSteps(Steps):
    JOB_TYPE = "async_steps"

    async def run(self) -> Any:
        while self.completeness < 0.999:
            self.update_attrs(completeness=self.completeness + 1 / STEPS)
            await asyncio.sleep(0.005)
        return 200


class Short(zerog.BaseJob):
    JOB_TYPE = "short"

    def run(self) -> Any:
        return 200


@pytest.mark.parametrize(("executor", "job_type"), [("thread", "steps"), ("async", "async_steps")])
def test_a_paused_run_frees_its_slot_and_goes_on_later(executor: str, job_type: str) -> None:
    """From the state that it had, uncounted; meanwhile others run."""
    app = zerog.App("memory://")
    app.register(Steps, AsyncSteps, Short)
    with Running(app, executor=executor, concurrency=1):
        uuid = app.submit(job_type).uuid
        until(lambda: app.progress(uuid)["completeness"] > 0.01)
        assert app.pause(uuid, "the disk is full", who="ann") == "running"
        until(lambda: app.progress(uuid)["status"] == "paused")
        before = app.progress(uuid)
        assert before["paused"] is not None
        assert (before["paused"]["by"], before["paused"]["reason"]) == ("ann", "the disk is full")
        assert (before["attempts"], before["cancelRequested"]) == (0, None)
        app.wait(app.submit("short").uuid, 20)
        assert app.progress(uuid) == before
        app.resume(uuid, "bob")
        job = app.wait(uuid, 60)
    assert (job.status, job.attempts, job.errorCount, job.crashes, job.lost) == ("succeeded", 1, 0, 0, 0)
    assert [event["msg"] for event in job.events] == ["paused by ann: the disk is full", "resumed by bob"]


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
def test_a_run_is_interrupted_by_paused_and_not_as_if_cancelled(kind: str) -> None:
    """Also one that writes nothing, where it can be woken."""
    seen: list[str] = []

    async def wait_long(job: Any) -> None:
        try:
            await asyncio.sleep(60)
        except zerog.Cancelled:
            seen.append("cancelled")
            raise
        except zerog.Paused:
            seen.append("paused")
            raise

    def write_often(job: Any) -> None:
        try:
            while True:
                job.keep_alive()
                time.sleep(0.01)
        except zerog.Cancelled:
            seen.append("cancelled")
            raise
        except zerog.Paused:
            seen.append("paused")
            raise

    app, uuid = app_with(wait_long if kind == "coroutine" else write_often)
    with Running(app, executor="async" if kind == "coroutine" else "thread"):
        until(lambda: app.progress(uuid)["status"] == "running")
        app.pause(uuid)
        until(lambda: app.progress(uuid)["status"] == "paused")
    assert seen == ["paused"]


def test_a_run_that_ignores_its_pause_loses_its_job_after_the_grace() -> None:
    go, began = threading.Event(), threading.Event()

    def run(job: Any) -> None:
        began.set()
        go.wait(60)

    app, uuid = app_with(run, CANCEL_GRACE=0.2)
    with Running(app):
        assert began.wait(20)
        app.pause(uuid)
        until(lambda: app.progress(uuid)["status"] == "paused")
        go.set()
    job = app.get_job(uuid)
    assert (job.lost, job.errorCount, job.attempts) == (0, 0, 0)
    assert "did not end within 0.2 s of being paused" in job.events[-1]["msg"]


@pytest.mark.parametrize("is_hinted", [True, False])
def test_a_claim_whose_job_is_paused_before_its_run_begins_is_given_back(is_hinted: bool) -> None:
    app, uuid = app_with(lambda job: None)
    [claim] = app.engine.claim(1, WorkerIdentity("w", 30.0), app.registry.load_head)
    app.pause(uuid)
    settlement = Gate(app.engine, app.registry.load_head, -1.0, SYSTEM).instead(
        claim, Stop.PAUSE if is_hinted else None
    )
    assert settlement is not None
    assert settlement is not True
    assert app.engine.settle([settlement]) == [True]
    assert app.progress(uuid)["status"] == "paused"


@pytest.mark.parametrize(("verb", "status"), [("pause", "paused"), ("cancel", "cancelled")])
def test_why_a_run_is_to_stop_is_settled_by_its_document(
    verb: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it can't be read when the run notices."""
    started: Started

    def run(job: Any) -> None:
        getattr(started.app, verb)(started.uuid)
        with monkeypatch.context() as broken:
            broken.setattr(started.app.datastore, "read_with_cas", _away)
            job.record_event("a write")

    started = Started(run)
    assert started.settle(started.go()).status == status


def _away(*_arguments: Any, **_more: Any) -> Any:
    raise DatastoreUnavailable("away")


def test_a_pause_that_becomes_a_cancellation_ends_the_job() -> None:
    """Even if the run has noticed the pause alone."""

    def run(job: Any) -> None:
        started.app.pause(started.uuid)
        try:
            job.record_event("a write")
        finally:
            assert started.app.cancel(started.uuid) == "running"

    started = Started(run)
    outcome = started.go()
    assert outcome.branch == "paused"
    assert started.settle(outcome).status == "cancelled"


def test_an_error_after_the_pause_is_the_job_s_own() -> None:
    """It counts, and the job is paused before its next try."""

    def run(job: Any) -> None:
        started.app.pause(started.uuid)
        try:
            job.record_event("a write")
        except zerog.Paused:
            raise ValueError("while it cleaned up") from None

    started = Started(run, MAX_ERRORS=3)
    job = started.settle(started.go())
    assert (job.status, job.errorCount) == ("paused", 1)


def test_a_paused_job_goes_on_on_newer_code() -> None:
    """What was deployed meanwhile lifts its document."""
    app, uuid = app_with(lambda job: None)
    app.pause(uuid)

    class Newer(zerog.BaseJob):
        JOB_TYPE = "made"
        SCHEMA_VERSION = "2.0"

        class State(Schema):
            lifted = fields.Boolean(load_default=False)

        lifted: bool

        @zerog.migration("1.0", "2.0")
        @staticmethod
        def lift(document: dict[str, Any]) -> dict[str, Any]:
            return {**document, "lifted": True}

        def run(self) -> Any:
            return {"lifted": self.lifted}

    newer = zerog.App(datastore=app.datastore, queue=app.queue)
    newer.register(Newer)
    with Running(newer):
        assert newer.progress(uuid)["status"] == "paused"
        newer.resume(uuid)
        job = newer.wait(uuid, 20)
    assert job.output == {"lifted": True}
    assert newer.progress(uuid)["paused"] is None
