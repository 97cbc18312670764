"""Operations of ``mutate`` as changes of sub-documents: the paths to read first, and the changes to send.

Both use only the values that were read: numbers are added here, under the token of the reading. A change that can't be
made path by path (unusual field names, many fields at once, the beginning of a missing list) is left to the caller,
which then writes the document as a whole. The server takes at most 16 paths a call.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from zerog.backends.couchbase.server import paths
from zerog.records.operations import Add, Append, Document, Max, Operation, Put, Remove, added, apply, dropped_field
from zerog.support import jsonvalues

MAX_PATHS = 16
"""Paths that the server takes in one call."""

MAX_REMOVED = 4
"""Entries dropped from a list one by one; more are removed by writing the document as a whole."""

SIZE = "$document.value_bytes"
"""The virtual attribute with a document's size."""

FENCED = ("epoch", "seq", "owner", "run", "cancelRequested", "status", "due", "createdAt")
"""Fields read before every change: those of the fence, of the answer, and of the document's places in the index."""

is_plain = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}").fullmatch


class Reading(NamedTuple):
    """The paths to read before a change."""

    fields: tuple[str, ...]
    """Fields whose values are needed."""
    lists: tuple[str, ...]
    """Lists whose lengths are needed."""

    @property
    def specs(self) -> list[Any]:
        """Return the paths to look up: the size, then the fields, then the lists."""
        return [
            paths.get(SIZE, xattr=True),
            *(paths.get(field) for field in self.fields),
            *(paths.count(field) for field in self.lists),
        ]


class Known(NamedTuple):
    """The result of a look-up of a document."""

    token: int
    size: int
    fields: Document
    """The existing ones."""
    lengths: dict[str, int]
    """Of the existing lists."""


class Change(NamedTuple):
    """The change to send."""

    specs: list[Any]
    values: Document
    """The new values of the changed fields, as ``mutate`` answers them."""
    head: Document
    """The known part of the head afterwards."""
    growth: int
    """Bytes by which the document may grow, at most."""


def reading(operations: Sequence[Operation]) -> Reading | None:
    """Return the paths to read before these operations; None if they can't be done path by path."""
    lists: dict[str, None] = {}
    touched: set[str] = set()
    fields = dict.fromkeys(FENCED)
    for operation in operations:
        field = operation.field
        if not is_plain(field):
            return None
        if isinstance(operation, Append):
            lists[field] = None
            if operation.keep is not None:
                fields[dropped_field(field)] = None
        else:
            touched.add(field)
            if isinstance(operation, (Add, Max, Remove, Put)):
                fields[field] = None
    counters = {dropped_field(field) for field in lists}
    if not operations or touched & (lists.keys() | counters) or counters & lists.keys() or lists.keys() & fields.keys():
        return None  # nothing to send, or one field in two roles: their order matters
    if 1 + len(fields) + len(lists) > MAX_PATHS:
        return None
    return Reading(tuple(fields), tuple(lists))


def change(known: Known, operations: Sequence[Operation], seq: int | None) -> Change | None:
    """Return the change for the operations; None if they can't be done path by path. Raises InvalidValue."""
    head = dict(known.fields)
    changed = apply(head, [operation for operation in operations if not isinstance(operation, Append)])
    if seq is not None:
        head["seq"] = seq
    specs: list[Any] = []
    growth = 0
    for field, (length, entries, dropped) in _appended(known, operations).items():
        text = sum(len(jsonvalues.encode(entry, field).encode()) + 1 for entry in entries)
        growth += text + len(field) + 6
        if dropped > min(length or 0, MAX_REMOVED):
            return None
        if length is None:
            specs.append(paths.upsert(field, jsonvalues.encode_checked(entries, field).encode()))
        else:
            specs.append(paths.array_append(field, *entries))
            specs += [paths.remove(f"{field}[0]")] * dropped
        changed.pop(field, None)
        if dropped:
            counter = dropped_field(field)
            head[counter] = changed[counter] = added(head.get(counter), Add(counter, dropped))
    touched = {operation.field for operation in operations if not isinstance(operation, Append)} | changed.keys()
    for field in dict.fromkeys([*touched, *(["seq"] if seq is not None else [])]):
        if field in head:
            text_of = jsonvalues.encode_checked(head[field], field).encode()
            specs.append(paths.upsert(field, text_of))
            growth += len(text_of) + len(field) + 4
        elif field in known.fields:
            specs.append(paths.remove(field))
    if not 0 < len(specs) <= MAX_PATHS:
        return None
    return Change(specs, changed, head, growth)


def _appended(known: Known, operations: Sequence[Operation]) -> dict[str, tuple[int | None, list[Any], int]]:
    """Return by list its length (None: missing), the values to append, and how many entries drop from its front."""
    appended: dict[str, tuple[int | None, list[Any], int]] = {}
    for operation in operations:
        if not isinstance(operation, Append):
            continue
        length, entries, dropped = appended.get(operation.field, (known.lengths.get(operation.field), [], 0))
        entries.append(operation.value)
        if operation.keep is not None:
            dropped += max(0, (length or 0) + len(entries) - dropped - operation.keep)
        appended[operation.field] = (length, entries, dropped)
    return appended
