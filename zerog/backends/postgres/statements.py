"""The SQL of this backend. Each write is one statement; one of several documents takes their columns as arrays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from zerog.backends.postgres.arrays import Texts
from zerog.backends.postgres.claiming import LOW as LOW
from zerog.backends.postgres.claiming import parts_of_claim
from zerog.backends.postgres.rows import DERIVED
from zerog.contracts.queue import FAIR_SHARE
from zerog.records.fields import DOCUMENT_TYPE, HISTORY

_PLACE = re.compile(r"%\((\w+)\)([sb])")
"""A parameter in a statement here; ``b`` stands for a list of texts that is sent in binary."""


class Statement(NamedTuple):
    """A statement as the server gets it, with the names of its parameters in order.

    psycopg's own named parameters would be looked for anew at each call of a statement of more than 4 kB.
    """

    text: bytes
    names: tuple[str, ...]
    in_binary: frozenset[str]

    def values(self, parameters: Mapping[str, Any]) -> list[Any]:
        """Return the parameters in their order."""
        return [Texts(parameters[name]) if name in self.in_binary else parameters[name] for name in self.names]


def complete(statement: str, schema: str) -> Statement:
    """Return a statement of this module for the tables of a schema, without needless spaces."""
    text = " ".join(statement.split())
    for name, value in {
        "schema": f'"{schema}"',
        "channel": f"zerog_{schema}",
        "prefix": f"{DOCUMENT_TYPE}_",
        "low": str(LOW),
        "share": str(FAIR_SHARE),
    }.items():
        text = text.replace(f"{{{name}}}", value)
    places = dict.fromkeys(_PLACE.findall(text))
    numbers = {name: f"${n}" for n, (name, _) in enumerate(places, 1)}
    text = _PLACE.sub(lambda place: numbers[place[1]], text)
    return Statement(text.encode(), tuple(numbers), frozenset(name for name, kind in places if kind == "b"))


_NAMES = [name for name, _ in DERIVED]
_DERIVED = ", ".join(_NAMES)
_CHANGED = {name: f"coalesce(g.{name}, d.{name})" for name in ("attrs", "error")}
"""Derived columns that NULL leaves as they are."""
_DERIVED_GIVEN = {name: f"%({name}){'b' if kind == 'text' else 's'}::{kind}[]" for name, kind in DERIVED}
"""Texts are sent in binary, which spares escaping the JSON in them."""
_ROW = "d.key, d.id, d.cas, d.lists, d.state, d.sound"

HISTORIES = ", ".join(
    f"(SELECT string_agg(entry, ',' ORDER BY n) FROM {{schema}}.zerog_history h"
    f" WHERE h.document = d.id AND h.field = '{field}')"
    for field in HISTORY
)

READ_STATE = f"SELECT {_ROW}, NULL FROM {{schema}}.zerog_documents d WHERE d.key = ANY(%(keys)s::text[])"
READ_HEAD = f"SELECT {_ROW}, d.body FROM {{schema}}.zerog_documents d WHERE d.key = ANY(%(keys)s::text[])"
READ_WHOLE = f"SELECT {_ROW}, d.body, {HISTORIES} FROM {{schema}}.zerog_documents d WHERE d.key = ANY(%(keys)s::text[])"

SIZES = """
SELECT octet_length(entry) FROM {schema}.zerog_history WHERE document = %(id)s AND field = %(field)s ORDER BY n DESC
"""

LAST = """
SELECT d.id, d.cas, coalesce((SELECT max(n) FROM {schema}.zerog_history h WHERE h.document = d.id), 0)
FROM {schema}.zerog_documents d WHERE d.key = %(key)s
"""
"""A document's row, token and highest number in its history, also if it can't be read."""

_ROW_COLUMNS = f"body, state, lists, {_DERIVED}"
_ROW_VALUES = f"%(body)b::text[], %(state)b::text[], %(lists)b::text[], {', '.join(_DERIVED_GIVEN.values())}"
_PUT_GIVEN = {
    "put_queue": "%(put_queue)s::text[]",
    "put_uuid": "%(put_uuid)s::uuid[]",
    "put_priority": "%(put_priority)s::integer[]",
    "put_due": "%(put_due)s::float8[]",
    "put_ttr": "%(put_ttr)s::float8[]",
}
_ADDED = """g.state || ',"queueJobId":' || g.entry || '}'"""

_PUT = """, put AS (
    INSERT INTO {{schema}}.zerog_queue (id, queue, uuid, priority, due, ttr)
    SELECT g.entry, g.put_queue, g.put_uuid, g.put_priority, g.put_due, g.put_ttr
    FROM {given} WHERE g.entry IS NOT NULL
    RETURNING queue
)"""
_NOTIFIED = """, notified AS MATERIALIZED (
    SELECT pg_notify('{channel}', queue) FROM (SELECT DISTINCT queue FROM put) AS queues
)"""
_ALL_NOTIFIED = ", (SELECT count(*) FROM notified) AS all_notified"


def create(parameters: Mapping[str, Any]) -> str:
    """Return the statement that stores new documents, with an entry of a queue for each of them or for none.

    Parameters that are alike for all of them are given as one value each, not as lists, if all those are that may be.
    With entries the given ``state`` lacks its closing brace, before which the statement adds the entry's id: counting
    the characters of a text, as the removal of the last one does, would take longer than all else that is done with it.
    """
    return _create(bool(parameters["e_n"]), "put_uuid" in parameters, type(parameters["state"]) is str)


@cache
def _create(has_history: bool, puts: bool, are_alike: bool) -> str:
    entry = "nextval('{schema}.zerog_entries')" if puts else "NULL::bigint"
    own = {"key": "%(keys)s::text[]", "cas": "%(tokens)s::bigint[]", "body": "%(body)b::text[]"}
    others = {"state": "%(state)b::text[]", "lists": "%(lists)b::text[]", **_DERIVED_GIVEN}
    if puts:
        own["put_uuid"] = "%(put_uuid)s::uuid[]"
        others |= {name: given for name, given in _PUT_GIVEN.items() if name != "put_uuid"}
    if are_alike:
        values = "".join(f", {_one_of(given)} AS {name}" for name, given in others.items())
    else:
        own, values = own | others, ""
    text = f"""
