"""Rules of queues: the holder of an entry, and the time for which it is held."""

from __future__ import annotations

from typing import Any

import pytest

from zerog.contracts.queue import TTR, Queue
from zerog.exceptions import InvalidValue, ReservationLost
from zerog.testing.clock import ManualClock
from zerog.testing.contracts.queue.builders import QueueRules


class ReservationRules(QueueRules):
    """Rules from a delivery on."""

    # Reservations.

    def test_a_reserved_entry_is_delivered_to_no_other_consumer(self, queue: Queue, another: Queue) -> None:
        """A reserved entry is still on the queue, but no other consumer gets it."""
        self.put(queue, 1)
        self.reserved(queue)
        assert queue.reserve() is None and another.reserve() is None
        assert queue.size() == 1

    def test_delete(self, queue: Queue, clock: ManualClock) -> None:
        """A deleted entry is gone and does not return later."""
        self.put(queue, 1)
        self.reserved(queue).delete()
        assert queue.size() == 0
        self.pass_time(clock, TTR + 1)
        assert queue.reserve() is None

    def test_delete_one_of_many(self, queue: Queue) -> None:
        """Deleting an entry leaves the rest, one with the same uuid too."""
        (uuid,) = self.put(queue, 1)
        queue.put(uuid)
        self.reserved(queue).delete()
        assert queue.size() == 1
        assert self.drained(queue) == [uuid]

    def test_release(self, queue: Queue, another: Queue) -> None:
        """A released entry can be reserved by other consumers at once."""
        (uuid,) = self.put(queue, 1)
        self.reserved(queue).release()
        assert self.reserved(another).uuid == uuid

    def test_release_with_delay(self, queue: Queue, clock: ManualClock) -> None:
        """An entry released with a delay returns after it, not before."""
        (uuid,) = self.put(queue, 1)
        self.reserved(queue).release(2)
        assert queue.size() == 1
        assert queue.reserve() is None
        self.pass_time(clock, 2.5)
        assert self.drained(queue) == [uuid]

    def test_release_long(self, queue: Queue, clock: ManualClock) -> None:
        """A delay beyond the time to run is honoured: then the delay counts."""
        (uuid,) = self.put(queue, 1, ttr=1)
        self.reserved(queue).release(4)
        self.pass_time(clock, 2)
        assert queue.reserve() is None
        self.pass_time(clock, 2.5)
        assert self.drained(queue) == [uuid]

    def test_release_keeps_the_place(self, queue: Queue) -> None:
        """A released entry returns to its place: by priority, then by age."""
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
        """An entry that is not deleted or released returns once its time to run is over, not before."""
        (uuid,) = self.put(queue, 1, ttr=2)
        self.reserved(queue)
        self.pass_time(clock, 1)
        assert queue.reserve() is None
        self.pass_time(clock, 1.5)
        assert self.reserved(queue).uuid == uuid

    def test_usual_time_to_run(self, queue: Queue, clock: ManualClock) -> None:
        """Without ``ttr`` an entry is kept for TTR seconds."""
        if type(self).pass_time is not QueueRules.pass_time:
            pytest.skip("this would take a minute")
        self.put(queue, 1)
        self.reserved(queue)
        self.pass_time(clock, TTR - 1)
        assert queue.reserve() is None
        self.pass_time(clock, 2)
        assert queue.reserve() is not None

    def test_is_delivered_again_and_again(self, queue: Queue, clock: ManualClock) -> None:
        """An entry returns as often as its consumers die."""
        (uuid,) = self.put(queue, 1, ttr=1)
        for _ in range(3):
            assert self.reserved(queue).uuid == uuid
            self.pass_time(clock, 1.5)

    @pytest.mark.parametrize("verb", ["delete", "release"])
    @pytest.mark.parametrize("end", ["delete", "release"])
    def test_lost_after_its_end(self, queue: Queue, verb: str, end: str) -> None:
        """A deleted or released entry is not reserved any more."""
        self.put(queue, 1)
        reservation = self.reserved(queue)
        getattr(reservation, end)()
        size = queue.size()
        with pytest.raises(ReservationLost):
            getattr(reservation, verb)()
        assert queue.size() == size

    @pytest.mark.parametrize("verb", ["delete", "release"])
    def test_lost_to_another(self, queue: Queue, another: Queue, clock: ManualClock, verb: str) -> None:
        """A late consumer gets ReservationLost once another one has its entry, and does that one no harm."""
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
        """A consumer that has released an entry with a delay has no right to it once it returns."""
        self.put(queue, 1)
        reservation = self.reserved(queue)
        reservation.release(1)
        with pytest.raises(ReservationLost):
            reservation.delete()
        self.pass_time(clock, 1.5)
        assert queue.reserve() is not None
