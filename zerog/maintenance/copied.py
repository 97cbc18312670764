"""What ``zerog.maintenance.copying`` compares and reports: a job's form on two datastores, and the results."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from zerog.contracts.datastore import Datastore, FindQuery
from zerog.exceptions import CorruptDocument
from zerog.records.commands import ALL
from zerog.records.fields import COPIED as COPIED_ENTRY
from zerog.records.fields import IN_QUEUE, PENDING
from zerog.records.job import WAITING, Document

COPIED, SAME, REPLACED, AHEAD, DIFFERS, GONE, REMOVED, SHORTENED, BEGUN, UNREADABLE, REFUSED = (
    "copied",
    "same",
    "replaced",
    "ahead",
    "differs",
    "gone",
    "removed",
    "shortened",
    "begun",
    "unreadable",
    "refused",
)
"""Results for one job: stored now; is there already; an unfinished copy's older state was replaced; has gone on at the
target since a finished copy, left alone; differs there, left alone; was removed at the source meanwhile; was removed
at the target since a finished copy, left out; stored without its oldest history; runs at the source, so it must not be
copied; can't be read; can't be stored."""

UNDONE = (DIFFERS, BEGUN, UNREADABLE, REFUSED)
"""The results that a person has to look at."""

OF_THE_QUEUE = ("queueState", "queueJobId", "due")
"""Fields of a waiting job about its entry on a queue: another one there than here."""

CARRIED = 1 << 256

PAGE = 200
"""Jobs that are copied or compared between two reports of the progress."""

SHOWN = 5
"""Jobs that an error names."""


def as_copied(document: Document, now: str) -> Document:
    """Return a document as it is stored at another place: one that waits is to be put on a queue there."""
    if document.get("status") in WAITING and document.get("queueState") == IN_QUEUE:
        return {**document, "queueState": PENDING, "queueJobId": COPIED_ENTRY, "due": now}
    return document


def fingerprint(document: Document) -> bytes:
    """Return the SHA-256 of a document's JSON, whatever the order of its fields, without those about its entry."""
    left_out = OF_THE_QUEUE if document.get("status") in WAITING else ()
    named = {name: value for name, value in document.items() if name not in left_out}
    text = json.dumps(named, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


class Sum:
    """Adds up the SHA-256 of many documents, in any order."""

    def __init__(self) -> None:
        self._sum = 0
        self.count = 0

    def add(self, key: str, digest: bytes) -> None:
        """Add one document."""
        self._sum += int.from_bytes(hashlib.sha256(key.encode() + digest).digest())
        self.count += 1

    def __str__(self) -> str:
        return f"{self._sum % CARRIED:064x}"


@dataclass
class Report:
    """What a copy has done, or would do."""

    jobs: dict[str, int] = field(default_factory=dict)
    """Numbers of jobs at the source by status."""
    records: int = 0
    """Documents of the engine that are at the target now."""
    results: Counter[str] = field(default_factory=Counter)
    """Numbers of jobs by result."""
    named: dict[str, dict[str, str]] = field(default_factory=dict)
    """By result the keys of the documents that a person may want to look at, each with the reason."""
    verified: int = 0
    """Jobs that are the same at both places."""
    digest: str = ""
    """The sum of the SHA-256 of these, the same at both places."""
    finished: bool = False
    """True once the target is open for workers."""

    def note(self, key: str, result: str, why: str = "") -> None:
        """Note the result for one document; with a reason by its key."""
        self.results[result] += 1
        if why:
            self.named.setdefault(result, {})[key] = why

    def undone(self, allowed: Iterable[str] = ()) -> int:
        """Return how many documents a person has to look at, but for the results that are allowed."""
        return sum(len(self.named.get(result, ())) for result in UNDONE if result not in allowed)


def pages(store: Datastore, unreadable: Callable[[str], None] = lambda key: None) -> Iterator[list[Document]]:
    """Yield the heads of all jobs, in the order of their keys; call ``unreadable`` with each key that is left out."""
    after = None
    while True:
        page = store.find(FindQuery(after=after, limit=PAGE))
        for key in page.unreadable:
            unreadable(key)
        yield page.heads
        after = page.after
        if after is None:
            return


def readable(store: Datastore, key: str) -> Document:
    """Return a document; in place of one that can't be read another one with the reason."""
    try:
        return store.read(key) or {}
    except CorruptDocument as error:
        return {"unreadable": str(error)}


def is_fence(name: str, entry: Any) -> bool:
    """True for a pause of all queues that a copy has made."""
    return name == ALL and type(entry) is dict and "copy" in entry


def age(document: Document) -> tuple[Any, ...]:
    """Return what grows when a job goes on."""
    epoch, updated = document.get("epoch"), document.get("updatedAt")
    return (epoch if type(epoch) is int else 0, str(updated or ""))


def listed(names: list[str]) -> str:
    """Return the first of some names, for an error."""
    shown = ", ".join(names[:SHOWN])
    return f"{shown} and more" if len(names) > SHOWN else shown
