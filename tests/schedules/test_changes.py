"""Changes of schedules: by deploys, by hand, while a leader works on them; and leaders without the class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields

import zerog
from tests.engine.engines import EACH_KIND
from tests.schedules.desk import HOUR, MINUTE, Desk, Report
from zerog.exceptions import AmbiguousWrite, ConfigurationError, InvalidValue, ScheduleNotFound, UnknownJobType
from zerog.records.keys import SCHEDULES, schedule_key
from zerog.schedules.definition import Definition, definition_of
from zerog.schedules.timing import timing_of


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk("memory", tmp_path)


@pytest.fixture(params=EACH_KIND)
def each(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(request.param, tmp_path)
    yield made
    made.app.close()


# deploys


def test_the_definition_of_the_worker_started_last_holds(each: Desk) -> None:
    each.declare(params={"region": "north"}, build="1")
    each.declare(params={"region": "south"}, build="2")
    each.declare(params={"region": "south"}, build="3")  # no change
    shown = each.shown()
    assert (shown["params"]["region"], shown["byHand"], shown["code"]) == ("south", False, None)
    assert [(event["what"], event["build"]) for event in shown["events"]] == [("added", "1"), ("changed", "2")]


def test_what_was_changed_by_hand_stays_and_is_shown_beside_the_code_s(each: Desk) -> None:
    each.declare(params={"region": "north"})
    definition = each.app.schedule_definition("0 5 * * *", Report, {"region": "hand"})
    each.app.schedules.add("s", definition, "ann")
    each.declare(params={"region": "south"}, build="2")
    shown = each.shown()
    assert (shown["params"]["region"], shown["cron"], shown["byHand"]) == ("hand", "0 5 * * *", True)
    assert (shown["code"]["definition"]["params"], shown["code"]["build"]) == ({"region": "south"}, "2")
    each.app.schedules.restore("s", "ann")
    assert (each.shown()["params"]["region"], each.shown()["byHand"]) == ("south", False)
    each.declare(params={"region": "west"}, build="3")
    assert each.shown()["params"]["region"] == "west"


def test_a_removed_schedule_is_not_brought_back_by_a_deploy(each: Desk) -> None:
    each.declare()
    each.app.schedules.remove("s", "ann")
    each.declare(params={"region": "new"}, build="2")
    each.lead(MINUTE)
    assert (each.jobs(), each.shown()["state"]) == ([], "removed")
    for change in (each.app.schedules.pause, each.app.schedules.run, each.app.schedules.remove):
        with pytest.raises(ScheduleNotFound):
            change("s")


def test_a_pause_stays_across_a_deploy(desk: Desk) -> None:
    desk.declare()
    desk.app.schedules.pause("s")
    desk.declare(params={"region": "new"}, build="2")
    assert desk.shown()["state"] == "paused"
    desk.lead(MINUTE)
    assert desk.jobs() == []


def test_new_times_hold_from_the_change_on(desk: Desk) -> None:
    """Times of the past that the new expression has were none of the schedule's."""
    desk.declare(cron="0 * * * *")
    desk.lead(30 * MINUTE)
    desk.declare(cron="*/10 * * * *", build="2")
    desk.lead()
    assert desk.jobs() == []
    desk.lead(10 * MINUTE)
    assert desk.jobs() == desk.ticks(40)


def test_other_changes_leave_the_ticks_as_they_are(desk: Desk) -> None:
    desk.declare(cron="0 * * * *")
    desk.clock.advance(HOUR)
    desk.declare(cron="0 * * * *", params={"region": "late"}, build="2")
    desk.lead()
    assert desk.jobs() == desk.ticks(60)


def test_one_name_has_one_definition_in_a_program(desk: Desk) -> None:
    desk.app.schedule("t", "0 3 * * *", Report)
    desk.app.schedule("t", "0  3 * * *", "report")
    with pytest.raises(ConfigurationError, match="declared already"):
        desk.app.schedule("t", "0 4 * * *", Report)


