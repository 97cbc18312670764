"""A ``mutate`` as one update of MongoDB: a filter that holds only if the change may be applied, and a pipeline.

The server does what it can do exactly. The filter excludes everything else (a refusal; a field of the wrong type;
numbers that a double can't count; a document that may become too large), and an operation without an exact form here
gives no update at all. ``mutate`` then reads the document and writes it by compare-and-swap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from zerog.backends.mongo.values import field_name, indexed_terms, to_value
from zerog.contracts.datastore import RunGuard
from zerog.exceptions import InvalidValue
from zerog.records.attrs import TERM_FIELDS
from zerog.records.fields import HISTORY
from zerog.records.operations import Add, Append, Document, Max, Operation, Set, apply, dropped_field
from zerog.support import jsonvalues

SURE_BYTES = jsonvalues.JOB_BYTES // 6
"""Size in BSON below which a document has at most JOB_BYTES of JSON: one byte takes six there at most."""

EXACT = 2**53
"""Largest number up to which a double counts, so that the server's sums equal Python's."""

LONGEST_CHAIN = 8
"""Sums and maxima of one field in one batch, at most: each is nested in the next one's expression."""

_LARGEST = 2**63 - 1
_MOST_ENTRIES = 2**31 - 1

_NOTHING = ["missing", "null"]
_INTEGER = ["int", "long"]
_NUMBER = [*_NOTHING, *_INTEGER, "double"]
_TEXT = [*_NOTHING, "string"]
_LIST = [*_NOTHING, "array"]

Expression = Any


class Update(NamedTuple):
    """The update to send, and the data to read its answer."""

    filter: Document
    pipeline: list[Document]
    projection: dict[str, bool]
    known: Document
    """Fields whose new value is known without the answer."""


class _NotSure(Exception):
    """There is no update that certainly does what the contract requires."""


class _Field:
    """The effect of one batch of operations on one field."""

    def __init__(self, field: str) -> None:
        self.field = field
        self.path = f"${field_name(field)}"
        self.kind: type | None = None
        """Of the operations so far: ``Set``, ``Add`` (of numbers), ``Max`` (of texts) or ``Append``."""
        self.value: Any = None
        """The new value, if it is known."""
        self.expression: Expression = None
        self.reach: int | float = 0
        self.links = 0
        self.entries: list[Any] = []
        self.keep: int | None = None

    def take(self, operation: Operation) -> None:
        if isinstance(operation, Set) and self.kind in (None, Set) and self.field not in HISTORY:
            self.kind, self.value = Set, jsonvalues.copy(operation.value)
        elif self.kind is Set and isinstance(operation, Add | Max):
            self._apply_here(operation)
        elif isinstance(operation, Append) and self.kind in (None, Append):
            self._append(operation)
        elif isinstance(operation, Add) and self.kind in (None, Add) and self.field not in HISTORY:
            self._add(operation)
        elif isinstance(operation, Max) and self.field not in HISTORY:
            self._raise(operation)
        else:
            raise _NotSure

    def _apply_here(self, operation: Operation) -> None:
        """Change a value that this batch has set."""
        try:
            self.value = apply({self.field: self.value}, [operation])[self.field]
        except InvalidValue:
            raise _NotSure from None  # raised once it is known that this run may write at all

    def _append(self, operation: Append) -> None:
        keep = operation.keep
        if (self.kind is Append and keep != self.keep) or (keep or 0) > _MOST_ENTRIES:
            raise _NotSure
        self.kind, self.keep = Append, keep
        self.entries.append(operation.value)

    def _add(self, operation: Add) -> None:
        self._link()
        if str(operation.amount) == "-0.0":
            raise _NotSure  # the sign of the resulting zero may differ on the server
        old = {"$ifNull": [self.path, 0]} if self.kind is None else self.expression
        self.kind = Add
        self._reaches(operation.amount)
        self.expression = {"$add": [old, operation.amount]}
        for bound, is_beyond in ((operation.low, "$lt"), (operation.high, "$gt")):
            if bound is not None:
                self._reaches(bound)
                self.expression = _let(self.expression, {"$cond": [{is_beyond: ["$$old", bound]}, bound, "$$old"]})

    def _raise(self, operation: Max) -> None:
        kind: type = Max if type(operation.value) is str else Add
        if self.kind not in (None, kind):
            raise _NotSure
        self._link()
        old = self.path if self.kind is None else self.expression
        self.kind = kind
        if kind is Add:
            self._reaches(operation.value)
        new = {"$literal": operation.value}
        self.expression = _let(old, {"$cond": [{"$gt": [new, "$$old"]}, new, "$$old"]})

    def _link(self) -> None:
        self.links += 1
        if self.links > LONGEST_CHAIN:
            raise _NotSure

    def _reaches(self, number: int | float) -> None:
        self.reach += abs(number)
        if self.reach > EXACT:
            raise _NotSure

    def conditions(self) -> list[Expression]:
        """Return the conditions on the stored field under which the change is exact."""
        if self.kind is Set:
            return []
        if self.kind is Max:
            return [_is_one_of(self.path, _TEXT)]
        if self.kind is Add:
            return _counts(self.path)
        held = [_is_one_of(self.path, _LIST)]
        if self.field in HISTORY:
            held.append(_is_one_of(f"$_{self.field}", ["missing"]))
        if self.keep is not None:
            held += _counts(f"${field_name(dropped_field(self.field))}")
        return held

    def assignments(self) -> dict[str, Expression]:
        """Return the new values of the stored fields."""
        if self.kind is Set:
            terms = {f"_{self.field}": {"$literal": indexed_terms(self.field, self.value)}}
            return {self.path[1:]: {"$literal": to_value(self.value)}, **(terms if self.field in TERM_FIELDS else {})}
        if self.kind is not Append:
            return {self.path[1:]: self.expression}
        stored = {"$ifNull": [self.path, []]}
        longer = {"$concatArrays": [stored, {"$literal": [to_value(entry) for entry in self.entries]}]}
        if self.keep is None:
            return {self.path[1:]: longer}
        counter = field_name(dropped_field(self.field))
        fallen = {"$subtract": [{"$size": stored}, self.keep - len(self.entries)]}
        count = {"$cond": [{"$gt": ["$$old", 0]}, {"$add": [{"$ifNull": [f"${counter}", 0]}, "$$old"]}, f"${counter}"]}
        kept: Expression = {"$slice": [longer, -self.keep]} if self.keep else []
        return {self.path[1:]: kept, counter: _let(fallen, count)}


