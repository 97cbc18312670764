"""A queue that does everything a queue may do: lose, repeat, reorder and delay, at random but repeatably.

Code that is correct on a ``ChaosQueue`` relies on the queue only for an occasional notification.
"""

from __future__ import annotations

import random
import threading
from zlib import crc32

from zerog.contracts.queue import Entry, Queue, Reservation, check_options
from zerog.records.job import check_uuid

MAX_DELAY = 5.0
"""Seconds by which an entry is delayed at most."""


class ChaosQueue(Queue):
    """``queue``, where each entry is lost, put twice, delayed or overtaken with these probabilities.

    ``doubt``: how often ``holds`` can't find out. The same ``seed`` and the same calls in the same order give the same
    faults. It never invents a uuid. ``faults`` counts what was done.
    """

    def __init__(
        self,
        queue: Queue,
        seed: int,
        lose: float = 0.1,
        repeat: float = 0.1,
        delay: float = 0.1,
        reorder: float = 0.2,
        doubt: float = 0.3,
    ) -> None:
        self.queue = queue
        self.name = queue.name
        self.shared = queue.shared  # type: ignore[misc]
        self.faults = {"lost": 0, "repeated": 0, "delayed": 0, "reordered": 0}
        self._chances = {"lose": lose, "repeat": repeat, "delay": delay, "reorder": reorder, "doubt": doubt}
        self._seed = seed
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    @property
    def rejected(self) -> int:  # type: ignore[override]
        """Number of entries that the wrapped queue has rejected."""
        return self.queue.rejected

    def queue_named(self, name: str) -> Queue:
        if name == self.name:
            return self
        other = ChaosQueue(self.queue.queue_named(name), self._seed ^ crc32(name.encode()), **self._chances)
        other.faults = self.faults
        return other

    def put(
        self, uuid: str, delay: float = 0, priority: int = 0, ttr: float | None = None, front: bool = False
    ) -> int | str:
        uuid = check_uuid(uuid)
        check_options(delay, priority, ttr)
        with self._lock:
            lost = self._happens("lose", "lost")
            repeated = not lost and self._happens("repeat", "repeated")
            late = self._random.uniform(0, MAX_DELAY) if not lost and self._happens("delay", "delayed") else 0
            made_up = self._random.getrandbits(31)
        if lost:
            return made_up
        if repeated:
            self.queue.put(uuid, delay, priority, ttr, front)
        return self.queue.put(uuid, delay + late, priority, ttr, front)

    def reserve(self, timeout: float = 0) -> Reservation | None:
        first = self.queue.reserve(timeout)
        if first is None:
            return None
        with self._lock:
            lost = self._happens("lose", "lost")
            reordered = not lost and self._happens("reorder", "reordered")
        if lost:
            first.delete()
            return None
        second = self.queue.reserve(0) if reordered else None
        if second is None:
            return first
        first.release()
        return second

    def wake(self) -> None:
        self.queue.wake()

    def holds(self, entry: Entry) -> bool | None:
        with self._lock:
            doubted = self._random.random() < self._chances["doubt"]
        return None if doubted else self.queue.holds(entry)

    def withdraw(self, entry: Entry) -> bool:
        with self._lock:
            doubted = self._random.random() < self._chances["doubt"]
        return not doubted and self.queue.withdraw(entry)

    def size(self) -> int:
        return self.queue.size()

    def close(self) -> None:
        self.queue.close()

    def _happens(self, fault: str, counted: str) -> bool:
        happens = self._random.random() < self._chances[fault]
        self.faults[counted] += happens
        return happens
