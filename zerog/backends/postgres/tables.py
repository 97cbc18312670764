"""The tables of one schema, their version, and how they are made beside running workers.

``zerog_documents``
    ``body`` is the JSON text of the fields that rarely change, as of the last write of the whole document; ``state``
    that of all others, laid over it. A field may be in ``state`` twice: the last one counts, so that a statement can
    append one without reading the text. JSON is kept as text: jsonb would lose the order of fields, -0.0 and \\u0000,
    and would refuse what Python writes as a large float. ``lists`` has the first and last number of each list of the
    history. The other columns are computed from the document by the client at each write, for indexes and for the
    claim, which compares them in SQL: texts of at most INDEXED characters.
    ``attrs`` and ``error`` are JSON lists of the terms of two fields (``zerog.records.attrs``), empty or NULL for none.
``zerog_terms``
    One row per term of a document, written by triggers, so that a document without terms costs nothing.
``zerog_history``
    One row per entry, so that recording event 10,000 costs what event 1 cost.
``zerog_queue``
    One row per entry, in the order of ``id``, which is negative for those put ahead. ``due`` is 0 for an entry that is
    ready, otherwise the second of the server's clock at which it returns. Foreign programs may insert rows; the types
    and constraints refuse all that leads to no job.
"""

from __future__ import annotations

from typing import Any

import psycopg

from zerog.exceptions import ConfigurationError

SCHEMA = "zerog"
"""Schema of the tables, unless the URL has ``?schema=``."""

INDEXED = 100
"""Characters of a field in an indexed column. What a query finds is compared with the whole field afterwards."""

LONGEST_TERM = 200
"""Characters of a term in its index, in the same way."""

LOCK = 0x7A65726F67
"""Advisory lock of processes that create or upgrade tables."""

STEPS = [
    """
CREATE TABLE {schema}.zerog_documents (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text COLLATE "C" NOT NULL UNIQUE,
    cas bigint NOT NULL CHECK (cas BETWEEN 1 AND 4611686018427387904),
    body text NOT NULL,
    state text NOT NULL,
    lists text NOT NULL,
    status text COLLATE "C",
    job_type text COLLATE "C",
    queue text COLLATE "C",
    due text COLLATE "C",
    created text COLLATE "C",
    finished text COLLATE "C",
    kind text COLLATE "C",
    ready text COLLATE "C",
    epoch bigint CHECK (epoch BETWEEN 0 AND 9007199254740992),
    attempts bigint CHECK (attempts BETWEEN 0 AND 9007199254740992),
    sound boolean NOT NULL DEFAULT false
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX zerog_by_status ON {schema}.zerog_documents (status, key);
CREATE INDEX zerog_by_due ON {schema}.zerog_documents (due, key) WHERE due IS NOT NULL;
CREATE INDEX zerog_by_creation ON {schema}.zerog_documents (created, key) WHERE created IS NOT NULL;
CREATE INDEX zerog_by_status_and_creation ON {schema}.zerog_documents (status, created, key)
    WHERE created IS NOT NULL;
CREATE INDEX zerog_by_end ON {schema}.zerog_documents (status, job_type, finished, key) WHERE finished IS NOT NULL;
CREATE TABLE {schema}.zerog_history (
    document bigint NOT NULL,
    field text COLLATE "C" NOT NULL,
    n bigint NOT NULL,
    entry text NOT NULL,
    PRIMARY KEY (document, field, n)
);
CREATE SEQUENCE {schema}.zerog_entries;
CREATE SEQUENCE {schema}.zerog_ahead INCREMENT -1 START -2 MINVALUE -9000000000000000000;
CREATE TABLE {schema}.zerog_queue (
    id bigint PRIMARY KEY DEFAULT nextval('{schema}.zerog_entries'),
    queue text COLLATE "C" NOT NULL CHECK (queue <> ''),
    uuid uuid NOT NULL,
    priority integer NOT NULL DEFAULT 0,
    due double precision NOT NULL DEFAULT 0 CHECK (due >= 0 AND due < 1e11),
    ttr double precision NOT NULL DEFAULT 60 CHECK (ttr > 0 AND ttr < 1e10),
    token bigint
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX zerog_ready ON {schema}.zerog_queue (queue, priority DESC, id) WHERE due = 0;
CREATE INDEX zerog_later ON {schema}.zerog_queue (due) WHERE due > 0
""",
    """
ALTER TABLE {schema}.zerog_documents ADD COLUMN attrs text, ADD COLUMN error text;
CREATE TABLE {schema}.zerog_terms (
    name text COLLATE "C" NOT NULL,
    term text COLLATE "C" NOT NULL,
    created text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    document bigint NOT NULL
);
CREATE INDEX zerog_by_term ON {schema}.zerog_terms (name, term, created, key);
CREATE INDEX zerog_terms_of ON {schema}.zerog_terms (document);
CREATE FUNCTION {schema}.zerog_enter_terms() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM {schema}.zerog_terms WHERE document = OLD.id;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO {schema}.zerog_terms (name, term, created, key, document)
        SELECT pair->>0, pair->>1, NEW.created, NEW.key, NEW.id
        FROM unnest(ARRAY[NEW.attrs, NEW.error]) AS list, json_array_elements(nullif(list, '')::json) AS pair
        WHERE NEW.created IS NOT NULL;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER zerog_made AFTER INSERT ON {schema}.zerog_documents FOR EACH ROW
    WHEN (NEW.attrs <> '' OR NEW.error <> '') EXECUTE FUNCTION {schema}.zerog_enter_terms();
CREATE TRIGGER zerog_changed AFTER UPDATE OF attrs, error, created ON {schema}.zerog_documents FOR EACH ROW
    WHEN ((OLD.attrs, OLD.error, OLD.created) IS DISTINCT FROM (NEW.attrs, NEW.error, NEW.created))
    EXECUTE FUNCTION {schema}.zerog_enter_terms();
CREATE TRIGGER zerog_gone AFTER DELETE ON {schema}.zerog_documents FOR EACH ROW
    WHEN (OLD.attrs <> '' OR OLD.error <> '') EXECUTE FUNCTION {schema}.zerog_enter_terms()
""",
]
"""What makes a version of the tables from the one before. Later ones only add: older code works beside them."""

