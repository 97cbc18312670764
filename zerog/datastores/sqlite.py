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
from pathlib import Path
from typing import Any, Literal

from zerog import values
from zerog.datastores.base import (
    HISTORY,
    Datastore,
    Mutation,
    Page,
    check_document,
    check_limit,
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

FOLD = 64 * 1024
"""Characters of ``changes`` beyond which they are merged into the body, so that neither grows without end."""

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
    can_delete = True
    history_limit = 10_000
    constant_history = True

    def __init__(self, path: str | Path, synchronous: str = "full") -> None:
        self.file = SqliteFile(path, synchronous)
        self._made = self.file.require(SCHEMA)
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
                entries = [] if row is None else _entries(sqlite, row)
            finally:
                sqlite.execute("COMMIT")
        return (None, None) if row is None else (_whole(row, entries), row[_CAS])

    def set_with_cas(self, key: str, value: Document, cas: int) -> tuple[Literal[True], int]:
        check_document(key, value)
        if cas is None:
            raise self.casException(f"a write to {key} without a token; nothing was written")
        with self.file.writing() as sqlite:
            return True, self.write(sqlite, key, value, cas)

    def set(self, key: str, value: Document) -> int:
        check_document(key, value)
        with self.file.writing() as sqlite:
            return self.write(sqlite, key, value, None)

    def delete(self, key: str, cas: int | None = None) -> bool:
        with self.file.writing() as sqlite:
            stored = sqlite.execute("SELECT id, cas FROM zerog_documents WHERE key = ?", (key,)).fetchone()
            if stored is None:
                return False
            if cas is not None and cas != stored[1]:
                raise self.casException(f"{key} has another token than {cas}; it was not deleted")
            sqlite.execute("DELETE FROM zerog_documents WHERE id = ?", stored[:1])
            sqlite.execute("DELETE FROM zerog_history WHERE document = ?", stored[:1])
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
        check_limit(limit)
        where: list[str] = ["typeof(status) = 'text'"]
        parameters: list[Any] = []
        for column, value in (("status", status), ("jobType", job_type), ("queueName", queue)):
            if value is not None:
                where.append(f"{column} = ?")
                parameters.append(value)
        if due is not None:
            where.append("typeof(due) = 'text' AND due <= ?")
            parameters.append(due)
        if after is not None:
            where.append("(due, key) > (?, ?)" if due is not None else "key > ?")
            parameters.extend(values.decode(after))
        order = "due, key" if due is not None else "key"
        found = f"WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ?"
        parameters.append(limit + 1)
        unreadable: list[str] = []
        with self.file.reading() as sqlite:
            try:
                rows = sqlite.execute(f"{_SELECT} {found}", parameters).fetchall()
                heads = [head_of(row) for row in rows[:limit]]
                places = [(row[_DUE], row[_KEY]) for row in rows]
            except (CorruptDocument, sqlite3.OperationalError):  # one by one, to leave out what can't be read
                places = sqlite.execute(f"SELECT due, key FROM zerog_documents {found}", parameters).fetchall()
                heads, unreadable = self._sorted_out(sqlite, [key for _, key in places[:limit]])
        if len(places) <= limit:
            return Page(heads, None, unreadable)
        last = places[limit - 1]
        return Page(heads, values.encode_checked(last if due is not None else last[1:]), unreadable)

    def about(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"

    def setup(self) -> list[str]:
        made, self._made = self._made, []
        return made + self.file.require(SCHEMA)

    def close(self) -> None:
        self.file.close()

    # What follows works inside a transaction, for the verbs above and for the engine of this backend.

    def row(self, sqlite: sqlite3.Connection, key: str) -> Any:
        """A document's stored row, for ``head_of`` and ``change``; None if there is no document."""
        return _fetch(sqlite, _SELECT, key)

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
        """``mutate`` within a transaction; ``row`` is the document's row if the caller has just read it.

        Reads neither the body nor the history unless an operation needs them.
        """
        row = row or _fetch(sqlite, _SELECT_HOT, key)
        hot = None if row is None else _columns(row)
        if fence(self, key, hot, row and row[_CAS], cas, epoch, seq):
            return repeated(head_of(self.row(sqlite, key)), row[_CAS], operations)
        assert hot is not None
        lists = row[_LISTS].split()
        if any(_needs_whole(operation, lists) for operation in operations):
            return self._change_whole(sqlite, key, operations, seq)
        changed: Document = {}
        columns: dict[str, None] = {}  # to be written, in the order of the operations
        cold: Document = {}
        known: dict[str, None] = {}  # fields whose present value is the one in cold, or that are gone
        for operation in operations:
            field = operation.field
            if field in HISTORY:
                fallen = _append(sqlite, row[_ID], operation)  # type: ignore[arg-type]
                if not fallen:
                    continue
                field = dropped_field(field)
                operation = Add(field, fallen)
            if field in _HOT:
                columns[field] = None
                apply(hot, [operation], changed)
                continue
            for each in (field, dropped_field(field)) if type(operation) is Append else (field,):
                if each not in known:
                    known[each] = None
                    if type(operation) is not Set and type(operation) is not Remove:
                        cold.update(self._stored(sqlite, row, each))
            apply(cold, [operation], changed)
        if seq is not None:
            columns["seq"] = None
            hot["seq"] = seq
        token = row[_CAS] + 1
        self._update(sqlite, row, token, {name: _to_column(hot, name) for name in columns}, cold, known)
        return Mutation(token, changed, hot.get("cancelRequested") is not None)

    def rewrite(self, sqlite: sqlite3.Connection, row: Any, head: Document, columns: Document) -> int:
        """Write those columns of a head that was made of ``row`` in this transaction. Returns the new token."""
        token: int = row[_CAS] + 1
        self._update(sqlite, row, token, {name: _to_column(head, name) for name in columns}, {}, {})
        return token

    def _stored(self, sqlite: sqlite3.Connection, row: Any, field: str) -> Document:
        """A cold field and its stored value; empty if there is none."""
        document = _overlay(row)
        if field not in document:
            document = head_of(self.row(sqlite, row[_KEY]))
        return {field: document[field]} if field in document else {}

    def _update(
        self,
        sqlite: sqlite3.Connection,
        row: Any,
        token: int,
        columns: Document,
        cold: Document,
        known: dict[str, None],
    ) -> None:
        """Write the columns and the cold fields; those ``known`` that ``cold`` hasn't are removed."""
        if known:
            changes = values.encode_checked({**_overlay(row), **cold}, row[_KEY])
            gone = known.keys() - cold.keys()
            if len(changes) > FOLD or (gone and not gone.isdisjoint(head_of(self.row(sqlite, row[_KEY])))):
                head = {**head_of(self.row(sqlite, row[_KEY])), **cold}
                body = {f: v for f, v in head.items() if f not in _HOT and (f in cold or f not in known)}
                columns["body"], columns["changes"] = values.encode_checked(body, row[_KEY]), None
            else:
                columns["changes"] = changes
        shape = tuple(columns)
        statement = self._updates.get(shape)
        if statement is None:
            assigned = "".join(f", {name} = ?" for name in columns)
            statement = self._updates[shape] = f"UPDATE zerog_documents SET cas = ?{assigned} WHERE id = ?"
        sqlite.execute(statement, (token, *columns.values(), row[_ID]))

    def _change_whole(
        self, sqlite: sqlite3.Connection, key: str, operations: Sequence[Operation], seq: int | None
    ) -> Mutation:
        row = self.row(sqlite, key)
        document = _whole(row, _entries(sqlite, row))
        changed = apply(document, operations)
        if seq is not None:
            document["seq"] = seq
        token = self.write(sqlite, key, document, row[_CAS])
        return Mutation(token, changed, document.get("cancelRequested") is not None)

    def _sorted_out(self, sqlite: sqlite3.Connection, keys: list[str]) -> tuple[list[Document], list[str]]:
        """The heads that can be read, and the keys of the others."""
        heads, unreadable = [], []
        for key in keys:
            try:
                row = self.row(sqlite, key)
                if row is not None:
                    heads.append(head_of(row))
            except CorruptDocument:
                unreadable.append(key)
        return heads, unreadable

    def write(self, sqlite: sqlite3.Connection, key: str, document: Document, cas: int | None) -> int:
        """Store a whole document under its token; ``cas=None`` whatever is there. Returns the new token."""
        stored = cas != 0 and sqlite.execute("SELECT id, cas FROM zerog_documents WHERE key = ?", (key,)).fetchone()
        if cas and (stored[1] if stored else 0) != cas:
            raise self.casException(f"{key} has another token than {cas}; nothing was written")
        hot = [_to_column(document, field) for field in HOT]
        lists = [field for field in HISTORY if type(document.get(field)) is list]
        body = {field: value for field, value in document.items() if field not in _HOT and field not in lists}
        text = values.encode_checked(body, key)
        if not stored:
            token = _first_token()
            try:
                identity = sqlite.execute(_INSERT, (token, text, " ".join(lists), key, *hot)).lastrowid
            except sqlite3.IntegrityError:
                raise self.casException(f"{key} is there already; nothing was written") from None
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
    document = _object(row, _BODY)
    if row[_CHANGES] is not None:
        document.update(_object(row, _CHANGES))
    document.update(_columns(row))
    return document


def _fetch(sqlite: sqlite3.Connection, select: str, key: str) -> Any:
    try:
        return sqlite.execute(f"{select} WHERE key = ?", (key,)).fetchone()
    except sqlite3.OperationalError as error:
        if "decode" in str(error):  # stored text that is no UTF-8
            raise _corrupt(key, error) from None
        raise


def _object(row: Any, part: int) -> Document:
    try:
        document = values.decode(row[part])
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _corrupt(row[_KEY], error) from None
    if type(document) is not dict:
        raise _corrupt(row[_KEY], f"{values.shown(document)} is no JSON object")
    return document


def _overlay(row: Any) -> Document:
    return {} if row[_CHANGES] is None else _object(row, _CHANGES)


_CONSTANTS: dict[Any, bytes] = {None: b"null", True: b"true", False: b"false"}
_VALUES = {blob: value for value, blob in _CONSTANTS.items()}


def _columns(row: Any) -> Document:
    fields = zip(HOT, row[_FIRST_HOT:], strict=True)
    try:
        return {f: (_from_blob(v) if type(v) is bytes else v) for f, v in fields if v is not None}
    except (ValueError, RecursionError) as error:
        raise _corrupt(row[_KEY], error) from None


def _from_blob(blob: bytes) -> Any:
    return _VALUES[blob] if blob in _VALUES else values.decode(blob)


def _corrupt(key: str, reason: object) -> CorruptDocument:
    return CorruptDocument(f"{key} can't be read ({reason}); it was left as it is")


def _to_column(document: Document, field: str) -> Any:
    value = document.get(field, _to_column)
    if value is _to_column:
        return None
    if value is None or value is True or value is False:
        return _CONSTANTS[value]
    kind = type(value)
    if kind is int or kind is float:
        return value
    if kind is str and len(value) < FOLD:
        return value
    text = values.encode_checked(value, field)  # refuses what is too large
    return value if kind is str else text.encode()


def _entries(sqlite: sqlite3.Connection, row: Any) -> list[tuple[str, str]]:
    query = "SELECT field, entry FROM zerog_history WHERE document = ? ORDER BY field, n"
    try:
        return sqlite.execute(query, (row[_ID],)).fetchall()
    except sqlite3.OperationalError as error:
        if "decode" in str(error):
            raise _corrupt(row[_KEY], error) from None
        raise


def _whole(row: Any, entries: list[tuple[str, str]]) -> Document:
    document = head_of(row)
    try:
        for field in row[_LISTS].split():
            document[field] = []
        for field, entry in entries:
            document[field].append(values.decode(entry))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _corrupt(row[_KEY], f"history: {error}") from None
    return document


def _needs_whole(operation: Operation, lists: list[str]) -> bool:
    """Whether an operation can only be applied to the document as a whole."""
    if operation.field in HISTORY:
        return type(operation) is not Append or operation.field not in lists
    return type(operation) is Append and operation.field in _HOT


def _append(sqlite: sqlite3.Connection, identity: int, operation: Append) -> int:
    """Store one history entry; returns how many fell out at the front."""
    key = (identity, operation.field)
    where = "document = ? AND field = ?"
    last = sqlite.execute(f"SELECT coalesce(max(n), 0) FROM zerog_history WHERE {where}", key).fetchone()[0]
    text = values.encode_checked(operation.value, operation.field)
    sqlite.execute("INSERT INTO zerog_history VALUES (?, ?, ?, ?)", (*key, last + 1, text))
    if operation.keep is None:
        return 0
    overflow = (*key, last + 1 - operation.keep)
    return sqlite.execute(f"DELETE FROM zerog_history WHERE {where} AND n <= ?", overflow).rowcount


def _first_token() -> int:
    """Where the tokens of a new document start: nowhere near those of a deleted one under the same key."""
    return int.from_bytes(os.urandom(7)) + 1
