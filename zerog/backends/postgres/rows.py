"""From a document to the columns of its row, and back. ``tables`` describes the columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import repeat
from operator import is_
from typing import Any, NamedTuple

from zerog.backends.postgres.tables import INDEXED, LONGEST_TERM
from zerog.exceptions import CorruptDocument, SchemaTooNew
from zerog.records.attrs import ATTRS, LAST_ERROR, TERM_FIELDS, terms_in
from zerog.records.fields import FIELDS, FORMAT, HISTORY, LARGEST_COUNT, named
from zerog.records.job import KEY_PREFIX, WAITING, check_head, make_key, new_document
from zerog.records.operations import Document, dropped_field
from zerog.support import jsonvalues

MOVING = frozenset(
    [
        *named(lambda field: field.is_hot),
        *map(dropped_field, HISTORY),
        "createdAt",
        "format",
        "schemaVersion",
    ]
)
"""Fields that are in ``state`` whenever a document has them: what runs change, and what columns are computed from."""

DERIVED = (
    ("status", "text"),
    ("job_type", "text"),
    ("queue", "text"),
    ("due", "text"),
    ("created", "text"),
    ("finished", "text"),
    ("kind", "text"),
    ("ready", "text"),
    ("epoch", "bigint"),
    ("attempts", "bigint"),
    ("sound", "boolean"),
    ("attrs", "text"),
    ("error", "text"),
)
"""Columns computed from ``state``, and their types."""

_NOT_OF_BODY = MOVING | {*HISTORY}
_NO_HISTORY = jsonvalues.encode_checked({field: [1, 0] for field in HISTORY})

_SOUND = new_document("sound", 1.0, "2026-01-01T00:00:00.000000+00:00")
_KEY = make_key(_SOUND["uuid"])
"""A document that stands in for the fields of one that are not at hand, and its key."""

_NO_TERMS = dict.fromkeys(TERM_FIELDS)

_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00").fullmatch

Lists = dict[str, list[int]]
"""By list of the history, the numbers of its first and last entry; the last is one less if it is empty."""


class Row(NamedTuple):
    """A stored document as it was read, with or without its body."""

    key: str
    id: int
    cas: int
    lists: str
    state: str
    sound: bool
    """True if the engine could work with the document when it was last written whole."""
    body: str | None


class Entry(NamedTuple):
    """A new entry of a history."""

    field: str
    n: int
    text: str


def head_of(row: Row) -> Document:
    """Return the head in a row that was read with its body. Raises CorruptDocument."""
    return {**json_object(row, row.body), **json_object(row, row.state)}


def json_object(row: Row, text: str | None) -> Document:
    """Return the JSON object in a column. Raises CorruptDocument."""
    try:
        document = jsonvalues.decode(text)  # type: ignore[arg-type]
    except (ValueError, TypeError, RecursionError) as error:
        raise _corrupt(row.key, error) from None
    if type(document) is not dict:
        raise _corrupt(row.key, f"{jsonvalues.short_repr(document)} is no JSON object")
    return document


def lists_of(row: Row) -> Lists:
    """Return the numbers of the lists of the history. Raises CorruptDocument."""
    lists = json_object(row, row.lists)
    for field, numbers in lists.items():
        is_pair = type(numbers) is list and [type(n) for n in numbers] == [int, int]
        if field not in HISTORY or not is_pair or not 0 <= numbers[0] <= numbers[1] + 1 < LARGEST_COUNT:
            raise _corrupt(row.key, f"its lists are {jsonvalues.short_repr(lists)}")
    return lists


def whole_of(row: Row, history: Mapping[str, str | None]) -> Document:
    """Return head and history as one document; ``history``: by field, its entries with commas between.

    Raises CorruptDocument.
    """
    document = head_of(row)
    for field, (first, last) in lists_of(row).items():
        try:
            entries = jsonvalues.decode(f"[{history[field] or ''}]")
        except (ValueError, RecursionError) as error:
            raise _corrupt(row.key, f"{field}: {error}") from None
        if len(entries) != last + 1 - first:
            raise _corrupt(row.key, f"{field} has {len(entries)} entries, expected {last + 1 - first}")
        document[field] = entries
    return document


def _corrupt(key: str, reason: object) -> CorruptDocument:
    return CorruptDocument(f"{key} can't be read ({reason}); it was left as it is")


_JUDGED = tuple({*FIELDS, *map(dropped_field, HISTORY)} - {"uuid", "logId", *HISTORY})
"""The fields on whose values the columns depend, or whether the engine can work with a document."""

_MISSING = object()


class Stored(NamedTuple):
    """A whole document as it is to be stored."""

    body: str
    state: str
    lists: str
    derived: tuple[Any, ...]
    history: list[Entry]


def stored(key: str, document: Document, limit: int, start: int = 0) -> Stored:
    """Return the parts of a document; its history is numbered from ``start`` + 1.

    Raises InvalidValue for a body of more than ``limit`` bytes.
    """
    lists: Lists = {}
    history: list[Entry] = []
    state = {field: value for field, value in document.items() if field in MOVING}
    body = {field: value for field, value in document.items() if field not in MOVING}
    for field in HISTORY:
        value = document.get(field)
        if type(value) is list:
            del body[field]
            lists[field] = [start + 1, start + len(value)]
            history += (Entry(field, n, jsonvalues.encode_checked(e, field)) for n, e in enumerate(value, start + 1))
    texts = (jsonvalues.encode_checked(body, key, limit), jsonvalues.encode_checked(state, key))
    of_document = derived({**_NO_TERMS, **document}, _is_sound(key, document), is_checked=True)
    return Stored(*texts, jsonvalues.encode_checked(lists), of_document, history)


def judged(document: Document) -> list[Any]:
    """Return what ``stored_like`` compares of a document that it is to be like."""
    return [*map(document.get, _JUDGED, repeat(_MISSING))]


def stored_like(key: str, document: Document, limit: int, other: Stored, values: list[Any]) -> Stored | None:
    """Return the parts of a new document that differs from another one in its uuid and its parameters alone.

    ``other``: the parts of that one, and ``values`` what was ``judged`` of it. None if more differs, or may. Raises
    InvalidValue for a body of more than ``limit`` bytes.
    """
    if other.lists != _NO_HISTORY or not all(document.get(field) == [] for field in HISTORY):
        return None
    if not all(map(is_, map(document.get, _JUDGED, repeat(_MISSING)), values)):
        return None
    if key != f"{KEY_PREFIX}{document.get('uuid')}":
        return None
    body = {field: value for field, value in document.items() if field not in _NOT_OF_BODY}
    return other._replace(body=jsonvalues.encode_checked(body, key, limit))


def derived(state: Document, is_sound: bool, is_checked: bool = False) -> tuple[Any, ...]:
    """Return the values of the columns of DERIVED.

    Fields that ``state`` lacks leave the columns of their terms as they are.

    ``is_sound``: the fields that are not in ``state`` are; with ``is_checked`` all are.
    """
    get = state.get
    epoch, attempts = get("epoch"), get("attempts")
    kind, ready = _claimable(state, is_checked) if is_sound else (None, None)
    return (
        indexed(get("status")),
        indexed(get("jobType")),
        indexed(get("queueName")),
        indexed(get("due")),
        indexed(get("createdAt")),
        indexed(get("finishedAt")),
        kind,
        ready,
        epoch if _is_count(epoch) else None,
        attempts if _is_count(attempts) else None,
        is_sound,
        *(terms_column(field, state[field]) if field in state else None for field in (ATTRS, LAST_ERROR)),
    )


def terms_column(field: str, value: Any) -> str:
    """Return the terms of a field as its column has them; empty if there are none."""
    pairs = [[indexed_term(part) for part in term] for term in terms_in(field, value)]
    return jsonvalues.encode_checked(pairs) if pairs else ""


def indexed_term(text: str) -> str:
    """Return a part of a term as it is in the index."""
    return text.replace("\0", "\ufffd")[:LONGEST_TERM]


def _is_sound(key: str, head: Document) -> bool:
    """True if the engine can work with a head."""
    try:
        check_head(key, head)
    except (CorruptDocument, SchemaTooNew):
        return False
    return True


def indexed(value: Any) -> str | None:
    """Return a field's value in the form of its column: no text has none, a long one is cut, NUL can't be stored."""
    if type(value) is not str:
        return None
    return value if len(value) <= INDEXED and "\0" not in value else value.replace("\0", "\ufffd")[:INDEXED]


def kind_of(job_type: str, version: float) -> str:
    """Return the ``kind`` of jobs of a type and schema version in this code's layout, which a claim compares."""
    return jsonvalues.encode_checked([job_type, float(version)])


