"""Limits of how many jobs run at once or start in a time, and what a parked job's head has.

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
from zerog.records.fields import PARKED, is_count
from zerog.records.job import QUEUED, Document
from zerog.records.keys import LIMIT
from zerog.records.operations import Max, Operation, Put, Set
from zerog.records.settings import Rate

PARKED_ATTR, LIMIT_ATTR, LANE_ATTR = f"{OWN}parked", f"{OWN}limit", f"{OWN}lane"
"""Members of ``attrs`` of a parked job: one that all have, one for each limit, and the text of its place."""

ANY = "any"
"""In place of a limit, to find the jobs that are parked at any."""

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
    lane = read_lane([note.get("priority"), note.get("lane")])
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


def read_lane(value: Any) -> Lane | None:
    """Return a stored lane; None if it isn't valid."""
    is_one = type(value) is list and len(value) == 2 and type(value[0]) is int and type(value[1]) is str
    return (value[0], value[1]) if is_one else None
