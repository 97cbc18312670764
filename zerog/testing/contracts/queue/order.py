"""Rules of queues: entries are delivered, in their order, and not before their time."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from zerog.contracts.queue import Queue
from zerog.exceptions import InvalidUuid, InvalidValue, ReservationLost
from zerog.records.job import new_uuid
from zerog.testing.clock import ManualClock
from zerog.testing.contracts.queue.builders import QueueRules


class OrderRules(QueueRules):
    """Rules for the order and the time of deliveries."""

    # Putting and reserving.

    def test_empty(self, queue: Queue) -> None:
        """An empty queue returns None at once and has the size 0."""
        assert queue.reserve() is None
        assert queue.size() == 0

    def test_delivers_what_was_put(self, queue: Queue, another: Queue) -> None:
        """The delivered uuid is the one that was put, for any handle."""
        (uuid,) = self.put(queue, 1)
        assert self.reserved(another).uuid == uuid

    def test_put_answers_an_id(self, queue: Queue) -> None:
        """A text or a whole number, another for each entry; None would mean that nothing was put."""
        ids = [queue.put(new_uuid()) for _ in range(3)]
        assert len(set(ids)) == len(ids)
        assert all(isinstance(identity, (int, str)) and not isinstance(identity, bool) for identity in ids)

    def test_first_in_first_out(self, queue: Queue) -> None:
        """Entries of one priority are delivered in the order in which they were put."""
        uuids = self.put(queue, 12)
        assert self.drained(queue) == uuids

    def test_higher_priority_first(self, queue: Queue) -> None:
        """A higher priority is delivered first, a negative one last, and within one priority the oldest."""
        self.require(self.has_priorities)
        puts = [(new_uuid(), priority) for priority in (0, 5, -3, 0, 5, 10, -3)]
        for uuid, priority in puts:
            queue.put(uuid, priority=priority)
        assert self.drained(queue) == [uuid for uuid, _ in sorted(puts, key=lambda put: -put[1])]

    def test_put_ahead(self, queue: Queue) -> None:
        """An entry that is put ahead is delivered before those of its priority, whatever has been taken off before."""
        self.require(self.can_put_ahead)
        first, second = self.put(queue, 2)
        ids = [queue.put(uuid := new_uuid(), front=True), queue.put(other := new_uuid(), front=True)]
        assert -1 not in ids
        assert self.drained(queue) == [other, uuid, first, second]
        (last,) = self.put(queue, 1)
        again = new_uuid()
        queue.put(again, front=True)
        assert self.drained(queue) == [again, last]

    def test_put_ahead_stays_below_a_higher_priority(self, queue: Queue) -> None:
        """Priority decides first."""
        self.require(self.can_put_ahead and self.has_priorities)
        (urgent,) = self.put(queue, 1, priority=1)
        queue.put(uuid := new_uuid(), front=True)
        assert self.drained(queue) == [urgent, uuid]

    def test_reserve_lowest(self, queue: Queue) -> None:
        """The other end of the queue: the lowest priority first, and the oldest of it; the rest keeps its order."""
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
        """The picked entry is ready, is withheld from other consumers, and returns after its time to run."""
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
        """A uuid that is put twice is two entries: the queue has no notion of jobs."""
        (uuid,) = self.put(queue, 1)
        queue.put(uuid)
        assert queue.size() == 2
        assert self.drained(queue) == [uuid, uuid]

    def test_ids(self, queue: Queue) -> None:
        """Each put returns a distinct id, a text or a number other than -1, the mark of "not put"."""
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

    def test_delay_holds_up_no_other_entry(self, queue: Queue) -> None:
        """Entries behind a delayed one are delivered."""
        self.put(queue, 1, delay=60)
        uuids = self.put(queue, 2)
        assert self.drained(queue) == uuids

    def test_delays_end_in_their_order(self, queue: Queue, clock: ManualClock) -> None:
        """Entries become deliverable in the order of their due times, whenever they were put."""
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
