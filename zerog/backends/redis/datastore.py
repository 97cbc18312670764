"""Documents on a Redis server; their storage, and the work on it, is in ``script``.

``body`` is the JSON of all fields that existed when the document was written whole, except those of APART, with a comma
in front and no braces; ``mutate`` doesn't rewrite it. A field that ``mutate`` has changed since is a field of the
document's hash and laid over the body when read. History entries are in separate lists, so that recording event 10,000
costs what event 1 cost.

The script applies what it can be sure of. It leaves everything else alone (a refusal; arithmetic on a field that only
the body has; integers beyond 15 digits), and ``mutate`` reads the document and writes by compare-and-swap.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal

from zerog.backends.redis.commands import (
    Command,
    change,
    changed_by,
    head_of,
    json_of,
    needs_whole,
    reading,
    stored,
    token_of,
)
from zerog.backends.redis.ended import incomplete, missing
from zerog.backends.redis.server import RedisServer
from zerog.contracts.datastore import (
    MAX_COLLISIONS,
    Datastore,
    FindQuery,
    Mutation,
    Page,
    RunGuard,
    check_document,
    fence,
    repeated,
)
from zerog.exceptions import (
    ConfigurationError,
    CorruptDocument,
    DatastoreError,
    DatastoreUnavailable,
    TooManyCollisions,
)
from zerog.records.fields import HISTORY
from zerog.records.operations import Document, Operation, Set, apply, check
from zerog.support import jsonvalues
from zerog.support.clock import SYSTEM, Clock

STALE = 2
"""The script's answer to a removal under another token."""

_END = re.compile(rb"\0(?!\xff)")


