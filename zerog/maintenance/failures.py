"""Failures grouped by the fingerprint of their last error: what broke, how often, since when, under which builds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from zerog.contracts.datastore import Datastore
from zerog.records.job import Document, make_key

LOOKED_AT = 10_000
"""Jobs that are grouped, at most: the newest ones."""


@dataclass
class Failures:
    """Jobs whose last errors have one fingerprint. Timestamps are stored texts, None if none is known."""

    fingerprint: str | None
    """None for errors that were recorded before there were fingerprints: these are grouped by types alone."""
    job_type: Any
    error: Any
    """The type of the error, None if it was no exception."""
    example: str
    """The uuid of the newest of them."""
    msg: Any
    """The message of that one."""
    count: int = 0
    first: str | None = None
    last: str | None = None
    builds: dict[str, int] = field(default_factory=dict)
    """By build that recorded the error, how many."""
    where: str | None = None
    """Function and line of the job's own code, of the example."""

    def add(self, last: Document) -> None:
        """Count a last error."""
        self.count += 1
        if type(time := last.get("timestamp")) is str:
            self.first, self.last = min(self.first or time, time), max(self.last or time, time)
        if type(build := last.get("build")) is str:
            self.builds[build] = self.builds.get(build, 0) + 1


def grouped(heads: Iterable[Document]) -> list[Failures]:
    """Return the groups of heads, which come the newest first; the most frequent group first.

    Jobs without an error are left out. Takes memory by the number of groups.
    """
    groups: dict[Any, Failures] = {}
    for head in heads:
        last = head.get("lastError")
        if type(last) is not dict:
            continue
        stored = last.get("fingerprint")
        fingerprint = stored if type(stored) is str else None
        name = fingerprint or repr((head.get("jobType"), last.get("type")))
        if name not in groups:
            uuid = str(head.get("uuid"))
            groups[name] = Failures(fingerprint, head.get("jobType"), last.get("type"), uuid, last.get("msg"))
        groups[name].add(last)
    return sorted(groups.values(), key=lambda group: -group.count)


def locate(datastore: Datastore, groups: Iterable[Failures]) -> None:
    """Add ``where`` to groups, from the history of each one's example. Raises the datastore's errors."""
    for group in groups:
        document = datastore.read(make_key(group.example)) or {}
        for entry in reversed(document.get("errors") or []):
            if type(entry) is dict and entry.get("fingerprint") == group.fingerprint and entry.get("where"):
                group.where = str(entry["where"])
                break
