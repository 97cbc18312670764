"""Waiting jobs whose entries are lost: which are put again, when, and how often."""

from __future__ import annotations

from typing import Any

import pytest

from tests.maintenance.lost_entries import ALICE, Silent, lose, submit, take
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.engine.engine import Engine, Unsuitable
from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import ConfigurationError, QueueUnavailable
from zerog.fleet.heartbeat import WorkerRecords
from zerog.maintenance.reconcile import Reconciler
from zerog.maintenance.sweep import Report
from zerog.records.job import make_key
from zerog.records.operations import Set
from zerog.testing.clock import ManualClock


@pytest.fixture
def engine(clock: ManualClock) -> Engine:
    return Engine(MemoryDatastore(), MemoryQueue(clock=clock), clock)


@pytest.fixture
def silent(clock: ManualClock) -> Engine:
    return Engine(MemoryDatastore(), Silent(clock=clock), clock)


@pytest.mark.parametrize("others", [0, 150])
def test_lost_entries_are_put_again_at_once(engine: Engine, clock: ManualClock, others: int) -> None:
    """However many older jobs wait on other queues, and whether or not the sweeper serves this one."""
    submit(engine, others)
    uuids = submit(engine, 5, queueName="low")
    lose(engine, "low")
    report = Reconciler(engine, "first", clock).sweep()
    assert report.put_again == uuids
    assert take(engine, queues=["low"]) == uuids
    assert engine.queue.size() == others


def test_a_worker_looks_for_lost_entries_from_its_second_turn_on(engine: Engine, clock: ManualClock) -> None:
    """The first one is at its start, when it shares the processor with the jobs that waited for it."""
    uuids = submit(engine, 3)
    lose(engine)
    reconciler = Reconciler(engine, "first", clock)
    reports = [reconciler.turn() or Report(), reconciler.turn() or Report()]
    assert [(report.put_again, report.heads) for report in reports] == [([], 0), (uuids, 3)]


def test_a_delayed_entry_hides_no_lost_one(engine: Engine, clock: ManualClock) -> None:
    """Each job is judged by its own entry, whatever the size of the queue."""
    uuids = submit(engine, 3)
    lose(engine)
    submit(engine, 1, delay=10_000)
    assert Reconciler(engine, "first", clock).sweep().put_again == uuids
    assert take(engine) == uuids


def test_a_lost_delayed_entry_is_put_again_with_what_is_left_of_its_delay(engine: Engine, clock: ManualClock) -> None:
    """It is back long before it is due, and doesn't run early."""
    uuids = submit(engine, 2, delay=100)
    lose(engine)
    clock.advance(40)
    assert Reconciler(engine, "first", clock).sweep().put_again == uuids
    clock.advance(59)
    assert take(engine) == []
    clock.advance(2)
    assert take(engine) == uuids


def test_what_is_on_its_queue_is_not_put_again(engine: Engine, clock: ManualClock) -> None:
    """However long it waits, its queue is not served, or a consumer has reserved it and not claimed it yet."""
    submit(engine, 5, queueName="low")
    submit(engine, 5)
    submit(engine, 5, delay=100_000)
    reservation = engine.queue.reserve()
    assert reservation is not None
    reconciler = Reconciler(engine, "first", clock)
    for _ in range(30):
        assert reconciler.sweep().put_again == []
        clock.advance(10)
    assert engine.queue.size() + engine.queue_named("low").size() == 15


def test_a_job_is_put_again_once(engine: Engine, clock: ManualClock) -> None:
    """Its document names the new entry from then on."""
    submit(engine)
    lose(engine)
    reconciler = Reconciler(engine, "first", clock)
    assert [len(reconciler.sweep().put_again) for _ in range(3)] == [1, 0, 0]
    assert engine.queue.size() == 1


