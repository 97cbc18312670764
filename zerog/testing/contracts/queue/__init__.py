"""The definition of a queue: every rule for an adapter, as a test.

Subclass ``QueueContract`` in a test module and give it a fixture ``queue``, an empty queue that uses the fixture
``clock``. If several handles on the same entries are possible, override the fixture ``another``; define in ``put_raw``
how a foreign program would put a body that is no uuid. An adapter whose server has its own clock overrides
``pass_time`` by waiting; one that can't do something declares it in the class attributes of ``QueueRules`` (in
``zerog.testing.contracts.queue.builders``), and the rules that need it are skipped.

``zerog.testing.contracts.queue.machine`` has the same contract as a model that hypothesis tests an adapter with.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from time import monotonic

import pytest

from zerog.contracts.queue import Queue
from zerog.exceptions import ConfigurationError, ReservationLost
from zerog.records.job import new_uuid
from zerog.testing.clock import ManualClock
from zerog.testing.contracts.queue.builders import LIMIT
from zerog.testing.contracts.queue.holding import HoldingRules
from zerog.testing.contracts.queue.order import OrderRules
from zerog.testing.contracts.queue.reservations import ReservationRules


class QueueContract(OrderRules, ReservationRules, HoldingRules):
    """Rules for every queue."""

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
        """A body that is no uuid is counted and set aside; entries behind it are delivered."""
        self.put_raw(queue, body)
        (uuid,) = self.put(queue, 1)
        self.put_raw(queue, body)
        assert self.drained(queue) == [uuid]
        assert queue.rejected == 2
        assert queue.size() == 0

    @pytest.mark.parametrize("lowest", [False, True], ids=["next", "lowest"])
    def test_bad_entries_are_set_aside(self, queue: Queue, another: Queue, lowest: bool) -> None:
        """An invalid entry is counted and set aside, whatever it holds; those before and behind it are delivered."""
        writers = self.bad_entries(queue)
        if not writers:
            pytest.skip("this adapter has no way to write a bad entry")
        for number, (name, write) in enumerate(writers.items(), 1):
            before, behind = self.entry(queue), None
            write()
            behind = self.entry(another)
            assert queue.holds_all([before, behind]) in ([True, True], [None, None]), name
            taken = []
            while (reservation := queue.reserve_lowest() if lowest else queue.reserve()) is not None:
                taken.append(reservation.uuid)
                reservation.delete()
            assert sorted(taken) == sorted([before.uuid, behind.uuid]), name
            assert (queue.rejected, queue.size()) == (number, 0), name
            assert another.reserve() is None, name

    # Several queues.

    def test_named_queues_are_apart(self, queue: Queue) -> None:
        """Queues of different names on one server share nothing."""
        self.require(self.has_names)
        other = queue.queue_named("other")
        assert (other.name, queue.queue_named("other").name) == ("other", "other")
        (here,) = self.put(queue, 1)
        there = self.put(other, 2)
        assert (queue.size(), other.size()) == (1, 2)
        assert self.drained(other) == there
        assert self.drained(queue) == [here]

    def test_named_twice(self, queue: Queue) -> None:
        """Calls with the same name give the same entries; the own name gives this queue."""
        assert self.drained(queue.queue_named(queue.name)) == []
        (uuid,) = self.put(queue, 1)
        assert self.drained(queue.queue_named(queue.name)) == [uuid]
        if self.has_names:
            (uuid,) = self.put(queue.queue_named("other"), 1)
            assert self.drained(queue.queue_named("other")) == [uuid]

    def test_only_one_name(self, queue: Queue) -> None:
        """An adapter with one queue only refuses any other name."""
        if self.has_names:
            pytest.skip("this adapter has queues of any name")
        with pytest.raises(ConfigurationError):
            queue.queue_named("other")

    def test_times_of_named_queues(self, queue: Queue, clock: ManualClock) -> None:
        """Delays and times to run end in every queue, whichever of them is polled."""
        self.require(self.has_names)
        other = queue.queue_named("other")
        (here,) = self.put(queue, 1, delay=1)
        (there,) = self.put(other, 1, ttr=1)
        self.reserved(other)
        self.pass_time(clock, 1.5)
        assert self.drained(queue) == [here]
        assert self.drained(other) == [there]

    # The result of put.

    @pytest.mark.parametrize("order", ["ahead first", "ahead last", "in turns"])
    def test_an_id_is_never_taken_for_none(self, queue: Queue, order: str) -> None:
        """Each entry has a distinct id, and none is -1, 0, empty or None, which mean "not on a queue"."""
        aheads = {"ahead first": (True, False), "ahead last": (False, True), "in turns": (True, False) * 3}[order]
        for _ in range(2):  # the second time on a queue that was emptied
            ids = [queue.put(new_uuid(), front=ahead) for ahead in aheads for _ in range(3)]
            assert len(set(ids)) == len(ids)
            assert not [identity for identity in ids if identity in (-1, 0, "", None)]
            self.drained(queue)

    # Size, concurrency, end.

    def test_size(self, queue: Queue, another: Queue) -> None:
        """The size counts ready, delayed and reserved entries."""
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
        """A queue declares its name and whether other processes see its entries, and has rejected nothing yet."""
        assert isinstance(queue.name, str) and queue.name
        assert isinstance(queue.shared, bool)
        assert queue.rejected == 0

    def test_setup_is_safe_to_repeat(self, queue: Queue, another: Queue) -> None:
        """``setup`` returns the names of what it has created; repeated, through any handle, it is a no-op."""
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