class RedisDatastore(Datastore):
    """Documents on the server of a URL, for example ``redis://localhost:6379/0?prefix=shop``."""

    can_find = True
    can_delete = True
    history_limit = 10_000
    constant_history = True

    def __init__(self, server: RedisServer | str, clock: Clock = SYSTEM) -> None:
        self.server = RedisServer(server, clock) if isinstance(server, str) else server

    @property
    def durability(self) -> str | None:  # type: ignore[override]
        """The durability by the server's settings, read each time; None if it doesn't show them."""
        try:
            answer = self.server.ask("durability", "CONFIG", "GET", "append*")
        except (ConfigurationError, DatastoreError):
            return None
        settings = dict(zip(answer[::2], answer[1::2], strict=True))
        if settings.get(b"appendonly") != b"yes":
            return "process"
        return {b"always": "fsync", b"everysec": "1s"}.get(settings.get(b"appendfsync", b""), "process")

    def read_with_cas(self, key: str, head: bool = False) -> tuple[Document, int] | tuple[None, None]:
        answer = self.server.one(reading(key, head), key, writes=False)
        if answer == 0:
            return None, None
        document = head_of(key, answer)
        if not head:
            for field, entries in zip(HISTORY, answer[3:], strict=True):
                if entries != 0:
                    document[field] = json_of(key, b"[%s]" % b",".join(entries), list)
        return document, token_of(key, answer)

    def set_with_cas(self, key: str, value: Document, cas: int) -> tuple[Literal[True], int]:
        check_document(key, value)
        if cas is None:
            raise self.casException(f"a write to {key} without a token; nothing was written")
        limit = jsonvalues.MAX_BYTES if cas else jsonvalues.JOB_BYTES
        answer = self.server.one({"command": "store", "token": str(cas), **stored(key, value, limit)}, key)
        if answer == 0:
            raise self.casException(f"{key} has another token than {cas}; nothing was written")
        return True, int(answer)

    def set(self, key: str, value: Document) -> int:
        check_document(key, value)
        return int(self.server.one({"command": "store", "token": "*", **stored(key, value)}, key))

    def delete(self, key: str, cas: int | None = None) -> bool:
        """Remove the document; with ``cas`` only under that token. Return True if there was one.

        Raises ``casException`` if it has another token.
        """
        command = (
            {"command": "remove", "key": key} if cas is None else {"command": "remove", "key": key, "token": str(cas)}
        )
        answer = self.server.one(command, key)
        if answer == STALE:
            raise self.casException(f"{key} has another token than {cas}; it was not deleted")
        return bool(answer)

    def mutate(
        self, key: str, operations: Sequence[Operation], cas: int | None = None, run: RunGuard | None = None
    ) -> Mutation:
        check(operations)
        command = change(key, operations, cas, run)
        if command is not None:
            answer = self.server.one(command, key)
            if answer != 0:
                return changed_by(answer, operations)
        return self._mutate_here(key, operations, cas, run)

    def find(self, query: FindQuery) -> Page:
        wanted, limit = query.wanted, query.limit
        found: list[tuple[list[str], Document]] = []
        unreadable: list[str] = []
        start = query.start
        while len(found) <= limit:
            places = self._places(query, start, limit + 1)
            heads = self.heads_with_cas([place[-1] for place in places])
            stale: list[list[str]] = []
            for place, (head, token) in zip(places, heads, strict=True):
                if head is None and token:
                    unreadable.append(place[-1])
                elif query.until is not None and (head is None or head.get("finishedAt") != place[0]):
                    stale.append([query.status or "", query.job_type or "", *place])
                elif head is None or type(head.get("status")) is not str:
                    continue
                elif all(head.get(field) == value for field, value in wanted.items()):
                    found.append((place, head))
            if stale:  # changed since it was listed, or by code without this index
                self.server.one({"command": "list", "members": stale}, "the index of ended jobs")
            if len(places) <= limit:
                break
            start = places[-1]
        more = jsonvalues.encode_checked(found[limit - 1][0]) if len(found) > limit else None
        return Page([head for _, head in found[:limit]], more, unreadable)

    def setup(self) -> list[str]:
        """List the ended jobs that are missing in the index by their end: those that older code has ended."""
        listed = sum(self._list_ended(status) for status in incomplete(self.server))
        return [f"{listed} entries of the index {self.server.prefix}ended"] if listed else []

    def about(self) -> str | None:
        try:
            text = self.server.ask("its version", "INFO", "server").decode()
        except DatastoreUnavailable:
            raise
        except (ConfigurationError, DatastoreError):  # a user without the right to ask, or a server that doesn't answer
            return None
        fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        if "valkey_version" in fields:
            return f"Valkey {fields['valkey_version']}"
        return f"Redis {fields.get('redis_version', 'of an unknown version')}"

    def now(self) -> datetime | None:
        return self.server.now()

    def close(self) -> None:
        self.server.close()

    def heads_with_cas(self, keys: Sequence[str]) -> list[tuple[Document | None, int]]:
        """Return the heads of these documents and their tokens.

        (None, 0) for a missing one, (None, -1) for an unreadable one.
        """
        if not keys:
            return []
        answers = self.server.call([reading(key) for key in keys], keys[0], writes=False)
        heads: list[tuple[Document | None, int]] = []
        for key, answer in zip(keys, answers, strict=True):
            try:
                heads.append((None, 0) if answer == 0 else (head_of(key, answer), token_of(key, answer)))
            except CorruptDocument:
                heads.append((None, -1))
        return heads

    def _list_ended(self, status: str) -> int:
        """Enter all jobs of a status into the index of ended jobs; return how many were missing."""
        listed, start = 0, list[str]()
        while places := self._places(FindQuery(status), start, 1_000):
            keys, start = [place[-1] for place in places], places[-1]
            heads = dict(zip(keys, self.heads_with_cas(keys), strict=True))
            for key in missing(self.server, status, [(key, head) for key, (head, _) in heads.items() if head]):
                head, token = heads[key]
                assert head is not None
                kept = [Set(field, head[field]) for field in ("jobType", "finishedAt")]  # where the script reads them
                with suppress(self.casException):  # a concurrent change lists it
                    self.mutate(key, kept, cas=token)
                    self.server.one(
                        {"command": "list", "members": [[status, *(each.value for each in kept), key]]}, key
                    )
                    listed += 1
        return listed

    def _places(self, query: FindQuery, start: list[str], limit: int) -> list[list[str]]:
        """Return the next members of an index, as [key], [due, key] or [finishedAt, key], in order."""
        command: Command = {"command": "find", "limit": str(limit)}
        if query.due is not None:
            command["due"] = query.due
        elif query.status is not None:
            command["status"] = query.status
        if query.until is not None:
            command |= {"job_type": query.job_type, "until_time": query.until}
        if start:
            command["after"] = start
        places = []
        for members in self.server.one(command, "find", writes=False):
            for member in members:
                *_, place, key = _END.split(member, 1 if query.until is None else 3)
                text = place.replace(b"\0\xff", b"\0").decode()
                places.append([key.decode()] if query.latest is None else [text, key.decode()])
        return sorted(places)[:limit] if query.latest is None else places

    def _mutate_here(
        self, key: str, operations: Sequence[Operation], cas: int | None, run: RunGuard | None
    ) -> Mutation:
        """Read the head, apply the operations here, and write the result under the token that was read."""
        for _ in range(MAX_COLLISIONS):
            answer = self.server.one(reading(key), key, writes=False)
            head, token = (None, None) if answer == 0 else (head_of(key, answer), token_of(key, answer))
            if fence(self, key, head, token, cas, run):
                return repeated(head, token, operations)
            assert head is not None
            if needs_whole(operations, answer[2]):
                break
            pushed = [operation for operation in operations if operation.field in HISTORY]
            changed = apply(head, [operation for operation in operations if operation.field not in HISTORY])
            touched = {operation.field for operation in operations if operation.field not in HISTORY} | changed.keys()
            resolved: list[Operation] = [*(Set(field, head[field]) for field in touched), *pushed]
            command = change(key, resolved, token, run)
            sent: Any = self.server.one(command, key) if command is not None else 0
            if sent != 0:
                done = changed_by(sent, resolved)
                more = {field: value for field, value in done.values.items() if field not in touched}
                return done._replace(values={**changed, **more})
            if self.read_with_cas(key, head=True)[1] == token:
                break  # no collision: too large for the script
        else:
            raise TooManyCollisions(f"{key} was changed by others {MAX_COLLISIONS} times in a row; this is not stored")
        return super().mutate(key, operations, cas, run)