@pytest.mark.parametrize(
    ("verb", "error"),
    [
        ("holds", QueueUnavailable("no route")),
        ("holds", ConfigurationError("no such queue")),
        ("reserve", QueueUnavailable("no route")),
    ],
    ids=str,
)
def test_a_queue_that_can_t_be_asked_stops_no_sweep(
    silent: Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, verb: str, error: Exception
) -> None:
    """The rest is repaired, and what is out of reach follows later."""

    def fail(*_: object) -> None:
        raise error

    submit(silent)
    [uuid] = submit(silent, queueName="other")
    lose(silent, "other")
    reconciler = Reconciler(silent, "first", clock)
    clock.advance(30)
    with monkeypatch.context() as broken:
        broken.setattr(silent.queue, verb, fail)
        assert reconciler.sweep().put_again == [uuid]
    assert reconciler.sweep().put_again == []


# The jobs it is for.


@pytest.mark.parametrize(
    ("known", "put"),
    [
        ([["other", 9.0]], False),
        ([["test", 0.5]], False),
        ([["test", 1.0]], True),
        ([["other", 1.0], ["test", 2.0]], True),
        ("test", True),
        (None, True),
        ([["test"], 5, ["test", "x"]], True),
    ],
    ids=repr,
)
@pytest.mark.parametrize("in_doubt", [False, True])
def test_what_no_living_worker_takes_is_not_put_again(
    engine: Engine, silent: Engine, clock: ManualClock, known: Any, put: bool, in_doubt: bool
) -> None:
    """As far as workers' records name what they know; the next worker that takes it finds it put again."""
    place = silent if in_doubt else engine
    submit(place)
    lose(place)
    WorkerRecords(place).renew(ALICE, 1, lambda: {"knows": known})
    clock.advance(25)
    WorkerRecords(place).renew(ALICE, 2, lambda: {"knows": known})
    reconciler = Reconciler(place, "first", clock)
    assert bool(reconciler.sweep().put_again) is put
    WorkerRecords(place).renew(WorkerIdentity("bob", 30.0), 1, lambda: {"knows": [["test", 1.0]]})
    assert bool(reconciler.sweep().put_again) is not put
    assert len(take(place)) == 1


def test_a_job_that_has_gone_on_meanwhile_is_left_alone(
    engine: Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claimed, ended or put again between the look at its queue and the repair."""
    claimed, again, edited = submit(engine, 3)
    holds_all = engine.queue.holds_all

    def interrupted(entries: Any) -> Any:
        answers = holds_all(entries)
        if len(entries) == 3:
            answers = [False] * 3
            assert take(engine, 1) == [claimed]
            engine.enqueue(again)
        return answers

    monkeypatch.setattr(engine.queue, "holds_all", interrupted)
    assert Reconciler(engine, "first", clock).sweep().put_again == [edited]
    assert engine.queue.size() == 4


# Faults on the way.


def test_kinds_out_of_reach_are_looked_at_later(
    engine: Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was set aside and lost is put again once its queue answers."""
    [uuid] = submit(engine)
    stranger = WorkerIdentity("stranger", 30.0, knows=(("other", 1.0),))

    def refuse(head: Any) -> None:
        raise Unsuitable("not mine")

    assert engine.claim(1, stranger, refuse) == []
    aside = engine.aside_of(engine.read(uuid)[0])
    assert aside is not None
    lose(engine, aside)

    def fail(*_: object) -> None:
        raise QueueUnavailable("no route")

    reconciler = Reconciler(engine, "first", clock)
    with monkeypatch.context() as broken:
        broken.setattr(engine.queue_named(aside), "holds_all", fail)
        assert reconciler.sweep().put_again == []
    assert reconciler.sweep().put_again == [uuid]


def test_a_job_of_no_kind_is_named_and_keeps_no_other(engine: Engine, clock: ManualClock) -> None:
    damaged, sound = submit(engine, 2)
    engine.datastore.mutate(make_key(damaged), [Set("schemaVersion", "x")])
    lose(engine)
    report = Reconciler(engine, "first", clock).sweep()
    assert report.put_again == [sound]
    assert damaged in report.stuck
