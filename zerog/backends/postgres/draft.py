"""A change of one stored document, made in memory: operations on a row that was read, and what is to be written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from zerog.backends.postgres.rows import MOVING, Entry, Row, derived, json_object, lists_of
from zerog.records.attrs import TERM_FIELDS
from zerog.records.fields import HISTORY
from zerog.records.operations import Add, Append, Document, Operation, Remove, Set, apply, dropped_field
from zerog.records.room import fitting, is_measured, limit_of
from zerog.support import jsonvalues

FOLD = 64 * 1024
"""Characters of ``state`` beyond which what rarely changes is merged into ``body``, so that neither grows for ever."""


class NeedsBody(Exception):
    """The operations depend on the body, and the row was read without it."""


class NeedsWhole(Exception):
    """The operations can only be applied to the document with its history."""


def needs_body(operations: Iterable[Operation]) -> bool:
    """True if it is likely that an operation depends on the body."""
    return any(
        type(operation) is not Set and operation.field not in MOVING and operation.field not in HISTORY
        for operation in operations
    )


class Draft:
    """A document being changed.

    ``sizes`` returns the bytes of the entries of one of its lists, the newest first.
    """

    def __init__(self, row: Row, sizes: Callable[[Row, str], Iterator[int]]) -> None:
        self.row = row
        self._state: Document | None = None
        self._body: Document | None = None
        self._is_body_changed = False
        self._lists: dict[str, list[int]] | None = None
        self._sizes = sizes
        self._applied: list[Operation] = []
        self._removed: Document = {}
        """Fields of terms that are gone, with None."""
        self._added: list[Entry] = []
        self.dropped: dict[str, int] = {}
        """By list of the history, the number up to which its entries go."""

    def apply(self, operations: Sequence[Operation]) -> Document:
        """Apply operations; return the new values of the changed fields, without lists that were appended to.

        Raises NeedsBody, NeedsWhole, InvalidValue, CorruptDocument.
        """
        changed: Document = {}
        self._applied += operations
        of_state: list[Operation] = []
        for operation in operations:
            field = operation.field
            if field in HISTORY:
                if fallen := self._append(operation):
                    of_state.append(Add(dropped_field(field), fallen))
                continue
            if field in MOVING:
                if type(operation) is Append:
                    raise NeedsWhole
            elif type(operation) is Remove:
                self._removed |= {field: None} if field in TERM_FIELDS else {}
                self._is_body_changed |= self.body.pop(field, self) is not self
            elif type(operation) is not Set and field not in self.state and field in self.body:
                self.state[field] = self.body[field]
            of_state.append(operation)
        return apply(self.state, of_state, changed)

    @property
    def added(self) -> list[Entry]:
        """The new entries of the history, without those that have fallen out already."""
        return [entry for entry in self._added if entry.n > self.dropped.get(entry.field, 0)]

    @property
    def state(self) -> Document:
        """What the fields of MOVING are, and others changed lately; read at the first use. Raises CorruptDocument."""
        if self._state is None:
            self._state = json_object(self.row, self.row.state)
        return self._state

    @property
    def body(self) -> Document:
        """The body. Raises NeedsBody."""
        if self._body is None:
            if self.row.body is None:
                raise NeedsBody
            self._body = json_object(self.row, self.row.body)
        return self._body

    @cached_property
    def written(self) -> tuple[Any, ...]:
        """What is to be stored: body (None if it stays), state, lists and the derived columns.

        To be asked for once the last operation is applied. Raises NeedsBody, InvalidValue.
        """
        key = self.row.key
        state = jsonvalues.encode_checked(self.state, key)
        body = None
        if len(state) > FOLD or self._is_body_changed:
            folded = {field: value for field, value in self.state.items() if field not in MOVING}
            body = jsonvalues.encode_checked({**self.body, **folded}, key, limit_of(self._applied))
            state = jsonvalues.encode_checked({f: v for f, v in self.state.items() if f in MOVING}, key)
        lists = self.row.lists if self._lists is None else jsonvalues.encode_checked(self._lists)
        return (body, state, lists, *derived({**self._removed, **self.state}, self.row.sound))

    def _append(self, operation: Operation) -> int:
        """Append an entry to a list of the history; return how many fell out at the front."""
        if self._lists is None:
            self._lists = lists_of(self.row)
        field, numbers = operation.field, self._lists.get(operation.field)
        if not isinstance(operation, Append) or numbers is None:
            raise NeedsWhole
        numbers[1] += 1
        text = jsonvalues.encode_checked(operation.value, field)
        self._added.append(Entry(field, numbers[1], text))
        keep = operation.keep
        if keep is None:
            return 0
        size = len(text.encode())
        if is_measured(size):
            keep = min(keep, fitting(self._all_sizes(field)))
        fallen = max(0, numbers[1] + 1 - numbers[0] - keep)
        if fallen:
            numbers[0] += fallen
            self.dropped[field] = numbers[0] - 1
        return fallen

    def _all_sizes(self, field: str) -> Iterator[int]:
        """Yield the bytes of a list's entries, the newest first, those added here included."""
        yield from (len(entry.text.encode()) for entry in reversed(self._added) if entry.field == field)
        yield from self._sizes(self.row, field)
