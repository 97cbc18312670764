"""The index of ended jobs on a Redis server, as far as ``setup`` fills it: the script keeps it.

Jobs that ended before there was such an index, or under code that doesn't know it, are missing there until then.
"""

from __future__ import annotations

from collections.abc import Sequence

from zerog.backends.redis.server import RedisServer
from zerog.records.job import TERMINAL
from zerog.records.operations import Document

INDEX = "ended"


def incomplete(server: RedisServer) -> list[str]:
    """The statuses of TERMINAL of which the index doesn't have all jobs; the cost doesn't depend on their number."""
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
    """Those of these keys, each with its head, that the index should have and hasn't."""
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
