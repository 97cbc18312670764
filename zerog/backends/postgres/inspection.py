"""Find out what a server keeps and takes: its durability, and for ``zerog doctor`` missing rights, a replica."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator

from zerog.backends.postgres.server import PostgresServer
from zerog.contracts.troubles import Trouble

MISSING = """
SELECT 'TABLES', needed, current_user::text
FROM unnest(ARRAY['documents', 'history', 'queue']) AS t(name),
    unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p(needed)
WHERE NOT has_table_privilege('{schema}.zerog_' || name, needed)
UNION SELECT 'SEQUENCES', 'USAGE', current_user::text
FROM unnest(ARRAY['entries', 'ahead']) AS s(name)
WHERE NOT has_sequence_privilege('{schema}.zerog_' || name, 'USAGE')
"""
"""The rights that this user lacks: on what, which, and the user's name."""

READ_ONLY = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'"


SETTINGS = """
SELECT name, setting FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'wal_writer_delay')
"""


def durability(server: PostgresServer) -> str:
    """Return the durability class by the server's settings, as they are for this connection."""
    settings: dict[str, str] = dict(server.read(SETTINGS, {}, "durability"))
    if settings["fsync"] != "on" or settings["full_page_writes"] != "on":
        return "process"
    if settings["synchronous_commit"] != "off":
        return "fsync"
    # Up to three times the writer's pause, in milliseconds, may be lost.
    return "1s" if 3 * int(settings["wal_writer_delay"]) <= 1_000 else "process"


def troubles(server: PostgresServer) -> Iterator[Trouble]:
    """Check the rights and the kind of the server. Changes nothing."""
    rights = defaultdict[tuple[str, str], list[str]](list)
    for kind, needed, user in server.read(MISSING, {}, "its rights"):
        rights[kind, user].append(needed)
    for (kind, user), needed in sorted(rights.items()):
        names = ", ".join(sorted(set(needed)))
        quoted = user.replace('"', '""')
        grant = f'GRANT {names} ON ALL {kind} IN SCHEMA "{server.schema}" TO "{quoted}"'
        yield Trouble(
            f"user {user} lacks rights that ZeroG needs at {server.name}: {names} on {kind.lower()}",
            "grant them, as a user who may",
            f"psql {shlex.quote(server.name)} -c {shlex.quote(grant)}",
        )
    ((is_replica, is_read_only),) = server.read(READ_ONLY, {}, "whether it takes writes")
    if is_replica or is_read_only:
        kind = "a replica" if is_replica else "set to read-only"
        yield Trouble(
            f"{server.name} is {kind} and takes no writes",
            "name the primary in the URL, or several hosts and target_session_attrs=read-write",
        )
