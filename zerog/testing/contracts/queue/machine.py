"""The queue contract as a model: random sequences of calls on a queue whose entries are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from zerog.contracts.queue import Queue, Reservation
from zerog.exceptions import ReservationLost
from zerog.records.job import new_uuid
from zerog.testing.clock import ManualClock

UUIDS = [new_uuid() for _ in range(4)]

_verbs = st.sampled_from(["delete", "release"])
_seconds = st.sampled_from([1, 2, 3, 5])


@dataclass
class _Entry:
    uuid: str
    priority: int
    ttr: float
    order: int
    ready: float
    holder: Reservation | None = None


def queue_machine(new_queue: Callable[[ManualClock], Queue], lossy: bool = False) -> type[RuleBasedStateMachine]:
    """Return a machine class that tests an adapter; ``new_queue`` returns an empty one with the given clock.

    A ``lossy`` queue must only keep the rules for all queues: that it invents no uuid and delivers nothing before its
    time. Otherwise every entry must be delivered in its order until it is deleted.
    """

    class QueueMachine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.clock = ManualClock()
            self.queue = new_queue(self.clock)
            self.entries: list[_Entry] = []
            self.earliest: dict[str, float] = {}
            """By uuid, the earliest time of its delivery."""
            self.held: list[Reservation] = []
            self.count = 0

        def teardown(self) -> None:
            self.queue.close()

        @property
        def now(self) -> float:
            return self.clock.monotonic()

        @rule(
            uuid=st.sampled_from(UUIDS),
            delay=st.just(0) | _seconds,
            priority=st.sampled_from([0, 0, 1, -1]),
            ttr=_seconds,
            front=st.sampled_from([False, False, True]),
        )
        def put(self, uuid: str, delay: float, priority: int, ttr: float, front: bool) -> None:
            self.queue.put(uuid, delay, priority, ttr, front)
            self.count += 1
            order = -self.count if front else self.count
            self.entries.append(_Entry(uuid, priority, ttr, order, self.now + delay))
            self.earliest[uuid] = min(self.earliest.get(uuid, float("inf")), self.now + delay)

        @rule(seconds=_seconds)
        def advance(self, seconds: float) -> None:
            self.clock.advance(seconds)

        @rule(lowest=st.sampled_from([False, False, False, True]))
        def reserve(self, lowest: bool) -> None:
            reservation = self.queue.reserve_lowest() if lowest else self.queue.reserve()
            if reservation is not None:
                assert self.earliest[reservation.uuid] <= self.now, "delivered early, or never put"
            if lossy:
                if reservation is not None:
                    self.held.append(reservation)
                return
            ready = [entry for entry in self.entries if entry.ready <= self.now]
            if not ready:
                assert reservation is None
                return
            sign = 1 if lowest else -1
            entry = min(ready, key=lambda entry: (sign * entry.priority, entry.order))
            assert reservation is not None and reservation.uuid == entry.uuid
            entry.holder, entry.ready = reservation, self.now + entry.ttr
            self.held.append(reservation)

        @precondition(lambda self: self.held)
        @rule(which=st.integers(0, 9), verb=st.sampled_from(["delete", "release"]), delay=st.just(0) | _seconds)
        def settle(self, which: int, verb: str, delay: float) -> None:
            reservation = self.held[which % len(self.held)]
            arguments = (delay,) if verb == "release" else ()
            if lossy:
                try:
                    getattr(reservation, verb)(*arguments)
                except ReservationLost:
                    self.held.remove(reservation)
                return
            entry = next((entry for entry in self.entries if entry.holder is reservation), None)
            if entry is not None and entry.ready <= self.now:
                return  # its time is over and it was not reserved again: either answer is right
            if entry is None:
                self.held.remove(reservation)
                with pytest.raises(ReservationLost):
                    getattr(reservation, verb)(*arguments)
                return
            getattr(reservation, verb)(*arguments)
            if verb == "delete":
                self.entries.remove(entry)
            else:
                entry.holder, entry.ready = None, self.now + delay

        @invariant()
        def size(self) -> None:
            if not lossy:
                assert self.queue.size() == len(self.entries)

    return QueueMachine