WITH given AS MATERIALIZED (
    SELECT g.*{values}, {entry} AS entry FROM unnest({", ".join(own.values())}) AS g({", ".join(own)})
), made AS (
    INSERT INTO {{schema}}.zerog_documents (key, cas, {_ROW_COLUMNS})
    SELECT key, cas, body, {_ADDED if puts else "state"}, lists, {_DERIVED} FROM given g
    RETURNING id, key, cas
)"""
    if has_history:
        text += """, recorded AS (
    INSERT INTO {schema}.zerog_history (document, field, n, entry)
    SELECT made.id, e.field, e.n, e.entry
    FROM unnest(%(e_keys)s::text[], %(e_field)s::text[], %(e_n)s::bigint[], %(e_entry)b::text[])
        AS e(key, field, n, entry) JOIN made USING (key)
)"""
    if puts:
        text += f"""{_PUT.format(given="given g")}{_NOTIFIED}"""
    return f"{text} SELECT key, entry FROM given{_ALL_NOTIFIED if puts else ''}"


def _one_of(given: str) -> str:
    """Return the place of one value in place of a list of them."""
    return given.replace(")b::", ")s::").removesuffix("[]")


def change(parameters: Mapping[str, Any]) -> str:
    """Return the statement that writes changed documents, unless others have changed them, and puts entries."""
    changed, notified = _changed(*_parts(parameters))
    return f"WITH {changed} SELECT id, cas, entry FROM changed{notified}"


def claim(parameters: Mapping[str, Any]) -> str:
    """Return the statement that claims jobs."""
    tables, result = parts_of_claim(parameters)
    return f"WITH {tables}{result}"


def change_and_claim(parameters: Mapping[str, Any]) -> str:
    """Return the statement that writes changed documents, as ``change`` does, and claims jobs as ``claim`` does."""
    changed, notified = _changed(*_parts(parameters))
    tables, result = parts_of_claim(parameters)
    return f"""WITH {changed}, {tables}{result}
