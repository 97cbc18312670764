"""Read workers' records and the engine's other small documents, in programs that didn't write them.

A record may have been damaged by a tool, a restore or a disk. It concerns only itself: a field of the wrong kind counts
as absent, a record that can't be read as one without fields, and ``zerog doctor`` reports both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, NamedTuple

from zerog.exceptions import CorruptDocument
from zerog.records.commands import STATES
from zerog.records.fields import is_amount, is_count, is_name
from zerog.records.job import Document
from zerog.records.keys import worker_key
from zerog.support.jsonvalues import short_repr

if TYPE_CHECKING:
    from zerog.contracts.datastore import Datastore

LEASE = 30.0
"""Seconds that a worker may be silent if its record names no lease."""

LONGEST_LEASE = 3600.0
"""Seconds; a longer lease is refused at a worker's start."""


def is_lease(value: object) -> bool:
    """Return True for a possible lease: the seconds for which a worker may be silent."""
    return type(value) in (int, float) and 0 < value <= LONGEST_LEASE  # type: ignore[operator]


def lease_of(entry: Any) -> float:
    """Return the lease of an owner or a worker's record, LEASE if it has no valid one."""
    lease = entry.get("lease") if isinstance(entry, dict) else None
    return float(lease) if is_lease(lease) else LEASE  # type: ignore[arg-type]


def _is_text(value: object) -> bool:
    return type(value) is str


def _all(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: type(value) is list and all(map(check, value))


def _is_kind(value: object) -> bool:
    return type(value) is list and len(value) == 2 and type(value[0]) is str and is_amount(value[1])


def _is_object(value: object) -> bool:
    return type(value) is dict


_KINDS: dict[str, Callable[[Any], bool]] = {
    "beat": is_count,
    "lease": is_lease,
    **dict.fromkeys(("renewedAt", "startedAt", "host", "build", "executor", "claiming"), _is_text),
    **dict.fromkeys(("pid", "jobs", "memory"), is_count),
    "state": lambda value: value in STATES,
    "queues": _all(is_name),
    "uuids": _all(_is_text),
    **dict.fromkeys(("held", "heldTypes"), _all(_is_text)),
    "knows": _all(_is_kind),
    "cancels": lambda value: type(value) is list,
    "drain": _is_object,
    "config": _is_object,
    "process": _is_object,
    "rates": _is_object,
    "descriptors": _is_object,
    "schedules": _is_object,
}


class Record(NamedTuple):
    """A record as it was read."""

    fields: Document | None
    """Those of the right kind; None if there is no record."""
    damage: tuple[str, ...] = ()
    """Its faults, in words."""
    wrong: tuple[str, ...] = ()
    """The fields of the wrong kind; none if the record can't be read at all."""


def read_record(datastore: Datastore, key: str) -> Record:
    """Read an engine document, whatever it holds. Raises the datastore's errors if it is unreachable."""
    try:
        return Record(datastore.read_with_cas(key)[0])
    except CorruptDocument as error:
        return Record({}, (str(error),))


def read_worker(datastore: Datastore, name: str) -> Record:
    """Read a worker's record, without the fields of the wrong kind."""
    return read_workers(datastore, [name])[name]


def read_workers(datastore: Datastore, names: Collection[str]) -> dict[str, Record]:
    """Read the records of workers at once, each as ``read_worker`` does."""
    found, unreadable = datastore.read_heads([worker_key(name) for name in names if is_name(name)])
    damaged = {key: Record({}, (str(error),)) for key, error in unreadable.items()}
    return {name: _record(name, found, damaged) for name in names}


def _record(name: str, found: dict[str, Document], damaged: dict[str, Record]) -> Record:
    if not is_name(name):
        return Record(None, (f"{short_repr(name)} can't be the name of a worker",))
    key = worker_key(name)
    record = found.get(key)
    if record is None:
        return damaged.get(key, Record(None))
    wrong = tuple(f for f, check in _KINDS.items() if record.get(f) is not None and not check(record[f]))
    named = tuple(f"{field} is {short_repr(record[field])}" for field in wrong)
    return Record({field: value for field, value in record.items() if field not in wrong}, named, wrong)
