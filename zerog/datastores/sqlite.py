"""Documents in an SQLite file (WAL mode).

A document lies in three places. ``body`` is the JSON of everything that was there when it was written whole and isn't
a column; it is not rewritten by ``mutate``. ``changes`` is the JSON of what ``mutate`` has given other values since,
laid over the body when read. The columns of HOT hold the fields that change with every transition. History entries
are rows of their own, so that recording event 10,000 costs what event 1 cost.

A column holds text, 64-bit integers and floats as themselves; any other JSON value is kept as a blob of its JSON, and
NULL means that the document has no such field. So every value comes back as it went in.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from zerog import values
from zerog.datastores.base import (
    HISTORY,
    Datastore,
    Mutation,
    Page,
    check_document,
    fence,
    repeated,
)
from zerog.datastores.operations import (
    Add,
    Append,
    Document,
    Operation,
    Remove,
    Set,
    apply,
    check,
    dropped_field,
)
from zerog.exceptions import CorruptDocument
from zerog.sqlitefile import SYNCHRONOUS, SqliteFile

HOT = (
    "status",
    "epoch",
    "seq",
    "owner",
    "due",
    "queueState",
    "queuedAt",
    "queueJobId",
    "notBefore",
    "updatedAt",
    "startedAt",
    "finishedAt",
    "attempts",
    "crashes",
    "lost",
    "continues",
    "errorCount",
    "completeness",
    "tickcount",
    "resultCode",
    "running",
    "cancelRequested",
    "jobType",
    "queueName",
)
"""The fields that are columns: those that every run changes, and those that ``find`` asks for."""

_COLUMNS = ", ".join(HOT)
_HOT = frozenset(HOT)

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS zerog_documents (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    cas INTEGER NOT NULL,
    body TEXT NOT NULL,
    changes TEXT,
    lists TEXT NOT NULL,
    {_COLUMNS}
);
CREATE TABLE IF NOT EXISTS zerog_history (
    document INTEGER NOT NULL,
    field TEXT NOT NULL,
    n INTEGER NOT NULL,
    entry TEXT NOT NULL,
    PRIMARY KEY (document, field, n)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS zerog_by_status ON zerog_documents (status, key);
CREATE INDEX IF NOT EXISTS zerog_by_due ON zerog_documents (due, key) WHERE typeof(due) = 'text'
"""

_SELECT = f"SELECT id, key, cas, lists, changes, body, {_COLUMNS} FROM zerog_documents"
_SELECT_HOT = f"SELECT id, key, cas, lists, changes, NULL, {_COLUMNS} FROM zerog_documents"
_ID, _KEY, _CAS, _LISTS, _CHANGES, _BODY, _FIRST_HOT = range(7)
_DUE = _FIRST_HOT + HOT.index("due")
_INSERT = (
    f"INSERT INTO zerog_documents (cas, body, lists, key, {_COLUMNS}) VALUES (?, ?, ?, ?, {', '.join('?' * len(HOT))})"
)
_REPLACE = (
    "UPDATE zerog_documents SET cas = ?, body = ?, lists = ?, changes = NULL, "
    + ", ".join(f"{field} = ?" for field in HOT)
    + " WHERE id = ?"
)


