"""What has ended is removed once its class keeps it no longer: which, when, how many at a time, and by which worker."""

from __future__ import annotations

import itertools
import logging
from datetime import timedelta
from typing import Any

import pytest

import zerog
from tests.maintenance.retained import ALICE, DAY, Long, Short, ended, stored, sweeper
from zerog.backends.redis.datastore import RedisDatastore
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.contracts.datastore import FindQuery
from zerog.engine.engine import Engine
from zerog.engine.transitions import Settlement
from zerog.maintenance import reconcile, retention
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import make_key, new_document
from zerog.records.operations import Set
from zerog.registry import JobRegistry
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock


@pytest.fixture
def registry() -> JobRegistry:
    registry = JobRegistry()
    registry.add_classes([Short, Long])
    return registry


def test_each_kind_is_kept_for_its_class_s_time(engine: Engine, registry: JobRegistry, clock: ManualClock) -> None:
    """A day for what succeeded or was cancelled, a week for what failed, for ever without a setting."""
    done, failed, cancelled = (ended(engine, code) for code in (200, 500, 410))
    other = ended(engine, 500, Long)
    waiting = engine.submit([new_document("short", 2.0, to_text(clock.now()))])
    reconciler = sweeper(engine, registry)
    clock.advance(DAY - 1)
    assert reconciler.sweep().removed == []
    clock.advance(2)
    assert sorted(reconciler.sweep().removed) == sorted(done + cancelled)
    assert stored(engine, done + cancelled + failed + other) == [False, False, True, True]
    clock.advance(6 * DAY)
    assert reconciler.sweep().removed == failed
    clock.advance(1_000 * DAY)
    assert reconciler.sweep().removed == []
    assert stored(engine, [*other, waiting[0][0]["uuid"]]) == [True, True]
    assert engine.counters["removed.old"] == 3


