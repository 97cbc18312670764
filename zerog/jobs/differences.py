"""What ``save`` has to store: the differences between a job object's attributes and the head that it was read from."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from zerog.jobs.schema import TIMESTAMPS
from zerog.records.fields import PROTECTED
from zerog.records.job import Document
from zerog.records.operations import Operation, Remove, Set

if TYPE_CHECKING:
    from zerog.jobs.declaration import Declaration


def differences(
    declaration: Declaration, stored: Document, dumped: Document, waiting: Collection[str]
) -> list[Operation]:
    """Return the operations that make ``dumped`` of ``stored``, but for the fields of writes that wait already.

    Raises AttributeError for a changed field that only the engine writes, InvalidValue for what can't be stored.
    """
    unset = [key for key in stored if key not in dumped and declaration.by_key(key) is not None]
    changed: list[Operation] = [Remove(key) for key in unset if key not in waiting and stored[key] is not None]
    for key, value in dumped.items():
        if key in waiting or (key in stored and stored[key] == value and type(stored[key]) is type(value)):
            continue
        if key in PROTECTED:
            if key in stored and key not in TIMESTAMPS and stored[key] != value:
                declaration.check_settable(key)
            continue
        declaration.check_engine_value(key, value)
        changed.append(Set(key, value))
    return changed
