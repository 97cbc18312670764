"""Waiting jobs on a queue that can't look up its entries: when they are put again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.maintenance.lost_entries import Silent, lose, submit, take
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.contracts.queue import as_queue
from zerog.engine.engine import Engine
from zerog.exceptions import CorruptDocument
from zerog.maintenance import redelivery
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import make_key, new_document
from zerog.records.operations import Set
from zerog.testing.clock import ManualClock


@pytest.fixture
def silent(clock: ManualClock) -> Engine:
    return Engine(MemoryDatastore(), Silent(clock=clock), clock)


def test_in_doubt_a_job_is_put_again_if_its_queue_has_nothing(silent: Engine, clock: ManualClock) -> None:
    """Once it has waited long enough that it would have been delivered."""
    uuids = submit(silent, 3)
    lose(silent)
    reconciler = Reconciler(silent, "first", clock)
    clock.advance(19)
    assert reconciler.sweep().put_again == []
    clock.advance(2)
    assert reconciler.sweep().put_again == uuids
    assert take(silent) == uuids


def test_in_doubt_a_job_is_put_again_if_its_queue_delivers_later_ones(silent: Engine, clock: ManualClock) -> None:
    """A steady flow of new work hides no lost job."""
    lost = submit(silent, 3)
    lose(silent)
    clock.advance(30)
    later = submit(silent, 2)
    assert Reconciler(silent, "first", clock).sweep().put_again == lost
    assert take(silent) == [*later, *lost]


def test_in_doubt_nothing_is_put_while_the_queue_delivers_in_order(silent: Engine, clock: ManualClock) -> None:
    """A backlog is no loss; nor is a high priority that is delivered before what waits longer."""
    waiting = submit(silent, 5)
    reconciler = Reconciler(silent, "first", clock)
    for n in range(20):
        clock.advance(30)
        submit(silent, 1, priority=1 + n % 2)
        assert reconciler.sweep().put_again == []
    assert silent.queue.size() == 25
    assert set(waiting) < set(take(silent))


def test_in_doubt_the_time_between_two_puts_doubles(silent: Engine, clock: ManualClock) -> None:
    """So that a queue that delivers nothing isn't filled without end."""
    submit(silent)
    lose(silent)
    reconciler = Reconciler(silent, "first", clock)
    puts = []
    for second in range(0, 700, 5):
        if reconciler.sweep().put_again:
            puts.append(second)
            lose(silent)
        clock.advance(5)
    assert puts == [20, 60, 140, 300, 620]


def test_in_doubt_no_more_than_so_many_are_put_in_one_sweep(silent: Engine, clock: ManualClock) -> None:
    """And the next sweeps continue."""
    uuids = submit(silent, 250)
    lose(silent)
    clock.advance(30)
    reconciler = Reconciler(silent, "first", clock)
    put: list[str] = []
    taken: list[str] = []
    for most in (100, 100, 50, 0):
        report = reconciler.sweep()
        assert len(report.put_again) == most
        put += report.put_again
        taken += take(silent, 500)
        clock.advance(10)
    assert put == taken == uuids


def test_in_doubt_the_delivery_that_was_looked_at_is_given_back(silent: Engine, clock: ManualClock) -> None:
    """Whether it leads to a job or not."""
    lost = submit(silent)
    lose(silent)
    clock.advance(30)
    nowhere = new_document("test", 1.0, "2026")["uuid"]
    silent.queue.put(nowhere)
    reconciler = Reconciler(silent, "first", clock)
    assert reconciler.sweep().put_again == []
    reservation = silent.queue.reserve()
    assert reservation is not None and reservation.uuid == nowhere
    reservation.delete()
    assert reconciler.sweep().put_again == lost


def test_a_queue_that_only_takes_is_not_put_to(clock: ManualClock) -> None:
    """A user's own queue with no more than ``put``: whether something is lost there can't be known."""

    class Least:
        def put(self, uuid: str) -> int:
            return 1

    engine = Engine(MemoryDatastore(), as_queue(Least()), clock)
    submit(engine)
    clock.advance(60)
    assert Reconciler(engine, "first", clock).sweep().put_again == []


def test_what_is_remembered_of_doubts_is_bounded(
    silent: Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest are forgotten, which costs a put more at most."""
    monkeypatch.setattr(redelivery, "REMEMBERED", 3)
    submit(silent, 10)
    lose(silent)
    reconciler = Reconciler(silent, "first", clock)
    clock.advance(30)
    reconciler.sweep()
    assert len(reconciler._redelivery._puts) == 3


def test_a_next_entry_whose_job_can_t_be_read_is_no_answer(
    silent: Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is put again because of it."""
    submit(silent, 2)
    lose(silent)
    clock.advance(30)
    [damaged] = submit(silent)
    read = silent.datastore.read_with_cas

    def unreadable(key: str, head: bool = False) -> Any:
        if key == make_key(damaged):
            raise CorruptDocument("made up: no JSON")
        return read(key, head)

    monkeypatch.setattr(silent.datastore, "read_with_cas", unreadable)
    assert Reconciler(silent, "first", clock).sweep().put_again == []


def test_a_next_entry_that_went_to_another_consumer_stops_no_sweep(
    silent: Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = submit(silent, 2)
    lose(silent)
    clock.advance(30)
    submit(silent)
    reserve = silent.queue.reserve

    def taken_over(timeout: float = 0) -> Any:
        reservation = reserve(timeout)
        assert reservation is not None
        reservation.release(0)
        return reservation

    monkeypatch.setattr(silent.queue, "reserve", taken_over)
    assert Reconciler(silent, "first", clock).sweep().put_again == lost


def test_a_job_whose_times_make_no_sense_is_not_put_in_doubt(silent: Engine, clock: ManualClock) -> None:
    """The time it has waited is unknown."""
    odd, sound = submit(silent, 2)
    silent.datastore.mutate(make_key(odd), [Set("queuedAt", None)])
    lose(silent)
    clock.advance(30)
    assert Reconciler(silent, "first", clock).sweep().put_again == [sound]
