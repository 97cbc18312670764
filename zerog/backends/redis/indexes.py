"""The indexes of jobs on a Redis server that code of an earlier version doesn't maintain; the script does.

Jobs that such code has stored or moved are missing there until ``setup``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from zerog.backends.redis.server import RedisServer
from zerog.contracts.find import FindQuery
from zerog.records.attrs import Term
from zerog.records.job import SCHEDULED, STATUSES, TERMINAL
from zerog.records.operations import Document

_END = re.compile(rb"\0(?!\xff)")


class Index(NamedTuple):
    """A sorted set of jobs by the texts in some of their fields."""

    name: str
    fields: tuple[str, ...]
    groups: dict[str, str]
    """The first text of a job's place by its status. A job of another status isn't listed."""

    def place(self, head: Document | None) -> list[str] | None:
        """Return the place of a job with this head; None if it doesn't belong there."""
        texts = [] if head is None else [head.get(field) for field in self.fields]
        if not all(type(text) is str for text in texts) or not texts or texts[0] not in self.groups:
            return None
        return [self.groups[texts[0]], *texts[1:]]  # type: ignore[list-item]


_ENDED = {status: status for status in TERMINAL}
STATUS = Index("index", ("status",), {})
DUE = Index("due", ("due",), {})
ENDED = Index("ended", ("status", "jobType", "finishedAt"), _ENDED)
CREATED = Index("created", ("status", "createdAt"), {**dict.fromkeys(STATUSES, "open"), SCHEDULED: SCHEDULED, **_ENDED})

TERMS = Index("terms", ("name", "text", "createdAt"), {})
"""The index of terms. Its places begin with a name, its groups are those with one term."""

BY_TIME = {None: STATUS, "due": DUE, "finishedAt": ENDED, "createdAt": CREATED}
"""The index for each ``FindQuery.time``."""


def parsed(index: Index, member: bytes) -> tuple[list[str], str]:
    """Return the place and the key of a member."""
    if member.count(b"\0") == len(index.fields):  # no text holds a NUL, as is usual
        *plain, name = member.decode().split("\0")
        return plain, name
    *texts, key = _END.split(member, len(index.fields))
    return [text.replace(b"\0\xff", b"\0").decode() for text in texts], key.decode()


def count(server: RedisServer, index: Index, *texts: str) -> int:
    """Return the number of jobs in an index whose place begins with these texts."""
    place = b"\0".join(map(_escaped, texts))
    return _between(server, index, b"[%b\0" % place, b"(%b\0\xff" % place)


def ended_of_type(server: RedisServer, job_type: str, status: str | None) -> int | None:
    """Return the number of jobs of a type that have ended, with one status or any.

    None if the index lacks some, or if there are jobs with a status that ZeroG doesn't write.
    """
    known = {each: count(server, STATUS, each) for each in STATUSES}
    if sum(known.values()) != _between(server, STATUS, b"-", b"+"):
        return None
    ended = [each for each in TERMINAL if status in (None, each)]
    if any(known[each] != count(server, ENDED, each) for each in ended):
        return None
    return sum(count(server, ENDED, each, job_type) for each in ended)


def having(server: RedisServer, terms: Sequence[Term], places: Sequence[list[str]]) -> list[str]:
    """Return the keys of those of these jobs, each a time of creation and a key, that have all of the terms."""
    name = f"{server.prefix}{TERMS.name}"
    for term in terms:
        members = [_member([*term, created], key) for created, key in places]
        scores = server.ask("the indexes of jobs", "ZMSCORE", name, *members) if members else []
        places = [place for place, score in zip(places, scores, strict=True) if score is not None]
    return [key for _, key in places]


def counted(server: RedisServer, query: FindQuery) -> int | None:
    """Return the number of jobs of a narrowed query; None if no index has those and nothing else."""
    if query.due is not None:  # documents that are no jobs may be due, too
        return None
    if query.order is None and query.until is None:
        return _between(server, STATUS, b"-", b"+") if query.status is None else count(server, STATUS, query.status)
    if query.order is None:
        places = [b"\0".join(_escaped(text) for text in (query.status or "", query.job_type or ""))]
    elif query.status is None:
        places = [group.encode() for group in dict.fromkeys(CREATED.groups.values())]
    else:
        group = CREATED.groups.get(query.status, query.status)
        if group != query.status:
            return None
        places = [_escaped(group)]
    index = BY_TIME[query.time]
    last = b"\xff" if query.until is None else _escaped(query.until) + b"\0\xff"
    first = _escaped(query.since or "")
    return sum(_between(server, index, b"[%b\0%b" % (at, first), b"(%b\0%b" % (at, last)) for at in places)


def term_places(server: RedisServer, term: Term, query: FindQuery, start: list[str], limit: int) -> list[list[str]]:
    """Return the times and keys of jobs with a term, after ``start`` in the order and within the times of a query."""
    low, high = _of_term(term, query)
    way = ("ZREVRANGEBYLEX", high, low) if query.is_descending else ("ZRANGEBYLEX", low, high)
    if start:
        last = b"(%b\0%b\0%b\0%b" % (*map(_escaped, (*term, start[0])), start[1].encode())
        way = ("ZREVRANGEBYLEX", last, low) if query.is_descending else ("ZRANGEBYLEX", last, high)
    members = server.ask("find", way[0], f"{server.prefix}{TERMS.name}", *way[1:], "LIMIT", 0, limit)
    return [[place[-1], key] for place, key in (parsed(TERMS, member) for member in members)]


def term_number(server: RedisServer, term: Term, query: FindQuery) -> int:
    """Return how many places ``term_places`` has."""
    return _between(server, TERMS, *_of_term(term, query))


def _of_term(term: Term, query: FindQuery) -> tuple[bytes, bytes]:
    name, text = map(_escaped, term)
    last = b"\xff" if query.until is None else _escaped(query.until) + b"\0\xff"
    return b"[%b\0%b\0%b" % (name, text, _escaped(query.since or "")), b"(%b\0%b\0%b" % (name, text, last)


def _between(server: RedisServer, index: Index, low: bytes, high: bytes) -> int:
    return int(server.ask("the indexes of jobs", "ZLEXCOUNT", f"{server.prefix}{index.name}", low, high))


def _escaped(text: str) -> bytes:
    return text.encode().replace(b"\0", b"\0\xff")


def incomplete(server: RedisServer, index: Index) -> list[str]:
    """Return the statuses with jobs missing in an index; the cost doesn't depend on their number."""
    there = dict.fromkeys(index.groups.values(), 0)
    for status, group in index.groups.items():
        there[group] += count(server, STATUS, status)
    groups = {group for group, number in there.items() if number != count(server, index, group)}
    return [status for status, group in index.groups.items() if group in groups]


def missing(server: RedisServer, index: Index, heads: Sequence[tuple[str, Document]]) -> list[str]:
    """Return those of these keys, each with its head, that belong in an index but are missing."""
    members = {key: _member(place, key) for key, head in heads if (place := index.place(head)) is not None}
    if not members:
        return []
    scores = server.ask("the indexes of jobs", "ZMSCORE", f"{server.prefix}{index.name}", *members.values())
    return [key for key, score in zip(members, scores, strict=True) if score is None]


def _member(place: list[str], key: str) -> bytes:
    return b"\0".join((*(_escaped(text) for text in place), key.encode()))
