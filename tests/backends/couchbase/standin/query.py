"""The query service: HTTP, and as much of SQL++ as the statements of ``zerog.backends.couchbase.query`` take.

It understands what it is sent literally, clause by clause, and refuses everything else, so that a statement that was
changed there has to be understood here anew. Whether the real service takes these statements it can't show.
"""

from __future__ import annotations

import base64
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.backends.couchbase.standin.documents import Bucket

if TYPE_CHECKING:
    from tests.backends.couchbase.standin.server import Server

NAME = r"`([^`]+)`"
FROM = rf"FROM {NAME}\.{NAME}\.{NAME} AS d WHERE (.+)"
SELECT = re.compile(rf"SELECT RAW META\(d\)\.id {FROM} ORDER BY META\(d\)\.id LIMIT (\d+)")
SELECT_BY_TIME = re.compile(
    rf"SELECT RAW \[d\.`(\w+)`, META\(d\)\.id\] {FROM} ORDER BY d\.`\1`( DESC)?, META\(d\)\.id(?:\6)? LIMIT (\d+)"
)
CREATE = re.compile(rf"CREATE INDEX {NAME} ON {NAME}\.{NAME}\.{NAME}\((.+)\)")

NO_INDEX, INDEX_EXISTS, SYNTAX = 4000, 4300, 3000


class QueryError(Exception):
    """The error answer to a statement."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class QueryService(ThreadingHTTPServer):
    """Answers statements about the documents of a server."""

    daemon_threads = True

    def __init__(self, server: Server) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.documents = server
        self.indexes: set[tuple[str, ...]] = set()

    def run(self, statement: str, parameters: dict[str, Any]) -> list[Any]:
        """The results of a statement. Raises QueryError."""
        if created := CREATE.fullmatch(statement):
            index = created.group(2, 3, 4, 1)
            if index in self.indexes:
                raise QueryError(INDEX_EXISTS, f"The index {index[-1]} already exists.")
            self.indexes.add(index)
            return []
        if selected := SELECT.fullmatch(statement):
            return sorted(key for key, _ in self._found(selected, 1, parameters))[: int(selected[5])]
        if selected := SELECT_BY_TIME.fullmatch(statement):
            found = sorted([document[selected[1]], key] for key, document in self._found(selected, 2, parameters))
            return found[:: -1 if selected[6] else 1][: int(selected[7])]
        raise QueryError(SYNTAX, f"syntax error near {statement[:40]}")

    def _found(self, selected: re.Match[str], first: int, parameters: dict[str, Any]) -> list[tuple[str, Any]]:
        """The documents of the keyspace and the clauses in four groups from ``first`` on. Raises QueryError."""
        bucket, scope, collection, where = selected.group(first, first + 1, first + 2, first + 3)
        if not any(index[:3] == (bucket, scope, collection) for index in self.indexes):
            raise QueryError(NO_INDEX, "No index available on keyspace that matches your query.")
        return [
            (key, document)
            for key, document in _documents(self.documents.buckets[bucket], scope, collection)
            if all(_holds(clause, key, document, parameters) for clause in where.split(" AND "))
        ]


def _documents(bucket: Bucket, scope: str, collection: str) -> list[tuple[str, Any]]:
    with bucket.lock:
        number = bucket.collection(scope, collection)
        stored = [(key.decode(), each.text) for (of, key), each in bucket.documents.items() if of == number]
    documents = []
    for key, text in stored:
        try:
            documents.append((key, json.loads(text)))
        except ValueError:  # the real service doesn't index what is no JSON
            continue
    return documents


def _holds(clause: str, key: str, document: Any, parameters: dict[str, Any]) -> bool:
    """True if one clause holds for a document."""
    if clause == "ISSTRING(d.`status`)":
        return isinstance(document, dict) and isinstance(document.get("status"), str)
    if bound := re.fullmatch(r"META\(d\)\.id ([<>]) (\$\w+)", clause):
        limit = parameters[bound[2]]
        return key < limit if bound[1] == "<" else key > limit
    if bound := re.fullmatch(r"d\.`(\w+)` (>=|<=) (\$\w+)", clause):
        time, limit = document.get(bound[1]) if isinstance(document, dict) else None, parameters[bound[3]]
        return isinstance(time, str) and (time >= limit if bound[2] == ">=" else time <= limit)
    if place := re.fullmatch(r"\[d\.`(\w+)`, META\(d\)\.id\] ([<>]) \$after", clause):
        own, after = [document[place[1]], key], parameters["$after"]
        return own < after if place[2] == "<" else own > after
    if equal := re.fullmatch(rf"d\.{NAME} = (\$\w+)", clause):
        return isinstance(document, dict) and document.get(equal[1]) == parameters[equal[2]]
    raise QueryError(SYNTAX, f"syntax error near {clause}")


class _Handler(BaseHTTPRequestHandler):
    server: QueryService
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet, and at once: a client waits 40 ms for the second half otherwise
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, answer = 200, {"requestID": "1", "clientContextID": body.get("client_context_id", ""), "results": []}
        try:
            self._check_login()
            answer["results"] = self.server.run(body["statement"], body)
            answer["status"] = "success"
        except QueryError as error:
            status = 404
            answer |= {"errors": [{"code": error.code, "msg": str(error)}], "status": "fatal"}
        answer["metrics"] = {"elapsedTime": "1ms", "executionTime": "1ms", "resultCount": 0, "resultSize": 0}
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _check_login(self) -> None:
        name, _, password = base64.b64decode(self.headers["Authorization"].split()[1]).decode().partition(":")
        if self.server.documents.users.get(name) != password:
            raise QueryError(13014, "User does not have credentials to run queries.")

    def log_message(self, *_: object) -> None:
        """Log nothing."""
