"""Listing jobs by SQL++, those that have ended, too: needs the query service and the indexes of ``setup``.

Only keys come from there. The documents themselves are read by key: what was written last counts, and numbers come back
as they went in.
"""

from __future__ import annotations

from typing import Any

from zerog.backends.couchbase.index import PREFIX
from zerog.backends.couchbase.server import CouchbaseServer, brief, sdk
from zerog.exceptions import ConfigurationError, DatastoreError, DatastoreUnavailable

INDEXES = {
    "zerog_jobs": "META().id, `status`, `jobType`, `queueName`",
    "zerog_jobs_by_status": "`status`, META().id, `jobType`, `queueName`",
    "zerog_jobs_by_end": "`status`, `jobType`, `finishedAt`, META().id",
}
"""What ``setup`` makes: name and keys."""

END = PREFIX[:-1] + chr(ord(PREFIX[-1]) + 1)
"""The first text behind all keys of jobs."""

ADVICE = "List the unfinished ones, for example with status='queued', which needs no query service"


class JobQuery:
    """SQL++ over one keyspace."""

    def __init__(self, server: CouchbaseServer) -> None:
        self._server = server
        address = server.address
        self._keyspace = f"`{address.bucket}`.`{address.scope}`.`{address.collection}`"

    def keys(self, wanted: dict[str, str], after: str, limit: int) -> list[str]:
        """The keys of the next jobs whose fields have these values, in order.

        Raises DatastoreError, saying what to do, if the query service or its index isn't there.
        """
        clauses = ["META(d).id > $after", "META(d).id < $end", "ISSTRING(d.`status`)"]
        clauses += [f"d.`{field}` = ${field}" for field in wanted]
        statement = (
            f"SELECT RAW META(d).id FROM {self._keyspace} AS d WHERE {' AND '.join(clauses)} "
            f"ORDER BY META(d).id LIMIT {limit}"
        )
        return self._results(statement, {**wanted, "after": after, "end": END})

    def ended(self, wanted: dict[str, str], until: str, after: list[str], limit: int) -> list[list[str]]:
        """The ``finishedAt`` and key of the next jobs with these values that ended by ``until``, in that order.

        Raises what ``keys`` raises.
        """
        clauses = [f"d.`{field}` = ${field}" for field in wanted]
        clauses += ["d.`finishedAt` >= $since", "d.`finishedAt` <= $until"]
        clauses += ["[d.`finishedAt`, META(d).id] > $after", "META(d).id > $start", "META(d).id < $end"]
        statement = (
            f"SELECT RAW [d.`finishedAt`, META(d).id] FROM {self._keyspace} AS d WHERE {' AND '.join(clauses)} "
            f"ORDER BY d.`finishedAt`, META(d).id LIMIT {limit}"
        )
        place = {"since": after[0] if after else "", "until": until, "after": after or ["", ""]}
        return self._results(statement, {**wanted, **place, "start": PREFIX, "end": END})

    def _results(self, statement: str, parameters: dict[str, Any]) -> list[Any]:
        try:
            return self._server.query(statement, parameters)
        except sdk.CouchbaseException as error:
            raise self._translated(error) from error

    def answers(self) -> bool:
        """Whether there is a query service. Raises what connecting raises."""
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
        """Make the indexes that aren't there; their names. None where there is no query service."""
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
