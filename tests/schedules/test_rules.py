"""What becomes of ticks, over every engine: on time, missed, paused, overlapping."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.engine.engines import EACH_KIND
from tests.schedules.desk import ALICE, DAY, HOUR, MINUTE, Desk, Report
from zerog.engine.scheduled import SETTLED
from zerog.engine.transitions import Settlement
from zerog.exceptions import JobNotFound, JobStateError
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import is_uuid
from zerog.schedules.record import MOST_WAITING, tick_uuid


@pytest.fixture(params=EACH_KIND)
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(request.param, tmp_path)
    yield made
    made.app.close()


@pytest.fixture
def memory(tmp_path: Path) -> Desk:
    return Desk("memory", tmp_path)


def test_a_tick_gets_a_job_and_the_leader_wakes_at_the_next(desk: Desk) -> None:
    desk.declare(params={"region": "north"}, priority=7, queue="reports")
    assert desk.lead() == 30.0
    assert desk.jobs() == []
    assert desk.lead(30) == 60.0
    assert desk.jobs() == desk.ticks(1)
    [job] = desk.app.jobs()
    assert job["uuid"] == tick_uuid("s", desk.ticks(1)[0])
    loaded = desk.app.get_job(job["uuid"], Report)
    assert (loaded.region, loaded.priority, loaded.queueName) == ("north", 7, "reports")
    assert loaded.headers == {"schedule": "s", "tick": desk.ticks(1)[0]}
    shown = desk.shown()
    assert (shown["lastJob"], shown["lastStatus"], shown["submitted"]) == (job["uuid"], "queued", 1)


def test_a_leader_that_is_called_again_submits_nothing_twice(desk: Desk) -> None:
    desk.declare()
    desk.lead(30)
    desk.lead(1)
    desk.app.schedules.leader().turn()
    assert desk.jobs() == desk.ticks(1)


def test_without_schedules_a_leader_never_wakes(desk: Desk) -> None:
    assert desk.lead() == math.inf


@pytest.mark.parametrize("code", [200, 500])
def test_overlap_skip_leaves_ticks_out_while_the_previous_job_waits_or_runs(desk: Desk, code: int) -> None:
    desk.declare(overlap="skip")
    desk.lead(30)  # waits
    desk.lead(MINUTE)
    desk.start()
    desk.lead(MINUTE)
    assert desk.jobs() == desk.ticks(1)
    assert desk.shown()["skipped"] == 2
    assert desk.shown()["lastSkipped"] == {"tick": desk.ticks(3)[0], "why": "the previous job had not ended"}


@pytest.mark.parametrize("overlap", ["skip", "queue", "cancel"])
@pytest.mark.parametrize("code", [200, 500], ids=["succeeded", "failed"])
def test_a_previous_job_that_has_ended_is_in_no_tick_s_way(desk: Desk, overlap: str, code: int) -> None:
    desk.declare(overlap=overlap)
    desk.lead(30)
    desk.finish(code)
    desk.lead(MINUTE)
    assert desk.jobs() == desk.ticks(1, 2)
    assert desk.shown()["skipped"] == 0


@pytest.mark.parametrize("overlap", ["skip", "queue", "cancel"])
def test_a_previous_job_that_was_discarded_is_in_no_tick_s_way(desk: Desk, overlap: str) -> None:
    desk.declare(overlap=overlap)
    desk.lead(30)
    desk.finish()
    desk.app.discard(desk.shown()["lastJob"])
    desk.lead(MINUTE)
    assert desk.jobs() == desk.ticks(2)
    assert desk.shown()["lastStatus"] == "queued"


def test_overlap_queue_submits_each_tick_once_the_previous_job_has_ended(desk: Desk) -> None:
    desk.declare(overlap="queue")
    desk.lead(30)
    assert desk.lead(MINUTE) == 1.0  # looks for the end
    desk.lead(MINUTE)
    assert (desk.jobs(), desk.shown()["waiting"]) == (desk.ticks(1), desk.ticks(2, 3))
    for ended in (2, 3):
        desk.finish()
        desk.lead(1)
        assert desk.jobs() == desk.ticks(*range(1, ended + 1))
    assert (desk.shown()["waiting"], desk.shown()["skipped"]) == ([], 0)


def test_overlap_queue_is_bounded(memory: Desk) -> None:
    memory.declare(overlap="queue")
    memory.lead(30)
    for _ in range(MOST_WAITING + 3):
        memory.lead(MINUTE)
    shown = memory.shown()
    assert (len(shown["waiting"]), shown["skipped"], shown["waiting"][0]) == (MOST_WAITING, 3, memory.ticks(2)[0])
    memory.finish()
    memory.lead(1)
    assert memory.jobs() == memory.ticks(1, 2)


def test_overlap_cancel_ends_what_waits_at_once(desk: Desk) -> None:
    desk.declare(overlap="cancel")
    desk.lead(30)
    desk.lead(MINUTE)
    assert desk.jobs() == desk.ticks(1, 2)
    assert [job["status"] for job in desk.app.jobs()].count("cancelled") == 1


def test_overlap_cancel_waits_for_the_end_of_what_runs(desk: Desk) -> None:
    desk.declare(overlap="cancel")
    desk.lead(30)
    [claim] = desk.app.engine.claim(1, ALICE, desk.app.registry.load_head)
    desk.lead(MINUTE)
    assert desk.jobs() == desk.ticks(1)
    assert desk.app.progress(claim.uuid)["cancelRequested"] is not None
    desk.lead(MINUTE)  # the later tick takes the place of the one that waits
    assert (desk.shown()["waiting"], desk.shown()["skipped"]) == (desk.ticks(3), 1)
    desk.app.engine.settle([Settlement(claim, "finish", 1, 410)])
    desk.lead(1)
    assert desk.jobs() == desk.ticks(1, 3)


def test_ticks_missed_while_no_worker_lived_get_one_job(desk: Desk) -> None:
    desk.declare(cron="0 * * * *")
    desk.lead(5 * HOUR + 10 * MINUTE)
    assert desk.jobs() == desk.ticks(300)
    desk.finish()
    desk.lead(50 * MINUTE)
    assert desk.jobs() == desk.ticks(300, 360)


def test_ticks_missed_are_not_made_up_for_beside_one_that_is_on_time(desk: Desk) -> None:
    desk.declare(cron="*/10 * * * *", overlap="queue")
    desk.lead(HOUR)
    assert desk.jobs() == desk.ticks(60)


def test_catch_up_none_leaves_missed_ticks_out(desk: Desk) -> None:
    desk.declare(cron="0 * * * *", catch_up="none")
    desk.lead(HOUR + 10 * MINUTE)
    assert desk.jobs() == []
    assert desk.shown()["lastSkipped"]["tick"] == desk.ticks(60)[0]
    desk.lead(50 * MINUTE + 60)  # a minute late, which is on time
    assert desk.jobs() == desk.ticks(120)


def test_ticks_while_paused_are_not_made_up_for(desk: Desk) -> None:
    desk.declare()
    assert desk.app.schedules.pause("s", "too much", "ann")
    assert not desk.app.schedules.pause("s", "again", "bob")
    assert desk.lead(HOUR) == math.inf
    assert desk.shown()["paused"]["by"] == "ann"
    assert desk.shown()["next"] == []
    assert desk.app.schedules.resume("s", "ann")
    assert not desk.app.schedules.resume("s", "ann")
    desk.lead()
    assert desk.jobs() == []
    desk.lead(30)
    assert desk.jobs() == desk.ticks(61)


def test_a_removed_schedule_has_no_ticks_and_its_name_can_be_used_again(desk: Desk) -> None:
    desk.declare()
    desk.app.schedules.remove("s", "ann")
    assert desk.lead(MINUTE) == math.inf
    assert (desk.app.schedules.all(), desk.shown()["state"]) == ([], "removed")
    assert [each["name"] for each in desk.app.schedules.all(removed=True)] == ["s"]
    desk.app.schedules.add("s", desk.app.schedule_definition("* * * * *", Report), "ann")
    desk.lead(MINUTE)
    assert desk.jobs() == desk.ticks(2)


def test_run_submits_a_job_beside_the_ticks(desk: Desk) -> None:
    desk.declare(params={"region": "south"})
    uuid = desk.app.schedules.run("s", "ann")
    assert desk.app.get_job(uuid, Report).region == "south"
    assert uuid in desk.shown()["events"][-1]["what"]
    desk.lead(30)
    assert len(list(desk.app.jobs())) == 2
    assert desk.shown()["submitted"] == 1


def test_intervals_have_their_ticks_at_multiples_of_their_length(desk: Desk) -> None:
    desk.declare(cron=None, every=timedelta(seconds=40))
    assert desk.lead() == 10.0
    desk.lead(10)
    desk.finish()
    assert desk.lead(40) == 40.0
    assert [tick[14:19] for tick in desk.jobs()] == ["00:40", "01:20"]


def test_a_tick_s_uuid_is_of_version_8_and_sorts_by_time() -> None:
    early, late = tick_uuid("a", "2026-01-01T00:00:00.000000+00:00"), tick_uuid("a", "2026-01-01T00:00:01.000000+00:00")
    assert early < late
    assert (is_uuid(early), early[14], early[19] in "89ab") == (True, "8", True)
    assert tick_uuid("b", "2026-01-01T00:00:00.000000+00:00") != early


def test_a_job_that_its_schedule_has_not_noted_stays(memory: Desk) -> None:
    """Otherwise the next leader would create it once more."""
    memory.declare()
    memory.lead(30)
    uuid = memory.shown()["lastJob"]
    memory.damage({"waiting": memory.ticks(1), "lastTick": None, "lastJob": None})  # as a crash leaves it
    memory.finish()
    with pytest.raises(JobStateError, match="schedule s has not noted it yet"):
        memory.app.discard(uuid)
    memory.lead(1)
    assert memory.jobs() == memory.ticks(1)
    memory.app.discard(uuid)


def test_retention_leaves_the_latest_job_of_a_schedule_and_those_that_ended_lately(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Report, "RETAIN", 1)
    sweeps = Reconciler(desk.app.engine, "bob", desk.clock, 10.0, desk.app.registry.kept)
    desk.declare(cron="*/30 * * * *")
    for _ in range(3):
        desk.lead(HOUR / 2)
        desk.finish()
    other = desk.app.submit(Report)
    desk.finish()
    desk.clock.advance(2)
    sweeps.sweep()
    assert desk.jobs() == desk.ticks(60, 90)
    with pytest.raises(JobNotFound):
        desk.app.progress(other.uuid)
    desk.clock.advance(SETTLED + DAY)
    sweeps.sweep()
    assert desk.jobs() == desk.ticks(90)