class SqliteDatastore(Datastore):
    """Documents in the file ``path``, which is made (readable for its owner only) if it isn't there.

    ``synchronous``: ``full`` (a power cut loses nothing that was answered) or ``normal``.
    """

    can_find = True
    history_limit = 10_000
    constant_history = True

    def __init__(self, path: str | Path, synchronous: str = "full") -> None:
        self.file = SqliteFile(path, synchronous)
        self.file.require(SCHEMA)
        self.durability = SYNCHRONOUS[synchronous]  # type: ignore[misc]
        self._updates: dict[tuple[str, ...], str] = {}

    def read_with_cas(self, key: str, head: bool = False) -> tuple[Document, int] | tuple[None, None]:
        with self.file.reading() as sqlite:
            if head:
                row = self.row(sqlite, key)
                return (None, None) if row is None else (head_of(row), row[_CAS])
            sqlite.execute("BEGIN")  # head and history of one moment
            try:
                row = self.row(sqlite, key)
                entries = [] if row is None else _entries(sqlite, row[_ID])
            finally:
                sqlite.execute("COMMIT")
        return (None, None) if row is None else (_whole(row, entries), row[_CAS])

    def set_with_cas(self, key: str, value: Document, cas: int) -> tuple[Literal[True], int]:
        check_document(key, value)
        with self.file.writing() as sqlite:
            return True, self.write(sqlite, key, value, cas)

    def set(self, key: str, value: Document) -> int:
        check_document(key, value)
        with self.file.writing() as sqlite:
            return self.write(sqlite, key, value, None)

    def delete(self, key: str) -> bool:
        with self.file.writing() as sqlite:
            row = sqlite.execute("DELETE FROM zerog_documents WHERE key = ? RETURNING id", (key,)).fetchone()
            if row is None:
                return False
            sqlite.execute("DELETE FROM zerog_history WHERE document = ?", row)
            return True

    def mutate(
        self,
        key: str,
        operations: Sequence[Operation],
        cas: int | None = None,
        epoch: int | None = None,
        seq: int | None = None,
    ) -> Mutation:
        check(operations)
        with self.file.writing() as sqlite:
            return self.change(sqlite, key, operations, cas, epoch, seq)

    def find(
        self,
        status: str | None = None,
        due: str | None = None,
        job_type: str | None = None,
        queue: str | None = None,
        after: str | None = None,
        limit: int = 1_000,
    ) -> Page:
        where, parameters = ["typeof(status) = 'text'"], []
        for column, value in (("status", status), ("jobType", job_type), ("queueName", queue)):
            if value is not None:
                where.append(f"{column} = ?")
                parameters.append(value)
        if due is not None:
            where.append("typeof(due) = 'text' AND due <= ?")
            parameters.append(due)
        if after is not None:
            where.append("(due, key) > (?, ?)" if due is not None else "key > ?")
            parameters.extend(after.split(" ", 1) if due is not None else [after])
        order = "due, key" if due is not None else "key"
        query = f"{_SELECT} WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ?"
        with self.file.reading() as sqlite:
            rows = sqlite.execute(query, [*parameters, limit + 1]).fetchall()
        heads = []
        for row in rows[:limit]:
            with suppress(CorruptDocument):
                heads.append(head_of(row))
        if len(rows) <= limit:
            return Page(heads, None)
        last = rows[limit - 1]
        return Page(heads, f"{last[_DUE]} {last[_KEY]}" if due is not None else last[_KEY])

    def close(self) -> None:
        self.file.close()

    # What follows works inside a transaction, for the verbs above and for the engine of this backend.

    def row(self, sqlite: sqlite3.Connection, key: str) -> Any:
        """A document's stored row, for ``head_of`` and ``change``; None if there is no document."""
        return sqlite.execute(f"{_SELECT} WHERE key = ?", (key,)).fetchone()

    def change(
        self,
        sqlite: sqlite3.Connection,
        key: str,
        operations: Sequence[Operation],
        cas: int | None = None,
        epoch: int | None = None,
        seq: int | None = None,
        row: Any = None,
    ) -> Mutation:
        """``mutate`` within a transaction; ``row`` is the document's row if the caller has just read it."""
        row = row or sqlite.execute(f"{_SELECT_HOT} WHERE key = ?", (key,)).fetchone()
        hot = None if row is None else _columns(row)
        if fence(self, key, hot, row and row[_CAS], cas, epoch, seq):
            return repeated(head_of(self.row(sqlite, key)), row[_CAS], operations)
        assert hot is not None
        lists = row[_LISTS].split()
        if not all(_is_simple(operation, lists) for operation in operations):
            return self._change_whole(sqlite, key, operations, seq)
        changes: Document = {}
        columns: Document = {}
        for operation in operations:
            if isinstance(operation, Append):
                counting = _append(sqlite, row[_ID], operation)
                if counting is None:
                    continue
                operation = counting
                changes[operation.field] = head_of(self.row(sqlite, key)).get(operation.field)
            part, target = (hot, columns) if operation.field in _HOT else (changes, changes)
            target.update(apply(part, [operation]))
        changed = {**columns, **changes}
        if seq is not None:
            columns["seq"] = seq
        token = row[_CAS] + 1
        self._update(sqlite, row, token, columns, changes)
        return Mutation(token, changed, {**hot, **columns}.get("cancelRequested") is not None)

    def _update(self, sqlite: sqlite3.Connection, row: Any, token: int, columns: Document, changes: Document) -> None:
        names = list(columns)
        parameters: list[Any] = [token, *(_to_column(columns, name) for name in names)]
        if changes:
            merged = {**values.decode(row[_CHANGES]), **changes} if row[_CHANGES] else changes
            names.append("changes")
            parameters.append(values.encode_checked(merged, row[_KEY]))
        shape = tuple(names)
        statement = self._updates.get(shape)
        if statement is None:
            assigned = "".join(f", {name} = ?" for name in names)
            statement = self._updates[shape] = f"UPDATE zerog_documents SET cas = ?{assigned} WHERE id = ?"
        sqlite.execute(statement, (*parameters, row[_ID]))

    def _change_whole(
        self, sqlite: sqlite3.Connection, key: str, operations: Sequence[Operation], seq: int | None
    ) -> Mutation:
        row = self.row(sqlite, key)
        document = _whole(row, _entries(sqlite, row[_ID]))
        changed = apply(document, operations)
        if seq is not None:
            document["seq"] = seq
        token = self.write(sqlite, key, document, row[_CAS])
        return Mutation(token, changed, document.get("cancelRequested") is not None)

    def write(self, sqlite: sqlite3.Connection, key: str, document: Document, cas: int | None) -> int:
        """Store a whole document under its token; ``cas=None`` whatever is there. Returns the new token."""
        stored = sqlite.execute("SELECT id, cas FROM zerog_documents WHERE key = ?", (key,)).fetchone()
        if cas is not None and (stored[1] if stored else 0) != cas:
            raise self.casException(f"{key} has another token than {cas}; nothing was written")
        hot = [_to_column(document, field) for field in HOT]
        lists = [field for field in HISTORY if type(document.get(field)) is list]
        body = {field: value for field, value in document.items() if field not in _HOT and field not in lists}
        text = values.encode_checked(body, key)
        if stored is None:
            token = _first_token()
            identity = sqlite.execute(_INSERT, (token, text, " ".join(lists), key, *hot)).lastrowid
        else:
            identity, token = stored[0], stored[1] + 1
            sqlite.execute(_REPLACE, (token, text, " ".join(lists), *hot, identity))
            sqlite.execute("DELETE FROM zerog_history WHERE document = ?", (identity,))
        rows = [(identity, f, n, values.encode_checked(e, f)) for f in lists for n, e in enumerate(document[f], 1)]
        if rows:
            sqlite.executemany("INSERT INTO zerog_history VALUES (?, ?, ?, ?)", rows)
        return token