UNION ALL
SELECT 'changed', 0, NULL, id, cas, NULL, NULL, NULL, NULL, NULL, entry, NULL FROM changed{notified}
"""


def _parts(parameters: Mapping[str, Any]) -> tuple[bool, bool, bool]:
    return bool(parameters["e_n"]), bool(parameters["f_n"]), bool(parameters["put_queue"])


@cache
def _changed(has_history: bool, has_fallen: bool, puts: bool) -> tuple[str, str]:
    """Return the beginning of a statement that changes documents, and what its result needs beside ``changed``."""
    entry, state = "NULL::bigint", "g.state"
    if puts:
        entry = """CASE WHEN g.put_queue IS NULL THEN NULL WHEN g.put_ahead THEN nextval('{schema}.zerog_ahead')
        ELSE nextval('{schema}.zerog_entries') END"""
        state = f"CASE WHEN g.entry IS NULL THEN g.state ELSE {_ADDED} END"
    text = f"""
given AS MATERIALIZED (
    SELECT g.*, {entry} AS entry
    FROM unnest(%(ids)s::bigint[], %(tokens)s::bigint[], {_ROW_VALUES}
        {f", {', '.join(_PUT_GIVEN.values())}, %(put_ahead)s::boolean[], %(taken)s::bigint[]" if puts else ""})
        AS g(id, cas, {_ROW_COLUMNS}{f", {', '.join(_PUT_GIVEN)}, put_ahead, taken" if puts else ""})
), changed AS (
    UPDATE {{schema}}.zerog_documents d SET
        cas = d.cas + 1, body = coalesce(g.body, d.body), lists = g.lists, state = {state},
        {", ".join(f"{name} = {_CHANGED.get(name, 'g.' + name)}" for name in _NAMES)}
    FROM given g WHERE d.id = g.id AND d.cas = g.cas
    RETURNING d.id, d.cas, g.entry
)"""
    if has_history:
        text += """, recorded AS (
    INSERT INTO {schema}.zerog_history (document, field, n, entry)
    SELECT e.document, e.field, e.n, e.entry
    FROM unnest(%(e_document)s::bigint[], %(e_field)s::text[], %(e_n)s::bigint[], %(e_entry)b::text[])
        AS e(document, field, n, entry) JOIN changed ON changed.id = e.document
)"""
    if has_fallen:
        text += """, fallen AS (
    DELETE FROM {schema}.zerog_history h
    USING unnest(%(f_document)s::bigint[], %(f_field)s::text[], %(f_n)s::bigint[]) AS f(document, field, n), changed
    WHERE changed.id = f.document AND h.document = f.document AND h.field = f.field AND h.n <= f.n
)"""
    if puts:
        text += f"""{_PUT.format(given="given g JOIN changed USING (id)")}{_NOTIFIED}, gone AS (
    DELETE FROM {{schema}}.zerog_queue q USING given g JOIN changed USING (id) WHERE q.id = g.taken
)"""
    return text, _ALL_NOTIFIED if puts else ""


REMOVE = """
WITH gone AS (
    DELETE FROM {schema}.zerog_documents WHERE key = %(key)s AND (%(cas)s::bigint IS NULL OR cas = %(cas)s) RETURNING id
), entries AS (
    DELETE FROM {schema}.zerog_history h USING gone WHERE h.document = gone.id
)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM {schema}.zerog_documents WHERE key = %(key)s)
"""

DISCARD = """
WITH given AS (
    SELECT * FROM unnest(%(keys)s::text[], %(status)s::text[], %(epoch)s::bigint[], %(finished)s::text[])
        AS g(key, status, epoch, finished)
), gone AS (
    DELETE FROM {schema}.zerog_documents d USING given g
    WHERE d.key = g.key AND d.status = g.status AND d.epoch = g.epoch AND d.finished = g.finished
    RETURNING d.id, d.key
), entries AS (
    DELETE FROM {schema}.zerog_history h USING gone WHERE h.document = gone.id
)
SELECT key FROM gone
"""

# The queue.

PUT = """
WITH put AS (
    INSERT INTO {schema}.zerog_queue (id, queue, uuid, priority, due, ttr) VALUES (
        CASE WHEN %(ahead)s THEN nextval('{schema}.zerog_ahead') ELSE nextval('{schema}.zerog_entries') END,
        %(queue)s, %(uuid)s, %(priority)s, %(due)s, %(ttr)s
    ) RETURNING id, queue
)
SELECT id, pg_notify('{channel}', queue) FROM put
"""

PROMOTE = """
UPDATE {schema}.zerog_queue SET due = 0, token = NULL WHERE id = ANY(ARRAY(
    SELECT id FROM {schema}.zerog_queue WHERE due > 0 AND due <= %(now)s
    ORDER BY due LIMIT %(most)s FOR UPDATE SKIP LOCKED
)) RETURNING id
"""

IS_DUE = "SELECT EXISTS (SELECT FROM {schema}.zerog_queue WHERE due > 0 AND due <= %(now)s)"

_NEXT = """
SELECT q.id FROM {schema}.zerog_queue q WHERE q.queue = %(queue)s AND q.due = 0
ORDER BY q.priority DESC, q.id LIMIT 1 FOR UPDATE SKIP LOCKED
"""

_LOWEST = """
SELECT q.id FROM {schema}.zerog_queue q WHERE q.queue = %(queue)s AND q.due = 0 AND q.priority = (
    SELECT priority FROM {schema}.zerog_queue WHERE queue = %(queue)s AND due = 0 ORDER BY priority LIMIT 1
) ORDER BY q.id LIMIT 1 FOR UPDATE SKIP LOCKED
"""

_RESERVE = """
UPDATE {schema}.zerog_queue SET due = ttr + %(now)s, token = %(token)s
WHERE id = ANY(ARRAY({next})) RETURNING id, uuid::text
"""

RESERVE_NEXT = _RESERVE.replace("{next}", _NEXT)
RESERVE_LOWEST = _RESERVE.replace("{next}", _LOWEST)

DELETE_ENTRY = "DELETE FROM {schema}.zerog_queue WHERE id = %(id)s AND token = %(token)s RETURNING id"

WITHDRAW_ENTRY = """
DELETE FROM {schema}.zerog_queue WHERE id = %(id)s AND queue = %(queue)s AND uuid = %(uuid)s RETURNING id
"""

RELEASE_ENTRY = """
WITH released AS (
    UPDATE {schema}.zerog_queue SET due = %(due)s, token = NULL WHERE id = %(id)s AND token = %(token)s
    RETURNING id, queue
)
SELECT id, pg_notify('{channel}', queue) FROM released
"""

SIZE = "SELECT count(*) FROM {schema}.zerog_queue WHERE queue = %(queue)s"
HELD = "SELECT id, uuid::text FROM {schema}.zerog_queue WHERE queue = %(queue)s AND id = ANY(%(ids)s::bigint[])"
READY = """
SELECT EXISTS (SELECT FROM unnest(%(queues)s::text[]) AS w(name), LATERAL (
    SELECT FROM {schema}.zerog_queue q WHERE q.queue = w.name AND q.due = 0 LIMIT 1) AS e),
    (SELECT min(due) FROM {schema}.zerog_queue WHERE due > 0)
"""
"""Whether a queue has something ready, and when the next entry of any queue is due."""

MOVE_ENTRIES = """
WITH moved AS (
    UPDATE {schema}.zerog_queue q SET due = m.due, queue = coalesce(m.queue, q.queue), token = NULL
    FROM unnest(%(ids)s::bigint[], %(due)s::float8[], %(queue)s::text[]) AS m(id, due, queue) WHERE q.id = m.id
), gone AS (
    DELETE FROM {schema}.zerog_queue WHERE id = ANY(%(gone)s::bigint[])
)
SELECT 1
"""
