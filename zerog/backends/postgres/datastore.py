"""Documents in a PostgreSQL database; ``tables`` describes how they are stored.

A change reads the row and writes it by compare-and-swap, in one statement each: no lock is held between the two.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal

import psycopg

from zerog.backends.postgres import inspection, statements
from zerog.backends.postgres.draft import Draft, NeedsBody, NeedsWhole, needs_body
from zerog.backends.postgres.rows import (
    DERIVED,
    Row,
    Stored,
    columns,
    head_of,
    indexed,
    indexed_term,
    stored,
    whole_of,
)
from zerog.backends.postgres.search import COLUMNS, conditions, question
from zerog.backends.postgres.server import PostgresServer, Write
from zerog.backends.postgres.terms import comparing, of_term
from zerog.contracts.datastore import (
    MAX_COLLISIONS,
    FindQuery,
    Mutation,
    Page,
    RunGuard,
    check_document,
    fence,
    repeated,
)
from zerog.contracts.find import CAP, Count, Heads, check_cap
from zerog.contracts.terms import Place, TermDatastore
from zerog.contracts.troubles import Trouble
from zerog.exceptions import ConfigurationError, CorruptDocument, DatastoreError, TooManyCollisions
from zerog.records.attrs import Term
from zerog.records.fields import HISTORY
from zerog.records.operations import Document, Operation, apply, check
from zerog.records.room import limit_of
from zerog.support import jsonvalues
from zerog.support.clock import SYSTEM, Clock

AT_ONCE = 1_000
"""Heads read by one statement."""

_NOT_PUT: dict[str, list[Any]] = {
    "put_queue": [],
    "put_uuid": [],
    "put_priority": [],
    "put_due": [],
    "put_ttr": [],
    "put_ahead": [],
    "taken": [],
}
"""Parameters of a change that puts no entry."""

_OF_ENTRY = ("put_queue", "put_priority", "put_due", "put_ttr")
"""Those of a new document that its entry has, beside its uuid."""

_DERIVED = tuple(name for name, _ in DERIVED)


class PostgresDatastore(TermDatastore):
    """Documents in the database of a URL, for example ``postgresql://user@host/database?schema=zerog``."""

    can_find = True
    can_delete = True
    history_limit = 10_000
    constant_history = True

    def __init__(self, server: PostgresServer | str, clock: Clock = SYSTEM) -> None:
        self.server = PostgresServer(server, clock) if isinstance(server, str) else server

    @property
    def durability(self) -> str | None:  # type: ignore[override]
        """The durability by the server's settings, read each time; None if it can't be reached."""
        try:
            return inspection.durability(self.server)
        except (ConfigurationError, DatastoreError):
            return None

    def read_with_cas(self, key: str, head: bool = False) -> tuple[Document, int] | tuple[None, None]:
        if head:
            rows = self.rows([key])
            return (head_of(rows[key]), rows[key].cas) if rows else (None, None)
        whole = self._whole(key)
        return (None, None) if whole is None else (whole[1], whole[0].cas)

    def read_heads(self, keys: Sequence[str]) -> Heads:
        found, unreadable = dict[str, Document](), dict[str, CorruptDocument]()
        for first in range(0, len(keys), AT_ONCE):
            for key, row in self.rows(keys[first : first + AT_ONCE]).items():
                try:
                    found[key] = head_of(row)
                except CorruptDocument as error:
                    unreadable[key] = error
        return Heads(found, unreadable)

    def set_with_cas(self, key: str, value: Document, cas: int) -> tuple[Literal[True], int]:
        check_document(key, value)
        if cas is None:
            raise self.casException(f"a write to {key} without a token; nothing was written")
        if not cas:
            return True, self.insert(key, value)
        row = self._last(key)
        if row is None or row[1] != cas or not self._replace(key, value, row):
            raise self.casException(f"{key} has another token than {cas}; nothing was written")
        return True, cas + 1

    def set(self, key: str, value: Document) -> int:
        check_document(key, value)
        for _ in range(MAX_COLLISIONS):
            row = self._last(key)
            if row is None:
                try:
                    return self.insert(key, value, jsonvalues.MAX_BYTES)
                except self.casException:
                    continue
            if self._replace(key, value, row):
                return row[1] + 1
            self.give_way()
        raise _collisions(key)

    def delete(self, key: str, cas: int | None = None) -> bool:
        ((gone, seen),) = self.server.write(statements.REMOVE, {"key": key, "cas": cas}, key)
        if seen and not gone and cas is not None:
            raise self.casException(f"{key} has another token than {cas}; it was not deleted")
        return bool(gone)

    def mutate(
        self, key: str, operations: Sequence[Operation], cas: int | None = None, run: RunGuard | None = None
    ) -> Mutation:
        check(operations)
        with_body = needs_body(operations)
        for _ in range(MAX_COLLISIONS):
            row = self.rows([key], with_body).get(key)
            draft = None if row is None else self.draft(row)
            if fence(self, key, None if draft is None else draft.state, row and row.cas, cas, run):
                return repeated(*self._head(key), operations)
            assert row is not None and draft is not None
            try:
                changed = draft.apply(operations)
                if run is not None and run.seq is not None:
                    draft.state["seq"] = run.seq
                token = self.store([draft]).get(row.id)
            except NeedsBody:
                with_body = True
                continue
            except NeedsWhole:
                whole = self._change_whole(key, row, operations, run)
                if whole is not None:
                    return whole
                token = None
            if token is not None:
                return Mutation(token[0], changed, draft.state.get("cancelRequested") is not None)
            self.give_way()
        raise _collisions(key)

    def _head(self, key: str) -> tuple[Document | None, int | None]:
        return self.read_with_cas(key, head=True)

    def find(self, query: FindQuery) -> Page:
        if query.terms:
            return self.find_by_terms(query)
        statement, parameters = question(query)
        found = self.server.read(statement, parameters, "find")
        heads, unreadable = [], []
        for *columns_of_row, _place in found[: query.limit]:
            row = Row(*columns_of_row)
            try:
                head = head_of(row)
            except CorruptDocument:
                unreadable.append(row.key)
                continue
            if query.place(row.key, head) is not None:  # a column has only the beginning of a long text
                heads.append(head)
        if len(found) <= query.limit:
            return Page(heads, None, unreadable)
        last = found[query.limit - 1]
        place = [last[0]] if query.time is None else [last[-1], last[0]]
        return Page(heads, jsonvalues.encode_checked(place), unreadable)

    def count(self, query: FindQuery, cap: int = CAP) -> Count:
        limit, narrowed = check_cap(cap) + 1, query.narrowed
        if query.terms and all(indexed_term(term.text) == term.text for term in query.terms):
            return self.count_by_terms(query, cap)
        compared = (*query.wanted.values(), query.latest, query.since)
        if query.terms or any(value is not None and indexed(value) != value for value in compared):
            return super().count(query, cap)  # a column has only the beginning of a long text
        where, parameters, _ = conditions(narrowed)
        fits = " AND ".join(f"d.{COLUMNS[field]} = %({field})s" for field in query.rest) or "true"
        statement = (
            "SELECT count(*), count(*) FILTER (WHERE fits) FROM "
            f"(SELECT {fits} AS fits FROM {{schema}}.zerog_documents d WHERE {' AND '.join(where)} LIMIT %(limit)s) q"
        )
        ((looked_at, number),) = self.server.read(statement, {**parameters, **query.rest, "limit": limit}, "count")
        return Count(min(number, cap), looked_at > cap)

    def places(self, term: Term, query: FindQuery, start: Place, limit: int) -> list[Place]:
        return [[*row] for row in self.server.read(*of_term(term, query, start, limit), "find")]

    def number(self, term: Term, query: FindQuery, most: int) -> int:
        statement, parameters = of_term(term, query, [], most)
        ((number,),) = self.server.read(f"SELECT count(*) FROM ({statement}) AS places", parameters, "count")
        return int(number)

    def tally(self, places: Sequence[Place], term: Term, query: FindQuery) -> int:
        if any(indexed(value) != value for value in query.wanted.values()):
            return super().tally(places, term, query)  # a column has only the beginning of a long text
        ((number,),) = self.server.read(*comparing([key for _, key in places], term, query), "count")
        return int(number)

    def setup(self) -> list[str]:
        return self.server.setup()

    def about(self) -> str:
        ((version,),) = self.server.read("SELECT current_setting('server_version')", {}, "its version")
        pooled = ", behind a connection pooler: waiting workers poll" if self.server.is_pooled else ""
        return f"PostgreSQL {version.split()[0]}{pooled}"

    def troubles(self) -> list[Trouble]:
        return [*inspection.troubles(self.server)]

    def now(self) -> datetime:
        return self.server.now()

    def close(self) -> None:
        self.server.close()

    # The rest is also for the engine of this backend.

    def rows(self, keys: Sequence[str], with_body: bool = True) -> dict[str, Row]:
        """Return the rows of those documents that exist, by key; unread."""
        statement = statements.READ_HEAD if with_body else statements.READ_STATE
        found = self.server.read(statement, {"keys": list(keys)}, keys[0]) if keys else []
        return {row[0]: Row(*row) for row in found}

    def draft(self, row: Row) -> Draft:
        """Return a change to be made of a row. Raises CorruptDocument."""
        return Draft(row, self._sizes)

    def store(self, drafts: Sequence[Draft], puts: dict[int, tuple[Any, ...]] | None = None) -> dict[int, Any]:
        """Write changes; return token and queue entry by row id of those whose document had not changed meanwhile."""
        parameters = change_parameters(drafts, puts or {})
        answers = self.server.write(statements.change(parameters), parameters, drafts[0].row.key)
        return {row_id: (token, entry) for row_id, token, entry in answers}

    def insert(self, key: str, document: Document, limit: int = jsonvalues.JOB_BYTES) -> int:
        """Store a new document; return its token. Raises ``casException``, InvalidValue."""
        token = first_token()
        self.insert_all([(key, token, stored(key, document, limit))], [])
        return token

    def insert_all(
        self, documents: Sequence[tuple[str, int, Stored]], puts: Sequence[tuple[Any, ...]], write: Write | None = None
    ) -> dict[str, int | None]:
        """Store new documents and put entries on queues, one per document or none at all; all or nothing.

        ``write``: executes the statement elsewhere. Returns the id of each one's entry, by key. Raises
        ``casException``.
        """
        own = [(key, token, s.body) for key, token, s in documents]
        parameters: dict[str, Any] = dict(zip(("keys", "tokens", "body"), columns(own, 3), strict=True))
        # Without the closing brace of the state, if there are entries: the statement adds their ids.
        end = -1 if puts else None
        others = [(s.state[:end], s.lists, *s.derived) for _, _, s in documents]
        if puts:
            parameters["put_uuid"] = [put[1] for put in puts]
            others = [(*row, put[0], *put[2:5]) for row, put in zip(others, puts, strict=True)]
        names = ("state", "lists", *_DERIVED, *(_OF_ENTRY if puts else ()))
        are_alike = others.count(others[0]) == len(others)
        given = others[0] if are_alike else columns(others, len(names))
        parameters |= zip(names, given, strict=True)
        entries = [(key, *entry) for key, _, s in documents for entry in s.history]
        parameters |= dict(zip(("e_keys", "e_field", "e_n", "e_entry"), columns(entries, 4), strict=True))
        try:
            return dict((write or self.server.write)(statements.create(parameters), parameters, documents[0][0]))
        except psycopg.errors.UniqueViolation:
            those = documents[0][0] if len(documents) == 1 else f"one of {len(documents)} documents"
            raise self.casException(f"{those} is there already; nothing was written") from None

    def _replace(self, key: str, document: Document, row: tuple[int, int, int]) -> bool:
        """Write a whole document over a row (id, token, highest number of its history), if its token is that still."""
        row_id, cas, last = row
        whole = stored(key, document, jsonvalues.MAX_BYTES, start=last)
        return self._write_whole(key, row_id, cas, last, whole)

    def _write_whole(self, key: str, row_id: int, cas: int, last: int, whole: Stored) -> bool:
        parameters = _changes([(row_id, cas, whole.body, whole.state, whole.lists, *whole.derived)]) | _NOT_PUT
        parameters |= _histories(
            [(row_id, *entry) for entry in whole.history], [(row_id, field, last) for field in HISTORY if last]
        )
        return bool(self.server.write(statements.change(parameters), parameters, key))

    def _change_whole(
        self, key: str, row: Row, operations: Sequence[Operation], run: RunGuard | None
    ) -> Mutation | None:
        """Apply operations to head and history, under the token of ``row``; None if the document has changed."""
        found = self._whole(key)
        if found is None or found[0].cas != row.cas:
            return None
        document = found[1]
        changed = apply(document, operations)
        if run is not None and run.seq is not None:
            document["seq"] = run.seq
        last = self._last(key)
        if last is None:
            return None
        whole = stored(key, document, limit_of(operations), start=last[2])
        if not self._write_whole(key, row.id, row.cas, last[2], whole):
            return None
        return Mutation(row.cas + 1, changed, document.get("cancelRequested") is not None)

    def _whole(self, key: str) -> tuple[Row, Document] | None:
        found = self.server.read(statements.READ_WHOLE, {"keys": [key]}, key)
        if not found:
            return None
        row = Row(*found[0][:7])
        return row, whole_of(row, dict(zip(HISTORY, found[0][7:], strict=True)))

    def _last(self, key: str) -> tuple[int, int, int] | None:
        found = self.server.read(statements.LAST, {"key": key}, key)
        return found[0] if found else None

    def _sizes(self, row: Row, field: str) -> Iterator[int]:
        for (size,) in self.server.read(statements.SIZES, {"id": row.id, "field": field}, row.key):
            yield size


