"""MAX_DOCUMENT: count the bytes that the fields of a job take, without encoding unchanged fields again.

The history isn't part of it: datastores keep it apart, and MAX_EVENTS bounds it. Only what a job itself makes large is
refused; the engine's own small fields are counted and always written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from zerog.engine.transitions import event_record
from zerog.exceptions import InvalidValue
from zerog.jobs.logfields import warn
from zerog.records.fields import CONTAINERS, DOCUMENTED, ENGINE_FIELDS, HISTORY
from zerog.records.job import Document
from zerog.records.operations import Append, Operation, Remove, Set
from zerog.support import jsonvalues

if TYPE_CHECKING:
    from zerog.jobs.base import BaseJob
    from zerog.jobs.document import JobDocument

SMALLEST = 2_048
"""Bytes of the least that MAX_DOCUMENT may allow: twice what a new job's engine fields take."""

WARNED_AT = 0.8
"""Share of MAX_DOCUMENT from which a write logs a warning."""

_SMALL = ENGINE_FIELDS - (DOCUMENTED & {*CONTAINERS})


class Sizes:
    """The bytes of each field of one head, as JSON."""

    def __init__(self, head: Document) -> None:
        self._bytes = {field: _size(field, value) for field, value in head.items() if field not in HISTORY}
        self.total = sum(self._bytes.values())

    def change(self, operations: Iterable[Operation]) -> dict[str, int]:
        """Count what these write and return by how much each field grows. Numbers that are added to keep their size."""
        growth: dict[str, int] = {}
        for operation in operations:
            if isinstance(operation, (Set, Remove)):
                field = operation.field
                size = _size(field, operation.value) if isinstance(operation, Set) else 0
                growth[field] = growth.get(field, 0) + size - self._bytes.get(field, 0)
                self._bytes[field] = size
        self.total += sum(growth.values())
        return growth


def _size(field: str, value: object) -> int:
    return len(jsonvalues.encode_checked({field: value}).encode())


def check_growth(job_class: type[BaseJob], uuid: str, sizes: Sizes, operations: Sequence[Operation]) -> bool:
    """Count a change; returns True if it takes the job over WARNED_AT of its limit.

    Raises InvalidValue, naming the field that grows most, if that takes the job over MAX_DOCUMENT.
    """
    limit = job_class.MAX_DOCUMENT
    before = sizes.total
    growth = sizes.change(operations)
    if limit is None:
        return False
    field = max((field for field in growth if field not in _SMALL), key=lambda name: growth[name], default=None)
    if field is not None and growth[field] > 0 and sizes.total > max(limit, before):
        raise InvalidValue(
            f"{field} takes {growth[field]:,} bytes more, and the fields of job {uuid} would take {sizes.total:,} "
            f"together; MAX_DOCUMENT of {job_class.JOB_TYPE} is {limit:,}. Nothing was stored."
        )
    return before < limit * WARNED_AT <= sizes.total


class SizeLimit:
    """MAX_DOCUMENT of one job object."""

    def __init__(self, job_class: type[BaseJob]) -> None:
        self._job_class = job_class
        self._sizes: Sizes | None = None

    def forget(self) -> None:
        """Count anew at the next change: the stored head may be another one."""
        self._sizes = None

    def bounded(self, document: JobDocument, operations: Sequence[Operation]) -> Sequence[Operation]:
        """Return a stored job's change, with a warning if it comes near the limit. Raises InvalidValue beyond it."""
        if self._job_class.MAX_DOCUMENT is None or document.stored is None:
            return operations
        if self._sizes is None:
            self._sizes = Sizes(document.stored)
            self._sizes.change(document.pending)
        try:
            is_near = check_growth(self._job_class, document.uuid, self._sizes, operations)
        except InvalidValue:
            self._sizes = None
            raise
        if not is_near:
            return operations
        return [*operations, Append("warnings", self._warning(document, self._sizes), document.history_limit)]

    def bound_new(self, document: JobDocument, fields: Document) -> None:
        """Check the fields of a job that isn't stored yet in the same way."""
        if self._job_class.MAX_DOCUMENT is not None:
            sizes = Sizes({})
            head = [Set(field, value) for field, value in fields.items() if field not in HISTORY]
            if check_growth(self._job_class, document.uuid, sizes, head):
                fields["warnings"] = [*fields["warnings"], self._warning(document, sizes)]

    def _warning(self, document: JobDocument, sizes: Sizes) -> Document:
        text = f"the job's fields take {sizes.total:,} bytes; MAX_DOCUMENT is {self._job_class.MAX_DOCUMENT:,}"
        warn(document.attributes.values, text)
        return event_record(document.now(), text)
