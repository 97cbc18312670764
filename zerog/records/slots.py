"""The slots of one limit: its document, and how it changes as runs take slots and give them back.

A limit's document, ``zerog_limit_<hash of its parts>``, has these fields:

===========  =========================================================================================================
``holders``  by nonce, the uuid of the job whose run has a slot. It counts while that job is running under that nonce,
             so a run that has ended, however that happened, holds nothing
``kept``     by uuid, since when a slot is kept for a job that waits: for one that was woken and is on its queue again,
             and for one that is parked at the next of its limits
``shared``   by nonce, the slot of a run: the nonce of the first one that had it. Those of one slot are of one worker,
             which runs one of them at a time
``ahead``    by uuid, since when a job is woken for which no slot is kept: it may take a free one, or share one
``lanes``    the priorities and keys of which jobs are parked, as ``[priority, lane]``, in the order of their turns
``most``     how many slots there are, by the code or setting that was read last; null for any number
``rate``     of a limit of starts, in place of slots: their number and seconds; ``holders`` has the latest start then
``next``     of a limit of starts: when the next one is due if they are evenly spaced, in seconds since 1970
===========  =========================================================================================================
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from zerog.records.fields import is_amount, is_count
from zerog.records.job import Document, is_uuid
from zerog.records.limits import Lane, Limit, read_lane
from zerog.records.settings import Rate
from zerog.support.clock import from_text, text_after

WAKING = 20.0
"""Seconds for which a slot is kept for a job that was woken and that no worker takes."""

HORIZON = 15.0
"""Seconds ahead for which jobs that wait for a rate are woken, each for its time: more than between two sweeps."""

AHEAD = 100
"""Jobs that are woken ahead, at most."""

EARLY = 0.05
"""Seconds by which a start may be early: a delivery may be."""

UNLIMITED = 1_000_000
"""Free slots of what isn't limited any more."""

LANES = 1_000
"""Lanes that take turns, at most; further keys share one."""

SHARED_LANE = "~"


class Sharing(NamedTuple):
    """What a claim needs to wait in its worker for the end of another run, whose slot it shares."""

    holds: Callable[[str], bool]
    """Returns True if the worker holds the run of a nonce."""
    behind: Callable[[str], int]
    """Returns how many jobs of a type may wait for one run."""


