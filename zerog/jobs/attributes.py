"""The attributes of a job object as fields of its document, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zerog.exceptions import CorruptDocument
from zerog.jobs.declaration import Declaration
from zerog.jobs.progress import share
from zerog.jobs.schema import HEAD_CONTAINERS, HEAD_FIELDS, TIMESTAMPS
from zerog.records.fields import DOCUMENTED, ENGINE_FIELDS, HISTORY, NO_ATTRIBUTES
from zerog.records.job import Document, new_document
from zerog.records.operations import Operation, Remove, Set, apply
from zerog.support import jsonvalues
from zerog.support.clock import from_text, to_text

_DEFAULTS = {field: value for field, value in new_document("", 1.0, "").items() if field in DOCUMENTED}
"""Default values of a new job's fields; these need no check."""


class Attributes:
    """The fields of one document as Python values, by the names that the object has them under.

    ``values`` is the ``__dict__`` of the job object, so what is assigned there is seen here.
    """

    def __init__(self, declaration: Declaration, values: dict[str, Any]) -> None:
        self.declaration = declaration
        self.values = values
        self.unknown: Document = {}
        """Stored fields that the class doesn't declare, as JSON."""

    def dump_engine_fields(self) -> Document:
        """Return the engine's fields of the head, as JSON values."""
        values = self.values
        head: Document = {name: values[name] for name in HEAD_FIELDS}
        for name in HEAD_CONTAINERS:
            head[name] = jsonvalues.copy(head[name])
        for name in TIMESTAMPS:
            if head[name] is not None:
                head[name] = to_text(head[name])
        head["completeness"] = share(head["completeness"])
        return head

    def dump(self) -> Document:
        """Return the head as JSON values, unknown fields included."""
        head = self.dump_engine_fields()
        for field in self.declaration.fields.values():
            value = self.values.get(field.attribute)
            if value is not None or not field.is_left_out:
                head[field.key] = field.dump(value)
        return {**jsonvalues.copy(self.unknown), **head}

    def check_engine_fields(self, document: Document) -> None:
        """Refuse values that a new job could not be read with. Raises InvalidValue."""
        for field, default in _DEFAULTS.items():
            value = document[field]
            if value is not default and (value != default or type(value) is not type(default)):
                self.declaration.check_engine_value(field, value)

    def load(self, head: Document) -> None:
        """Set all of them from a lifted head. Raises CorruptDocument, also for a document of another type."""
        if head["jobType"] != self.values["jobType"]:
            raise CorruptDocument(
                f"job {self.values['uuid']} is stored as a {jsonvalues.short_repr(head['jobType'])}, and this object "
                f"is a {self.values['jobType']!r}; neither was changed"
            )
        loaded, self.unknown = self.declaration.load(head)
        self.values.update(loaded)

    def set(self, field: str, value: Any) -> None:
        """Set the attribute of a field to a JSON value; a field without one is left out."""
        if field in NO_ATTRIBUTES:
            return
        own = self.declaration.by_key(field)
        if own is not None:
            self.values[own.attribute] = own.load(value)
        elif field in TIMESTAMPS and isinstance(value, str):
            self.values[field] = from_text(value)
        elif field not in ENGINE_FIELDS:
            self.unknown[field] = value  # a count of dropped events, or a field of newer code
        elif field not in HISTORY:
            self.values[field] = share(value) if field == "completeness" else jsonvalues.copy(value)

    def apply(self, operation: Operation) -> None:
        """Apply an operation on a field of the head."""
        field = operation.field
        if field in NO_ATTRIBUTES:
            return
        if isinstance(operation, Remove):
            self.unknown.pop(field, None)
        else:
            present = {} if isinstance(operation, Set) else {field: self.values.get(field)}
            self.set(field, apply(present, [operation])[field])

    def changed_by(self, operations: Sequence[Operation]) -> dict[str, Any]:
        """Return the attributes that ``operations`` are going to change, with their present values."""
        owns = (self.declaration.by_key(operation.field) for operation in operations)
        names = [o.field if own is None else own.attribute for o, own in zip(operations, owns, strict=True)]
        return {name: self.values[name] for name in names if name in self.values}
