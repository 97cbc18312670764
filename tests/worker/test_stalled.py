"""Jobs that run and write nothing: after how long they are shown as stalled, and how ``keep_alive`` prevents it."""

from __future__ import annotations

from typing import Any

import pytest

import zerog
from tests.processes import until
from tests.worker.worker_fixtures import Bed
from zerog.exceptions import InvalidJobClass
from zerog.records.job import make_key
from zerog.records.operations import Set
from zerog.testing.clock import ManualClock
from zerog.testing.inline import run_inline


def watching(clock: ManualClock, step: Any, **attributes: Any) -> dict[str, Any]:
    """Run a job which makes ten steps of 100 s; return what a poller saw after each, and how many writes there were."""
    app = zerog.App("memory://", clock=clock)
    seen: dict[str, Any] = {"stalled": [], "updatedAt": set()}

    def run(self: Any) -> None:
        for _ in range(10):
            clock.advance(100)
            step(self)
            progress = app.progress(self.uuid)
            seen["stalled"].append(progress["stalled"])
            seen["updatedAt"].add(progress["updatedAt"])

    app.register(type("Made", (zerog.BaseJob,), {"JOB_TYPE": "made", "run": run, **attributes}))
    assert run_inline(app, app.submit("made").uuid).status == "succeeded"
    return seen


@pytest.mark.parametrize(
    ("interval", "stalled"),
    [(zerog.BaseJob.STALLED_AFTER, [False] * 9 + [True]), (250, [False] * 2 + [True] * 8), (None, [False] * 10)],
)
def test_the_interval_is_the_class_s_own(interval: float | None, stalled: list[bool]) -> None:
    assert watching(ManualClock(), lambda job: None, STALLED_AFTER=interval)["stalled"] == stalled


@pytest.mark.parametrize("interval", [900, 250, 101])
def test_keep_alive_keeps_a_job_from_being_shown_as_stalled(interval: float) -> None:
    assert watching(ManualClock(), lambda job: job.keep_alive(), STALLED_AFTER=interval)["stalled"] == [False] * 10


def test_ticks_that_add_nothing_do_the_same() -> None:
    def step(job: Any) -> None:
        if job.tickval:
            job.set_tick_value(0)
        job.tick()

    assert watching(ManualClock(), step, STALLED_AFTER=250)["stalled"] == [False] * 10


@pytest.mark.parametrize(("interval", "writes"), [(900, 4), (3_000, 2), (None, 1)])
def test_in_a_tight_loop_it_writes_every_third_of_the_interval(interval: float | None, writes: int) -> None:
    def often(job: Any) -> None:
        for _ in range(50):
            job.keep_alive()

    assert len(watching(ManualClock(), often, STALLED_AFTER=interval)["updatedAt"]) == writes


def test_what_waits_for_the_next_write_still_waits() -> None:
    """A checkpoint and what belongs to it stay one write."""
    stored: list[Any] = []

    def step(job: Any) -> None:
        job.update_attrs(output="waits", flush=False)
        job.keep_alive()
        stored.append(job.app.get_job(job.uuid).output)

    assert len(watching(ManualClock(), step, STALLED_AFTER=1)["updatedAt"]) == 10
    assert stored == [None] * 10


def test_a_job_that_waits_for_another_one_is_not_stalled() -> None:
    clock = ManualClock()
    app = zerog.App("memory://", clock=clock)

    @app.job
    def parent(job: Any) -> dict[str, Any]:
        other = job.submit("parent", queue="unserved")
        with pytest.raises(TimeoutError):
            app.wait(other.uuid, timeout=5_000)
        return {"stalled": app.progress(job.uuid)["stalled"]}

    assert run_inline(app, app.submit("parent").uuid).output == {"stalled": False}


def test_a_silent_job_is_shown_as_stalled_until_it_calls_keep_alive(bed: Bed, form: Any) -> None:
    def run(self: Any) -> dict[str, Any]:
        def progress() -> Any:
            return self.app.progress(self.uuid)

        def kept_alive() -> Any:
            self.keep_alive()  # it writes a third of the interval after the process's own last write
            return progress()["updatedAt"] != silent["updatedAt"]

        silent = until(lambda: progress()["stalled"] and progress())
        until(kept_alive)
        return {"before": silent["updatedAt"], "after": progress()["updatedAt"]}

    info = bed.run(form(run), STALLED_AFTER=0.2)
    output = bed.app.get_job(info["uuid"]).output
    assert info["status"] == "succeeded"
    assert output["before"] < output["after"] <= info["updatedAt"]


def test_keep_alive_outside_a_run_writes_nothing() -> None:
    app = zerog.App("memory://", clock=(clock := ManualClock()))
    job = app.submit(app.job("made")(lambda job: None).job)
    clock.advance(5_000)
    job.keep_alive()
    assert app.progress(job.uuid)["updatedAt"] == app.progress(job.uuid)["createdAt"]


def test_it_is_stored_where_it_differs() -> None:
    """A program that doesn't know the class shows what the class says; a later class changes later jobs."""
    app = zerog.App("memory://")
    for interval, stored in ((900, False), (60, True), (None, True)):
        made = type("Made", (zerog.BaseJob,), {"JOB_TYPE": f"made {interval}", "run": print, "STALLED_AFTER": interval})
        app.register(made)
        job = app.submit(made)
        document = app.datastore.read(make_key(job.uuid)) or {}
        assert document.get("stalledAfter", "absent") == (interval if stored else "absent")
        assert "stalledAfter" not in vars(job)


@pytest.mark.parametrize("damaged", ["soon", -1, 0, [], True])
def test_a_damaged_interval_counts_as_the_default(damaged: Any) -> None:
    app = zerog.App("memory://", clock=(clock := ManualClock()))
    seen: list[bool] = []

    @app.job
    def made(job: Any) -> None:
        app.datastore.mutate(make_key(job.uuid), [Set("stalledAfter", damaged)])
        for _ in range(2):
            clock.advance(450)
            seen.append(app.progress(job.uuid)["stalled"])
        clock.advance(1)
        seen.append(app.progress(job.uuid)["stalled"])
        job.keep_alive()

    assert run_inline(app, app.submit("made").uuid).status == "succeeded"
    assert seen == [False, False, True]


@pytest.mark.parametrize("wrong", [0, -1, "900", True, float("nan"), float("inf")])
def test_what_is_no_interval_is_refused_at_registration(wrong: Any) -> None:
    made = type("Made", (zerog.BaseJob,), {"JOB_TYPE": "made", "run": print, "STALLED_AFTER": wrong})
    with pytest.raises(InvalidJobClass, match=r"STALLED_AFTER is .*; expected seconds, more than 0, or None"):
        zerog.App("memory://").register(made)
