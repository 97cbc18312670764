"""Limit the size of documents: how large a change may make one, and which history is dropped to make room.

A document that jobs have filled still takes the engine's writes: the end, a cancellation, a rescue, an error. If the
history is stored in the document, its oldest entries are dropped for the newest, for every writer.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

from zerog.records.fields import HISTORY
from zerog.records.operations import Add, Append, Document, Operation, added, dropped_field
from zerog.support import jsonvalues

MEASURED = 16
"""Measurements of a list while entries of ``values.HISTORY_BYTES`` are appended to it, on average."""

ENGINES_OWN = frozenset(["status", "owner", "cancelRequested", "queueState", "lost"])
"""Fields that only the engine changes. A change of one of them may use the room that each document keeps for it."""


def limit_of(operations: Iterable[Operation]) -> int:
    """Return the bytes that a document may take after these operations."""
    is_engines = any(operation.field in ENGINES_OWN for operation in operations)
    return jsonvalues.MAX_BYTES if is_engines else jsonvalues.JOB_BYTES


def is_measured(size: int) -> bool:
    """True if the list that an entry of this size is appended to is to be measured.

    Random, in proportion to the size, so that nothing has to be counted and an entry's cost doesn't grow with the
    list.
    """
    return random.random() * jsonvalues.HISTORY_BYTES < MEASURED * size


def fitting(sizes: Iterable[int], most: int = jsonvalues.HISTORY_BYTES) -> int:
    """Return how many entries, newest first, take no more than ``most`` bytes; the newest is always kept."""
    count = 0
    for size in sizes:
        most -= size
        if most < 0:
            break
        count += 1
    return max(count, 1)


def make_room(key: str, document: Document, operations: Iterable[Operation], changed: Document) -> None:
    """Drop the oldest history of a changed document until it takes no more bytes than it may.

    ``changed`` gets the new counters of lists that were appended to. Raises InvalidValue if nothing more can be
    dropped.
    """
    limit = limit_of(operations)
    while (size := jsonvalues.size(document)) > limit:
        if not drop_oldest(document, size - limit, operations, changed):
            jsonvalues.encode_checked(document, key, limit)  # raises an error with the sizes


def drop_oldest(document: Document, excess: int, operations: Iterable[Operation], changed: Document) -> bool:
    """Drop ``excess`` bytes, or a quarter if that is more, from the front of the longest list of the history.

    Counted in ``<field>Dropped``. What the operations append stays. False if there was nothing to drop.
    """
    appended: dict[str, int] = {}
    for operation in operations:
        if isinstance(operation, Append):
            appended[operation.field] = appended.get(operation.field, 0) + 1
    sizes = {field: _droppable(document, field, appended) for field in HISTORY}
    field = max(sizes, key=lambda name: sum(sizes[name]))
    goal, count = max(excess, sum(sizes[field]) // 4), 0
    for size in sizes[field]:
        if goal <= 0:
            break
        goal -= size
        count += 1
    if not count:
        return False
    del document[field][:count]
    counter = dropped_field(field)
    document[counter] = added(document.get(counter), Add(counter, count))
    if field in appended:
        changed[counter] = document[counter]
    return True


def _droppable(document: Document, field: str, appended: Mapping[str, int]) -> list[int]:
    """Return the sizes of the entries of a list that may be dropped, oldest first."""
    entries = document.get(field)
    if type(entries) is not list:
        return []
    return [jsonvalues.size(entry) + 1 for entry in entries[: len(entries) - appended.get(field, 0)]]
