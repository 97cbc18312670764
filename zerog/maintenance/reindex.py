"""Fill the attributes and the index of terms for jobs that were stored before their class had them.

Each job is a compare-and-swap of its own, and the place in the order of keys is noted after each page, so that the work
may be broken off and goes on there. A job that runs is left alone: its own writes keep what they change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from zerog.contracts.datastore import Datastore
from zerog.contracts.find import FindQuery
from zerog.engine.cas import Attempts
from zerog.exceptions import CorruptDocument, DatastoreError, SchemaTooNew
from zerog.records.attrs import ATTRS, LAST_ERROR, own_attrs, shown_attrs
from zerog.records.fingerprints import fingerprint
from zerog.records.job import KEY_PREFIX, Document, check_head
from zerog.records.keys import REINDEXED
from zerog.records.operations import Operation, Set

PAGE = 500
"""Jobs that are read at a time."""

AttributesOf = Callable[[Document], "dict[str, str] | None"]
"""Returns the attributes of a head by its class, None without the class. Raises CorruptDocument, SchemaTooNew."""


@dataclass
class Reindexed:
    """What was done."""

    looked_at: int = 0
    changed: int = 0
    running: int = 0
    """Jobs that run, and were left alone."""
    unknown: dict[str, int] = field(default_factory=dict)
    """By type without a class here, the jobs whose attributes were left as they are."""
    unreadable: int = 0
    """Jobs that their class can't read, or that are no sound documents."""


def reindex(datastore: Datastore, attributes_of: AttributesOf, noted: Callable[[int], None]) -> Reindexed:
    """Go through all jobs, from where an earlier call was broken off; ``noted`` gets the number of each page.

    Raises DatastoreError if the datastore has no such index, and its errors.
    """
    if not datastore.can_find_terms:
        raise DatastoreError(f"{type(datastore).__name__} has no index of attributes and errors; nothing was changed")
    done = Reindexed()
    after = (datastore.read(REINDEXED) or {}).get("after")
    while True:
        page = datastore.find(FindQuery(after=after, limit=PAGE))
        done.unreadable += len(page.unreadable)
        for head in page.heads:
            done.looked_at += 1
            _reindex(datastore, head, attributes_of, done)
        noted(len(page.heads))
        after = page.after
        datastore.set(REINDEXED, {"after": after})
        if after is None:
            return done


def _reindex(datastore: Datastore, head: Document, attributes_of: AttributesOf, done: Reindexed) -> None:
    key = f"{KEY_PREFIX}{head.get('uuid')}"
    try:
        check_head(key, head)
        if head.get("owner") is None and attributes_of(head) is None:
            name = str(head.get("jobType"))
            done.unknown[name] = done.unknown.get(name, 0) + 1
        if head.get("owner") is not None or not _missing(head, attributes_of):
            done.running += head.get("owner") is not None
            return
        attempts = Attempts(datastore, key)
        while True:
            stored, token = datastore.read_with_cas(key, head=True)
            operations = [] if stored is None else _missing(stored, attributes_of)
            if stored is None or stored.get("owner") is not None or not operations:  # removed, or others were faster
                return
            with attempts:
                datastore.mutate(key, operations, cas=token)
                done.changed += 1
                return
    except (CorruptDocument, SchemaTooNew):
        done.unreadable += 1


def _missing(head: Document, attributes_of: AttributesOf) -> list[Operation]:
    """Return the operations that complete a document."""
    operations: list[Operation] = []
    attrs, last = attributes_of(head), head.get(LAST_ERROR)
    if attrs is not None and attrs != shown_attrs(head):
        operations.append(Set(ATTRS, {**own_attrs(head), **attrs}))
    if isinstance(last, dict) and "fingerprint" not in last:  # of before there was an index
        kind = str(last.get("type") or "")
        operations.append(Set(LAST_ERROR, {**last, "fingerprint": fingerprint(str(head.get("jobType")), kind)}))
    return operations
