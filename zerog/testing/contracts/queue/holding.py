"""Rules of queues: looking up entries."""

from __future__ import annotations

from typing import Any

import pytest

from zerog.contracts.queue import TTR, Entry, Queue
from zerog.exceptions import ReservationLost
from zerog.records.job import new_uuid
from zerog.testing.clock import ManualClock
from zerog.testing.contracts.queue.builders import QueueRules


class HoldingRules(QueueRules):
    """Rules for ``holds`` and ``holds_all``, by which reconcile decides which waiting jobs are put again."""

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"delay": 60},
            {"ttr": 2.5},
            {"priority": 7},
            {"priority": -7, "ttr": 90, "delay": 1},
            {"front": True},
            {"front": True, "priority": 3},
        ],
        ids=str,
    )
    def test_what_was_put_is_held(self, queue: Queue, another: Queue, options: dict[str, Any]) -> None:
        """An entry is held until it is deleted, for any options and any handle."""
        self.require(self.knows_what_it_holds)
        self.put(queue, 2)
        entry = self.entry(queue, **options)
        assert queue.holds(entry) is True
        assert another.holds_all([entry, entry]) == [True, True]

    def test_a_deleted_entry_is_not_held(self, queue: Queue, another: Queue) -> None:
        """Also while the same uuid is on the queue under another id."""
        self.require(self.knows_what_it_holds)
        entry = self.entry(queue)
        queue.put(entry.uuid)
        self.reserved(queue).delete()
        assert queue.holds(entry) is False
        assert another.holds(entry) is False

    def test_a_reserved_entry_is_held(self, queue: Queue, clock: ManualClock) -> None:
        """Reserved, released, released with a delay, and back after its time to run: it is on the queue."""
        self.require(self.knows_what_it_holds)
        entry = self.entry(queue, ttr=2)
        reservation = self.reserved(queue)
        assert queue.holds(entry) is True
        reservation.release()
        assert queue.holds(entry) is True
        self.reserved(queue).release(2)
        assert queue.holds(entry) is True
        self.pass_time(clock, 2.5)
        reservation = self.reserved(queue)
        assert queue.holds(entry) is True
        self.pass_time(clock, 2.5)
        assert queue.holds(entry) is True
        self.reserved(queue).delete()
        assert queue.holds(entry) is False

    def test_a_due_entry_is_held(self, queue: Queue, clock: ManualClock) -> None:
        """Also if no consumer has polled since its delay ended."""
        self.require(self.knows_what_it_holds)
        entry = self.entry(queue, delay=1)
        self.pass_time(clock, 1.5)
        assert queue.holds(entry) is True

    # withdraw

    @pytest.mark.parametrize("options", [{}, {"delay": 60}, {"priority": -7, "ttr": 90}, {"front": True}], ids=str)
    def test_a_withdrawn_entry_is_gone(self, queue: Queue, another: Queue, options: dict[str, Any]) -> None:
        """It is not delivered, the others are; a second withdrawal finds nothing."""
        self.require(self.knows_what_it_holds)
        entry = self.entry(queue, **options)
        other = self.entry(queue)
        if not another.withdraw(entry):
            pytest.skip("this queue can't withdraw entries")
        assert queue.holds_all([entry, other]) == [False, True]
        assert queue.withdraw(entry) is False
        assert queue.size() == 1
        assert self.reserved(queue).uuid == other.uuid

    def test_only_the_entry_of_that_uuid_is_withdrawn(self, queue: Queue) -> None:
        """An id may be another entry's by now, and that of a job from elsewhere is any text."""
        entry = self.entry(queue)
        for identity in (entry.id, -1, 0, 2**70, "x", None, 1.5):
            assert queue.withdraw(Entry(identity, new_uuid())) is False
        assert self.reserved(queue).uuid == entry.uuid

    def test_a_reserved_entry_that_is_withdrawn_does_not_return(self, queue: Queue, clock: ManualClock) -> None:
        """Its consumer notices when it settles; where that keeps the entry, nothing has changed."""
        self.require(self.knows_what_it_holds)
        entry = self.entry(queue, ttr=2)
        reservation = self.reserved(queue)
        if not queue.withdraw(entry):
            reservation.delete()
            return
        with pytest.raises(ReservationLost):
            reservation.release()
        self.pass_time(clock, 3)
        assert queue.reserve(0) is None

    def test_many_are_answered_in_their_order(self, queue: Queue) -> None:
        """Each entry has its own answer, in one call."""
        self.require(self.knows_what_it_holds)
        entries = [self.entry(queue) for _ in range(30)]
        for _ in range(10):
            self.reserved(queue).delete()
        held = queue.holds_all(entries)
        assert held == [queue.holds(entry) for entry in entries]
        assert held.count(True) == 20
        assert queue.holds_all([]) == []

    def test_an_entry_of_another_queue_is_not_held(self, queue: Queue) -> None:
        """Queues of different names share no entries."""
        self.require(self.knows_what_it_holds and self.has_names)
        entry = self.entry(queue)
        assert queue.queue_named("other").holds(entry) is False
        assert queue.holds(entry) is True

    def test_an_entry_of_another_job_is_not_held(self, queue: Queue) -> None:
        """An id with another uuid is not this job's entry: servers may give an id for the second time."""
        self.require(self.knows_what_it_holds)
        assert queue.holds(self.entry(queue)._replace(uuid=new_uuid())) is False

    @pytest.mark.parametrize(
        "identity",
        [-1, 0, 2**31, 2**63, -(2**80), 1.5, "", "1", "x" * 5000, "\x00", None, True, [], {}, float("nan")],
        ids=lambda value: repr(value)[:12],
    )
    def test_an_id_that_was_never_given_is_not_held(self, queue: Queue, identity: Any) -> None:
        """For any value that a document has as the id of its entry, the answer is no, not an error."""
        self.require(self.knows_what_it_holds)
        entry = self.entry(queue)
        assert queue.holds_all([Entry(identity, entry.uuid), entry]) == [False, True]

    @pytest.mark.parametrize("wrong", [None, "", "high", float("inf"), 2**80, [], {}], ids=repr)
    def test_wrong_options_stop_no_answer(self, queue: Queue, wrong: Any) -> None:
        """A document may hold any priority and time to run."""
        self.require(self.knows_what_it_holds)
        entry = self.entry(queue)
        answers = queue.holds_all([entry._replace(priority=wrong), entry._replace(ttr=wrong), entry])
        assert answers[2] is True and None not in answers

    def test_a_queue_that_can_t_find_out_answers_none(self, queue: Queue) -> None:
        """It returns None rather than a guess."""
        if self.knows_what_it_holds:
            pytest.skip("this adapter can find out")
        entry = self.entry(queue)
        assert queue.holds(entry) is None
        assert queue.holds_all([entry, entry]) == [None, None]

    def entry(self, queue: Queue, **options: Any) -> Entry:
        """Put a new uuid; return its entry, as the job's document would have it."""
        uuid = new_uuid()
        identity = queue.put(uuid, **options)
        return Entry(identity, uuid, options.get("priority", 0), options.get("ttr", TTR))
