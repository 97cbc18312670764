"""Store a document in the rows of an SQLite file, and read it from them.

``body`` is the JSON of all fields that existed when the document was written whole and aren't columns; ``mutate``
doesn't rewrite it. ``changes`` is the JSON of the fields that ``mutate`` has changed since, laid over the body when
read. The columns of HOT hold the fields that change with every transition. History entries are separate rows, so that
recording event 10,000 costs what event 1 cost.

A column holds text, 64-bit integers and floats as themselves; any other JSON value is stored as a blob of its JSON, and
NULL means that the document has no such field. So every value is read as it was written.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from zerog.exceptions import CorruptDocument
from zerog.records.fields import HISTORY, named
from zerog.records.operations import Append, Document, Operation, Remove
from zerog.records.room import fitting, is_measured
from zerog.support import jsonvalues

HOT = named(lambda field: field.is_hot)
"""The fields that are columns: those that every run changes, and those that ``find`` asks for."""

FOLD = 64 * 1024
"""Characters of ``changes`` beyond which they are merged into the body, so that neither grows without limit."""

LAST_TOKEN = 2**62
"""A token or number of a history entry that is not below this was damaged: counting never reaches it."""

COLUMNS = ", ".join(HOT)
IS_HOT = frozenset(HOT)

APART = IS_HOT - {"createdAt"}
"""Fields that are in no body. The time of creation is: processes of an earlier version read it there."""

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS zerog_documents (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    cas INTEGER NOT NULL,
    body TEXT NOT NULL,
    changes TEXT,
    lists TEXT NOT NULL,
    {COLUMNS}
);
CREATE TABLE IF NOT EXISTS zerog_history (
    document INTEGER NOT NULL,
    field TEXT NOT NULL,
    n INTEGER NOT NULL,
    entry TEXT NOT NULL,
    PRIMARY KEY (document, field, n)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS zerog_by_status ON zerog_documents (status, key);
CREATE INDEX IF NOT EXISTS zerog_by_due ON zerog_documents (due, key) WHERE typeof(due) = 'text';
CREATE INDEX IF NOT EXISTS zerog_by_end ON zerog_documents (status, jobType, finishedAt, key)
    WHERE typeof(finishedAt) = 'text';
CREATE INDEX IF NOT EXISTS zerog_by_creation ON zerog_documents (createdAt, key) WHERE typeof(createdAt) = 'text';
CREATE INDEX IF NOT EXISTS zerog_by_status_and_creation ON zerog_documents (status, createdAt, key)
    WHERE typeof(createdAt) = 'text'
"""

DATE = """
UPDATE zerog_documents SET createdAt = json_extract(body, '$.createdAt')
WHERE createdAt IS NULL AND CASE WHEN json_valid(body) THEN json_type(body, '$.createdAt') = 'text' END
"""
"""Fills the column of documents that an earlier version has stored, with the time of creation in the body alone."""

SELECT = f"SELECT id, key, cas, lists, changes, body, {COLUMNS} FROM zerog_documents"
SELECT_HOT = f"SELECT id, key, cas, lists, changes, NULL, {COLUMNS} FROM zerog_documents"
ID, KEY, CAS, LISTS, CHANGES, BODY, FIRST_HOT = range(7)
TIMES = {field: FIRST_HOT + HOT.index(field) for field in ("createdAt", "due", "finishedAt")}


def missing_columns(sqlite: sqlite3.Connection) -> list[str]:
    """Return the hot fields for which the table of documents has no column yet; none if there is no table."""
    there = {row[1] for row in sqlite.execute("PRAGMA table_info(zerog_documents)")}
    return [name for name in HOT if name not in there] if there else []


def head_of(row: Any) -> Document:
    """Return the head in a stored row. Raises CorruptDocument if its parts are no JSON."""
    document = json_object(row, BODY)
    if row[CHANGES] is not None:
        document.update(json_object(row, CHANGES))
    document.update(columns_of(row))
    return document


def fetch(sqlite: sqlite3.Connection, select: str, key: str) -> Any:
    """Return the row of one document, or None. Raises CorruptDocument for text that is no UTF-8."""
    try:
        return sqlite.execute(f"{select} WHERE key = ?", (key,)).fetchone()
    except sqlite3.OperationalError as error:
        if "decode" in str(error):  # stored text that is no UTF-8
            raise _corrupt(key, error) from None
        raise