@pytest.mark.parametrize(
    ("change", "error", "why"),
    [
        ({"cron": "61 * * * *"}, InvalidValue, "the minute makes no sense"),
        ({"cron": "0 3 * *"}, InvalidValue, "five fields"),
        ({"cron": "0 0 3 * * *"}, InvalidValue, "five fields"),
        ({"cron": "0 0 30 2 *"}, InvalidValue, "day-of-month"),
        ({"cron": "* * */20 * 1L"}, InvalidValue, "no time in 50 years"),
        ({"cron": "0 3 * * MON#1/2"}, InvalidValue, "makes no sense"),
        ({"cron": 3}, InvalidValue, "five fields"),
        ({"cron": None}, InvalidValue, "one of both"),
        ({"every": timedelta(hours=1)}, InvalidValue, "one of both"),
        ({"cron": None, "every": timedelta(milliseconds=500)}, InvalidValue, "whole seconds"),
        ({"cron": None, "every": timedelta(seconds=1.5)}, InvalidValue, "whole seconds"),
        ({"cron": None, "every": timedelta(days=400)}, InvalidValue, "366 days"),
        ({"cron": None, "every": 60}, InvalidValue, "timedelta"),
        ({"cron": None, "every": timedelta(hours=1), "timezone": "Europe/Berlin"}, InvalidValue, "has no timezone"),
        ({"timezone": "Mars/Base"}, InvalidValue, "Europe/Berlin"),
        ({"timezone": "../../etc/passwd"}, InvalidValue, "Europe/Berlin"),
        ({"timezone": "Europe"}, InvalidValue, "Europe/Berlin"),
        ({"timezone": None}, InvalidValue, "expected a name"),
        ({"overlap": "wait"}, InvalidValue, "'skip' or 'queue' or 'cancel'"),
        ({"catch_up": "all"}, InvalidValue, "'one' or 'none'"),
        ({"job_type": "nothing"}, UnknownJobType, "nothing"),
        ({"job_type": None}, UnknownJobType, "no job"),
        ({"params": {"nothing": 1}}, ValidationError, "Unknown field"),
        ({"params": ["x"]}, InvalidValue, "object of parameters"),
        ({"queue": "a,b"}, InvalidValue, "commas"),
        ({"priority": "high"}, InvalidValue, "whole number"),
        ({"name": "a b"}, InvalidValue, "letters, digits"),
        ({"name": "x" * 101}, InvalidValue, "letters, digits"),
        ({"name": ""}, InvalidValue, "letters, digits"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_where_it_is_declared(
    desk: Desk, change: dict[str, Any], error: type[Exception], why: str
) -> None:
    given: dict[str, Any] = {"name": "s", "cron": "0 3 * * *", "job_type": Report, **change}
    with pytest.raises(error, match=why):
        desk.app.schedule(**given)
    assert desk.app.schedules.declared == {}


def test_without_cronsim_intervals_work_and_expressions_name_what_is_missing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cronsim", None)
    desk.declare(cron=None, every=timedelta(minutes=1))
    desk.lead(30)
    assert desk.jobs() == desk.ticks(1)
    with pytest.raises(ConfigurationError, match=r"need cronsim.*\[schedules\]"):
        desk.app.schedule("t", "0 3 * * *", Report)


def test_a_damaged_schedule_and_directory_are_made_anew_by_a_deploy(desk: Desk) -> None:
    desk.declare()
    desk.damage({"waiting": "damaged"})
    with pytest.raises(zerog.CorruptDocument):
        desk.app.schedules.pause("s")
    stored, token = desk.app.datastore.read_with_cas(SCHEDULES)
    desk.app.datastore.set_with_cas(SCHEDULES, {**stored, "schedules": 7}, token)
    desk.declare()
    desk.lead(30)
    assert desk.jobs() == desk.ticks(1)


def test_a_schedule_that_can_t_be_stored_keeps_no_other_from_it(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.declare("s")
    desk.damage({"format": 2})
    desk.declare("t", build="2")
    assert "schedule s of this program can't be stored" in caplog.text
    assert desk.shown("t")["state"] == "active"
    assert desk.stored("s")["format"] == 2


# while a leader works


@contextmanager
def before_write(desk: Desk, number: int, change: Callable[[], object]) -> Iterator[None]:
    """Make a change just before the write of that number of the schedule: 1 decides a tick, 2 notes its job."""
    store, write = desk.app.datastore, desk.app.datastore.set_with_cas
    left = number

    def changed_first(key: str, *args: Any) -> Any:
        nonlocal left
        left -= key == schedule_key("s")
        if left == 0:
            left = -1
            change()
        return write(key, *args)

    store.set_with_cas = changed_first
    yield
    del store.set_with_cas
    assert left < 0


@pytest.mark.parametrize(
    ("change", "jobs"),
    [
        (lambda desk: desk.app.schedules.pause("s"), 0),
        (lambda desk: desk.app.schedules.remove("s"), 0),
        (lambda desk: desk.declare(cron="30 * * * *", build="2"), 0),
        (lambda desk: desk.declare(params={"region": "new"}, build="2"), 1),
    ],
    ids=["pause", "remove", "other times", "other parameters"],
)
def test_a_change_before_the_tick_is_decided_holds(desk: Desk, change: Callable[[Desk], None], jobs: int) -> None:
    desk.declare()
    desk.clock.advance(30)
    with before_write(desk, 1, lambda: change(desk)):
        desk.lead()
    desk.lead(1)
    assert len(desk.jobs()) == jobs
    if jobs:
        assert desk.app.get_job(desk.shown()["lastJob"], Report).region == "new"


@pytest.mark.parametrize("overlap", ["skip", "queue", "cancel"])
def test_a_change_before_the_job_is_noted_leaves_one_job(desk: Desk, overlap: str) -> None:
    desk.declare(overlap=overlap)
    desk.clock.advance(30)
    with before_write(desk, 2, lambda: desk.app.schedules.pause("s")):
        desk.lead()
    assert (desk.jobs(), desk.shown()["waiting"]) == (desk.ticks(1), desk.ticks(1))
    desk.finish()
    desk.app.schedules.resume("s")
    desk.lead(1)
    assert (desk.jobs(), desk.shown()["waiting"]) == (desk.ticks(1), [])
    desk.lead(MINUTE)
    assert desk.jobs() == desk.ticks(1, 2)


def test_a_second_leader_before_any_write_leaves_one_job_a_tick(desk: Desk) -> None:
    desk.declare(overlap="queue")
    for minute, number in enumerate((1, 2), 1):
        desk.clock.advance(MINUTE)
        with before_write(desk, number, lambda: desk.app.schedules.leader().turn()):
            desk.lead()
        desk.lead(1)
        desk.finish()
        assert desk.jobs() == desk.ticks(*range(1, minute + 1))
    assert desk.shown()["submitted"] == 2


@pytest.mark.parametrize("number", range(1, 6))
def test_a_lost_answer_to_any_write_of_a_tick_leaves_one_job(desk: Desk, number: int) -> None:
    store = desk.app.datastore
    desk.declare()
    desk.clock.advance(30)
    left = number

    def losing(write: Callable[..., Any]) -> Callable[..., Any]:
        def answer(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            done = write(*args, **kwargs)
            left -= 1
            if left == 0:
                raise AmbiguousWrite("no answer")
            return done

        return answer

    verbs = ("create", "set_with_cas", "mutate")
    for verb in verbs:
        setattr(store, verb, losing(getattr(store, verb)))
    desk.lead()
    desk.lead(1)
    for verb in verbs:
        delattr(store, verb)
    desk.lead(1)
    assert desk.jobs() == desk.ticks(1)
    assert (desk.shown()["waiting"], desk.shown()["submitted"]) == ([], 1)


# leaders without the class


class Dated(zerog.BaseJob):
    JOB_TYPE = "dated"
    QUEUE = "dates"
    MAX_EVENTS = 7

    class Params(Schema):
        at = fields.AwareDateTime(load_default=lambda: Dated.now())
        note = fields.String(load_default="")

    now: Callable[[], datetime] = staticmethod(lambda: datetime(2026, 1, 1, tzinfo=UTC))

    def run(self) -> int:
        return 200


def test_defaults_are_made_at_the_tick_where_the_class_is_known(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.app.register(Dated)
    desk.declare(job_type=Dated)
    monkeypatch.setattr(Dated, "now", staticmethod(lambda: desk.clock.now()))
    desk.lead(30)
    assert desk.app.get_job(desk.shown()["lastJob"], Dated).at == desk.clock.now()


def test_a_leader_without_the_class_makes_the_job_as_it_was_declared(each: Desk) -> None:
    each.app.register(Dated)
    each.declare(job_type=Dated, params={"note": "x"}, priority=3)
    each.app.unregister("dated")
    each.lead(30)
    each.app.schedules.run("s")
    each.app.register(Dated)
    for job in each.app.jobs():
        loaded = each.app.get_job(job["uuid"], Dated)
        assert (loaded.note, loaded.queueName, loaded.priority) == ("x", "dates", 3)
        assert loaded.at == datetime(2026, 1, 1, tzinfo=UTC)
        assert each.app.datastore.read(f"zerog_job_{job['uuid']}")["maxEvents"] == 7
    assert len(each.jobs()) == 1


def test_a_tick_stored_without_the_class_waits_for_a_leader_that_has_it(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.app.schedules.add("s", definition_of_dated("x"), "ann")
    desk.lead(30)
    desk.lead(1)
    assert (desk.jobs(), desk.shown()["waiting"]) == ([], desk.ticks(1))
    assert len([r for r in caplog.records if "waits for a leader that has the class" in r.message]) == 1
    desk.app.register(Dated)
    desk.lead(1)
    assert (desk.jobs(), desk.shown()["waiting"]) == (desk.ticks(1), [])
    job = desk.app.get_job(desk.shown()["lastJob"], Dated)
    assert (job.note, job.queueName) == ("x", "dates")


def definition_of_dated(note: str) -> Definition:
    timing = timing_of("* * * * *", None, "UTC")
    rules = {"overlap": "skip", "catch_up": "one"}
    return definition_of("dated", {"note": note}, timing, **rules, queue=None, priority=None)


def test_parameters_that_fit_no_more_hold_up_no_other_schedule(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    desk.declare("a", params={"region": "x"})
    desk.declare("b")
    desk.damage({"definition": {**desk.stored("a")["definition"], "params": {"gone": 1}}}, "a")
    desk.lead(30)
    desk.lead(1)
    assert desk.jobs() == desk.ticks(1)
    assert len([r for r in caplog.records if "schedule a can't be worked on here" in r.message]) == 1
    desk.damage({"definition": {**desk.stored("a")["definition"], "params": {}}}, "a")
    desk.lead(1)
    assert desk.jobs() == desk.ticks(1, 1)


def test_secret_parameters_are_not_shown(desk: Desk) -> None:
    desk.declare(params={"token": "hunter2"})
    desk.app.schedules.add("t", desk.app.schedule_definition("0 3 * * *", Report, {"token": "hunter2"}), "ann")
    desk.lead(30)
    assert "hunter2" not in str(desk.app.schedules.all())
    assert desk.app.get_job(desk.shown()["lastJob"], Report).token == "hunter2"
    desk.app.unregister("report")
    assert "hunter2" not in str(desk.app.schedules.all())
