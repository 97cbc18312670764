"""Waiting jobs whose entries are lost: which are put again, when, and how often."""

from __future__ import annotations

from typing import Any

import pytest

from tests.backends.rq.queues import fake_queue, fakeredis, raw_client, real_url
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.backends.redis.commands import stored
from zerog.backends.redis.datastore import RedisDatastore
from zerog.backends.rq.queue import RqQueue
from zerog.contracts.queue import Entry, Queue, Reservation, as_queue
from zerog.engine.engine import Engine, Unsuitable
from zerog.engine.transitions import WorkerIdentity
from zerog.exceptions import ConfigurationError, CorruptDocument, QueueUnavailable
from zerog.fleet.heartbeat import WorkerRecords
from zerog.maintenance import redelivery
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import make_key, new_document, new_uuid
from zerog.records.operations import Set
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock

ALICE = WorkerIdentity("alice", 30.0)


class Silent(MemoryQueue):
    """A queue that can't look up its entries."""

    def queue_named(self, name: str) -> MemoryQueue:
        return self if name == self.name else Silent(name, _family=self._family)

    def holds(self, entry: Entry) -> bool | None:  # type: ignore[override]
        return None


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def engine(clock: ManualClock) -> Engine:
    return Engine(MemoryDatastore(), MemoryQueue(clock=clock), clock)


@pytest.fixture
def silent(clock: ManualClock) -> Engine:
    return Engine(MemoryDatastore(), Silent(clock=clock), clock)


def submit(engine: Engine, number: int = 1, delay: float = 0, **fields: Any) -> list[str]:
    documents = [{**new_document("test", 1.0, to_text(engine.clock.now())), **fields} for _ in range(number)]
    return [document["uuid"] for document, _ in engine.submit(documents, delay)]


def take(engine: Engine, want: int = 50, queues: Any = ()) -> list[str]:
    return [claim.uuid for claim in engine.claim(want, ALICE, lambda head: head["jobType"], queues)]


def lose(engine: Engine, name: str = "default") -> None:
    engine.queue_named(name).flush()  # type: ignore[attr-defined]


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


# A queue that can't look up its entries.


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
    held = [reserved(silent.queue)]  # and never released: to the sweep that looks like a loss
    reconciler = Reconciler(silent, "first", clock)
    puts = []
    for second in range(0, 700, 5):
        if reconciler.sweep().put_again:
            puts.append(second)
            held.append(reserved(silent.queue))
        clock.advance(5)
        for reservation in held:
            reservation.touch()
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


# Many.


def fill(engine: Engine, url: str, count: int, entries: bool = True) -> list[str]:
    """Jobs as their ``submit`` leaves them, a thousand in one call."""
    assert isinstance(engine.datastore, RedisDatastore)
    now = to_text(engine.clock.now())
    uuids = [new_uuid() for _ in range(count)]
    for start in range(0, count, 1_000):
        commands = []
        pipeline = raw_client(url).pipeline(transaction=False)
        for uuid in uuids[start : start + 1_000]:
            document = new_document("test", 1.0, now, uuid)
            entry = f"{uuid}_0123456789ab"
            document |= {"status": "queued", "queueState": "queued", "queuedAt": now, "queueJobId": entry}
            commands.append({"command": "store", "token": "*", **stored(make_key(uuid), document)})
            if entries:
                pipeline.hset(f"rq:job:{entry}", "status", "queued")
                pipeline.rpush("rq:queue:default", entry)
        engine.datastore.server.call(commands, "a test")
        pipeline.execute()
    return uuids


@pytest.mark.parametrize(
    ("count", "looked_at"),
    [(600, 200), pytest.param(500_000, redelivery.LOOKED_AT, marks=[pytest.mark.long, pytest.mark.timeout(3600)])],
)
@pytest.mark.wide
def test_an_hour_of_many_waiting_jobs_on_rq(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch, count: int, looked_at: int
) -> None:
    """No job is put twice unless its entry is gone, and those that are gone are restored."""
    monkeypatch.setattr(redelivery, "LOOKED_AT", looked_at)
    url = real_url()
    engine = Engine(RedisDatastore(url, clock), RqQueue(url, clock=clock), clock)
    submitted = submit(engine, 10)
    fill(engine, url, count)
    gone = fill(engine, url, 20, entries=False)
    reconciler = Reconciler(engine, "first", clock)
    put: list[str] = []
    for _ in range(360):
        put += reconciler.sweep().put_again
        clock.advance(10)
    assert put == gone
    assert engine.queue.size() == len(submitted) + count + len(gone)
    engine.close()


def test_rq_empty_and_a_deleted_list(clock: ManualClock) -> None:
    """Jobs without entries, as after `rq empty` and DEL of RQ's list, are put again."""
    queue = fake_queue(fakeredis.FakeServer(), clock)
    engine = Engine(MemoryDatastore(), queue, clock)
    reconciler = Reconciler(engine, "first", clock)
    emptied = submit(engine, 3)
    queue._rq_queue().empty()
    assert reconciler.sweep().put_again == emptied
    queue._client().delete("rq:queue:default")
    later = submit(engine, 2)
    assert reconciler.sweep().put_again == emptied
    assert sorted(take(engine)) == sorted([*emptied, *later])
    queue.close()


def reserved(queue: Queue) -> Reservation:
    reservation = queue.reserve()
    assert reservation is not None
    return reservation


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


def test_a_job_of_no_kind_is_named_and_keeps_no_other(engine: Engine, clock: ManualClock) -> None:
    damaged, sound = submit(engine, 2)
    engine.datastore.mutate(make_key(damaged), [Set("schemaVersion", "x")])
    lose(engine)
    report = Reconciler(engine, "first", clock).sweep()
    assert report.put_again == [sound]
    assert damaged in report.stuck


def test_a_job_whose_times_make_no_sense_is_not_put_in_doubt(silent: Engine, clock: ManualClock) -> None:
    """The time it has waited is unknown."""
    odd, sound = submit(silent, 2)
    silent.datastore.mutate(make_key(odd), [Set("queuedAt", None)])
    lose(silent)
    clock.advance(30)
    assert Reconciler(silent, "first", clock).sweep().put_again == [sound]