def test_a_sweep_reads_nothing_but_what_is_due(
    engine: Engine, registry: JobRegistry, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many older jobs are kept, by another type, and younger ones of the same type, one sweep removes all."""
    monkeypatch.setattr(retention, "PAGE", 3)
    kept = ended(engine, job_class=Long, number=10)
    old = ended(engine, number=10)
    clock.advance(2 * DAY)
    kept += ended(engine, number=10)
    find = engine.datastore.find
    read: list[str] = []

    def counted(*args: Any, **query: Any) -> Any:
        page = find(*args, **query)
        read.extend(head["uuid"] for head in page.heads)
        return page

    monkeypatch.setattr(engine.datastore, "find", counted)
    assert sorted(sweeper(engine, registry).sweep().removed) == sorted(old)
    assert sorted(read) == sorted(old)
    assert stored(engine, kept) == [True] * 20


class Brief(Short):
    """Kept for 20 seconds, two sweeps."""

    JOB_TYPE = "brief"
    RETAIN = 20.0


def test_a_steady_load_takes_no_more_room(engine: Engine, clock: ManualClock) -> None:
    """After the time for which jobs are kept, the size of the store stays the same, sweep for sweep."""
    registry = JobRegistry()
    registry.add_classes([Brief])
    reconciler = sweeper(engine, registry)
    held, room = [], []
    for _ in range(12):
        ended(engine, job_class=Brief, number=8)
        clock.advance(10)
        reconciler.sweep()
        held.append(len(engine.datastore.find(FindQuery(status="succeeded")).heads))
        room.append(room_of(engine))
    assert set(held[3:]) == {8}
    assert max(room[3:]) <= 1.1 * max(room[:3])


def room_of(engine: Engine) -> int:
    """The size of the documents: pages in use of a file, keys on a Redis server, elsewhere jobs."""
    datastore = engine.datastore
    if isinstance(datastore, SqliteDatastore):
        with datastore.file.reading() as sqlite:
            pages, free = (sqlite.execute(f"PRAGMA {each}").fetchone()[0] for each in ("page_count", "freelist_count"))
        return int(pages - free)
    if isinstance(datastore, RedisDatastore):
        return len(datastore.server.ask("a test", "KEYS", f"{datastore.server.prefix}*"))
    return len(datastore.find(FindQuery()).heads)


def test_a_sweep_ends_after_its_time_and_the_next_one_continues(
    engine: Engine, registry: JobRegistry, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claims and settlements have their turn after each page, and so has every status and type."""
    monkeypatch.setattr(retention, "PAGE", 1)
    old = [*ended(engine, number=10), *ended(engine, 410, number=10)]
    clock.advance(2 * DAY)
    discard_all = engine.discard_all
    times: list[float] = []

    def slow(*args: Any) -> list[str]:
        clock.advance(0.5)
        times.append(clock.monotonic())
        return discard_all(*args)

    monkeypatch.setattr(engine, "discard_all", slow)
    reconciler = sweeper(engine, registry)
    began = clock.monotonic()
    first = reconciler.sweep().removed
    assert 5 <= len(first) < 15
    assert clock.monotonic() - began <= retention.BUDGET + 1
    assert all(later - earlier > 0.54 for earlier, later in itertools.pairwise(times))
    assert {uuid in old[:10] for uuid in first} == {True, False}
    assert reconciler.pause() < reconcile.INTERVAL / 5
    for _ in range(6):
        first += reconciler.sweep().removed
    assert sorted(first) == sorted(old)
    reconciler.turn()
    assert reconciler.pause() > reconcile.INTERVAL / 2


def test_several_workers_remove_each_job_once(
    engine: Engine, registry: JobRegistry, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the worker whose turn it is looks; sweeps on demand at the same time do no harm. Each removal is logged."""
    old = ended(engine, number=20)
    clock.advance(2 * DAY)
    first, second = (sweeper(engine, registry, name) for name in ("first", "second"))
    with caplog.at_level(logging.INFO, "zerog"):
        reports = [first.turn(), second.turn(), first.sweep(), second.sweep()]
    assert reports[1] is None
    assert sorted(uuid for report in reports if report is not None for uuid in report.removed) == sorted(old)
    recorded = [record for record in caplog.records if record.__dict__.get("transition") == "discarded"]
    assert sorted(record.__dict__["uuid"] for record in recorded) == sorted(old)
    assert "keeps it no longer" in recorded[0].message


def test_a_job_that_is_retried_meanwhile_stays(
    engine: Engine, registry: JobRegistry, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was old when the page was read waits, runs, or has ended anew by now."""
    old = ended(engine, number=3)
    clock.advance(2 * DAY)
    find = engine.datastore.find
    again: list[str] = []

    def slow(query: FindQuery) -> Any:
        page = find(query)
        if query.status == "succeeded" and not again:
            again.append(old[0])
            engine.retry(old[0])
            engine.retry(old[1])
            claims = engine.claim(2, ALICE, lambda head: head["jobType"])
            [claim] = [claim for claim in claims if claim.uuid == old[1]]
            assert engine.settle([Settlement(claim, "finish", 1, 200)]) == [True]
        return page

    monkeypatch.setattr(engine.datastore, "find", slow)
    assert sweeper(engine, registry).sweep().removed == [old[2]]
    assert stored(engine, old) == [True, True, False]


@pytest.mark.parametrize("fields", [{"schemaVersion": 3.0}, {"format": 99}, {"finishedAt": None}, {"finishedAt": 5}])
def test_what_newer_code_wrote_is_left_to_it(
    engine: Engine, registry: JobRegistry, clock: ManualClock, fields: dict[str, Any]
) -> None:
    """And so is a document without a readable time of its end."""
    [uuid] = ended(engine)
    engine.datastore.mutate(make_key(uuid), [Set(field, value) for field, value in fields.items()])
    clock.advance(2 * DAY)
    assert sweeper(engine, registry).sweep().removed == []
    assert stored(engine, [uuid]) == [True]


def test_a_worker_removes_what_is_old(clock: ManualClock) -> None:
    """By the settings of its app's classes."""
    app = zerog.App("memory://", clock=clock)
    app.register(Short)
    job = app.submit(Short)
    zerog.Worker(app).run(burst=True)
    clock.advance(2 * DAY)
    assert Reconciler(app.engine, "worker", app.clock, kept=app.registry.kept).sweep().removed == [job.uuid]
    assert list(app.jobs()) == []


@pytest.mark.parametrize("name", ["RETAIN", "RETAIN_FAILED"])
@pytest.mark.parametrize("wrong", [0, -1, "7 days", True, timedelta(0), 1e12, float("nan"), [1]])
def test_a_wrong_time_is_refused_at_registration(name: str, wrong: object) -> None:
    """With what was expected."""
    broken = type("Broken", (Long,), {"JOB_TYPE": "broken", name: wrong})
    with pytest.raises(zerog.InvalidJobClass, match=f"{name} is .*expected a timedelta or seconds"):
        zerog.App("memory://").register(broken)
