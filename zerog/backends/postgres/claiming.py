"""The SQL by which jobs are claimed, alone or in the statement that settles others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LOW = 1_000_000
"""The numbers of entries of the lowest priority in an answer of a claim follow this one."""

_ENTRIES = """
due AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM {schema}.zerog_queue WHERE due > 0 AND due <= %(now)s) AS is_there
), room AS MATERIALIZED (
    SELECT CASE WHEN is_there AND %(due_first)s THEN 0 ELSE %(look)s END AS look FROM due
), top AS MATERIALIZED (
    SELECT e.id, e.uuid FROM unnest(%(queues)s::text[]) AS w(name), LATERAL (
        SELECT q.id, q.uuid FROM {schema}.zerog_queue q WHERE q.queue = w.name AND q.due = 0
        ORDER BY q.priority DESC, q.id LIMIT (SELECT look FROM room) FOR UPDATE SKIP LOCKED
    ) AS e LIMIT (SELECT look FROM room)
)"""

_LOWS = """, high AS (
    SELECT w.name, e.priority FROM unnest(%(queues)s::text[]) AS w(name), LATERAL (
        SELECT priority FROM {schema}.zerog_queue WHERE queue = w.name AND due = 0 ORDER BY priority DESC LIMIT 1
    ) AS e LIMIT 1
), bottom AS (
    SELECT w.name, e.priority FROM unnest(%(upwards)s::text[]) AS w(name), LATERAL (
        SELECT priority FROM {schema}.zerog_queue WHERE queue = w.name AND due = 0 ORDER BY priority LIMIT 1
    ) AS e LIMIT 1
), low AS MATERIALIZED (
    SELECT e.id, e.uuid FROM bottom b, LATERAL (
        SELECT q.id, q.uuid FROM {schema}.zerog_queue q
        WHERE q.queue = b.name AND q.due = 0 AND q.priority = b.priority
        ORDER BY q.id LIMIT (SELECT least(look, %(low)s) FROM room) FOR UPDATE SKIP LOCKED
    ) AS e WHERE NOT EXISTS (SELECT FROM high h WHERE h.name = b.name AND h.priority = b.priority)
), lows AS (
    SELECT count(*) AS taken, count(*) < %(low)s AND EXISTS (
        SELECT FROM bottom b, high h WHERE (h.name, h.priority) <> (b.name, b.priority)
    ) AS is_short FROM low
), next AS MATERIALIZED (
    (
        SELECT id, uuid, row_number() OVER () AS n FROM top WHERE id NOT IN (SELECT id FROM low)
        LIMIT (SELECT CASE WHEN is_short THEN least(look, %(turn)s + {share} * taken) ELSE look END - taken
            FROM lows, room)
    ) UNION ALL SELECT id, uuid, {low} + row_number() OVER () FROM low
)"""
"""Entries of the lowest priority, if it is their turn."""

_NO_LOWS = ", next AS MATERIALIZED (SELECT id, uuid, row_number() OVER () AS n FROM top)"

# The last character of a state is cut as a byte: left(state, -1) would count all characters of it.
_CLAIMED = """, seen AS MATERIALIZED (
    SELECT next.id AS entry, next.uuid, next.n, d.key, d.id, d.cas, d.lists, d.state, d.sound, d.body, d.epoch,
        (d.kind = ANY(%(kinds)s::text[]) AND d.ready <= %(soon_text)s) IS TRUE AS fits
    FROM next LEFT JOIN {schema}.zerog_documents d ON d.key = '{prefix}' || next.uuid::text
), fit AS MATERIALIZED (
    SELECT entry, n, id FROM seen WHERE fits ORDER BY n < {low}, n LIMIT %(want)s
), claimed AS (
    UPDATE {schema}.zerog_documents d SET
        cas = d.cas + 1, status = 'running', due = NULL, kind = NULL, ready = NULL,
        epoch = d.epoch + 1, attempts = d.attempts + 1,
        state = convert_from(substring(convert_to(d.state, 'UTF8') FOR octet_length(d.state) - 1), 'UTF8')
            || %(fields)s || ',"epoch":' || d.epoch + 1 || ',"attempts":' || d.attempts + 1
            || ',"startedAt":"' || greatest(d.ready, %(now_text)s) || '","updatedAt":"'
            || greatest(d.ready, %(now_text)s) || '","run":"' || %(batch)s || fit.n || '","owner":'
            || %(before_nonce)s || %(batch)s || fit.n || %(after_nonce)s || '}'
    FROM fit
    WHERE d.id = fit.id AND d.kind = ANY(%(kinds)s::text[]) AND d.ready <= %(soon_text)s
    RETURNING fit.entry, fit.n, d.key, d.id, d.cas, d.epoch, d.lists, d.state, d.body
), off AS (
    DELETE FROM {schema}.zerog_queue q USING claimed c WHERE q.id = c.entry
), held AS (
    UPDATE {schema}.zerog_queue q SET due = q.ttr + %(now)s FROM seen WHERE q.id = seen.entry AND NOT seen.fits
)"""

_RESULT = """
SELECT 'claimed', n, key, id, cas, lists, state, true, body, epoch, NULL::bigint, NULL::text FROM claimed
UNION ALL
SELECT 'left', n, key, id, cas, lists, state, sound, body, epoch, entry, uuid::text FROM seen WHERE NOT fits
UNION ALL
SELECT 'due', 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM due WHERE is_there
"""

_SHORT = """
UNION ALL
SELECT 'short', 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM lows WHERE is_short
"""


def parts_of_claim(parameters: Mapping[str, Any]) -> tuple[str, str]:
    """Return the common tables of a claim, and its result.

    The lowest priority is looked for if it is its turn within this claim. For one job it seldom is, and making ready
    what looks for it would take as long as the rest of the claim.
    """
    if parameters["low"]:
        return f"{_ENTRIES}{_LOWS}{_CLAIMED}", f"{_RESULT}{_SHORT}"
    return f"{_ENTRIES}{_NO_LOWS}{_CLAIMED}", _RESULT
