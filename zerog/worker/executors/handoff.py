"""Claimed jobs that wait for a slot's thread.

While jobs take some microseconds each, more threads than one only slow each other down: one of them holds the
interpreter at a time, and passing it on costs more than such a job. So one thread works off the claims, and a second
one stands by, which joins in as soon as nothing was taken for a moment. Whatever blocked the first one (a job that
waits for something, for example), the jobs behind it are late by no more than that moment.

Of claims that share a slot of a limit one is taken at a time, the next one when that run is ``over``.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from math import inf

from zerog.engine.transitions import Claim

STALL = 0.005
"""Seconds without a claim being taken after which one more thread joins in."""


class ClaimQueue:
    """First in, first out, for any number of threads that ``get``."""

    def __init__(self) -> None:
        self._claims: deque[Claim] = deque()
        self._slots: set[str] = set()
        """Slots of limits whose runs are not over."""
        self._changed = threading.Condition(threading.Lock())
        self._threads = 0
        self._idle = 0
        self._taken = 0
        self._last = 0
        self._for_few = False
        self._has_standby = False
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._claims)

    def join(self) -> None:
        """Count one more thread that is going to ``get``."""
        with self._changed:
            self._threads += 1

    def add(self, claims: Sequence[Claim], for_few: bool = False) -> None:
        """Add claims: for all idle threads, or with ``for_few`` for as few as can work without a pause."""
        with self._changed:
            self._claims.extend(claims)
            self._for_few = for_few
            if not for_few:
                self._changed.notify(len(self._claims))
            elif self._claims:
                first = 1 if self._idle == self._threads else 0
                second = 1 if not self._has_standby and len(self._claims) > first else 0
                self._changed.notify(first + second)

    def get(self) -> Claim | None:
        """Return the next claim, as soon as there is one; None once the queue is closed and empty."""
        me = threading.get_ident()
        with self._changed:
            if self._next() is None or (self._for_few and self._last != me):  # another thread is active
                self._idle += 1
                self._await_turn()
                self._idle -= 1
            claim = self._take()
            if claim is not None:
                self._taken += 1
                self._last = me
            return claim

    def pop(self) -> Claim | None:
        """Return the next claim, or None if there is none that may run."""
        with self._changed:
            return self._take()

    def over(self, claim: Claim) -> None:
        """Let the next one run that shares the slot of a limit with a claim, which ``get`` or ``pop`` has returned."""
        if claim.slot:
            with self._changed:
                self._slots.discard(claim.slot)
                if self._last != threading.get_ident():  # otherwise this thread takes the next one
                    self._changed.notify()

    def remove(self, before: float = inf) -> list[Claim]:
        """Remove and return all claims; those claimed ``before`` a time that wait for a run's end if one is given."""
        with self._changed:
            removed = [claim for claim in self._claims if before == inf or self._is_late(claim, before)]
            if removed:
                names = {claim.nonce for claim in removed}
                self._claims = deque(claim for claim in self._claims if claim.nonce not in names)
            return removed

    def _is_late(self, claim: Claim, before: float) -> bool:
        return claim.slot in self._slots and claim.at < before

    def _next(self) -> int | None:
        """Return the place of the first claim that may run; None if there is none."""
        if not self._slots:
            return 0 if self._claims else None
        return next((n for n, claim in enumerate(self._claims) if claim.slot not in self._slots), None)

    def _take(self) -> Claim | None:
        place = self._next()
        if place is None:
            return None
        claim = self._claims[place]
        del self._claims[place]
        if claim.slot:
            self._slots.add(claim.slot)
        return claim

    def close(self) -> None:
        """Close the queue: ``get`` returns None when nothing is left."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _await_turn(self) -> None:
        """Wait until this thread is to take a claim, or to end."""
        while not self._is_closed:
            if self._next() is None:
                self._changed.wait()
            elif not self._for_few or self._idle == self._threads or self._is_stalled():
                return

    def _is_stalled(self) -> bool:
        """Stand by, unless another thread does; return True if no other thread has taken a claim for a moment."""
        if self._has_standby:
            self._changed.wait()
            return False
        taken = self._taken
        self._has_standby = True
        was_notified = self._changed.wait(STALL)
        self._has_standby = False
        if was_notified or taken != self._taken or self._next() is None:
            return False
        self._changed.notify()  # another thread has to stand by in place of this one
        return True
