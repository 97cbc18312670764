"""Schedules of unique classes: a tick joins the job that has its key, with the class here or without it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from marshmallow import Schema, fields

import zerog
from tests.engine.engines import KINDS
from tests.marks import wide
from tests.schedules.desk import DAY, MINUTE, START, Desk
from zerog.schedules.leader import ScheduleLeader
from zerog.support.clock import text_after, to_text
from zerog.support.failpoints import InjectedFailure


class Sync(zerog.BaseJob):
    """One run of a region at a time."""

    JOB_TYPE = "sync"
    UNIQUE = ("region",)

    class Params(Schema):
        region = fields.String(load_default="all")

    def run(self) -> int:
        return 200


class Daily(Sync):
    """At most one a day."""

    JOB_TYPE = "daily"
    UNIQUE_UNTIL = timedelta(days=1)


@pytest.fixture(params=["memory", *wide(*(kind for kind in KINDS if kind != "memory"))])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(request.param, tmp_path)
    desk.app.register(Sync, Daily)
    yield desk
    desk.app.close()


def leader(desk: Desk, has_class: bool) -> ScheduleLeader:
    """The leader of this program, or of one that lacks the classes."""
    if has_class:
        return desk.leader
    other = zerog.App("memory://", clock=desk.clock)
    other.engine = desk.app.engine
    return other.schedules.leader()


def uuids(desk: Desk) -> list[str]:
    return [str(job["uuid"]) for job in desk.app.jobs()]


@pytest.mark.parametrize("has_class", [True, False], ids=["class", "no-class"])
def test_a_tick_joins_the_job_of_its_key(desk: Desk, has_class: bool) -> None:
    """While a person's own job waits or runs, no second one is made; after its end the next tick makes one."""
    desk.declare(job_type=Sync)
    mine = desk.app.submit(Sync).uuid
    other = desk.app.submit(Sync, {"region": "north"}).uuid
    leads = leader(desk, has_class)
    desk.clock.advance(MINUTE)
    leads.turn()
    assert sorted(uuids(desk)) == sorted([mine, other])
    shown = desk.shown()
    assert (shown["lastJob"], shown["lastTick"], shown["submitted"]) == (mine, desk.ticks(1)[0], 1)
    desk.app.cancel(mine)
    desk.clock.advance(MINUTE)
    leads.turn()
    [made] = set(uuids(desk)) - {mine, other}
    assert desk.shown()["lastJob"] == made
    assert desk.app.submit(Sync).uuid == made


def test_a_tick_for_a_time_is_counted_from_the_tick(desk: Desk) -> None:
    """Also if the leader makes the job without its class, which stored it days before."""
    desk.declare(job_type=Daily, cron="0 3 * * *")
    desk.clock.advance(3 * DAY)
    leads = leader(desk, has_class=False)
    leads.turn()
    [uuid] = uuids(desk)
    lock = desk.app.datastore.read(f"zerog_job_{uuid}")["uniqueLock"]
    assert lock["until"] == text_after(to_text(START + timedelta(days=3)), DAY)
    assert desk.app.submit(Daily).uuid == uuid


def test_a_tick_whose_leader_died_joins_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next leader submits the tick once more, and finds the job that was joined."""
    desk.declare(job_type=Sync)
    mine = desk.app.submit(Sync).uuid
    desk.clock.advance(MINUTE)

    def die(*_args: object) -> None:
        raise InjectedFailure("died before the tick was noted")

    with monkeypatch.context() as patch:
        patch.setattr("zerog.schedules.leader.submitted", die)
        with pytest.raises(InjectedFailure):
            desk.leader.turn()
    desk.app.schedules.leader().turn()
    assert uuids(desk) == [mine]
    assert (desk.shown()["lastJob"], desk.shown()["submitted"]) == (mine, 1)


@pytest.mark.parametrize("has_class", [True, False], ids=["class", "no-class"])
def test_a_run_by_hand_joins_too(desk: Desk, has_class: bool) -> None:
    desk.declare(job_type=Sync)
    mine = desk.app.submit(Sync).uuid
    schedules = desk.app.schedules
    if not has_class:
        other = zerog.App("memory://", clock=desk.clock)
        other.engine = desk.app.engine
        schedules = other.schedules
    assert schedules.run("s") == mine
    assert uuids(desk) == [mine]
