"""Ends that run() does not choose: limits, cancellation, shutdown, a lost claim, a hook that fails."""

from __future__ import annotations

from typing import Any

import pytest

import zerog
from tests.worker.builders import Body, Started, finished, job_of, raising
from zerog.contracts.datastore import RunGuard
from zerog.exceptions import Cancelled, ClaimLost
from zerog.jobs.document import document_of
from zerog.records.job import make_key
from zerog.records.operations import Set
from zerog.testing.inline import run_inline
from zerog.worker.outcome import FINISH, LOST, RELEASE


def test_a_job_that_requests_another_run_for_ever_ends() -> None:
    job = finished(lambda self: zerog.NO_RESULT, MAX_CONTINUES=4)
    assert (job.attempts, job.continues, job.resultCode) == (5, 4, 500)
    assert "MAX_CONTINUES 4" in job.errors[0].msg


@pytest.mark.parametrize(("counter", "limit"), [("crashes", "MAX_CRASHES"), ("lost", "MAX_LOST")])
def test_a_job_under_which_processes_die_is_not_run_any_more(counter: str, limit: str) -> None:
    ran: list[int] = []
    for count, runs in ((1, 1), (2, 0)):
        job = job_of(lambda self: ran.append(1), **{limit: 2})
        job.enqueue()
        job.datastore.mutate(job.key(), [Set(counter, count)])
        ended = run_inline(job)
        assert len(ran) == runs
        ran.clear()
    assert (ended.status, ended.resultCode) == ("failed", 500)
    assert f"{limit} 2" in ended.errors[0].msg


# cancelled, shutdown, claim lost


def test_a_running_job_is_cancelled_at_its_next_write_and_may_clean_up() -> None:
    def run(self: Any) -> Any:
        self.app.cancel(self.uuid)
        try:
            self.record_event("recorded now")
        except Exception:
            pytest.fail("an except Exception in the job must not hide it")
        finally:
            self.update_attrs(output="cleaned")

    started = Started(run)
    started.claim.job[0].app = started.app
    outcome = started.go()
    assert (outcome.branch, outcome.kind) == ("cancelled", FINISH)
    job = started.settle(outcome)
    assert (job.status, job.resultCode, job.output) == ("cancelled", 410, "cleaned")
    assert [event["msg"] for event in job.events] == ["recorded now"]


@pytest.mark.parametrize("call", ["save", "tick", "keep_alive"])
def test_every_call_raises_a_cancellation(call: str) -> None:
    def run(self: Any) -> Any:
        self.app.cancel(self.uuid)
        self.output = 1
        if call != "save":
            with pytest.raises(Cancelled):
                self.record_event("x")
        getattr(self, call)()

    started = Started(run)
    started.claim.job[0].app = started.app
    assert started.go().branch == "cancelled"


def test_a_job_cancelled_before_its_run_does_not_run() -> None:
    started = Started(lambda self: pytest.fail("it ran"))
    started.claim.head["cancelRequested"] = "2026-01-01T00:00:00+00:00"
    started.claim.job[1][2]["cancelRequested"] = started.app.clock.now()
    assert started.go().branch == "cancelled"


def test_a_shutdown_costs_the_job_nothing() -> None:
    def run(self: Any) -> Any:
        assert self.stopping
        self.update_attrs(output="half", flush=False)
        return zerog.NO_RESULT, 60

    started = Started(run)
    started.stopping.set()
    outcome = started.go()
    assert (outcome.branch, outcome.kind, outcome.delay) == ("shutdown", RELEASE, 60)
    job = started.settle(outcome)
    assert (job.status, job.output) == ("scheduled", "half")
    assert (job.attempts, job.continues, job.errorCount) == (0, 0, 0)


def test_a_run_that_lost_its_claim_stops_at_its_next_write() -> None:
    after: list[str] = []

    def run(self: Any) -> Any:
        self.app.engine.rescue(self.uuid, RunGuard.of(vars(self)), "lost", "taken")
        try:
            self.record_event("too late")
        except Exception:
            after.append("hidden")
        after.append("went on")

    started = Started(run)
    started.claim.job[0].app = started.app
    outcome = started.go()
    assert (outcome.branch, outcome.kind, after) == ("claim lost", LOST, [])
    assert started.app.info(started.uuid)["events"] == []


