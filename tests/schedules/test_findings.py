"""What doctor says of schedules."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.maintenance.doctors import doctor_of
from tests.schedules.desk import HOUR, MINUTE, Desk, Report
from zerog.engine.transitions import WorkerIdentity
from zerog.fleet.heartbeat import WorkerRecords
from zerog.support.clock import to_text


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk("memory", tmp_path)


def findings(desk: Desk) -> list[str]:
    found = doctor_of(desk.app).examine().findings
    return [f"{each.what} -> {each.command}" for each in found if "schedule" in each.what]


def work(desk: Desk, name: str = "w", **record: Any) -> None:
    """Let a worker live that knows the types and schedules of the desk's program, but for what ``record`` changes."""
    known: dict[str, Any] = {"knows": [["report", 1.0]], "schedules": desk.app.schedules.digests(), "build": "1"}
    WorkerRecords(desk.app.engine).renew(WorkerIdentity(name, 30.0), 1, first=lambda: {**known, **record})


def test_a_schedule_that_works_is_no_finding(desk: Desk) -> None:
    desk.declare()
    work(desk)
    desk.lead(30)
    desk.clock.advance(MINUTE)
    assert findings(desk) == []


def test_builds_that_differ_are_named(desk: Desk) -> None:
    desk.declare(cron="0 3 * * *")
    work(desk, "old", build="1")
    desk.declare(cron="0 4 * * *", build="2")
    work(desk, "new", build="2")
    assert findings(desk) == ["living workers declare schedule s differently: builds 1 and 2 -> None"]


def test_a_schedule_that_no_living_worker_declares_is_named(desk: Desk) -> None:
    desk.declare()
    desk.declare("t")
    desk.app.schedules.add("hand", desk.app.schedule_definition("0 3 * * *", Report))
    work(desk, schedules={"t": desk.app.schedules.digests()["t"]})
    [found] = findings(desk)
    assert found.startswith("schedule s comes from code and no living worker declares it")
    assert found.endswith("zerog schedules rm MODULE:APP s")


def test_a_schedule_whose_type_is_unknown_is_named(desk: Desk) -> None:
    desk.declare()
    desk.app.unregister("report")
    work(desk, knows=[])
    [found] = findings(desk)
    assert "schedule s submits jobs of type 'report', which no living worker knows" in found
    work(desk, "other")
    assert findings(desk) == []


def test_a_tick_that_nobody_decides_is_named(desk: Desk) -> None:
    desk.declare(cron="0 * * * *")
    work(desk)
    desk.clock.advance(HOUR + MINUTE)
    assert findings(desk) == []
    desk.clock.advance(4 * MINUTE)
    [found] = findings(desk)
    assert f"no worker has submitted the job of schedule s for {desk.ticks(60)[0]}" in found


def test_a_tick_whose_job_can_t_be_created_is_named(desk: Desk) -> None:
    desk.declare()
    desk.damage({"waiting": desk.ticks(0)})
    work(desk)
    desk.clock.advance(5 * MINUTE)
    assert f"no worker has submitted the job of schedule s for {desk.ticks(0)[0]}" in findings(desk)[-1]


def test_a_tick_that_a_wrong_clock_noted_is_named_and_pausing_repairs_it(desk: Desk) -> None:
    desk.declare()
    desk.damage({"noted": to_text(desk.clock.now() + timedelta(days=400))})
    work(desk)
    [found] = findings(desk)
    assert "to which a clock that was wrong has set it" in found
    desk.app.schedules.pause("s")
    desk.app.schedules.resume("s")
    assert findings(desk) == []
    desk.lead(30)
    assert desk.jobs() == desk.ticks(1)


@pytest.mark.parametrize(
    "change",
    [
        {"noted": "soon"},
        {"waiting": None},
        {"waiting": ["now"]},
        {"definition": None},
        {"definition": {"jobType": "report"}},
        {"submitted": -1},
        {"events": ["added"]},
        {"documentType": "zerog_job"},
        {"format": 2},
    ],
    ids=str,
)
def test_a_damaged_schedule_is_named_and_the_others_go_on(desk: Desk, change: dict[str, Any]) -> None:
    desk.declare()
    desk.declare("t")
    desk.damage(change)
    work(desk)
    assert "schedule s" in findings(desk)[0]
    desk.lead(30)
    assert [job["uuid"] for job in desk.app.jobs()] == [desk.shown("t")["lastJob"]]
    assert [each["state"] for each in desk.app.schedules.all()] == ["damaged", "active"]


def test_times_that_can_t_be_computed_here_are_named(desk: Desk) -> None:
    desk.declare()
    desk.declare("t")
    desk.damage({"definition": {**desk.stored()["definition"], "timezone": "Mars/Base"}})
    work(desk)
    assert "schedule s has no times here: timezone='Mars/Base' is unknown here" in findings(desk)[0]
    assert desk.shown()["problem"] is not None
    desk.lead(30)
    assert desk.jobs() == desk.ticks(1)