def json_object(row: Any, part: int) -> Document:
    """Return the JSON object in one column of a row. Raises CorruptDocument."""
    try:
        document = jsonvalues.decode(row[part])
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _corrupt(row[KEY], error) from None
    if type(document) is not dict:
        raise _corrupt(row[KEY], f"{jsonvalues.short_repr(document)} is no JSON object")
    return document


def overlay(row: Any) -> Document:
    """Return the fields that ``mutate`` has changed since the body was written."""
    return {} if row[CHANGES] is None else json_object(row, CHANGES)


_CONSTANTS: dict[Any, bytes] = {None: b"null", True: b"true", False: b"false"}
_VALUES = {blob: value for value, blob in _CONSTANTS.items()}


def columns_of(row: Any) -> Document:
    """Return the hot fields of a row. Raises CorruptDocument."""
    if type(row[CAS]) is not int or not 0 < row[CAS] < LAST_TOKEN or type(row[LISTS]) is not str:
        token, lists = jsonvalues.short_repr(row[CAS]), jsonvalues.short_repr(row[LISTS])
        raise _corrupt(row[KEY], f"its token is {token}, its lists are {lists}")
    fields = zip(HOT, row[FIRST_HOT:], strict=True)
    try:
        return {f: (_from_blob(v) if type(v) is bytes else v) for f, v in fields if v is not None}
    except (ValueError, RecursionError) as error:
        raise _corrupt(row[KEY], error) from None


def _from_blob(blob: bytes) -> Any:
    return _VALUES[blob] if blob in _VALUES else jsonvalues.decode(blob)


def _corrupt(key: str, reason: object) -> CorruptDocument:
    return CorruptDocument(f"{key} can't be read ({reason}); it was left as it is")


def to_column(document: Document, field: str) -> Any:
    """Return a document's field in the form of its column. Raises InvalidValue if it is too large."""
    value = document.get(field, to_column)
    if value is to_column:
        return None
    if value is None or value is True or value is False:
        return _CONSTANTS[value]
    kind = type(value)
    if kind is int or kind is float:
        return value
    if kind is str and len(value) < FOLD:
        return value
    text = jsonvalues.encode_checked(value, field)  # refuses a value that is too large
    return value if kind is str else text.encode()


def entries_of(sqlite: sqlite3.Connection, row: Any) -> list[tuple[str, str]]:
    """Return a document's history as (field, JSON text), each field's in order. Raises CorruptDocument."""
    query = "SELECT field, entry FROM zerog_history WHERE document = ? ORDER BY field, n"
    try:
        return sqlite.execute(query, (row[ID],)).fetchall()
    except sqlite3.OperationalError as error:
        if "decode" in str(error):
            raise _corrupt(row[KEY], error) from None
        raise


def whole_of(row: Any, entries: list[tuple[str, str]]) -> Document:
    """Return head and history as one document. Raises CorruptDocument."""
    document = head_of(row)
    try:
        for field in row[LISTS].split():
            document[field] = []
        for field, entry in entries:
            document[field].append(jsonvalues.decode(entry))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _corrupt(row[KEY], f"history: {error}") from None
    return document


def needs_whole(operation: Operation, lists: list[str]) -> bool:
    """Return True if an operation can only be applied to the document as a whole."""
    if type(operation) is Remove and operation.field not in APART and operation.field in IS_HOT:
        return True  # it is in the body, too
    if operation.field in HISTORY:
        return type(operation) is not Append or operation.field not in lists
    return type(operation) is Append and operation.field in IS_HOT


def append_entry(sqlite: sqlite3.Connection, identity: int, operation: Append) -> int:
    """Store one history entry; return how many were dropped from the front."""
    key = (identity, operation.field)
    where = "document = ? AND field = ?"
    numbered = f"{where} AND n < {LAST_TOKEN}"  # damaged numbers, texts and blobs sort behind
    last = sqlite.execute(f"SELECT coalesce(max(n), 0) FROM zerog_history WHERE {numbered}", key).fetchone()[0]
    text = jsonvalues.encode_checked(operation.value, operation.field)
    sqlite.execute("INSERT INTO zerog_history VALUES (?, ?, ?, ?)", (*key, last + 1, text))
    keep = operation.keep
    if keep is None:
        return 0
    if is_measured(len(text)):
        measure = f"SELECT length(CAST(entry AS BLOB)) FROM zerog_history WHERE {where} ORDER BY n DESC"
        keep = min(keep, fitting(size for (size,) in sqlite.execute(measure, key)))
    overflow = (*key, last + 1 - keep)
    return sqlite.execute(f"DELETE FROM zerog_history WHERE {where} AND n <= ?", overflow).rowcount
