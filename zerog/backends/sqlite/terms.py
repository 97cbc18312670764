"""The index of terms in an SQLite file: a row for each term of a document, in the order of their creation.

The rows of a document are written with it. Processes of an earlier version leave rows of documents that they remove.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from zerog.contracts.find import FindQuery
from zerog.records.attrs import ATTRS, TERM_FIELDS, Term, terms_in
from zerog.records.operations import Document
from zerog.support import jsonvalues

SCHEMA = """
CREATE TABLE IF NOT EXISTS zerog_terms (
    name TEXT NOT NULL,
    term TEXT NOT NULL,
    created TEXT NOT NULL,
    key TEXT NOT NULL,
    document INTEGER NOT NULL,
    PRIMARY KEY (name, term, created, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS zerog_terms_of ON zerog_terms (document, name)
"""

_HAS_TERM = (
    "EXISTS (SELECT 1 FROM zerog_terms t WHERE t.name = ? AND t.term = ? AND t.created = d.createdAt AND t.key = d.key)"
)


def enter(sqlite: sqlite3.Connection, identity: int | None, key: str, head: Document, fields: Iterable[str]) -> None:
    """Write the rows for those of TERM_FIELDS of a document that has none for them, by the values in ``head``."""
    created = head.get("createdAt")
    if type(created) is str:
        rows = [(*term, created, key, identity) for field in fields for term in terms_in(field, head.get(field))]
        if rows:
            sqlite.executemany("INSERT OR REPLACE INTO zerog_terms VALUES (?, ?, ?, ?, ?)", rows)


def remove(sqlite: sqlite3.Connection, identity: int, fields: Iterable[str] = TERM_FIELDS) -> None:
    """Remove the rows of a document for those of TERM_FIELDS."""
    fields = set(fields)
    which = "" if len(fields) > 1 else " AND name <> ''" if ATTRS in fields else " AND name = ''"
    sqlite.execute(f"DELETE FROM zerog_terms WHERE document = ?{which}", (identity,))


def listing(term: Term, query: FindQuery, start: list[str], limit: int) -> tuple[str, list[Any]]:
    """Return the statement that lists the times and keys of a term after ``start``, and its parameters."""
    where, parameters = _conditions(term, query)
    way, is_ahead = (" DESC", "<") if query.is_descending else ("", ">")
    if start:
        where += f" AND (created, key) {is_ahead} (?, ?)"
        parameters += start
    return (
        f"SELECT created, key FROM zerog_terms WHERE {where} ORDER BY created{way}, key{way} LIMIT ?",
        [*parameters, limit],
    )


def counting(term: Term, query: FindQuery, most: int) -> tuple[str, list[Any]]:
    """Return the statement that counts the rows of a term, up to ``most``, and its parameters."""
    where, parameters = _conditions(term, query)
    return f"SELECT count(*) FROM (SELECT 1 FROM zerog_terms WHERE {where} LIMIT ?)", [*parameters, most]


def comparing(keys: list[str], term: Term, query: FindQuery) -> tuple[str, list[Any]]:
    """Return the statement that counts those of these jobs, all with a term, that match a query; its parameters."""
    where = ["key IN (SELECT value FROM json_each(?))", "typeof(status) = 'text'"]
    where += [f"{column} = ?" for column in query.wanted]
    others = [each for each in query.terms if each != term]
    where += [_HAS_TERM] * len(others)
    values = [*query.wanted.values(), *(text for each in others for text in each)]
    return (
        f"SELECT count(*) FROM zerog_documents d WHERE {' AND '.join(where)}",
        [jsonvalues.encode_checked(keys), *values],
    )


def _conditions(term: Term, query: FindQuery) -> tuple[str, list[Any]]:
    where, parameters = "name = ? AND term = ?", [*term]
    for bound, is_beyond in ((query.until, "<="), (query.since, ">=")):
        if bound is not None:
            where += f" AND created {is_beyond} ?"
            parameters.append(bound)
    return where, parameters
