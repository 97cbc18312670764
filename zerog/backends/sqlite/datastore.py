"""Documents in an SQLite file (WAL mode); ``rows`` describes how they are stored."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, Literal

from zerog.backends.sqlite import terms, troubles
from zerog.backends.sqlite.file import SYNCHRONOUS, SqliteFile
from zerog.backends.sqlite.rows import (
    APART,
    CAS,
    COLUMNS,
    DATE,
    FOLD,
    HOT,
    ID,
    IS_HOT,
    KEY,
    LAST_TOKEN,
    LISTS,
    SCHEMA,
    SELECT,
    SELECT_HOT,
    TIMES,
    append_entry,
    columns_of,
    entries_of,
    fetch,
    head_of,
    missing_columns,
    needs_whole,
    overlay,
    to_column,
    whole_of,
)
from zerog.backends.sqlite.search import DECODABLE, counting, question
from zerog.contracts.datastore import FindQuery, Mutation, Page, RunGuard, check_document, fence, repeated
from zerog.contracts.find import CAP, Count, Heads, check_cap
from zerog.contracts.terms import Place, TermDatastore
from zerog.contracts.troubles import Trouble
from zerog.exceptions import CorruptDocument
from zerog.records.attrs import TERM_FIELDS, Term
from zerog.records.fields import HISTORY
from zerog.records.operations import Add, Append, Document, Operation, Remove, Set, apply, check, dropped_field
from zerog.records.room import limit_of
from zerog.support import jsonvalues

_INSERT = (
    f"INSERT INTO zerog_documents (cas, body, lists, key, {COLUMNS}) VALUES (?, ?, ?, ?, {', '.join('?' * len(HOT))})"
)
_REPLACE = (
    "UPDATE zerog_documents SET cas = ?, body = ?, lists = ?, changes = NULL, "
    + ", ".join(f"{field} = ?" for field in HOT)
    + " WHERE id = ?"
)


_FIND_ROW = "SELECT id, CASE typeof(cas) WHEN 'integer' THEN cas ELSE 0 END FROM zerog_documents WHERE key = ?"
"""The token of a document, 0 if it was damaged: the document can be replaced and removed all the same."""

AT_ONCE = 500
"""Documents read by one statement: older SQLite takes 999 parameters."""


class SqliteDatastore(TermDatastore):
    """Documents in the file ``path``, created (readable for its owner only) if it doesn't exist.

    ``synchronous``: ``full`` (a power cut loses nothing that was answered) or ``normal``.
    """

    can_find = True
    can_delete = True
    history_limit = 10_000
    constant_history = True

    def __init__(self, path: str | Path, synchronous: str = "full") -> None:
        self.file = SqliteFile(path, synchronous)
        self._made = self._require()
        self.durability = SYNCHRONOUS[synchronous]  # type: ignore[misc]
        self._updates: dict[tuple[str, ...], str] = {}

    def read_with_cas(self, key: str, head: bool = False) -> tuple[Document, int] | tuple[None, None]:
        if head:
            with self.file.reading() as sqlite:
                row = self.row(sqlite, key)
            return (None, None) if row is None else (head_of(row), row[CAS])
        with self.file.snapshot() as sqlite:  # head and history of the same state
            row = self.row(sqlite, key)
            entries = [] if row is None else entries_of(sqlite, row)
        return (None, None) if row is None else (whole_of(row, entries), row[CAS])

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
            return self.remove(sqlite, key, cas)

    def mutate(
        self, key: str, operations: Sequence[Operation], cas: int | None = None, run: RunGuard | None = None
    ) -> Mutation:
        check(operations)
        with self.file.writing() as sqlite:
            return self.change(sqlite, key, operations, cas, run)

    def read_heads(self, keys: Sequence[str]) -> Heads:
        found: dict[str, Document] = {}
        try:
            with self.file.reading() as sqlite:
                for first in range(0, len(keys), AT_ONCE):
                    some = keys[first : first + AT_ONCE]
                    rows = sqlite.execute(f"{SELECT} WHERE key IN ({', '.join('?' * len(some))})", some)
                    found.update((row[KEY], head_of(row)) for row in rows)
        except (CorruptDocument, sqlite3.OperationalError):  # one by one, to find out which can't be read
            return super().read_heads(keys)
        return Heads(found, {})

    def find(self, query: FindQuery) -> Page:
        if query.terms:
            return self.find_by_terms(query)
        limit, time = query.limit, query.time
        where, parameters, order = question(query)
        parameters.append(limit + 1)
        unreadable: list[str] = []
        with self.file.reading() as sqlite:
            try:
                found = f"WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ?"
                rows = sqlite.execute(f"{SELECT} {found}", parameters).fetchall()
                heads = [head_of(row) for row in rows[:limit]]
                places = [(None if time is None else row[TIMES[time]], row[KEY]) for row in rows]
            except (CorruptDocument, sqlite3.OperationalError):  # one by one, to leave out unreadable ones
                found = f"WHERE {' AND '.join([*where, DECODABLE])} ORDER BY {order} LIMIT ?"
                places = sqlite.execute(
                    f"SELECT {time or 'NULL'}, key FROM zerog_documents {found}", parameters
                ).fetchall()
                heads, unreadable = self._sorted_out(sqlite, [key for _, key in places[:limit]])
        if len(places) <= limit:
            return Page(heads, None, unreadable)
        last = places[limit - 1]
        return Page(heads, jsonvalues.encode_checked(last[1:] if time is None else last), unreadable)

    def count(self, query: FindQuery, cap: int = CAP) -> Count:
        check_cap(cap)
        if query.terms:
            return self.count_by_terms(query, cap)
        statement, parameters = counting(query, cap + 1)
        with self.file.reading() as sqlite:
            looked_at, number = sqlite.execute(statement, parameters).fetchone()
        return Count(min(number, cap), looked_at > cap)

    def places(self, term: Term, query: FindQuery, start: Place, limit: int) -> list[Place]:
        with self.file.reading() as sqlite:
            return [[*row] for row in sqlite.execute(*terms.listing(term, query, start, limit))]

    def number(self, term: Term, query: FindQuery, most: int) -> int:
        with self.file.reading() as sqlite:
            return int(sqlite.execute(*terms.counting(term, query, most)).fetchone()[0])

    def tally(self, places: Sequence[Place], term: Term, query: FindQuery) -> int:
        with self.file.reading() as sqlite:
            return int(sqlite.execute(*terms.comparing([key for _, key in places], term, query)).fetchone()[0])

    def about(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"

    def troubles(self) -> list[Trouble]:
        return [*troubles.troubles(self.file.path)]

    def setup(self) -> list[str]:
        made, self._made = self._made, []
        with self.file.writing() as sqlite:
            dated = sqlite.execute(DATE).rowcount
        return [*made, *self._require(), *([f"{dated} entries of the index zerog_by_creation"] if dated else [])]

    def close(self) -> None:
        self.file.close()

    # The rest works inside a transaction, for the verbs above and for the engine of this backend.

    def _require(self) -> list[str]:
        """Create missing tables, and the columns that a file of an earlier version lacks; return the names of both."""
        with self.file.reading() as sqlite:
            added = missing_columns(sqlite)
        if added:
            with self.file.writing() as sqlite:
                added = missing_columns(sqlite)
                for name in added:
                    sqlite.execute(f"ALTER TABLE zerog_documents ADD COLUMN {name}")
                if "createdAt" in added:
                    sqlite.execute(DATE)
        made = self.file.require(SCHEMA) + self.file.require(terms.SCHEMA)
        return made + [f"zerog_documents.{name}" for name in added]

    def remove(self, sqlite: sqlite3.Connection, key: str, cas: int | None = None) -> bool:
        """Do what ``delete`` does, within a transaction."""
        stored = sqlite.execute(_FIND_ROW, (key,)).fetchone()
        if stored is None:
            return False
        if cas is not None and cas != stored[1]:
            raise self.casException(f"{key} has another token than {cas}; it was not deleted")
        sqlite.execute("DELETE FROM zerog_documents WHERE id = ?", stored[:1])
        sqlite.execute("DELETE FROM zerog_history WHERE document = ?", stored[:1])
        terms.remove(sqlite, stored[0])
        return True

    def hot(self, sqlite: sqlite3.Connection, key: str) -> Document | None:
        """Return the fields of a document that are columns; None if there is no document."""
        row = fetch(sqlite, SELECT_HOT, key)
        return None if row is None else columns_of(row)

    def row(self, sqlite: sqlite3.Connection, key: str) -> Any:
        """Return a document's stored row, for ``head_of`` and ``change``; None if there is no document."""
        return fetch(sqlite, SELECT, key)

    def change(
        self,
        sqlite: sqlite3.Connection,
        key: str,
        operations: Sequence[Operation],
        cas: int | None = None,
        run: RunGuard | None = None,
        row: Any = None,
    ) -> Mutation:
        """Do what ``mutate`` does, within a transaction; ``row``: the document's row, if it has just been read.

        Reads neither the body nor the history unless an operation needs them.
        """
        row = row or fetch(sqlite, SELECT_HOT, key)
        hot = None if row is None else columns_of(row)
        if fence(self, key, hot, row and row[CAS], cas, run):
            return repeated(head_of(self.row(sqlite, key)), row[CAS], operations)
        assert hot is not None
        seq = None if run is None else run.seq
        if any(needs_whole(operation, row[LISTS].split()) for operation in operations):
            return self._change_whole(sqlite, key, operations, seq)
        changed, cold, hot_ones = Document(), Document(), list[Operation]()
        known: dict[str, None] = {}  # fields whose present value is the one in cold, or that are removed
        for operation in operations:
            field = operation.field
            if field in HISTORY:
                fallen = append_entry(sqlite, row[ID], operation)  # type: ignore[arg-type]
                if not fallen:
                    continue
                field = dropped_field(field)
                operation = Add(field, fallen)
            if field in IS_HOT:
                hot_ones.append(operation)
                continue
            for each in (field, dropped_field(field)) if type(operation) is Append else (field,):
                if each not in known:
                    known[each] = None
                    if type(operation) is not Set and type(operation) is not Remove:
                        cold.update(self._stored(sqlite, row, each))
            apply(cold, [operation], changed)
        apply(hot, hot_ones, changed)
        columns = dict.fromkeys(operation.field for operation in hot_ones)
        if seq is not None:
            columns["seq"], hot["seq"] = None, seq
        token, written = row[CAS] + 1, {name: to_column(hot, name) for name in columns}
        self._update(sqlite, row, token, written, cold, known, limit_of(operations))
        if "createdAt" in columns or not known.keys().isdisjoint(TERM_FIELDS):
            self._reindex(sqlite, row, {**cold, "createdAt": hot.get("createdAt")}, columns.keys() | known)
        return Mutation(token, changed, hot.get("cancelRequested") is not None)

    def _reindex(self, sqlite: sqlite3.Connection, row: Any, changed: Document, written: AbstractSet[str]) -> None:
        if "createdAt" in written:  # all of its terms move
            changed, written = head_of(self.row(sqlite, row[KEY])), TERM_FIELDS
        terms.remove(sqlite, row[ID], written & TERM_FIELDS)
        terms.enter(sqlite, row[ID], row[KEY], changed, written & TERM_FIELDS)

    def rewrite(self, sqlite: sqlite3.Connection, row: Any, head: Document, columns: Document) -> int:
        """Write those columns of a head that was made of ``row`` in this transaction. Return the new token."""
        token: int = row[CAS] + 1
        self._update(sqlite, row, token, {name: to_column(head, name) for name in columns}, {}, {})
        return token

    def _stored(self, sqlite: sqlite3.Connection, row: Any, field: str) -> Document:
        """Return a cold field with its stored value; empty if it has none."""
        document = overlay(row)
        if field not in document:
            document = head_of(self.row(sqlite, row[KEY]))
        return {field: document[field]} if field in document else {}

    def _update(
        self,
        sqlite: sqlite3.Connection,
        row: Any,
        token: int,
        columns: Document,
        cold: Document,
        known: dict[str, None],
        limit: int = jsonvalues.MAX_BYTES,
    ) -> None:
        """Write the columns and the cold fields; ``known`` ones that ``cold`` lacks are removed.

        Raises InvalidValue for a body of more than ``limit`` bytes.
        """
        if known:
            changes = jsonvalues.encode_checked({**overlay(row), **cold}, row[KEY])
            gone = known.keys() - cold.keys()
            if len(changes) > FOLD or (gone and not gone.isdisjoint(head_of(self.row(sqlite, row[KEY])))):
                head = {**head_of(self.row(sqlite, row[KEY])), **cold}
                body = {f: v for f, v in head.items() if f not in APART and (f in cold or f not in known)}
                columns["body"], columns["changes"] = jsonvalues.encode_checked(body, row[KEY], limit), None
            else:
                columns["changes"] = changes
        shape = tuple(columns)
        statement = self._updates.get(shape)
        if statement is None:
            assigned = "".join(f", {name} = ?" for name in columns)
            statement = self._updates[shape] = f"UPDATE zerog_documents SET cas = ?{assigned} WHERE id = ?"
        sqlite.execute(statement, (token, *columns.values(), row[ID]))

    def _change_whole(
        self, sqlite: sqlite3.Connection, key: str, operations: Sequence[Operation], seq: int | None
    ) -> Mutation:
        row = self.row(sqlite, key)
        document = whole_of(row, entries_of(sqlite, row))
        changed = apply(document, operations)
        if seq is not None:
            document["seq"] = seq
        token = self.write(sqlite, key, document, row[CAS], limit_of(operations))
        return Mutation(token, changed, document.get("cancelRequested") is not None)

    def _sorted_out(self, sqlite: sqlite3.Connection, keys: list[str]) -> tuple[list[Document], list[str]]:
        """Return the readable heads, and the keys of the unreadable ones."""
        heads, unreadable = [], []
        for key in keys:
            try:
                row = self.row(sqlite, key)
                if row is not None:
                    heads.append(head_of(row))
            except CorruptDocument:
                unreadable.append(key)
        return heads, unreadable

    def write(
        self,
        sqlite: sqlite3.Connection,
        key: str,
        document: Document,
        cas: int | None,
        limit: int = jsonvalues.MAX_BYTES,
    ) -> int:
        """Store a whole document under its token; ``cas=None`` replaces any. Return the new token.

        Raises InvalidValue for a body of more than ``limit`` bytes; a new one leaves room for the engine.
        """
        stored = cas != 0 and sqlite.execute(_FIND_ROW, (key,)).fetchone()
        if cas and (stored[1] if stored else 0) != cas:
            raise self.casException(f"{key} has another token than {cas}; nothing was written")
        hot = [to_column(document, field) for field in HOT]
        lists = [field for field in HISTORY if type(document.get(field)) is list]
        body = {field: value for field, value in document.items() if field not in APART and field not in lists}
        text = jsonvalues.encode_checked(body, key, jsonvalues.JOB_BYTES if cas == 0 else limit)
        if not stored:
            token = _first_token()
            try:
                identity = sqlite.execute(_INSERT, (token, text, " ".join(lists), key, *hot)).lastrowid
            except sqlite3.IntegrityError:
                raise self.casException(f"{key} is there already; nothing was written") from None
        else:
            identity, token = stored[0], stored[1] + 1 if 0 < stored[1] < LAST_TOKEN else _first_token()
            sqlite.execute(_REPLACE, (token, text, " ".join(lists), *hot, identity))
            sqlite.execute("DELETE FROM zerog_history WHERE document = ?", (identity,))
            terms.remove(sqlite, identity)
        if present := {field for field in TERM_FIELDS if document.get(field)}:
            terms.enter(sqlite, identity, key, document, present)
        rows = [(identity, f, n, jsonvalues.encode_checked(e, f)) for f in lists for n, e in enumerate(document[f], 1)]
        if rows:
            sqlite.executemany("INSERT INTO zerog_history VALUES (?, ?, ?, ?)", rows)
        return token


def _first_token() -> int:
    """Return a random first token for a new document, so that it differs from those of a deleted one of that key."""
    return int.from_bytes(os.urandom(7)) + 1
