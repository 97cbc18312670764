"""What is added to a job's change before it is written: the attributes that follow from it, and warnings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zerog.engine.transitions import event_record
from zerog.jobs.declaration import Declaration
from zerog.jobs.logfields import warn
from zerog.jobs.migrations import upgrade_operations
from zerog.jobs.size_limit import SizeLimit
from zerog.records.attrs import ATTRS, LONGEST, own_attrs
from zerog.records.job import Document
from zerog.records.operations import Append, Operation, Set

if TYPE_CHECKING:
    from zerog.jobs.base import BaseJob
    from zerog.jobs.document import JobDocument


class Additions:
    """The additions to the changes of one job object: MAX_DOCUMENT and ATTRIBUTES of its class."""

    def __init__(self, job_class: type[BaseJob], declaration: Declaration) -> None:
        self._size_limit = SizeLimit(job_class)
        self._indexed = declaration.indexed
        self._has_warned = False
        self.forget = self._size_limit.forget

    def to(self, document: JobDocument, operations: Sequence[Operation]) -> Sequence[Operation]:
        """Return a stored job's change with what is added to it. Raises InvalidValue for one that isn't allowed."""
        more: list[Operation] = []
        if self._indexed:
            is_run = document.run is not None
            more = self._indexed.operations(operations, is_cut=is_run)
            name = self._indexed.too_long(operations) if is_run and not self._has_warned else None
            if name is not None:
                self._has_warned = True
                text = f"the attribute {name} is shortened to {LONGEST} characters; {name} itself is stored whole"
                warn(document.attributes.values, text)
                more.append(Append("warnings", event_record(document.now(), text), document.history_limit))
        bounded = self._size_limit.bounded(document, operations)
        return [*bounded, *more] if more else bounded

    def to_new(self, document: JobDocument, fields: Document) -> None:
        """Add to the fields of a job that isn't stored yet. Raises InvalidValue."""
        if self._indexed and (attrs := self._indexed.of(fields)):
            fields[ATTRS] = attrs
        self._size_limit.bound_new(document, fields)


def upgrade(declaration: Declaration, head: Document, lifted: Document) -> list[Operation]:
    """Return the operations by which the next write stores a head's lifted form, with its attributes."""
    attrs = {**own_attrs(head), **declaration.indexed.of(lifted, is_cut=True)}
    changed: list[Operation] = [] if attrs == (head.get(ATTRS) or {}) else [Set(ATTRS, attrs)]
    return [*upgrade_operations(head, lifted), *changed]
