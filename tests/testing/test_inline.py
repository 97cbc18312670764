"""run_inline: tests of users' jobs find what production would."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields

import zerog
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import ConfigurationError, CorruptDocument, JobStateError
from zerog.jobs.document import document_of
from zerog.testing.clock import ManualClock
from zerog.testing.inline import drain, run_inline, ways_out


class Steps(zerog.BaseJob):
    JOB_TYPE = "steps"

    class Params(Schema):
        steps = fields.Integer(load_default=0)

    class State(Schema):
        done = fields.List(fields.Integer(), load_default=list)
        value = fields.Raw()

    steps: int
    done: list[int]

    def run(self) -> Any:
        self.update_attrs(done=[*self.done, self.attempts], flush=False)
        if self.attempts <= self.steps:
            return zerog.NO_RESULT, 3600
        return {"done": self.done}


class Wrong(Steps):
    JOB_TYPE = "wrong"

    def run(self) -> Any:
        self.update_attrs(value={"when": object()})


@pytest.fixture(params=["memory", "sqlite"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    made = zerog.App("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/jobs.db")
    made.register(Steps, Wrong)
    yield made
    made.close()


def test_a_submitted_job_is_run_over_its_delays(app: Any) -> None:
    other = app.submit("steps")
    uuid = app.submit("steps", {"steps": 2}, delay=86400).uuid
    job = run_inline(app, uuid)
    assert (job.status, job.output, job.attempts) == ("succeeded", {"done": [1, 2, 3]}, 3)
    assert ways_out(job) == ("value", "value", "value")
    assert app.progress(uuid)["result"] == 200
    assert app.progress(other.uuid)["status"] == "queued"


def test_a_job_object_is_enough() -> None:
    for state in ("unsaved", "saved", "enqueued"):
        job = Steps(MemoryDatastore(), MemoryQueue(), steps=1)
        if state != "unsaved":
            job.save() if state == "saved" else job.enqueue()
        finished = run_inline(job)
        assert finished is not job
        assert isinstance(finished, Steps)
        assert (finished.uuid, finished.done) == (job.uuid, [1, 2])


def test_it_finds_what_production_would_refuse(app: Any) -> None:
    job = run_inline(app, app.submit("wrong").uuid)
    assert (job.status, ways_out(job)) == ("failed", ("exception",) * 3)
    assert "value.when is of type object" in job.errors[0].msg


def test_what_a_job_leaves_in_memory_is_gone_in_its_next_run(app: Any) -> None:
    class Forgetful(zerog.BaseJob):
        JOB_TYPE = "forgetful"

        def run(self) -> Any:
            if self.attempts == 1:
                self.kept = True
                return zerog.NO_RESULT
            return 200 if hasattr(self, "kept") else 404

    app.register(Forgetful)
    assert run_inline(app, app.submit("forgetful").uuid).resultCode == 404


def test_a_worker_drops_the_queue_s_entry_of_a_job_that_ran_inline(app: Any) -> None:
    run_inline(app, app.submit("steps").uuid)
    assert zerog.Worker(app).run(burst=True).ran == 0
    assert app.queue.size() == 0


def test_a_finished_job_is_given_back_as_it_is(app: Any) -> None:
    uuid = app.submit("steps").uuid
    first = run_inline(app, uuid)
    again = run_inline(app, uuid)
    assert (again.cas, ways_out(again)) == (first.cas, ())


def test_misuse_is_named(app: Any) -> None:
    with pytest.raises(ConfigurationError, match="needs the uuid"):
        run_inline(app)
    job = Steps(MemoryDatastore(), MemoryQueue())
    with pytest.raises(ConfigurationError, match="not 'x'"):
        run_inline(job, "x")
    assert job.cas is None
    with pytest.raises(zerog.JobNotFound):
        run_inline(app, job.uuid)


def test_a_job_that_continues_for_ever_is_given_up(app: Any) -> None:
    uuid = app.submit("steps", {"steps": 50}).uuid
    with pytest.raises(JobStateError, match="scheduled after 7 runs"):
        run_inline(app, uuid, max_runs=7)
    assert app.get_job(uuid).attempts == 7


def test_a_job_that_runs_elsewhere_or_can_t_be_loaded_is_not_run(app: Any) -> None:
    uuid = app.submit("steps").uuid
    stranger = zerog.App(datastore=app.datastore, queue=app.queue)
    with pytest.raises(CorruptDocument, match="no class is registered"):
        run_inline(stranger, uuid)
    assert app.engine.claim(1, WorkerIdentity("w", 30.0), app.registry.load_head)
    with pytest.raises(JobStateError, match="is running"):
        run_inline(app, uuid)


def test_a_run_that_lost_its_claim_runs_again(app: Any) -> None:
    class Losing(zerog.BaseJob):
        JOB_TYPE = "losing"

        def run(self) -> Any:
            if self.attempts == 1:
                assert document_of(self).run is not None
                document_of(self).run.revoke("the lease is over")
                self.record_event("never stored")
            return 200

    app.register(Losing)
    job = run_inline(app, app.submit("losing").uuid)
    assert ways_out(job) == ("claim lost", "value")
    assert (job.status, job.lost, job.events) == ("succeeded", 1, [])


def test_a_test_that_is_a_coroutine_itself_uses_a_thread(app: Any) -> None:
    """A loop can't be run within a loop: without a thread the job is not begun."""

    class Waiting(zerog.BaseJob):
        JOB_TYPE = "waiting"

        async def run(self) -> Any:
            await asyncio.sleep(0)
            return 204

    app.register(Waiting)

    job = app.submit("waiting")

    async def wrong() -> None:
        with pytest.raises(zerog.ConfigurationError, match=r"to_thread\(run_inline, job\). The job was not run"):
            run_inline(job)
        with pytest.raises(zerog.ConfigurationError, match="was not run"):
            drain(app)

    async def right() -> Any:
        return await asyncio.to_thread(run_inline, app, job.uuid)

    asyncio.run(wrong())
    assert app.get_job(job.uuid).attempts == 0
    assert asyncio.run(right()).resultCode == 204


def test_a_job_is_run_by_its_own_clock() -> None:
    """The times in the job's document are those of the test's clock."""
    clock = ManualClock(datetime(2031, 5, 1, tzinfo=UTC))
    app = zerog.App("memory://", clock=clock)
    app.register(Steps)
    job = run_inline(app.submit("steps", {"steps": 1}))
    assert str(job.finishedAt).startswith("2031-05-01")
    assert clock.now() >= datetime(2031, 5, 1, 1, tzinfo=UTC)