def change_parameters(drafts: Sequence[Draft], puts: dict[int, tuple[Any, ...]]) -> dict[str, Any]:
    """Return the parameters of CHANGE; ``puts``: by row id, the columns of an entry and the id of a taken one."""
    nothing = (None,) * len(_NOT_PUT)
    each = [puts.get(draft.row.id, nothing) for draft in drafts]
    rows = []
    for draft, put in zip(drafts, each, strict=True):
        body, state, *others = draft.written
        state = state if put[0] is None else state[:-1]  # the statement adds the entry's id and the closing brace
        rows.append((draft.row.id, draft.row.cas, body, state, *others))
    parameters = _changes(rows) | _NOT_PUT
    if puts:
        parameters |= zip(_NOT_PUT, columns(each, len(_NOT_PUT)), strict=True)
    return parameters | _histories(
        [(draft.row.id, *entry) for draft in drafts for entry in draft.added],
        [(draft.row.id, field, n) for draft in drafts for field, n in draft.dropped.items()],
    )


def _changes(rows: list[tuple[Any, ...]]) -> dict[str, Any]:
    names = ("ids", "tokens", "body", "state", "lists", *_DERIVED)
    return dict(zip(names, columns(rows, len(names)), strict=True))


def _histories(added: list[tuple[Any, ...]], fallen: list[tuple[Any, ...]]) -> dict[str, Any]:
    entries = zip(("e_document", "e_field", "e_n", "e_entry"), columns(added, 4), strict=True)
    return {**dict(entries), **dict(zip(("f_document", "f_field", "f_n"), columns(fallen, 3), strict=True))}


def first_token() -> int:
    """Return a random first token for a new document, so that it differs from those of a deleted one of that key."""
    return int.from_bytes(os.urandom(7)) + 1


def _collisions(key: str) -> TooManyCollisions:
    return TooManyCollisions(f"{key} was changed by others {MAX_COLLISIONS} times in a row; this change is not stored")
