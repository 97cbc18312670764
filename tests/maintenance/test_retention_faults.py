"""Removal of old jobs where something is in its way: outages, lost answers, datastores that can't list or remove."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import zerog
from tests.jobs.builders import PlainStore
from tests.maintenance.doctors import doctor_of
from tests.maintenance.retained import DAY, Long, Short, ended, stored, sweeper
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.contracts.datastore import FindQuery, Page
from zerog.engine.engine import Engine
from zerog.exceptions import DatastoreError, DatastoreUnavailable
from zerog.maintenance import retention
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import TERMINAL, make_key
from zerog.records.operations import Set
from zerog.registry import JobRegistry
from zerog.support import failpoints
from zerog.testing.clock import ManualClock


@pytest.fixture
def registry() -> JobRegistry:
    registry = JobRegistry()
    registry.add_classes([Short, Long])
    return registry


def test_jobs_that_can_not_be_removed_block_no_removal(
    engine: Engine, registry: JobRegistry, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep reads at most LEFT of them, and the next one continues behind those."""
    monkeypatch.setattr(retention, "PAGE", 2)
    monkeypatch.setattr(retention, "LEFT", 4)
    newer = ended(engine, number=10)
    for uuid in newer:
        engine.datastore.mutate(make_key(uuid), [Set("schemaVersion", 3.0)])
    clock.advance(1)
    old = ended(engine, number=2)
    clock.advance(2 * DAY)
    reconciler = sweeper(engine, registry)
    reports = [reconciler.sweep().removed for _ in range(6)]
    assert [sorted(removed) for removed in reports if removed] == [sorted(old)]
    assert stored(engine, newer) == [True] * 10


class NoQuery(MemoryDatastore):
    """As Couchbase without its query service."""

    can_find_ended = False

    def find(self, query: FindQuery) -> Page:
        if query.due is None and (query.status is None or query.status in TERMINAL):
            raise DatastoreError("there is no query service")
        return super().find(query)


class NoIndex(NoQuery):
    """As Couchbase without ``zerog setup``."""

    can_find_ended = True


@pytest.mark.parametrize(
    ("store", "why"), [(NoQuery, "can't list jobs that have ended"), (NoIndex, "no query service")]
)
def test_where_ended_jobs_can_not_be_listed_the_sweep_continues(
    store: type[MemoryDatastore], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What it found stuck is reported; the log names RETAIN once, and doctor names the types and the reason."""
    app = zerog.App(datastore=store(), queue="memory://")
    app.register(Short)
    reconciler = Reconciler(app.engine, "worker", app.clock, kept=app.registry.kept)
    app.engine.skip("0199", "of an unknown type")
    with caplog.at_level(logging.WARNING, "zerog"):
        reports = [reconciler.sweep() for _ in range(3)]
    assert [report.stuck for report in reports] == [{"0199": "of an unknown type"}] * 3
    [record] = [record for record in caplog.records if "RETAIN" in record.message]
    assert why in record.message
    [finding] = [finding for finding in doctor_of(app).examine().findings if "RETAIN" in finding.what]
    assert "short" in finding.what
    assert why in finding.what


def test_an_outage_in_between_ends_no_sweep(
    engine: Engine, registry: JobRegistry, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was removed before it is reported, and the next sweep continues."""
    monkeypatch.setattr(retention, "PAGE", 2)
    old = ended(engine, number=6)
    clock.advance(2 * DAY)
    discard_all = engine.discard_all
    calls = iter([False, True])

    def unsteady(*args: Any) -> list[str]:
        if next(calls, False):
            raise DatastoreUnavailable("no route to the server")
        return discard_all(*args)

    monkeypatch.setattr(engine, "discard_all", unsteady)
    reconciler = sweeper(engine, registry)
    first = reconciler.sweep().removed
    assert len(first) == 2
    assert sorted(first + reconciler.sweep().removed + reconciler.sweep().removed) == sorted(old)


@pytest.mark.parametrize("point", ["discard.delete", "discard.deleted"])
def test_an_answer_that_is_lost_ends_no_sweep(
    engine: Engine, registry: JobRegistry, clock: ManualClock, point: str
) -> None:
    """The next one finds what is left."""
    old = ended(engine, number=3)
    clock.advance(2 * DAY)
    failpoints.arm(point, "unknown")
    try:
        sweeper(engine, registry).sweep()
    finally:
        failpoints.disarm()
    sweeper(engine, registry).sweep()
    assert stored(engine, old) == [False] * 3


def test_where_nothing_can_be_removed_doctor_reports_it(registry: JobRegistry) -> None:
    """A class whose jobs are to be removed, on a datastore that can't."""
    app = zerog.App(datastore=PlainStore(), queue=MemoryQueue())
    app.register(Long)
    assert not any("RETAIN" in finding.what for finding in doctor_of(app).examine().findings)
    app.register(Short)
    [finding] = [finding for finding in doctor_of(app).examine().findings if "RETAIN" in finding.what]
    assert "short" in finding.what
    assert sweeper(app.engine, registry)._retention.sweep() == []


def test_an_outage_is_logged_and_no_missing_index(
    engine: Engine, registry: JobRegistry, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """The next sweep removes what is due."""
    old = ended(engine)
    clock.advance(2 * DAY)
    reconciler = sweeper(engine, registry)
    find = engine.datastore.find

    def fail(query: FindQuery) -> Any:
        if query.until is not None:
            raise DatastoreUnavailable("made up: no route")
        return find(query)

    with monkeypatch.context() as broken:
        broken.setattr(engine.datastore, "find", fail)
        assert reconciler.sweep().removed == []
    assert "made up: no route" in caplog.text
    assert reconciler.sweep().removed == old


def test_without_a_type_that_is_removed_there_is_nothing_to_complain_about(engine: Engine) -> None:
    assert retention.why_not(engine.datastore, {"succeeded": {}}) is None