VERSION = len(STEPS)

_LOOK = "SELECT to_regclass('{schema}.zerog_version') IS NOT NULL"
_MAKE = "CREATE TABLE IF NOT EXISTS {schema}.zerog_version (version integer NOT NULL)"


def require(connection: psycopg.Connection[Any], schema: str, name: str) -> list[str]:
    """Create or upgrade the tables unless they are there; return the names of what was made.

    Processes that do so at once take turns. Raises psycopg's errors, and ConfigurationError without the right to.
    """
    schema, plain = f'"{schema}"', schema  # as a table's name may be a word of SQL
    if _version(connection, schema) >= VERSION:
        return []
    made: list[str] = []
    try:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock($1)", (LOCK,))
            connection.execute("SET LOCAL client_min_messages = warning")
            there = connection.execute("SELECT to_regnamespace($1) IS NOT NULL", (schema,)).fetchone()
            if not (there and there[0]):
                connection.execute(f"CREATE SCHEMA {schema}".encode())
                made.append(f"schema {plain}")
            version = _version(connection, schema)
            connection.execute(_MAKE.format(schema=schema).encode())
            for step in STEPS[version:]:
                connection.execute(step.format(schema=schema).encode())
            connection.execute(f"DELETE FROM {schema}.zerog_version".encode())
            connection.execute(f"INSERT INTO {schema}.zerog_version VALUES ({VERSION})".encode())
            if version < VERSION:
                made.append(f"tables of {plain}, version {VERSION}")
    except psycopg.errors.InsufficientPrivilege as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError(
            f"{name} lacks the tables of ZeroG in the schema {plain}, or has those of an older version, and this user "
            f"may not make them ({reason}); run zerog setup once as a user who may"
        ) from None
    except psycopg.errors.ReadOnlySqlTransaction:
        raise ConfigurationError(
            f"{name} lacks the tables of ZeroG in the schema {plain}, and is read-only, as a replica is; "
            "run zerog setup on the primary"
        ) from None
    return made


def _version(connection: psycopg.Connection[Any], schema: str) -> int:
    """Return the version of the tables; 0 if there are none."""
    there = connection.execute(_LOOK.format(schema=schema).encode()).fetchone()
    if not (there and there[0]):
        return 0
    row = connection.execute(f"SELECT max(version) FROM {schema}.zerog_version".encode()).fetchone()
    return int(row[0]) if row and row[0] is not None else 0