def test_a_run_that_hides_its_lost_claim_still_settles_nothing() -> None:
    def run(self: Any) -> Any:
        self.app.engine.rescue(self.uuid, RunGuard.of(vars(self)), "lost", "taken")
        try:
            self.record_event("too late")
        except BaseException:
            pass
        return 200

    started = Started(run)
    started.claim.job[0].app = started.app
    assert started.go().kind == LOST


def test_a_claim_lost_in_a_coroutine_is_not_an_error() -> None:
    async def run(self: Any) -> Any:
        document_of(self).run.revoke("taken")
        self.record_event("x")

    assert Started(run).go().kind == LOST


def test_nothing_can_be_written_after_the_run_has_ended() -> None:
    kept: list[Any] = []
    started = Started(lambda self: kept.append(self))
    started.settle(started.go())
    with pytest.raises(ClaimLost, match="has ended"):
        kept[0].record_event("from a thread left behind")


def boom(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("a bug in a hook")


@pytest.mark.parametrize(
    ("hook", "body"),
    [
        ("record_error", raising(ValueError("x"))),
        ("continue_running", raising(ValueError("x"))),
        ("record_result", lambda self: 200),
        ("record_warning", raising(zerog.WarningFinish("x"))),
    ],
)
def test_a_hook_that_fails_does_not_hide_the_end(hook: str, body: Body) -> None:
    for fail in (boom, raising(SystemExit(1)), raising(zerog.ErrorContinue("x"))):
        job = finished(body, **{hook: fail if fail is boom else lambda self, *a, _f=fail, **k: _f(self)})
        assert (job.status, job.resultCode, job.attempts) == ("failed", 500, 1)
        assert "a hook of the job failed" in job.errors[-1].msg


def test_an_overridden_record_error_that_records_nothing_lets_no_job_fail_for_ever() -> None:
    job = finished(raising(ValueError("x")), record_error=lambda self, *a, **k: None)
    assert (job.attempts, job.status, job.errorCount) == (3, "failed", 3)


def test_what_a_hook_records_is_stored_with_the_end_of_the_run() -> None:
    def continue_running(self: Any) -> int:
        self.record_event("asked")
        return 500

    started = Started(raising(ValueError("x")), continue_running=continue_running)
    outcome = started.go()
    assert started.app.info(started.uuid)["events"] == []
    assert len(started.settle(outcome).events) == 1


@pytest.mark.parametrize("error", [ValueError("no path"), SystemExit(2)])
def test_an_init_that_fails_is_an_error_of_the_job(error: BaseException) -> None:
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        zerog.BaseJob.__init__(self, *args, **kwargs)
        if self.epoch:
            raise error

    app = zerog.App("memory://")
    app.register(type("Made", (zerog.BaseJob,), {"JOB_TYPE": "made", "run": lambda self: 200, "__init__": init}))
    uuid = app.submit("made").uuid
    engine_head = lambda: app.datastore.read(make_key(uuid))  # noqa: E731
    with pytest.raises(type(error)):
        run_inline(app, uuid)
    assert (engine_head()["status"], engine_head()["resultCode"], engine_head()["errorCount"]) == ("failed", 500, 3)
    assert "could not be started" in engine_head()["errors"][0]["msg"]
    assert "init" in engine_head()["errors"][0]["traceback"]


def test_a_run_whose_end_does_not_fit_into_the_document_fails_with_a_reason() -> None:
    part = "x" * 3_000_000

    def run(self: Any) -> Any:
        self.update_attrs(headers={"a": part})
        return {"b": part}

    job = finished(run)
    assert (job.status, job.output) == ("failed", None)
    assert "can't be stored" in job.errors[0].msg


@pytest.mark.parametrize("delay", [-1, float("nan"), "soon", True])
def test_a_wrong_delay_is_named(delay: Any) -> None:
    """The job fails, and its error states which part of the value was wrong and what was expected."""
    job = finished(lambda self: (zerog.NO_RESULT, delay))
    assert job.status == "failed"
    assert f"run() returned (-1, {delay!r}) with delay={delay!r}; expected seconds" in job.errors[-1].msg
