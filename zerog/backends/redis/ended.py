"""Fill the index of ended jobs on a Redis server, for ``setup``; the script maintains it.

Jobs that ended before the index existed, or under code without it, are missing there until then.
"""

from __future__ import annotations

from collections.abc import Sequence

from zerog.backends.redis.server import RedisServer
from zerog.records.job import TERMINAL
from zerog.records.operations import Document

INDEX = "ended"


def incomplete(server: RedisServer) -> list[str]:
    """Return the statuses of TERMINAL with jobs missing in the index; the cost doesn't depend on their number."""
    found = []
    for status in TERMINAL:
        low, high = f"[{status}\0".encode(), f"({status}\0".encode() + b"\xff"
        counts = [
            server.ask("the index of ended jobs", "ZLEXCOUNT", f"{server.prefix}{index}", low, high)
            for index in ("index", INDEX)
        ]
        if counts[0] != counts[1]:
            found.append(status)
    return found


def missing(server: RedisServer, status: str, heads: Sequence[tuple[str, Document]]) -> list[str]:
    """Return those of these keys, each with its head, that belong in the index but are missing."""
    members = {key: _member(status, key, head) for key, head in heads if _can_be_listed(status, head)}
    if not members:
        return []
    scores = server.ask("the index of ended jobs", "ZMSCORE", f"{server.prefix}{INDEX}", *members.values())
    return [key for key, score in zip(members, scores, strict=True) if score is None]


def _can_be_listed(status: str, head: Document) -> bool:
    return head.get("status") == status and type(head.get("jobType")) is type(head.get("finishedAt")) is str


def _member(status: str, key: str, head: Document) -> bytes:
    texts = (text.encode().replace(b"\0", b"\0\xff") for text in (status, head["jobType"], head["finishedAt"]))
    return b"\0".join((*texts, key.encode()))
