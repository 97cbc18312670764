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
SELECT_BY_END = re.compile(
    rf"SELECT RAW \[d\.`finishedAt`, META\(d\)\.id\] {FROM} ORDER BY d\.`finishedAt`, META\(d\)\.id LIMIT (\d+)"
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
        selected = SELECT.fullmatch(statement)
        by_end = SELECT_BY_END.fullmatch(statement)
        selected = selected or by_end
        if selected is None:
            raise QueryError(SYNTAX, f"syntax error near {statement[:40]}")
        if not any(index[:3] == selected.group(1, 2, 3) for index in self.indexes):
            raise QueryError(NO_INDEX, "No index available on keyspace that matches your query.")
        bucket = self.documents.buckets[selected[1]]
        clauses = selected[4].split(" AND ")
        found = [
            [document["finishedAt"], key] if by_end else key
            for key, document in _documents(bucket, selected[2], selected[3])
            if all(_holds(clause, key, document, parameters) for clause in clauses)
        ]
        return sorted(found)[: int(selected[5])]


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
    if time := re.fullmatch(r"d\.`finishedAt` (>=|<=) (\$\w+)", clause):
        ended, limit = document.get("finishedAt") if isinstance(document, dict) else None, parameters[time[2]]
        return isinstance(ended, str) and (ended >= limit if time[1] == ">=" else ended <= limit)
    if clause == "[d.`finishedAt`, META(d).id] > $after":
        return [document["finishedAt"], key] > parameters["$after"]
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