def head_of(row: Any) -> Document:
    """The head that a stored row holds. Raises CorruptDocument if its parts are no JSON."""
    try:
        document: Document = values.decode(row[_BODY])
        if row[_CHANGES] is not None:
            document.update(values.decode(row[_CHANGES]))
        document.update(_columns(row))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptDocument(f"{row[_KEY]} can't be read ({error}); it was left as it is") from None
    return document


def _columns(row: Any) -> Document:
    fields = zip(HOT, row[_FIRST_HOT:], strict=True)
    return {f: (values.decode(v) if type(v) is bytes else v) for f, v in fields if v is not None}


def _to_column(document: Document, field: str) -> Any:
    value = document.get(field, _to_column)
    if value is _to_column:
        return None
    return value if type(value) in (str, int, float) else values.encode_checked(value, field).encode()


def _entries(sqlite: sqlite3.Connection, identity: int) -> list[tuple[str, str]]:
    query = "SELECT field, entry FROM zerog_history WHERE document = ? ORDER BY field, n"
    return sqlite.execute(query, (identity,)).fetchall()


def _whole(row: Any, entries: list[tuple[str, str]]) -> Document:
    document = head_of(row)
    for field in row[_LISTS].split():
        document[field] = []
    try:
        for field, entry in entries:
            document[field].append(values.decode(entry))
    except (ValueError, KeyError, RecursionError) as error:
        raise CorruptDocument(f"{row[_KEY]} has history that can't be read ({error}); it was left as it is") from None
    return document


def _is_simple(operation: Operation, lists: list[str]) -> bool:
    """Whether an operation needs neither the body nor the whole of a history list."""
    if type(operation) is Append:
        return operation.field in lists
    if operation.field in HISTORY or type(operation) is Remove:
        return False
    return operation.field in _HOT or type(operation) is Set


def _append(sqlite: sqlite3.Connection, identity: int, operation: Append) -> Add | None:
    """Store one history entry; returns the operation that counts what fell out at the front."""
    key = (identity, operation.field)
    where = "document = ? AND field = ?"
    last = sqlite.execute(f"SELECT coalesce(max(n), 0) FROM zerog_history WHERE {where}", key).fetchone()[0]
    text = values.encode_checked(operation.value, operation.field)
    sqlite.execute("INSERT INTO zerog_history VALUES (?, ?, ?, ?)", (*key, last + 1, text))
    if operation.keep is None:
        return None
    overflow = (*key, last + 1 - operation.keep)
    fallen = sqlite.execute(f"DELETE FROM zerog_history WHERE {where} AND n <= ?", overflow).rowcount
    return Add(dropped_field(operation.field), fallen) if fallen else None


def _first_token() -> int:
    """Where the tokens of a new document start: nowhere near those of a deleted one under the same key."""
    return int.from_bytes(os.urandom(7)) + 1
