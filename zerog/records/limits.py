"""Limits of how many jobs run at once or start in a time: the document of one limit, and what a parked job's head has.

A limit's document, ``zerog_limit_<hash of its parts>``, has these fields:

===========  =========================================================================================================
``holders``  by nonce, the uuid of the job whose run has a slot. It counts while that job is running under that nonce,
             so a run that has ended, however that happened, holds nothing
``kept``     by uuid, since when a slot is kept for a job that waits: for one that was woken and is on its queue again,
             and for one that is parked at the next of its limits
``lanes``    the priorities and keys of which jobs are parked, as ``[priority, lane]``, in the order of their turns
``most``     how many slots there are, by the code or setting that was read last; null for any number
``rate``     of a limit of starts, in place of slots: their number and seconds; ``holders`` has the latest start then
``next``     of a limit of starts: when the next one is due if they are evenly spaced, in seconds since 1970
===========  =========================================================================================================

A parked job waits (``queueState`` is ``parked``) and has no entry on its queue. ``parked`` in its head names the limit
and the lane; two members of ``attrs``, by which jobs are found, name them for the index.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeGuard

from zerog.exceptions import InvalidValue
from zerog.records.attrs import ATTRS, OWN, own_attrs, shown_attrs
from zerog.records.fields import PARKED, is_amount, is_count
from zerog.records.job import QUEUED, Document, is_uuid
from zerog.records.keys import LIMIT
from zerog.records.operations import Max, Operation, Put, Set
from zerog.records.settings import Rate
from zerog.support.clock import from_text, text_after

PARKED_ATTR, LIMIT_ATTR, LANE_ATTR = f"{OWN}parked", f"{OWN}limit", f"{OWN}lane"
"""Members of ``attrs`` of a parked job: one that all have, one for each limit, and the text of its place."""

ANY = "any"
"""In place of a limit, to find the jobs that are parked at any."""

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

KINDS = ("key", "type", "queue")
"""What limits are of, in the order in which their slots are taken."""


class Limit(NamedTuple):
    """One limit."""

    parts: tuple[str, ...]
    """What it is a limit of: ``type`` and the type, ``queue`` and its name, or ``key``, the type, the attribute and its
    text; then ``rate`` if it is one of starts."""
    most: int | None = None
    """Jobs that run at once."""
    rate: Rate | None = None
    """Jobs that start in a time."""

    @property
    def key(self) -> str:
        """Return the datastore key of its document."""
        return LIMIT + hashlib.sha256(json.dumps(self.parts).encode("utf-8", "surrogatepass")).hexdigest()[:40]

    def __str__(self) -> str:
        kind, name, *key = self.parts
        of = f"type {name} with {key[0]}={key[1]}" if kind == "key" else f"{kind} {name}"
        return f"{self.most} at once of {of}" if self.rate is None else f"{self.rate} of {of}"


def rank(parts: Sequence[str]) -> tuple[bool, int]:
    """Return the place of a limit of this in the order in which slots are taken."""
    return parts[-1] == "rate" and len(parts) in (3, 5), KINDS.index(parts[0])


def is_of(parts: Sequence[str], head: Document) -> bool:
    """Return True if a limit of this would be one of a job."""
    kind, name, *key = parts
    if kind == "queue":
        return bool(head.get("queueName") == name)
    is_keys = kind != "key" or shown_attrs(head).get(key[0]) == key[1]
    return bool(head.get("jobType") == name) and is_keys


class Limits(NamedTuple):
    """The limits of one job, in the order in which their slots are taken."""

    each: tuple[Limit, ...] = ()
    lane: str = ""
    """Of jobs of equal priority that are parked at one limit, those of each lane take turns."""


NO_LIMITS = Limits()

Lane = tuple[int, str]
"""A priority, and the name of a lane."""


def lane_of(text: str | None) -> str:
    """Return the name of the lane of a key's text."""
    return "" if text is None else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


