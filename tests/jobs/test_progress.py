"""Completeness, ticks, progress() and info()."""

from __future__ import annotations

from typing import Any, ClassVar, get_args

import pytest

import zerog
from tests.jobs.builders import InterferingStore, PlainQueue, PlainStore, again, declared, documented, head_of
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.engine import transitions
from zerog.jobs.answers import Entry, ErrorEntry, Status
from zerog.jobs.document import document_of
from zerog.jobs.progress import is_stalled
from zerog.jobs.stored import FLUSH_EVERY
from zerog.records.job import STATUSES
from zerog.testing.clock import ManualClock
from zerog.testing.inline import run_inline


def test_completeness_is_clamped(app: Any) -> None:
    job = app.submit("declared", {"path": "x"})
    for given, shown in ((0.5, 0.5), (7, 1.0), (-1, 0.0)):
        job.set_completeness(given)
        assert job.completeness == shown == app.progress(job.uuid)["completeness"]
    job.add_to_completeness(9)
    assert app.get_job(job.uuid).completeness == 1.0
    job.add_to_completeness(-9)
    assert app.get_job(job.uuid).completeness == 0.0


@pytest.mark.parametrize("wrong", [float("nan"), "half", None, True])
def test_what_is_no_completeness_is_named(wrong: Any) -> None:
    job = declared()
    job.save()
    with pytest.raises(ValueError, match="completeness"):
        job.set_completeness(wrong)
    with pytest.raises((ValueError, TypeError)):
        job.add_to_completeness("half")  # type: ignore[arg-type]
    assert head_of(job)["completeness"] == 0.0


def test_concurrent_additions_are_both_kept(app: Any) -> None:
    uuid = app.submit("declared", {"path": "x"}).uuid
    first, second = app.get_job(uuid), app.get_job(uuid)
    first.add_to_completeness(0.3)
    second.add_to_completeness(0.3)
    assert second.completeness == pytest.approx(0.6)
    assert app.progress(uuid)["completeness"] == pytest.approx(0.6)


def test_concurrent_additions_on_a_plain_store_are_both_kept() -> None:
    first = documented(PlainStore(), PlainQueue())
    first.save()
    second = again(first)
    first.add_to_completeness(0.3)
    second.add_to_completeness(0.3)
    assert head_of(first)["completeness"] == pytest.approx(0.6)


def test_ticks_collect_until_they_are_worth_a_write() -> None:
    job = declared()
    job.save()
    before = job.cas
    for _ in range(9):
        job.tick()
    assert (job.cas, job.completeness) == (before, 0.0)
    assert job.tickcount == pytest.approx(0.009)
    job.tick()
    assert job.cas != before
    assert head_of(job)["completeness"] == pytest.approx(0.01)
    assert head_of(job)["tickcount"] == 0.0 == job.tickcount


def test_ticks_are_written_after_a_while_however_few() -> None:
    clock = ManualClock()
    app = zerog.App("memory://", clock=clock)
    app.register(type(declared()))
    job = app.submit("declared", {"path": "x"})
    job.tick()
    assert app.progress(job.uuid)["completeness"] == 0.0
    clock.advance(FLUSH_EVERY)
    job.tick()
    assert app.progress(job.uuid)["completeness"] == pytest.approx(0.002)


def test_a_reload_counts_each_tick_once(app: Any) -> None:
    job = app.submit("declared", {"path": "x"})
    for _ in range(18):
        job.tick()
    job.reload()
    assert job.completeness + job.tickcount == pytest.approx(0.018)
    job.record_event("writes what waits")
    job.reload()
    assert job.completeness + job.tickcount == pytest.approx(0.018)
    job.add_to_completeness(0.1)
    fresh = app.get_job(job.uuid)
    assert (fresh.completeness, fresh.tickcount) == (pytest.approx(0.118), 0.0)


def test_stored_ticks_are_absorbed_by_one_of_two_holders() -> None:
    job = declared()
    job.save()
    for _ in range(8):
        job.tick()
    job.record_event("stores the ticks")
    first, second = again(job), again(job)
    first.add_to_completeness(0.3)
    second.add_to_completeness(0.3)
    assert head_of(job)["completeness"] == pytest.approx(0.608)


def test_ticks_survive_a_collision() -> None:
    job = declared(InterferingStore())
    job.save()
    for _ in range(5):
        job.tick()
    job.datastore.times = 3
    job.add_to_completeness(0.1)
    assert head_of(job)["completeness"] == pytest.approx(0.105)
    assert head_of(job)["theirs"] == 1


def test_a_requeued_run_s_ticks_are_counted_once() -> None:
    class Ticking(zerog.BaseJob):
        JOB_TYPE = "ticking"
        seen: ClassVar[list[float]] = []

        def run(self) -> Any:
            self.seen.append(round(self.completeness + self.tickcount, 6))
            for _ in range(18):
                self.tick()
            return (-1, 5) if self.attempts < 3 else 500

    finished = run_inline(Ticking(MemoryDatastore(), PlainQueue()))
    assert Ticking.seen == [0.0, 0.018, 0.036]
    assert finished.completeness + finished.tickcount == pytest.approx(0.054)


def test_a_million_ticks_wait_as_one_operation() -> None:
    job = declared()
    job.save()
    job.set_tick_value(1e-9)
    for _ in range(1_000):
        job.tick()
    assert len(list(document_of(job).pending)) == 1
    assert job.tickcount == pytest.approx(1e-6)


def test_a_tick_calls_the_keepalive_each_time() -> None:
    calls: list[int] = []
    job = declared()
    job.keepalive = lambda: calls.append(1)
    for _ in range(3):
        job.tick()
    job.keep_alive()
    assert len(calls) == 4


