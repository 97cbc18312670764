"""Changes as operations on top-level fields, so that concurrent changes of one document merge.

The functions here say what each operation means; adapters that let their server do the work must give the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from zerog import values
from zerog.exceptions import InvalidValue

Document = dict[str, Any]


class Set(NamedTuple):
    """Give ``field`` a value, whatever it held."""

    field: str
    value: Any


class Add(NamedTuple):
    """Add a number to ``field`` (0 if absent or null), then keep it within ``low`` and ``high``."""

    field: str
    amount: int | float
    low: int | float | None = None
    high: int | float | None = None


class Max(NamedTuple):
    """Raise ``field`` to a number or text unless it is there already."""

    field: str
    value: Any


class Append(NamedTuple):
    """Put a value at the end of the list ``field`` ([] if absent or null).

    With ``keep`` only that many last entries stay; what falls out is counted in ``<field>Dropped``.
    """

    field: str
    value: Any
    keep: int | None = None


class Remove(NamedTuple):
    """Take ``field`` out of the document, if it is there."""

    field: str


Operation = Set | Add | Max | Append | Remove


def dropped_field(field: str) -> str:
    """The field that counts what a bounded list has lost."""
    return f"{field}Dropped"


def check(operations: Iterable[Operation]) -> None:
    """Refuse operands that JSON can't hold, before anything is written. Raises InvalidValue with the field's path."""
    for operation in operations:
        if isinstance(operation, Add):
            for number in (operation.amount, operation.low, operation.high):
                if number is not None:
                    _number(number, operation.field)
        elif not isinstance(operation, Remove):
            values.check(operation.value, operation.field)


def apply(document: Document, operations: Iterable[Operation]) -> Document:
    """Change ``document`` in place; returns the new values of fields changed by anything but ``Append``."""
    changed: Document = {}
    for operation in operations:
        field = operation.field
        if isinstance(operation, Remove):
            document.pop(field, None)
            continue
        if isinstance(operation, Append):
            changed.update(_append(document, operation))
            continue
        if isinstance(operation, Set):
            value = operation.value
        elif isinstance(operation, Add):
            value = added(document.get(field), operation)
        else:
            value = raised(document.get(field), operation)
        document[field] = changed[field] = value
    return changed


def added(old: Any, operation: Add) -> int | float:
    """The value after an ``Add``. Raises InvalidValue if the field holds no number."""
    total = _number(0 if old is None else old, operation.field) + operation.amount
    if operation.low is not None:
        total = max(total, operation.low)
    if operation.high is not None:
        total = min(total, operation.high)
    return _number(total, operation.field)


def raised(old: Any, operation: Max) -> Any:
    """The value after a ``Max``. Raises InvalidValue if the two can't be compared."""
    if old is None:
        return operation.value
    try:
        return operation.value if operation.value > old else old
    except TypeError:
        raise InvalidValue(
            f"{operation.field} holds {old!r}, which can't be compared with {operation.value!r}; nothing was written"
        ) from None


def _append(document: Document, operation: Append) -> Mapping[str, Any]:
    field = operation.field
    items = document.get(field)
    if items is None:
        items = document[field] = []
    if type(items) is not list:
        raise InvalidValue(f"{field} holds {items!r}, not a list, so nothing can be appended; nothing was written")
    items.append(operation.value)
    overflow = 0 if operation.keep is None else len(items) - operation.keep
    if overflow <= 0:
        return {}
    del items[:overflow]
    counter = dropped_field(field)
    document[counter] = added(document.get(counter), Add(counter, overflow))
    return {counter: document[counter]}


def _number(value: Any, field: str) -> int | float:
    if type(value) not in (int, float):
        raise InvalidValue(f"{field} holds {value!r}, not a number, so nothing can be added; nothing was written")
    values.check(value, field)
    return value  # type: ignore[no-any-return]