def update_for(
    key: str, operations: Sequence[Operation], cas: int | None, run: RunGuard | None, size: int
) -> Update | None:
    """Return the update for a ``mutate`` of checked operations; None if there is no exact one.

    ``size``: how many bytes of BSON the operations' values may add at most.
    """
    if size >= SURE_BYTES or not _is_fence(cas, run):
        return None
    fields: dict[str, _Field] = {}
    try:
        for operation in operations:
            fields.setdefault(operation.field, _Field(operation.field)).take(operation)
    except _NotSure:
        return None
    assigned: dict[str, Expression] = {"_cas": {"$add": ["$_cas", 1]}}
    if run is not None and run.seq is not None:
        assigned["seq"] = run.seq
    held = [*_fence(cas, run), {"$lt": [{"$bsonSize": "$$ROOT"}, SURE_BYTES - size]}]
    projection = {"_cas": True, "cancelRequested": True}
    for field in fields.values():
        assignments = field.assignments()
        if not assigned.keys().isdisjoint(assignments):
            return None  # a counter that is counted and changed, or a run's own number
        assigned.update(assignments)
        held += field.conditions()
        if field.kind is not Set:
            projection.update(dict.fromkeys(assignments, True))
        if field.kind is Append:
            del projection[field.path[1:]]
    known = {field.field: field.value for field in fields.values() if field.kind is Set}
    return Update({"_id": key, "$expr": {"$and": held}}, [{"$set": assigned}], projection, known)


def _is_fence(cas: int | None, run: RunGuard | None) -> bool:
    """True if the server can check these; ``fence`` refuses invalid ones."""
    if cas is not None and (type(cas) is not int or not 0 < cas < _LARGEST):
        return False
    if run is None:
        return True
    is_name = type(run.epoch) is int and abs(run.epoch) < EXACT and type(run.nonce) is str
    return is_name and (run.seq is None or 0 < run.seq < EXACT)


def _fence(cas: int | None, run: RunGuard | None) -> list[Expression]:
    """Return when ``zerog.contracts.datastore.fence`` neither refuses a write nor finds it done already."""
    held: list[Expression] = [_is_one_of("$_cas", _INTEGER), _is_one_of("$seq", [*_NOTHING, *_INTEGER])]
    if cas is not None:
        held.append({"$eq": ["$_cas", cas]})
    if run is not None:
        held += [{"$eq": ["$epoch", run.epoch]}, {"$eq": ["$owner.nonce", {"$literal": run.nonce}]}]
        if run.seq is not None:
            held.append({"$eq": [{"$ifNull": ["$seq", 0]}, run.seq - 1]})
    return held


def _counts(path: str) -> list[Expression]:
    """Return conditions for a number with which the server computes as Python does, or for a missing field."""
    number = {"$ifNull": [path, 0]}
    return [_is_one_of(path, _NUMBER), {"$gte": [number, -EXACT]}, {"$lte": [number, EXACT]}]


def _is_one_of(path: str, types: list[str]) -> Expression:
    return {"$in": [{"$type": path}, types]}


def _let(old: Expression, then: Expression) -> Expression:
    """Return an expression in which ``$$old`` stands for another one."""
    return {"$let": {"vars": {"old": old}, "in": then}}
