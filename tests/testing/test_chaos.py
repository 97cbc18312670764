"""The queue that misbehaves, on which all other tests rely."""

from __future__ import annotations

from collections import Counter

from zerog.backends.memory.queue import MemoryQueue
from zerog.records.job import new_uuid
from zerog.testing.chaos import ChaosQueue
from zerog.testing.clock import ManualClock

UUIDS = [new_uuid() for _ in range(200)]


def delivered(**options) -> tuple[list[str], ChaosQueue]:
    clock = ManualClock()
    queue = ChaosQueue(MemoryQueue(clock=clock), **{"seed": 3, **options})
    for uuid in UUIDS:
        queue.put(uuid)
    uuids = []
    while queue.size():
        reservation = queue.reserve()
        if reservation is None:
            clock.advance(1)
            continue
        uuids.append(reservation.uuid)
        reservation.delete()
    return uuids, queue


def only(fault: str) -> dict[str, float]:
    return {**dict.fromkeys(["lose", "repeat", "delay", "reorder"], 0.0), fault: 0.2}


def test_same_seed_same_faults() -> None:
    first, queue = delivered()
    assert delivered()[0] == first
    assert delivered(seed=4)[0] != first
    assert all(count > 0 for count in queue.faults.values())


def test_it_invents_nothing() -> None:
    assert set(delivered()[0]) <= set(UUIDS)


def test_loss() -> None:
    uuids, queue = delivered(**only("lose"))
    assert queue.faults["lost"] == len(UUIDS) - len(uuids) > 0
    assert uuids == [uuid for uuid in UUIDS if uuid in set(uuids)]


def test_repetition() -> None:
    uuids, queue = delivered(**only("repeat"))
    assert queue.faults["repeated"] == len(uuids) - len(UUIDS) > 0
    assert set(Counter(uuids).values()) == {1, 2}


def test_delay_and_reordering() -> None:
    for fault in ("delay", "reorder"):
        uuids, _ = delivered(**only(fault))
        assert uuids != UUIDS and sorted(uuids) == sorted(UUIDS)


def test_named_queues_misbehave_too() -> None:
    queue = ChaosQueue(MemoryQueue(), seed=1, lose=1)
    other = queue.queue_named("other")
    other.put(UUIDS[0])
    assert other.size() == 0 and queue.faults["lost"] == 1