def _claimable(state: Document, is_checked: bool) -> tuple[str | None, str | None]:
    """Return the kind of a job that waits and may be claimed unread, and the time from which on; else (None, None).

    ``zerog.engine.decision.decide`` allows all that this does, from that time on.
    """
    get = state.get
    if get("status") not in WAITING or get("cancelRequested") is not None:
        return None, None
    if not is_checked and not _is_sound(_KEY, {**_SOUND, **state}):
        return None, None
    job_type: Any = get("jobType")
    version: Any = get("schemaVersion")
    if get("format") != FORMAT:
        return None, None
    updated: Any = get("updatedAt")
    not_before: Any = get("notBefore")
    if not (_is_count(get("epoch")) and _is_count(get("attempts"))):
        return None, None
    if not _is_time(updated) or not (not_before is None or _is_time(not_before)):
        return None, None
    return kind_of(job_type, version), max(updated, not_before or "")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < LARGEST_COUNT


def _is_time(value: Any) -> bool:
    return type(value) is str and _TIMESTAMP(value) is not None


def columns(rows: Iterable[tuple[Any, ...]], count: int) -> list[list[Any]]:
    """Return rows as one list per column, for ``unnest``."""
    turned = [list(column) for column in zip(*rows, strict=True)]
    return turned or [[] for _ in range(count)]
