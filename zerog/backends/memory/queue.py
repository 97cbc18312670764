"""The reference queue: entries in this process, lost with it."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count

from zerog.contracts.queue import DEFAULT, TTR, Entry, Queue, Reservation, check_delay, check_options
from zerog.exceptions import InvalidUuid, ReservationLost
from zerog.records.job import check_uuid
from zerog.support.clock import SYSTEM, Clock


@dataclass
class _Entry:
    id: int
    body: str
    priority: int
    ttr: float
    token: int = 0
    """Number of the present reservation; 0 without one."""


class _Entries:
    """State shared by all queues of one family: the entries by queue name, under one lock."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.changed = threading.Condition()
        self.ids = count(1)
        self.ids_ahead = count(-2, -1)
        self.tokens = count(1)
        self.entries: dict[str, dict[int, _Entry]] = {}
        self.ready: dict[str, dict[int, list[int]]] = {}
        self.later: dict[str, list[tuple[float, int, int]]] = {}
        self.wakes = 0


class MemoryQueue(Queue):
    """Entries in heaps: ready ones by age, one heap a priority; delayed and reserved ones by the time they return."""

    shared = False

    def __init__(self, name: str = DEFAULT, clock: Clock = SYSTEM, _family: _Entries | None = None) -> None:
        self.name = name
        self._family = _family or _Entries(clock)
        family = self._family
        with family.changed:
            self._entries = family.entries.setdefault(name, {})
            self._ready = family.ready.setdefault(name, {})
            self._later = family.later.setdefault(name, [])

    def queue_named(self, name: str) -> MemoryQueue:
        return self if name == self.name else MemoryQueue(name, _family=self._family)

    def put(self, uuid: str, delay: float = 0, priority: int = 0, ttr: float | None = None, front: bool = False) -> int:
        return self.put_raw(check_uuid(uuid), delay, priority, ttr, front)

    def put_raw(
        self, body: str, delay: float = 0, priority: int = 0, ttr: float | None = None, front: bool = False
    ) -> int:
        """Put without checking that the body is a uuid, as a foreign client of a real queue could."""
        check_options(delay, priority, ttr)
        family = self._family
        with family.changed:
            identity = next(family.ids_ahead if front else family.ids)
            entry = _Entry(identity, body, priority, TTR if ttr is None else ttr)
            self._entries[entry.id] = entry
            self._schedule(entry, delay)
            family.changed.notify_all()
        return entry.id

    def reserve(self, timeout: float = 0) -> Reservation | None:
        family = self._family
        deadline = family.clock.monotonic() + timeout
        with family.changed:
            wakes = family.wakes
            while True:
                entry = self._next()
                if entry is not None:
                    return _MemoryReservation(self, entry)
                left = deadline - family.clock.monotonic()
                if left <= 0 or family.wakes != wakes:
                    return None
                if self._later:
                    left = min(left, max(0.0, self._later[0][0] - family.clock.monotonic()))
                family.changed.wait(left)

    def reserve_lowest(self) -> Reservation | None:
        with self._family.changed:
            entry = self._next(min)
            return None if entry is None else _MemoryReservation(self, entry)

    def wake(self) -> None:
        with self._family.changed:
            self._family.wakes += 1
            self._family.changed.notify_all()

    def size(self) -> int:
        with self._family.changed:
            return len(self._entries)

    def holds(self, entry: Entry) -> bool:
        with self._family.changed:
            stored = self._entries.get(entry.id) if type(entry.id) is int else None
            return stored is not None and stored.body == entry.uuid

    def withdraw(self, entry: Entry) -> bool:
        with self._family.changed:
            if not self.holds(entry):
                return False
            del self._entries[entry.id]
            return True

    def flush(self) -> None:
        """Lose every entry, as a queue server without a log does when it restarts."""
        with self._family.changed:
            self._entries.clear()

    def _schedule(self, entry: _Entry, delay: float) -> None:
        if delay > 0:
            heapq.heappush(self._later, (self._family.clock.monotonic() + delay, entry.id, entry.token))
        else:
            heapq.heappush(self._ready.setdefault(entry.priority, []), entry.id)

    def _next(self, which: Callable[[Iterable[int]], int] = max) -> _Entry | None:
        """Reserve the oldest entry of the priority that ``which`` picks."""
        now = self._family.clock.monotonic()
        while self._later and self._later[0][0] <= now:
            _, identity, token = heapq.heappop(self._later)
            entry = self._entries.get(identity)
            if entry is not None and entry.token == token:
                entry.token = 0
                self._schedule(entry, 0)
        while self._ready:
            priority = which(self._ready)
            entry = self._entries.get(heapq.heappop(self._ready[priority]))
            if not self._ready[priority]:
                del self._ready[priority]
            if entry is None or entry.token:
                continue
            try:
                check_uuid(entry.body)
            except InvalidUuid:
                del self._entries[entry.id]
                self.reject(1)
                continue
            entry.token = next(self._family.tokens)
            heapq.heappush(self._later, (now + entry.ttr, entry.id, entry.token))
            return entry
        return None

    def delete_reserved(self, entry: _Entry, token: int) -> None:
        """Remove an entry reserved under ``token``. Raises ReservationLost."""
        with self._family.changed:
            self._check_reserved(entry, token)
            del self._entries[entry.id]

    def release_reserved(self, entry: _Entry, token: int, delay: float) -> None:
        """Release an entry reserved under ``token``. Raises ReservationLost."""
        with self._family.changed:
            self._check_reserved(entry, token)
            entry.token = next(self._family.tokens) if delay > 0 else 0
            self._schedule(entry, delay)
            self._family.changed.notify_all()

    def _check_reserved(self, entry: _Entry, token: int) -> None:
        if self._entries.get(entry.id) is not entry or entry.token != token:
            raise ReservationLost(f"entry {entry.id} of queue {self.name} is not reserved here any more")


class _MemoryReservation(Reservation):
    def __init__(self, queue: MemoryQueue, entry: _Entry) -> None:
        self.uuid = entry.body
        self._queue = queue
        self._entry = entry
        self._token = entry.token

    def delete(self) -> None:
        self._queue.delete_reserved(self._entry, self._token)

    def release(self, delay: float = 0) -> None:
        check_delay(delay)
        self._queue.release_reserved(self._entry, self._token, delay)
        self._token = -1
