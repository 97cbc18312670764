"""List jobs by SQL++, including ended ones: needs the query service and the indexes of ``setup``.

Only keys are queried. The documents themselves are read by key: the latest write counts, and numbers are read as they
were written.
"""

from __future__ import annotations

from typing import Any

from zerog.backends.couchbase.index import LAST
from zerog.backends.couchbase.server import CouchbaseServer, brief, sdk
from zerog.contracts.datastore import FindQuery
from zerog.exceptions import ConfigurationError, DatastoreError, DatastoreUnavailable
from zerog.records.job import KEY_PREFIX

INDEXES = {
    "zerog_jobs": "META().id, `status`, `jobType`, `queueName`",
    "zerog_jobs_by_status": "`status`, META().id, `jobType`, `queueName`",
    "zerog_jobs_by_end": "`status`, `jobType`, `finishedAt`, META().id",
    "zerog_jobs_by_creation": "`createdAt`, META().id, `status`, `jobType`, `queueName`",
    "zerog_jobs_by_status_and_creation": "`status`, `createdAt`, META().id, `jobType`, `queueName`",
}
"""The indexes made by ``setup``: name and keys."""

END = KEY_PREFIX[:-1] + chr(ord(KEY_PREFIX[-1]) + 1)
"""The first text behind all keys of jobs."""

ADVICE = "List the unfinished ones, for example with status='queued', which needs no query service"


class JobQuery:
    """SQL++ over one keyspace."""

    def __init__(self, server: CouchbaseServer) -> None:
        self._server = server
        address = server.address
        self._keyspace = f"`{address.bucket}`.`{address.scope}`.`{address.collection}`"

    def keys(self, wanted: dict[str, str], after: str, limit: int) -> list[str]:
        """Return the keys of the next jobs whose fields have these values, in order.

        Raises DatastoreError, with a remedy, if the query service or its index is missing.
        """
        clauses = ["META(d).id > $after", "META(d).id < $end", "ISSTRING(d.`status`)"]
        clauses += [f"d.`{field}` = ${field}" for field in wanted]
        statement = (
            f"SELECT RAW META(d).id FROM {self._keyspace} AS d WHERE {' AND '.join(clauses)} "
            f"ORDER BY META(d).id LIMIT {limit}"
        )
        return self._results(statement, {**wanted, "after": after, "end": END})

    def by_time(self, query: FindQuery, after: list[str], limit: int) -> list[list[str]]:
        """Return the time and the key of the next jobs that a query by ``createdAt`` or ``finishedAt`` matches.

        Raises the errors of ``keys``.
        """
        time, way, ahead = f"d.`{query.time}`", "", ">"
        place: dict[str, Any] = {"since": query.since or "", "after": after or ["", ""]}
        clauses = ["ISSTRING(d.`status`)", *(f"d.`{field}` = ${field}" for field in query.wanted)]
        clauses += [f"{time} >= $since"]
        if query.latest is not None:
            clauses += [f"{time} <= $until"]
            place["until"] = query.latest
        if query.is_descending:
            way, ahead = " DESC", "<"
            place["after"] = after or [LAST, LAST]
        clauses += [f"[{time}, META(d).id] {ahead} $after", "META(d).id > $start", "META(d).id < $end"]
        statement = (
            f"SELECT RAW [{time}, META(d).id] FROM {self._keyspace} AS d WHERE {' AND '.join(clauses)} "
            f"ORDER BY {time}{way}, META(d).id{way} LIMIT {limit}"
        )
        return self._results(statement, {**query.wanted, **place, "start": KEY_PREFIX, "end": END})

    def _results(self, statement: str, parameters: dict[str, Any]) -> list[Any]:
        try:
            return self._server.query(statement, parameters)
        except sdk.CouchbaseException as error:
            raise self._translated(error) from error

    def answers(self) -> bool:
        """Return True if there is a query service. Raises the errors of connecting."""
        try:
            self._server.query(
                f"SELECT RAW META(d).id FROM {self._keyspace} AS d WHERE META(d).id > $after "
                "ORDER BY META(d).id LIMIT 1",
                {"after": END},
            )
        except sdk.ServiceUnavailableException:
            return False
        except sdk.CouchbaseException:
            return True
        return True

    def make_indexes(self) -> list[str]:
        """Create the missing indexes; return their names, or None without a query service."""
        made = []
        for name, keys in INDEXES.items():
            try:
                self._server.query(f"CREATE INDEX `{name}` ON {self._keyspace}({keys})", {})
            except sdk.QueryIndexAlreadyExistsException:
                continue
            except sdk.ServiceUnavailableException:
                return []
            except sdk.CouchbaseException as error:
                raise self._translated(error) from error
            made.append(name)
        return made

    def _translated(self, error: Any) -> Exception:
        name = self._server.name
        if isinstance(error, sdk.ServiceUnavailableException):
            return DatastoreError(
                f"{name} has no query service, which listing jobs that have ended needs. {ADVICE}, or add that service "
                "to a node of the cluster and run: zerog setup"
            )
        if isinstance(error, (sdk.QueryIndexNotFoundException, sdk.KeyspaceNotFoundException)):
            return DatastoreError(
                f"{name} has no index for listing jobs that have ended; make it with: zerog setup. {ADVICE}"
            )
        if isinstance(error, (sdk.TimeoutException, sdk.AmbiguousTimeoutException, sdk.UnAmbiguousTimeoutException)):
            return DatastoreUnavailable(f"listing jobs: the query service of {name} did not answer ({brief(error)})")
        if isinstance(error, sdk.AuthenticationException):
            return ConfigurationError(f"listing jobs: the query service of {name} refuses this user; {brief(error)}")
        return DatastoreError(f"listing jobs: the query service of {name} answered {brief(error)}")
