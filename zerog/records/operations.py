"""Changes as operations on top-level fields, so that concurrent changes of one document merge.

The functions here define each operation; adapters that leave the work to their server must produce the same results.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from zerog.exceptions import InvalidValue
from zerog.support import jsonvalues

Document = dict[str, Any]


class Set(NamedTuple):
    """Give ``field`` a value, whatever it was."""

    field: str
    value: Any


class Add(NamedTuple):
    """Add a number to ``field`` (0 if absent or null), then keep it within ``low`` and ``high``."""

    field: str
    amount: int | float
    low: int | float | None = None
    high: int | float | None = None


class Max(NamedTuple):
    """Raise ``field`` to a number or text unless it is as high already."""

    field: str
    value: Any


class Append(NamedTuple):
    """Add a value to the end of the list ``field`` ([] if absent or null).

    With ``keep`` only that many last entries stay; dropped ones are counted in ``<field>Dropped``.
    """

    field: str
    value: Any
    keep: int | None = None


class Remove(NamedTuple):
    """Remove ``field`` from the document, if present."""

    field: str


class Put(NamedTuple):
    """Give the member ``name`` of the object ``field`` ({} if absent or null) a text; None removes the member."""

    field: str
    name: str
    text: str | None


Operation = Set | Add | Max | Append | Remove | Put


def dropped_field(field: str) -> str:
    """Return the field that counts the dropped entries of a bounded list."""
    return f"{field}Dropped"


def check(operations: Iterable[Operation]) -> None:
    """Refuse operands that JSON can't hold, before anything is written. Raises InvalidValue with the field's path."""
    for operation in operations:
        field = operation.field
        if type(field) is not str or not field.isascii():
            jsonvalues.check({field: None}, "the document")
        kind = type(operation)
        if kind is Set:
            value = operation.value  # type: ignore[union-attr]
            if value is not None and type(value) is not bool:
                jsonvalues.check(value, field, depth=1)
        elif isinstance(operation, Append):
            jsonvalues.check(operation.value, field, depth=2)
            keep = operation.keep
            if keep is not None and (type(keep) is not int or keep < 0):
                shown = jsonvalues.short_repr(keep)
                raise InvalidValue(f"keep={shown} for {field}; expected 0 or more. Nothing was written.")
        elif isinstance(operation, Add):
            _number(operation.amount, field)
            for bound in (operation.low, operation.high):
                if bound is not None:
                    _number(bound, field)
        elif isinstance(operation, Max):
            _comparable(operation.value, field)
            jsonvalues.check(operation.value, field)
        elif isinstance(operation, Put):
            jsonvalues.check({operation.name: operation.text}, field, depth=1)


def apply(document: Document, operations: Iterable[Operation], changed: Document | None = None) -> Document:
    """Change ``document`` in place; return the new values of the changed fields, without lists appended to.

    ``changed``: the result of earlier operations of the same batch, to be updated.
    """
    if changed is None:
        changed = {}
    for operation in operations:
        field = operation.field
        if isinstance(operation, Set):
            value = jsonvalues.copy(operation.value)  # the caller may change its own later
        elif isinstance(operation, Remove):
            document.pop(field, None)
            changed.pop(field, None)
            continue
        elif isinstance(operation, Append):
            _append(document, operation, changed)
            continue
        elif isinstance(operation, Add):
            value = added(document.get(field), operation)
        elif isinstance(operation, Put):
            value = _with_member(document.get(field), operation)
        else:
            value = raised(document.get(field), operation)
        document[field] = changed[field] = value
    return changed


def present(document: Document, operations: Iterable[Operation]) -> Document:
    """Rebuild the result of ``apply`` from the changed document."""
    fields: dict[str, None] = {}
    for operation in operations:
        if isinstance(operation, Append):
            fields.pop(operation.field, None)
            if operation.keep is not None:
                fields[dropped_field(operation.field)] = None
        else:
            fields[operation.field] = None
    return {field: document[field] for field in fields if field in document}


def added(old: Any, operation: Add) -> int | float:
    """Return the value after an ``Add``. Raises InvalidValue if the field holds no number."""
    total = _number(0 if old is None else old, operation.field) + operation.amount
    if operation.low is not None:
        total = max(total, operation.low)
    if operation.high is not None:
        total = min(total, operation.high)
    return _number(total, operation.field)


def raised(old: Any, operation: Max) -> Any:
    """Return the value after a ``Max``. Raises InvalidValue if the two can't be compared."""
    if old is None:
        return operation.value
    _comparable(old, operation.field)
    if (type(old) is str) != (type(operation.value) is str):
        raise InvalidValue(
            f"{operation.field} holds {jsonvalues.short_repr(old)}, which can't be compared with "
            f"{jsonvalues.short_repr(operation.value)}; nothing was written"
        )
    return operation.value if operation.value > old else old