def test_progress_and_info_have_the_documented_keys() -> None:
    job = declared()
    job.save()
    job.record_event("x")
    assert (job.progress()["completeness"], job.progress()["result"], job.progress()["status"]) == (0.0, -1, "new")
    assert set(job.info()) == {*job.progress(), "attrs", "events", "warnings", "errors"}


def test_a_run_without_a_write_for_a_quarter_of_an_hour_is_shown_as_stalled() -> None:
    clock = ManualClock()
    app = zerog.App("memory://", clock=clock)
    shown: list[bool] = []

    class Silent(zerog.BaseJob):
        JOB_TYPE = "silent"

        def run(self) -> None:
            for seconds in (900, 1):
                clock.advance(seconds)
                shown.append(app.progress(self.uuid)["stalled"])
            assert app.info(self.uuid)["stalled"]
            assert [head["stalled"] for head in app.jobs()] == [True]
            self.record_event("back again")
            shown.append(app.progress(self.uuid)["stalled"])

    app.register(Silent)
    uuid = app.submit(Silent).uuid
    clock.advance(5000)
    assert app.progress(uuid)["stalled"] is False  # it waits: that is the queue's fault, not the job's
    assert run_inline(app, uuid).progress()["stalled"] is False
    assert shown == [False, True, False]
    clock.advance(5000)
    assert app.progress(uuid)["stalled"] is False  # it has ended


def test_a_damaged_timestamp_does_not_hide_a_job() -> None:
    moment = ManualClock().now()
    for damaged in ({}, {"updatedAt": None}, {"updatedAt": "yesterday"}):
        assert not is_stalled({"status": "running", **damaged}, moment)


def test_progress_needs_none_of_the_job_s_own_values() -> None:
    job = declared()
    job.__dict__["share"] = object()
    assert job.progress()["completeness"] == 0.0
    assert job.info()["events"] == []


@pytest.mark.parametrize(("code", "completeness"), [(200, 1.0), (204, 1.0), (500, 0.2), (404, 0.2)])
def test_only_success_fills_the_bar(code: int, completeness: float) -> None:
    class Part(zerog.BaseJob):
        JOB_TYPE = "part"

        def run(self) -> int:
            self.set_completeness(0.2)
            return code

    finished = run_inline(Part(MemoryDatastore(), PlainQueue()))
    assert finished.progress()["completeness"] == completeness
    assert finished.progress()["result"] == code


def test_record_result_by_hand_fills_the_bar_only_for_success() -> None:
    job = declared()
    job.save()
    job.record_result(404)
    assert (head_of(job)["resultCode"], head_of(job)["completeness"]) == (404, 0.0)
    job.record_result(200)
    assert head_of(job)["completeness"] == 1.0


def test_get_data_gives_the_output_and_may_be_overridden() -> None:
    class Sum(zerog.BaseJob):
        JOB_TYPE = "sum"

        def run(self) -> dict[str, int]:
            return {"sum": 3}

    class Twice(Sum):
        JOB_TYPE = "twice"

        def get_data(self) -> Any:
            return {"twice": 2 * self.output["sum"]}

    assert run_inline(Sum(MemoryDatastore(), PlainQueue())).get_data() == {"sum": 3}
    assert run_inline(Twice(MemoryDatastore(), PlainQueue())).get_data() == {"twice": 6}


def test_a_percentage_is_clamped_and_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    job = declared()
    for given in (50, 60, 1.0000001, 0.5):
        job.set_completeness(given)
    [record] = [record for record in caplog.records if "percentage" in record.getMessage()]
    assert (record.levelname, "completeness of 50" in record.getMessage(), job.completeness) == ("WARNING", True, 0.5)


@pytest.mark.parametrize(("given", "kept"), [(50, 1.0), (-3, 0.0), (0.25, 0.25)])
def test_a_percentage_among_other_fields_is_clamped_too(
    given: float, kept: float, caplog: pytest.LogCaptureFixture
) -> None:
    """``update_attrs`` sets completeness as ``set_completeness`` does, so that no bar shows 5000 %."""
    job = declared()
    job.save()
    job.update_attrs(completeness=given, offset=3)
    assert (job.completeness, head_of(job)["completeness"], head_of(job)["offset"]) == (kept, kept, 3)
    assert ("percentage" in caplog.text) is (given > 1)


@pytest.mark.parametrize("wrong", [float("nan"), "half", None, True])
def test_a_completeness_that_is_no_number_is_refused(wrong: Any) -> None:
    job = declared()
    job.save()
    with pytest.raises((ValueError, zerog.exceptions.InvalidValue)):
        job.update_attrs(completeness=wrong, offset=3)
    assert (job.completeness, head_of(job)["completeness"], job.offset, head_of(job)["offset"]) == (0.0, 0.0, 0, 0)


def test_the_types_of_the_answers_name_all_of_their_fields(app: Any) -> None:
    """A type checker knows what a poller gets; as many names, whatever the job has gone through."""
    uuid = app.submit("declared", {"path": "x"}).uuid
    assert app.progress(uuid).keys() == zerog.Progress.__annotations__.keys()
    of_info = {**zerog.Progress.__annotations__, **zerog.Info.__annotations__}.keys()
    assert app.info(uuid).keys() == of_info - {"place"}, "which only a parked job has"
    entry, error = transitions.event_record("now", "x", who="a"), transitions.error_record("now", 1, "x", 1, "b")
    assert entry.keys() <= Entry.__annotations__.keys()
    assert error.keys() <= ErrorEntry.__annotations__.keys()
    assert set(get_args(Status)) == set(STATUSES)
