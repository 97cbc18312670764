"""What has ended is removed once its class keeps it no longer: which, when, how many at a time, and by whom."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.engines.kinds import KINDS
from tests.jobs.kit import PlainStore
from zerog import retention
from zerog.clock import to_text
from zerog.datastores.operations import Set
from zerog.doctor import Doctor
from zerog.document import make_key, new_document
from zerog.exceptions import AmbiguousWrite
from zerog.lifecycle import Engine
from zerog.queues.memory import MemoryQueue
from zerog.reconcile import Reconciler
from zerog.registry import JobRegistry
from zerog.retention import can_remove
from zerog.testing.clock import ManualClock
from zerog.transitions import Settlement, Worker

ALICE = Worker("alice", 30.0)
DAY = 86_400.0


class Short(zerog.BaseJob):
    """Kept for a day; a week if it failed."""

    JOB_TYPE = "short"
    SCHEMA_VERSION = "2.0"
    RETAIN = timedelta(days=1)
    RETAIN_FAILED = 7 * DAY

    def run(self) -> Any:
        return 200


class Long(zerog.BaseJob):
    """Kept for ever."""

    JOB_TYPE = "long"

    def run(self) -> Any:
        return 200


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=KINDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Iterator[Engine]:
    opened = KINDS[request.param].open(tmp_path, clock)
    yield opened
    opened.close()


@pytest.fixture
def registry() -> JobRegistry:
    registry = JobRegistry()
    registry.add_classes([Short, Long])
    return registry


def sweeper(engine: Engine, registry: JobRegistry, name: str = "sweeper") -> Reconciler:
    return Reconciler(engine, name, engine.clock, kept=registry.kept)


def ended(engine: Engine, code: int = 200, job_class: type[zerog.BaseJob] = Short, number: int = 1) -> list[str]:
    now = to_text(engine.clock.now())
    version = float(job_class.SCHEMA_VERSION)
    documents = [new_document(job_class.JOB_TYPE, version, now) for _ in range(number)]
    engine.submit(documents)
    if code == 410:
        for document in documents:
            engine.cancel(document["uuid"])
        return [document["uuid"] for document in documents]
    claims = engine.claim(number, ALICE, lambda head: head["jobType"])
    assert all(engine.settle([Settlement(claim, "finish", 1, code) for claim in claims]))
    return [claim.uuid for claim in claims]


def stored(engine: Engine, uuids: list[str]) -> list[bool]:
    return [engine.datastore.read(make_key(uuid)) is not None for uuid in uuids]


def test_each_kind_is_kept_as_long_as_its_class_says(engine: Engine, registry: JobRegistry, clock: ManualClock) -> None:
    """A day for what succeeded or was cancelled, a week for what failed, for ever what says nothing."""
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


def test_a_sweep_takes_a_few_and_goes_on_next_time(
    engine: Engine, registry: JobRegistry, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are too old, and however many before them are kept, each sweep does as much and no more."""
    monkeypatch.setattr(retention, "HEADS", 6)
    monkeypatch.setattr(retention, "PAGE", 3)
    kept = ended(engine, job_class=Long, number=10)
    old = ended(engine, number=10)
    clock.advance(2 * DAY)
    reconciler = sweeper(engine, registry)
    removed: list[str] = []
    counts = []
    for _ in range(5):
        report = reconciler.sweep()
        counts.append(len(report.removed))
        removed += report.removed
    assert sorted(removed) == sorted(old)
    assert max(counts) <= 6
    assert stored(engine, kept) == [True] * 10


def test_several_workers_remove_each_job_once(
    engine: Engine, registry: JobRegistry, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the one whose turn it is looks; sweeps on demand at the same time do no harm. Each removal is logged."""
    old = ended(engine, number=20)
    clock.advance(2 * DAY)
    first, second = (sweeper(engine, registry, name) for name in ("first", "second"))
    with caplog.at_level(logging.INFO, "zerog"):
        reports = [first.turn(False), second.turn(False), first.sweep(), second.sweep()]
    assert reports[1] is None
    assert sorted(uuid for report in reports if report is not None for uuid in report.removed) == sorted(old)
    told = [record for record in caplog.records if record.__dict__.get("transition") == "discarded"]
    assert sorted(record.__dict__["uuid"] for record in told) == sorted(old)
    assert "keeps it no longer" in told[0].message


def test_a_job_that_is_retried_meanwhile_stays(
    engine: Engine, registry: JobRegistry, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was old when the page was read waits, runs, or has ended anew by now."""
    old = ended(engine, number=3)
    clock.advance(2 * DAY)
    find = engine.datastore.find
    again: list[str] = []

    def slow(*args: Any, **query: Any) -> Any:
        page = find(*args, **query)
        if query.get("status") == "succeeded" and not again:
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
    """And so is what doesn't say when it ended."""
    [uuid] = ended(engine)
    engine.datastore.mutate(make_key(uuid), [Set(field, value) for field, value in fields.items()])
    clock.advance(2 * DAY)
    assert sweeper(engine, registry).sweep().removed == []
    assert stored(engine, [uuid]) == [True]


def test_an_answer_that_is_lost_ends_no_sweep(
    engine: Engine, registry: JobRegistry, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one finds what is left."""
    old = ended(engine, number=3)
    clock.advance(2 * DAY)

    def lost(*_args: Any, **_kwargs: Any) -> Any:
        raise AmbiguousWrite("no answer")

    with monkeypatch.context() as broken:
        broken.setattr(engine.datastore, "delete", lost)
        broken.setattr(engine.datastore, "remove", lost, raising=False)
        assert sweeper(engine, registry).sweep().removed == []
    assert sorted(sweeper(engine, registry).sweep().removed) == sorted(old)


def test_a_worker_removes_what_is_old(clock: ManualClock) -> None:
    """With what its app's classes say."""
    app = zerog.App("memory://", clock=clock)
    app.register(Short)
    job = app.submit(Short)
    zerog.Worker(app).run(burst=True)
    clock.advance(2 * DAY)
    assert app._make_reconciler("worker").sweep().removed == [job.uuid]
    assert list(app.jobs()) == []


def test_where_nothing_can_be_removed_doctor_says_so(registry: JobRegistry) -> None:
    """A class that wants its jobs removed, on a datastore that can't."""
    app = zerog.App(datastore=PlainStore(), queue=MemoryQueue())
    assert not can_remove(app.datastore)
    app.register(Long)
    assert not any("RETAIN" in finding.what for finding in Doctor(app).examine().findings)
    app.register(Short)
    [finding] = [finding for finding in Doctor(app).examine().findings if "RETAIN" in finding.what]
    assert "short" in finding.what
    assert sweeper(app.engine, registry)._retention.sweep() == []


@pytest.mark.parametrize("name", ["RETAIN", "RETAIN_FAILED"])
@pytest.mark.parametrize("wrong", [0, -1, "7 days", True, timedelta(0), 1e12, float("nan"), [1]])
def test_a_wrong_time_is_refused_at_registration(name: str, wrong: object) -> None:
    """With what was expected."""
    broken = type("Broken", (Long,), {"JOB_TYPE": "broken", name: wrong})
    with pytest.raises(zerog.InvalidJobClass, match=f"{name} is .*expected a timedelta or seconds"):
        zerog.App("memory://").register(broken)
