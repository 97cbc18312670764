"""Translate the errors of a PostgreSQL server and of psycopg to ZeroG's, by SQLSTATE.

https://www.postgresql.org/docs/current/errcodes-appendix.html lists the codes.
"""

from __future__ import annotations

import psycopg

from zerog.exceptions import (
    AmbiguousWrite,
    ConfigurationError,
    DatastoreError,
    DatastoreUnavailable,
    InvalidValue,
)

MISCONFIGURED = {
    "28": "refuses this user or password",
    "3D000": "has no such database",
    "42501": "does not grant a right that ZeroG needs; zerog doctor names the GRANT",
    "0P000": "has no such role",
}
"""Refusals that last until someone changes the URL or the server, by SQLSTATE or its class."""

PASSING = {
    "40001": "could not serialize this transaction with others",
    "40P01": "found a deadlock and ended this transaction",
    "55P03": "could not get a lock in time",
    "57014": "cancelled the statement, as after its statement_timeout",
    "25006": "is read-only, as a replica is",
    "53300": "has too many connections",
    "53100": "has a full disk",
    "53": "lacks resources",
    "57P": "is starting up or shutting down",
    "58": "has trouble with its system",
    "3F000": "lacks the schema; zerog setup creates it",
    "42P01": "lacks a table; zerog setup creates it",
    "42703": "lacks a column; zerog setup adds it",
    "25": "is in another transaction",
}
"""Refusals of a statement that changed nothing and may succeed later, by SQLSTATE or its class."""

UNSTORABLE = ("22", "54000")
"""Classes of errors about a value: no UTF-8, a NUL, a key too long for an index."""


NO_LOGIN = {
    "authentication failed": "refuses this user or password",
    "no password supplied": "wants a password",
    "no pg_hba.conf entry": "admits no such login",
    "not permitted to log in": "refuses this user",
    "failed to resolve host": "can't be found: there is no such host",
    "does not exist": "has no such database or user; createdb creates a database",
    "permission denied": "does not grant a right that ZeroG needs",
    "unsupported startup parameter": "refuses an option of the URL",
}
"""Reasons for which connecting fails until someone changes the URL or the server, by words of their messages."""


def refused(what: str, name: str, error: Exception, was_reached: bool) -> Exception:
    """Return the error for a statement that the server answered with an error: it changed nothing.

    ``was_reached``: this user has been served before, so a refusal may be passing.
    """
    code = getattr(error, "sqlstate", None) or ""
    reason = lookup(MISCONFIGURED, code)
    if reason:
        kind = DatastoreUnavailable if was_reached else ConfigurationError
        return kind(f"{what}: {name} {reason} ({brief(error)}); nothing was changed")
    reason = lookup(PASSING, code)
    if reason:
        return DatastoreUnavailable(f"{what}: {name} {reason} ({brief(error)}); nothing was changed")
    if code.startswith(UNSTORABLE) or (not code and isinstance(error, psycopg.DataError)):
        return InvalidValue(f"{what}: {name} can't store this ({brief(error)}); nothing was written")
    return DatastoreError(f"{what}: {name} answered {brief(error)}; nothing was changed")


def unanswered(what: str, name: str, error: Exception, writes: bool) -> Exception:
    """Return the error for a statement whose answer was lost after it may have reached the server."""
    if writes:
        return AmbiguousWrite(f"{what}: {name} did not answer ({brief(error)}); it may be done")
    return DatastoreUnavailable(f"{what}: {name} did not answer ({brief(error)}); nothing was changed")


def unreachable(what: str, name: str, error: Exception, was_reached: bool) -> Exception:
    """Return the error for a connection that could not be opened. libpq gives no SQLSTATE for it, only a text."""
    text = str(error)
    misconfigured = next((words for words in NO_LOGIN if words in text), None)
    if misconfigured and not was_reached:
        return ConfigurationError(f"{what}: {name} {NO_LOGIN[misconfigured]} ({brief(error)}); nothing was changed")
    return DatastoreUnavailable(f"{what}: {name} can't be reached ({brief(error)}); nothing was changed")


def lookup(table: dict[str, str], code: str) -> str | None:
    """Return the text for a SQLSTATE, or for its class."""
    return table.get(code) or table.get(code[:3]) or table.get(code[:2]) if code else None


def brief(error: Exception) -> str:
    """Return an error's name and the first line of its message."""
    lines = str(error).strip().splitlines() or [""]
    text = lines[0].removeprefix("connection failed: ")
    return f"{type(error).__name__}: {text[:200]}"