def _with_member(old: Any, operation: Put) -> Document:
    """Return the object after a ``Put``. Raises InvalidValue if the field holds something else."""
    if old is not None and type(old) is not dict:
        shown = jsonvalues.short_repr(old)
        raise InvalidValue(f"{operation.field} holds {shown}, not an object, which has members; nothing was written")
    members = {name: value for name, value in (old or {}).items() if name != operation.name}
    return members if operation.text is None else {**members, operation.name: operation.text}


def _append(document: Document, operation: Append, changed: Document) -> None:
    field = operation.field
    items = document.get(field)
    if items is None:
        items = document[field] = []
    if type(items) is not list:
        raise InvalidValue(
            f"{field} holds {jsonvalues.short_repr(items)}, not a list, so nothing can be appended; nothing was written"
        )
    changed.pop(field, None)
    items.append(jsonvalues.copy(operation.value))
    overflow = 0 if operation.keep is None else len(items) - operation.keep
    if overflow > 0:
        del items[:overflow]
        counter = dropped_field(field)
        document[counter] = changed[counter] = added(document.get(counter), Add(counter, overflow))


def _number(value: Any, field: str) -> int | float:
    if type(value) not in (int, float):
        raise InvalidValue(
            f"{field} holds {jsonvalues.short_repr(value)}, not a number, so nothing can be added; nothing was written"
        )
    jsonvalues.check(value, field)
    return value  # type: ignore[no-any-return]


def _comparable(value: Any, field: str) -> None:
    if type(value) not in (int, float, str):
        raise InvalidValue(f"{field} holds {jsonvalues.short_repr(value)}; only numbers and texts have a maximum")


class Pending:
    """Operations that wait for the next write; a later ``Set`` of a field replaces what waits for it."""

    def __init__(self) -> None:
        self._operations: list[Operation] = []
        self._lock = threading.RLock()  # a job may record things from its own threads

    def add(self, operations: Iterable[Operation]) -> None:
        """Add operations that wait."""
        with self._lock:
            self._add(operations)

    def _add(self, operations: Iterable[Operation]) -> None:
        for operation in operations:
            if isinstance(operation, (Set, Remove)):
                self._operations = [o for o in self._operations if o.field != operation.field]
            elif isinstance(operation, Put):
                self._operations = [o for o in self._operations if o[:2] != operation[:2] or not isinstance(o, Put)]
            elif isinstance(operation, Add) and self._merge(operation):
                continue
            self._operations.append(operation)

    def add_before(self, operations: Iterable[Operation]) -> None:
        """Put ``operations`` before what waits: the later operation wins."""
        with self._lock:
            later = self.take()
            self._add(operations)
            self._add(later)

    def _merge(self, operation: Add) -> bool:
        """Merge additions, so that a million ticks wait as one operation; False if it can't be merged."""
        for index in range(len(self._operations) - 1, -1, -1):
            waiting = self._operations[index]
            if waiting.field == operation.field:
                if waiting[2:] != (None, None) or operation[2:] != (None, None) or not isinstance(waiting, Add):
                    return False
                self._operations[index] = waiting._replace(amount=waiting.amount + operation.amount)
                return True
        return False

    def __iter__(self) -> Iterator[Operation]:
        return iter(list(self._operations))

    def take(self) -> list[Operation]:
        """Remove and return all of them."""
        with self._lock:
            operations, self._operations = self._operations, []
        return operations