class Slots:
    """What the document of a limit has, to be changed and written again. What isn't valid in it is left out."""

    def __init__(self, record: Document | None) -> None:
        record = record or {}
        self.holders: dict[str, str] = _texts(record.get("holders"))
        self.kept: dict[str, str] = _texts(record.get("kept"))
        self.ahead: dict[str, str] = _texts(record.get("ahead"))
        shared = _texts(record.get("shared"))
        self.shared = {nonce: slot for nonce, slot in shared.items() if nonce in self.holders}
        self._runs = Counter(self.shared.values())
        self._more = 0
        lanes: Any = record.get("lanes")
        self.lanes: list[Lane] = [*filter(None, map(read_lane, lanes))] if type(lanes) is list else []
        self.most: int | None = record["most"] if is_count(record.get("most")) else None
        rate: Any = record.get("rate")
        self.rate = Rate(*rate) if type(rate) is list and len(rate) == 2 and all(map(is_count, rate)) else None
        self.next = float(record["next"]) if is_amount(record.get("next")) else 0.0
        self._stored = self.to_document() if record else None

    def to_document(self) -> Document:
        """Return the document to store."""
        lanes = [list(lane) for lane in self.lanes]
        return {
            "documentType": "zerog_limit",
            "holders": dict(self.holders),
            "kept": dict(self.kept),
            "shared": dict(self.shared),
            "ahead": dict(self.ahead),
            "lanes": lanes,
            "most": self.most,
            "rate": None if self.rate is None else list(self.rate),
            "next": self.next,
        }

    @property
    def has_changed(self) -> bool:
        """True if it differs from what was read."""
        return self._stored != self.to_document()

    def is_over(self, now: str) -> bool:
        """Return True if the document can be removed."""
        return not (self.holders or self.kept or self.ahead or self.lanes) and self.next <= from_text(now).timestamp()

    @property
    def has_room(self) -> bool:
        """True if a slot is free, and not kept for a job that waits; or if a start is due soon that none waits for."""
        return self.room > 0

    @property
    def room(self) -> int:
        """Return how many slots are free, or how many starts are due soon, that none waits for."""
        if self.rate is not None:
            return max(1, min(AHEAD, int(HORIZON / self._interval))) - len(self.kept)
        return UNLIMITED if self.most is None else self.most - self.taken - len(self.kept)

    @property
    def taken(self) -> int:
        """Return how many slots runs have."""
        return len(self.holders) - len(self.shared) + len(self._runs)

    @property
    def wakeable(self) -> int:
        """Return how many parked jobs may be woken: for free slots, or to share them."""
        return max(self.room, self._more - len(self.ahead))

    def wake_more(self, number: int) -> None:
        """Let up to so many parked jobs be woken beyond those for which a slot is free."""
        self._more = max(self._more, number)

    def shared_by(self, sharing: Sharing | None) -> dict[str, int]:
        """Return how many runs share each slot of a worker."""
        mine = {slot for nonce, slot in self.shared.items() if sharing is not None and sharing.holds(nonce)}
        return {slot: self._runs[slot] for slot in mine}

    def take(
        self, uuid: str, nonce: str, limit: Limit, now: str, behind: int = 0, mine: dict[str, int] | None = None
    ) -> bool:
        """Give a run a slot or a start; False if it gets none.

        While jobs are parked only those get one for which one is kept, or which are woken ahead. ``behind``: how many
        may wait for a run with which they share a slot, of those of this worker, which are ``mine``.
        """
        self.most, self.rate = limit.most, limit.rate
        if nonce in self.holders:
            return True
        was_kept = self.kept.pop(uuid, None) is not None
        was_woken = self.ahead.pop(uuid, None) is not None or was_kept
        if uuid in self.holders.values():  # of an earlier run
            for other in [other for other, of in self.holders.items() if of == uuid]:
                self.give(other)
        if self.lanes and not was_woken:
            return False
        if self.rate is not None:
            return (was_kept or not self.kept) and self._start(uuid, nonce, from_text(now).timestamp())
        mine = {} if mine is None else mine
        slot = nonce if self.has_room else min(mine, key=lambda slot: mine[slot], default=None)
        if slot is None or mine.get(slot, 0) > behind:
            return False
        self.holders[nonce] = uuid
        if behind:
            self.shared[nonce] = slot
            self._runs[slot] += 1
            mine[slot] = mine.get(slot, 0) + 1
        return True

    def _start(self, uuid: str, nonce: str, now: float) -> bool:
        """Count a start, by the generic cell rate algorithm; False if it is too early for it."""
        self._cut(now)
        if self.next - self._tolerance > now + EARLY:
            return False
        self.next = max(self.next, now) + self._interval
        self.holders = {nonce: uuid}
        return True

    def _cut(self, now: float) -> None:
        """Forget what no start can have come to: a clock was set back."""
        self.next = min(self.next, now + self._tolerance + self._interval)

    @property
    def _interval(self) -> float:
        return 0.0 if self.rate is None else self.rate.seconds / self.rate.number

    @property
    def _tolerance(self) -> float:
        return 0.0 if self.rate is None else (burst_of(self.rate) - 1) * self._interval

    def give(self, nonce: str | None) -> None:
        """Take a run's slot back; one that is shared is free with the last of those runs."""
        self.holders.pop(nonce or "", None)
        slot = self.shared.pop(nonce or "", None)
        if slot is not None:
            self._runs[slot] -= 1
            if not self._runs[slot]:
                del self._runs[slot]

    def keep(self, uuid: str, nonce: str, now: str) -> None:
        """Keep a run's slot for its job."""
        if nonce in self.holders:
            self.give(nonce)
            self.kept[uuid] = now

    @property
    def waiting(self) -> set[str]:
        """Return the uuids of the jobs that are woken, or for which a slot is kept."""
        return {*self.kept, *self.ahead}

    def promote(self, now: str) -> None:
        """Keep free slots for the jobs that were woken ahead, in their order."""
        for uuid in [*self.ahead][: max(0, self.room)]:
            self.ahead.pop(uuid)
            self.kept[uuid] = now

    def forget(self, uuid: str) -> None:
        """Keep nothing for a job, and have it no longer woken ahead."""
        self.kept.pop(uuid, None)
        self.ahead.pop(uuid, None)

    def list_lane(self, lane: Lane) -> Lane:
        """List a lane in which a job is parked, and return it; beyond LANES of them it is the shared one."""
        if lane not in self.lanes and len(self.lanes) >= LANES:
            lane = (lane[0], SHARED_LANE)
        if lane not in self.lanes:
            self.lanes.append(lane)
        return lane

    def drop_lane(self, lane: Lane) -> None:
        """Take a lane off the list in which no job is parked."""
        self.lanes = [each for each in self.lanes if each != lane]

    def next_lane(self) -> Lane | None:
        """Return the lane whose turn it is: of the highest priority the first one."""
        return max(self.lanes, key=lambda lane: lane[0], default=None)

    def wake(self, uuid: str, lane: Lane, now: str) -> float:
        """Keep a slot or a start for a job of a lane, which then waits for all others of its priority.

        Where none is free, it is woken ahead. Return the seconds until it may start.
        """
        delay = 0.0
        if self.rate is not None:
            time = from_text(now).timestamp()
            self._cut(time)
            delay = max(0.0, max(self.next - time, 0.0) + len(self.kept) * self._interval - self._tolerance)
        woken = self.kept if self.has_room else self.ahead
        woken[uuid] = text_after(now, delay)
        self.drop_lane(lane)
        self.lanes.append(lane)
        return delay


def burst_of(rate: Rate) -> int:
    """Return how many starts of a rate may be made at once: a tenth of its number.

    At least two, and more than in a second: one that comes late, as where delays are whole seconds, delays no others.
    """
    return max(2, rate.number // 10, rate.number // rate.seconds + 1)


def uuids_in(slots: Slots) -> list[str]:
    """Return the jobs that have slots, or for which they are kept."""
    return [uuid for uuid in {*slots.holders.values(), *slots.kept} if is_uuid(uuid)]


def _texts(value: Any) -> dict[str, str]:
    if type(value) is not dict:
        return {}
    return {name: text for name, text in value.items() if type(name) is str and type(text) is str}