class Slots:
    """What the document of a limit has, to be changed and written again. What isn't valid in it is left out."""

    def __init__(self, record: Document | None) -> None:
        record = record or {}
        self.holders: dict[str, str] = _texts(record.get("holders"))
        self.kept: dict[str, str] = _texts(record.get("kept"))
        lanes: Any = record.get("lanes")
        self.lanes: list[Lane] = [*filter(None, map(_lane, lanes))] if type(lanes) is list else []
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
        return not (self.holders or self.kept or self.lanes) and self.next <= from_text(now).timestamp()

    @property
    def has_room(self) -> bool:
        """True if a slot is free, and not kept for a job that waits; or if a start is due soon that none waits for."""
        return self.room > 0

    @property
    def room(self) -> int:
        """Return how many slots are free, or how many starts are due soon, that none waits for."""
        if self.rate is not None:
            return max(1, min(AHEAD, int(HORIZON / self._interval))) - len(self.kept)
        return UNLIMITED if self.most is None else self.most - len(self.holders) - len(self.kept)

    def take(self, uuid: str, nonce: str, limit: Limit, now: str) -> bool:
        """Give a run a slot or a start; False if it gets none.

        While jobs are parked only those get one for which one is kept.
        """
        self.most, self.rate = limit.most, limit.rate
        if nonce in self.holders:
            return True
        was_kept = self.kept.pop(uuid, None) is not None
        for other in [other for other, of in self.holders.items() if of == uuid]:  # of an earlier run
            self.give(other)
        if self.lanes and not was_kept:
            return False
        if self.rate is not None:
            return (was_kept or not self.kept) and self._start(uuid, nonce, from_text(now).timestamp())
        if not self.has_room:
            return False
        self.holders[nonce] = uuid
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
        """Take a run's slot back."""
        self.holders.pop(nonce or "", None)

    def keep(self, uuid: str, nonce: str, now: str) -> None:
        """Keep a run's slot for its job."""
        if self.holders.pop(nonce, None) is not None:
            self.kept[uuid] = now

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

        Return the seconds until it may start.
        """
        delay = 0.0
        if self.rate is not None:
            time = from_text(now).timestamp()
            self._cut(time)
            delay = max(0.0, max(self.next - time, 0.0) + len(self.kept) * self._interval - self._tolerance)
        self.kept[uuid] = text_after(now, delay)
        self.drop_lane(lane)
        self.lanes.append(lane)
        return delay


def burst_of(rate: Rate) -> int:
    """Return how many starts of a rate may be made at once: a tenth of its number.

    At least two, and more than in a second: one that comes late, as where delays are whole seconds, delays no others.
    """
    return max(2, rate.number // 10, rate.number // rate.seconds + 1)


def place_of(key: str, lane: Lane) -> str:
    """Return the text by which the jobs are found that are parked in one lane of the limit with this key."""
    return f"{key.removeprefix(LIMIT)[:20]}:{lane[0]}:{lane[1]}"


def parking(head: Document, limit: Limit, lane: Lane, now: str) -> list[Operation]:
    """Return the operations for a claimed job that is parked."""
    key = limit.key
    note = {"limit": str(limit), "key": key, "of": list(limit.parts), "most": limit.most, "priority": lane[0]}
    note |= {"rate": None if limit.rate is None else str(limit.rate), "lane": lane[1], "at": now}
    return [
        Set("status", QUEUED),
        Set("queueState", PARKED),
        Set("notBefore", None),
        Set("due", head.get("expiresAt")),
        Max("updatedAt", now),
        Set("parked", note),
        Put(ATTRS, PARKED_ATTR, "1"),
        Put(ATTRS, LIMIT_ATTR, _digest(str(limit))),
        Put(ATTRS, LANE_ATTR, place_of(key, lane)),
    ]


def parked_term(limit: str) -> tuple[str, str]:
    """Return the attribute by which the jobs are found that are parked at a limit, given as it is shown, or at ANY."""
    return (PARKED_ATTR, "1") if limit == ANY else (LIMIT_ATTR, _digest(limit))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def unlisted(head: Document) -> list[Operation]:
    """Return the operations by which a job isn't found as parked any more; none if it isn't."""
    return [Put(ATTRS, name, None) for name in own_attrs(head)]


class Parked(NamedTuple):
    """Where a job is parked, or was."""

    limit: str
    """The limit, for people."""
    key: str
    of: tuple[str, ...]
    lane: Lane
    most: int | None
    rate: Rate | None
    at: str

    @property
    def place(self) -> str:
        """Return the text by which the jobs of its lane are found."""
        return place_of(self.key, self.lane)


def parked_in(head: Document) -> Parked | None:
    """Return where the job of a head is parked or was; None if it never was, or if the note isn't valid."""
    note = head.get("parked")
    if type(note) is not dict:
        return None
    key, of, most, rate = (note.get(name) for name in ("key", "of", "most", "rate"))
    lane = _lane([note.get("priority"), note.get("lane")])
    if type(key) is not str or not key.startswith(LIMIT) or lane is None or not _are_parts(of):
        return None
    most = most if is_count(most) else None
    try:
        starts = None if rate is None else Rate.read(rate)
    except InvalidValue:
        return None
    return Parked(str(note.get("limit")), key, tuple(of), lane, most, starts, str(note.get("at")))


def _are_parts(of: Any) -> TypeGuard[list[str]]:
    is_one = type(of) is list and len(of) >= 2 and all(type(part) is str for part in of)
    return is_one and of[0] in KINDS


def shown_limit(head: Document) -> str | None:
    """Return the limit for whose slot a job waits, for people; None if it isn't parked."""
    parked = parked_in(head) if head.get("queueState") == PARKED and head.get("status") == QUEUED else None
    return None if parked is None else parked.limit


def _lane(value: Any) -> Lane | None:
    is_one = type(value) is list and len(value) == 2 and type(value[0]) is int and type(value[1]) is str
    return (value[0], value[1]) if is_one else None


def _texts(value: Any) -> dict[str, str]:
    if type(value) is not dict:
        return {}
    return {name: text for name, text in value.items() if type(name) is str and type(text) is str}


def uuids_in(slots: Slots) -> list[str]:
    """Return the jobs that have slots, or for which they are kept."""
    return [uuid for uuid in {*slots.holders.values(), *slots.kept} if is_uuid(uuid)]
