"""The definition of a queue: every rule that an adapter keeps, as a test.

Subclass ``QueueContract`` in a test module and give it a fixture ``queue``, an empty queue that goes by the fixture
``clock``. Where several handles on the same entries are possible, override the fixture ``another``; say in ``put_raw``
how a foreign program would put a body that is no uuid. An adapter whose server keeps the time itself overrides
``pass_time`` by waiting; one that can't do something says so in the class attributes below, and the rules that need
it are skipped.

``zerog.testing.queue_machine`` has the same contract as a model that hypothesis runs against an adapter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Barrier
from time import monotonic
from typing import Any
from uuid import UUID

import pytest

from zerog.document import new_uuid
from zerog.exceptions import ConfigurationError, InvalidUuid, InvalidValue, ReservationLost
from zerog.queues.base import TTR, Queue, Reservation
from zerog.testing.clock import ManualClock

LIMIT = 20.0
"""Seconds after which a test gives up on something that should happen at once."""


class QueueContract:
    """Rules that every queue keeps."""

    has_priorities = True
    has_names = True
    can_wake = True
    can_put_ahead = True
    knows_lowest = True

    @pytest.fixture
    def clock(self) -> ManualClock:
        """The clock that the queue goes by."""
        return ManualClock()

    @pytest.fixture
    def another(self, queue: Queue) -> Queue:
        """A second handle on the same entries; the same object where there can't be two."""
        return queue

    def pass_time(self, clock: ManualClock, seconds: float) -> None:
        """Let time pass for the queue."""
        clock.advance(seconds)

    def put_raw(self, queue: Queue, body: Any) -> None:
        """Put any body, as a foreign program could. Overridden for each adapter where that is possible."""
        pytest.skip("nobody said how to put another body here")

    def put(self, queue: Queue, count: int, **options: Any) -> list[str]:
        """Put so many new uuids."""
        uuids = [new_uuid() for _ in range(count)]
        for uuid in uuids:
            queue.put(uuid, **options)
        return uuids

    def drained(self, queue: Queue) -> list[str]:
        """Everything that is ready, in the order of delivery, taken off."""
        uuids = []
        while (reservation := queue.reserve()) is not None:
            uuids.append(reservation.uuid)
            reservation.delete()
        return uuids

    def reserved(self, queue: Queue) -> Reservation:
        """The next entry, which must be there."""
        reservation = queue.reserve()
        assert reservation is not None
        return reservation

    # Putting and reserving.

    def test_empty(self, queue: Queue) -> None:
        """An empty queue answers None at once and has the size 0."""
        assert queue.reserve() is None
        assert queue.size() == 0

    def test_delivers_what_was_put(self, queue: Queue, another: Queue) -> None:
        """The uuid that was put is the uuid that is delivered, to whichever handle asks."""
        (uuid,) = self.put(queue, 1)
        assert self.reserved(another).uuid == uuid

    def test_first_in_first_out(self, queue: Queue) -> None:
        """Entries of one priority come in the order in which they were put."""
        uuids = self.put(queue, 12)
        assert self.drained(queue) == uuids

    def test_higher_priority_first(self, queue: Queue) -> None:
        """A higher priority goes first, a negative one last, and within one priority the oldest."""
        self.require(self.has_priorities)
        puts = [(new_uuid(), priority) for priority in (0, 5, -3, 0, 5, 10, -3)]
        for uuid, priority in puts:
            queue.put(uuid, priority=priority)
        assert self.drained(queue) == [uuid for uuid, _ in sorted(puts, key=lambda put: -put[1])]

    def test_put_ahead(self, queue: Queue) -> None:
        """An entry that is put ahead comes before those of its priority, whatever has been taken off before."""
        self.require(self.can_put_ahead)
        first, second = self.put(queue, 2)
        ids = [queue.put(uuid := new_uuid(), ahead=True), queue.put(other := new_uuid(), ahead=True)]
        assert -1 not in ids
        assert self.drained(queue) == [other, uuid, first, second]
        (last,) = self.put(queue, 1)
        again = new_uuid()
        queue.put(again, ahead=True)
        assert self.drained(queue) == [again, last]

    def test_put_ahead_stays_below_a_higher_priority(self, queue: Queue) -> None:
        """Priority goes first."""
        self.require(self.can_put_ahead and self.has_priorities)
        (urgent,) = self.put(queue, 1, priority=1)
        queue.put(uuid := new_uuid(), ahead=True)
        assert self.drained(queue) == [urgent, uuid]

    def test_reserve_lowest(self, queue: Queue) -> None:
        """The other end of the line: the lowest priority first, and the oldest of it; what is left keeps its order."""
        self.require(self.knows_lowest and self.has_priorities)
        puts = [
            (queue.put(uuid := new_uuid(), priority=priority), priority, uuid)[1:] for priority in (1, -2, 3, -2, 1)
        ]
        first, second, third = (queue.reserve_lowest() for _ in range(3))
        assert first is not None and second is not None and third is not None
        assert [first.uuid, second.uuid, third.uuid] == [puts[1][1], puts[3][1], puts[0][1]]
        second.release()
        assert self.drained(queue) == [puts[2][1], puts[4][1], puts[3][1]]
        first.delete()
        third.delete()
        assert queue.reserve_lowest() is None and queue.size() == 0

    def test_reserve_lowest_is_a_reservation(self, queue: Queue, another: Queue, clock: ManualClock) -> None:
        """Whatever it picks is ready, is kept from others, and comes back after its time to run."""
        assert queue.reserve_lowest() is None
        self.put(queue, 1, delay=60)
        assert queue.reserve_lowest() is None
        (uuid,) = self.put(queue, 1, ttr=2)
        reservation = queue.reserve_lowest()
        assert reservation is not None and reservation.uuid == uuid
        assert another.reserve_lowest() is None and another.reserve() is None
        self.pass_time(clock, 3)
        again = another.reserve_lowest()
        assert again is not None and again.uuid == uuid
        with pytest.raises(ReservationLost):
            reservation.delete()

    def test_same_uuid_twice(self, queue: Queue) -> None:
        """A uuid that is put twice is two entries: the queue knows nothing about jobs."""
        (uuid,) = self.put(queue, 1)
        queue.put(uuid)
        assert queue.size() == 2
        assert self.drained(queue) == [uuid, uuid]

    def test_ids(self, queue: Queue) -> None:
        """Each put answers with an id of its own, a text or a number other than -1, the mark of "not put"."""
        ids = [queue.put(new_uuid()) for _ in range(5)]
        assert len(set(ids)) == 5
        assert all(type(id) in (int, str) and id != -1 for id in ids)

    def test_uuid_objects(self, queue: Queue) -> None:
        """A UUID object is as good as its text."""
        uuid = new_uuid()
        queue.put(UUID(uuid))  # type: ignore[arg-type]
        assert self.drained(queue) == [uuid]

    @pytest.mark.parametrize(
        "body", ["", "x", None, 5, b"x", "zerog_job_" + "0" * 32, " " + "0" * 32, "é" * 36], ids=repr
    )
    def test_put_refuses_what_is_no_uuid(self, queue: Queue, body: Any) -> None:
        """Only uuids are put."""
        with pytest.raises(InvalidUuid):
            queue.put(body)
        assert queue.size() == 0

    def test_put_refuses_other_forms(self, queue: Queue) -> None:
        """A uuid has one form, or one job would have several names."""
        uuid = "0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f"
        for form in (uuid.upper(), uuid.replace("-", ""), f"{{{uuid}}}", f"urn:uuid:{uuid}", f"{uuid}\n"):
            with pytest.raises(InvalidUuid):
                queue.put(form)
        assert queue.size() == 0

    @pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), "1", None, True], ids=repr)
    def test_put_refuses_wrong_delays(self, queue: Queue, delay: Any) -> None:
        """A delay is a number of seconds, 0 or more."""
        with pytest.raises(InvalidValue, match="delay"):
            queue.put(new_uuid(), delay=delay)
        assert queue.size() == 0

    @pytest.mark.parametrize("ttr", [0, -1, float("nan"), float("inf"), "1", True], ids=repr)
    def test_put_refuses_wrong_times_to_run(self, queue: Queue, ttr: Any) -> None:
        """A time to run is a number of seconds above 0."""
        with pytest.raises(InvalidValue, match="ttr"):
            queue.put(new_uuid(), ttr=ttr)
        assert queue.size() == 0

    @pytest.mark.parametrize("priority", [1.5, "high", None, True, 2**31], ids=repr)
    def test_put_refuses_wrong_priorities(self, queue: Queue, priority: Any) -> None:
        """A priority is an integer."""
        with pytest.raises(InvalidValue, match="priority"):
            queue.put(new_uuid(), priority=priority)
        assert queue.size() == 0

    # Delays.

    def test_delay(self, queue: Queue, clock: ManualClock) -> None:
        """A delayed entry is on the queue but not delivered early, and is delivered once its time has come."""
        (uuid,) = self.put(queue, 1, delay=2)
        assert queue.size() == 1
        assert queue.reserve() is None
        self.pass_time(clock, 1)
        assert queue.reserve() is None
        self.pass_time(clock, 1.5)
        assert self.drained(queue) == [uuid]

    def test_delay_holds_up_nobody(self, queue: Queue) -> None:
        """Entries behind a delayed one are delivered."""
        self.put(queue, 1, delay=60)
        uuids = self.put(queue, 2)
        assert self.drained(queue) == uuids

    def test_delays_end_in_their_order(self, queue: Queue, clock: ManualClock) -> None:
        """What is due earlier can be had earlier, whenever it was put."""
        (late,) = self.put(queue, 1, delay=4)
        (early,) = self.put(queue, 1, delay=2)
        self.pass_time(clock, 3)
        assert self.drained(queue) == [early]
        self.pass_time(clock, 2)
        assert self.drained(queue) == [late]

    def test_delay_and_priority(self, queue: Queue, clock: ManualClock) -> None:
        """An entry that has become due takes the place of its priority."""
        self.require(self.has_priorities)
        (high,) = self.put(queue, 1, delay=1, priority=5)
        (low,) = self.put(queue, 1)
        self.pass_time(clock, 1.5)
        assert self.drained(queue) == [high, low]

    # Reservations.

    def test_reserved_is_kept_from_others(self, queue: Queue, another: Queue) -> None:
        """A reserved entry is still on the queue, but nobody else gets it."""
        self.put(queue, 1)
        self.reserved(queue)
        assert queue.reserve() is None and another.reserve() is None
        assert queue.size() == 1

    def test_delete(self, queue: Queue, clock: ManualClock) -> None:
        """A deleted entry is gone and does not come back with time."""
        self.put(queue, 1)
        self.reserved(queue).delete()
        assert queue.size() == 0
        self.pass_time(clock, TTR + 1)
        assert queue.reserve() is None

    def test_delete_one_of_many(self, queue: Queue) -> None:
        """Deleting an entry leaves the others, one with the same uuid too."""
        (uuid,) = self.put(queue, 1)
        queue.put(uuid)
        self.reserved(queue).delete()
        assert queue.size() == 1
        assert self.drained(queue) == [uuid]

    def test_release(self, queue: Queue, another: Queue) -> None:
        """A released entry can be had by others at once."""
        (uuid,) = self.put(queue, 1)
        self.reserved(queue).release()
        assert self.reserved(another).uuid == uuid

    def test_release_with_delay(self, queue: Queue, clock: ManualClock) -> None:
        """An entry released with a delay comes back after it, not before."""
        (uuid,) = self.put(queue, 1)
        self.reserved(queue).release(2)
        assert queue.size() == 1
        assert queue.reserve() is None
        self.pass_time(clock, 2.5)
        assert self.drained(queue) == [uuid]

    def test_release_long(self, queue: Queue, clock: ManualClock) -> None:
        """A delay beyond the time to run is honoured: it is the delay that counts then."""
        (uuid,) = self.put(queue, 1, ttr=1)
        self.reserved(queue).release(4)
        self.pass_time(clock, 2)
        assert queue.reserve() is None
        self.pass_time(clock, 2.5)
        assert self.drained(queue) == [uuid]

    def test_release_keeps_the_place(self, queue: Queue) -> None:
        """A released entry goes back to its place: by priority, then by age."""
        first, second = self.put(queue, 2)
        self.reserved(queue).release()
        assert self.drained(queue) == [first, second]

    @pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), "1"], ids=repr)
    def test_release_refuses_wrong_delays(self, queue: Queue, delay: Any) -> None:
        """A release with a wrong delay is refused, and the entry stays reserved."""
        self.put(queue, 1)
        reservation = self.reserved(queue)
        with pytest.raises(InvalidValue):
            reservation.release(delay)
        assert queue.reserve() is None
        reservation.delete()

    def test_time_to_run(self, queue: Queue, clock: ManualClock) -> None:
        """An entry that nobody deletes, releases or touches comes back once its time to run is over, not before."""
        (uuid,) = self.put(queue, 1, ttr=2)
        self.reserved(queue)
        self.pass_time(clock, 1)
        assert queue.reserve() is None
        self.pass_time(clock, 1.5)
        assert self.reserved(queue).uuid == uuid

    def test_usual_time_to_run(self, queue: Queue, clock: ManualClock) -> None:
        """Without ``ttr`` an entry is kept for TTR seconds."""
        if type(self).pass_time is not QueueContract.pass_time:
            pytest.skip("this would take a minute")
        self.put(queue, 1)
        self.reserved(queue)
        self.pass_time(clock, TTR - 1)
        assert queue.reserve() is None
        self.pass_time(clock, 2)
        assert queue.reserve() is not None

    def test_comes_back_again_and_again(self, queue: Queue, clock: ManualClock) -> None:
        """An entry comes back as often as its consumers die."""
        (uuid,) = self.put(queue, 1, ttr=1)
        for _ in range(3):
            assert self.reserved(queue).uuid == uuid
            self.pass_time(clock, 1.5)

    def test_touch(self, queue: Queue, clock: ManualClock) -> None:
        """A touch starts the time to run anew, as often as it comes; without another one it ends."""
        (uuid,) = self.put(queue, 1, ttr=2)
        reservation = self.reserved(queue)
        for _ in range(3):
            self.pass_time(clock, 1.25)
            reservation.touch()
            assert queue.reserve() is None
        self.pass_time(clock, 2.5)
        assert self.reserved(queue).uuid == uuid

    def test_touched_can_be_deleted(self, queue: Queue, clock: ManualClock) -> None:
        """A touched entry can be deleted as any other."""
        self.put(queue, 1, ttr=2)
        reservation = self.reserved(queue)
        reservation.touch()
        reservation.delete()
        self.pass_time(clock, 3)
        assert queue.reserve() is None and queue.size() == 0

    @pytest.mark.parametrize("verb", ["delete", "release", "touch"])
    @pytest.mark.parametrize("end", ["delete", "release"])
    def test_lost_after_its_end(self, queue: Queue, verb: str, end: str) -> None:
        """What was deleted or released is nobody's reservation any more."""
        self.put(queue, 1)
        reservation = self.reserved(queue)
        getattr(reservation, end)()
        size = queue.size()
        with pytest.raises(ReservationLost):
            getattr(reservation, verb)()
        assert queue.size() == size

    @pytest.mark.parametrize("verb", ["delete", "release", "touch"])
    def test_lost_to_another(self, queue: Queue, another: Queue, clock: ManualClock, verb: str) -> None:
        """A late consumer is told that its entry is somebody else's, and does the new one no harm."""
        self.put(queue, 1, ttr=1)
        late = self.reserved(queue)
        self.pass_time(clock, 1.5)
        present = self.reserved(another)
        with pytest.raises(ReservationLost):
            getattr(late, verb)()
        assert queue.reserve() is None
        present.delete()
        assert queue.size() == 0

    def test_lost_after_a_delayed_release(self, queue: Queue, clock: ManualClock) -> None:
        """A consumer that has released an entry with a delay has no say about it when it is back."""
        self.put(queue, 1)
        reservation = self.reserved(queue)
        reservation.release(1)
        with pytest.raises(ReservationLost):
            reservation.delete()
        self.pass_time(clock, 1.5)
        assert queue.reserve() is not None

    def test_stats(self, queue: Queue) -> None:
        """A reservation tells how often its entry was delivered and with which priority."""
        queue.put(new_uuid(), priority=3 if self.has_priorities else 0)
        for deliveries in (1, 2):
            reservation = self.reserved(queue)
            stats = reservation.stats()
            assert stats["deliveries"] == deliveries
            assert stats["priority"] == (3 if self.has_priorities else 0)
            reservation.release()

    def test_stats_of_what_is_gone(self, queue: Queue) -> None:
        """There are no figures about an entry that was deleted."""
        self.put(queue, 1)
        reservation = self.reserved(queue)
        reservation.delete()
        with pytest.raises(ReservationLost):
            reservation.stats()

    # Waiting.

    def test_reserve_waits(self, queue: Queue, another: Queue) -> None:
        """A ``reserve`` that waits returns with an entry as soon as one is put, by whichever handle."""
        started = monotonic()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(queue.reserve, LIMIT)
            (uuid,) = self.put(another, 1)
            reservation = waiting.result(LIMIT)
        assert reservation is not None and reservation.uuid == uuid
        assert monotonic() - started < LIMIT / 2

    def test_wake(self, queue: Queue) -> None:
        """``wake`` ends a ``reserve`` that waits, without an entry."""
        self.require(self.can_wake)
        started = monotonic()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(queue.reserve, 1.5 * LIMIT)
            while not waiting.done() and monotonic() - started < LIMIT:
                queue.wake()
                wait([waiting], 0.005)
            assert waiting.result(LIMIT) is None
        assert monotonic() - started < LIMIT / 2

    def test_each_waiter_gets_one(self, queue: Queue) -> None:
        """Several consumers that wait in one process all get an entry when as many are put."""
        started = monotonic()
        with ThreadPoolExecutor(3) as pool:
            waiting = [pool.submit(queue.reserve, LIMIT) for _ in range(3)]
            uuids = self.put(queue, 3)
            reservations = [each.result(2 * LIMIT) for each in waiting]
        assert sorted(reservation.uuid for reservation in reservations if reservation) == sorted(uuids)
        assert monotonic() - started < LIMIT / 2

    # Foreign bodies.

    @pytest.mark.parametrize(
        "body", ["", "x", "os.system('x')", "\x00", "é" * 36, "x" * 100_000, "🦀"], ids=lambda b: b[:9]
    )
    def test_foreign_bodies_are_set_aside(self, queue: Queue, body: str) -> None:
        """A body that is no uuid is counted and set aside; what is behind it is delivered."""
        self.put_raw(queue, body)
        (uuid,) = self.put(queue, 1)
        self.put_raw(queue, body)
        assert self.drained(queue) == [uuid]
        assert queue.rejected == 2
        assert queue.size() == 0

    # Several queues.

    def test_named_queues_are_apart(self, queue: Queue) -> None:
        """Queues of different names on one server share nothing."""
        self.require(self.has_names)
        other = queue.named("other")
        assert (other.name, queue.named("other").name) == ("other", "other")
        (here,) = self.put(queue, 1)
        there = self.put(other, 2)
        assert (queue.size(), other.size()) == (1, 2)
        assert self.drained(other) == there
        assert self.drained(queue) == [here]

    def test_named_twice(self, queue: Queue) -> None:
        """Asking for a name twice gives the same entries; asking for the own name gives this queue."""
        assert self.drained(queue.named(queue.name)) == []
        (uuid,) = self.put(queue, 1)
        assert self.drained(queue.named(queue.name)) == [uuid]
        if self.has_names:
            (uuid,) = self.put(queue.named("other"), 1)
            assert self.drained(queue.named("other")) == [uuid]

    def test_only_one_name(self, queue: Queue) -> None:
        """An adapter with one queue only refuses any other name."""
        if self.has_names:
            pytest.skip("this adapter has queues of any name")
        with pytest.raises(ConfigurationError):
            queue.named("other")

    def test_times_of_named_queues(self, queue: Queue, clock: ManualClock) -> None:
        """Delays and times to run end in every queue, whichever of them is asked."""
        self.require(self.has_names)
        other = queue.named("other")
        (here,) = self.put(queue, 1, delay=1)
        (there,) = self.put(other, 1, ttr=1)
        self.reserved(other)
        self.pass_time(clock, 1.5)
        assert self.drained(queue) == [here]
        assert self.drained(other) == [there]

    # Size, concurrency, end.

    def test_size(self, queue: Queue, another: Queue) -> None:
        """The size counts what is ready, delayed and reserved."""
        self.put(queue, 2)
        self.put(queue, 1, delay=60)
        reservation = self.reserved(queue)
        assert queue.size() == another.size() == 3
        reservation.delete()
        assert queue.size() == another.size() == 2

    def test_concurrent_consumers(self, queue: Queue, another: Queue) -> None:
        """Of many consumers at once each entry is delivered to exactly one."""
        uuids = self.put(queue, 60)
        taken = self.together(6, lambda n: self.drained((queue, another)[n % 2]))
        assert Counter(uuid for each in taken for uuid in each) == Counter(uuids)
        assert queue.size() == 0

    def test_concurrent_producers_and_consumers(self, queue: Queue, another: Queue) -> None:
        """Entries put and taken at the same time are all delivered, once."""

        def work(n: int) -> tuple[list[str], list[str]]:
            handle = (queue, another)[n % 2]
            return self.put(handle, 10), self.drained(handle)

        results = self.together(6, work)
        put = [uuid for each, _ in results for uuid in each]
        taken = [uuid for _, each in results for uuid in each] + self.drained(queue)
        assert Counter(taken) == Counter(put)

    def test_one_reservation_wins(self, queue: Queue) -> None:
        """Of many that delete one reservation at once exactly one succeeds."""
        self.put(queue, 1)
        reservation = self.reserved(queue)

        def delete(n: int) -> bool:
            try:
                reservation.delete()
            except ReservationLost:
                return False
            return True

        assert self.together(6, delete).count(True) == 1

    def test_declarations(self, queue: Queue) -> None:
        """A queue says its name and whether other processes see its entries, and has rejected nothing yet."""
        assert isinstance(queue.name, str) and queue.name
        assert isinstance(queue.shared, bool)
        assert queue.rejected == 0

    def test_setup_is_safe_to_repeat(self, queue: Queue, another: Queue) -> None:
        """``setup`` says by name what it has made; repeated, through any handle, it makes nothing and loses nothing."""
        assert all(type(name) is str for name in queue.setup())
        uuids = self.put(queue, 2)
        another.setup()
        assert queue.setup() == another.setup() == []
        assert self.drained(queue) == uuids

    def test_close_is_harmless(self, queue: Queue) -> None:
        """Closing twice does no harm, and a later call works again."""
        (uuid,) = self.put(queue, 1)
        queue.close()
        queue.close()
        assert self.drained(queue) == [uuid]

    def together(self, count: int, call: Callable[[int], Any]) -> list[Any]:
        """What ``call(n)`` gave in each of so many threads that start together."""
        barrier = Barrier(count)

        def run(n: int) -> Any:
            barrier.wait()
            return call(n)

        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(run, range(count)))

    def require(self, capability: bool) -> None:
        """Skip the test if the adapter says that it can't do this."""
        if not capability:
            pytest.skip("this adapter says that it can't do this")
