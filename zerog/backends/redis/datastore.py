"""Documents on a Redis server; their storage, and the work on it, is in ``script``.

``body`` is the JSON of all fields that existed when the document was written whole, except those of APART, with a comma
in front and no braces; ``mutate`` doesn't rewrite it. A field that ``mutate`` has changed since is a field of the
document's hash and laid over the body when read. History entries are in separate lists, so that recording event 10,000
costs what event 1 cost.

The script applies what it can be sure of. It leaves everything else alone (a refusal; arithmetic on a field that only
the body has; integers beyond 15 digits), and ``mutate`` reads the document and writes by compare-and-swap.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal

from zerog.backends.redis.commands import (
    Command,
    change,
    changed_by,
    hash_name,
    head_of,
    json_of,
    needs_whole,
    reading,
    stored,
    text_of,
    token_of,
)
from zerog.backends.redis.indexes import (
    BY_TIME,
    CREATED,
    ENDED,
    STATUS,
    Index,
    count,
    counted,
    ended_of_type,
    having,
    incomplete,
    missing,
    parsed,
    term_number,
    term_places,
)
from zerog.backends.redis.server import RedisServer, server_of
from zerog.backends.redis.url import PREFIX
from zerog.contracts.datastore import (
    MAX_COLLISIONS,
    FindQuery,
    Mutation,
    Page,
    RunGuard,
    check_document,
    fence,
    repeated,
)
from zerog.contracts.find import CAP, Count, Heads, check_cap
from zerog.contracts.terms import Place, TermDatastore
from zerog.exceptions import (
    ConfigurationError,
    CorruptDocument,
    DatastoreError,
    DatastoreUnavailable,
    TooManyCollisions,
)
from zerog.records.attrs import Term
from zerog.records.fields import HISTORY
from zerog.records.job import STATUSES, TERMINAL
from zerog.records.operations import Document, Operation, Set, apply, check
from zerog.support import jsonvalues
from zerog.support.clock import SYSTEM, Clock

SORTED = 2_000
"""Jobs that wait or run, and aren't scheduled, are listed together by creation. If no more than this have the status in
question, and more have another one, all of those are read instead, lest they are searched for among many others."""

_OPEN = tuple(status for status in STATUSES if status not in TERMINAL)

AT_ONCE = 1_000
"""Heads read by one call."""

STALE = 2
"""The script's answer to a removal under another token."""


class RedisDatastore(TermDatastore):
    """Documents on the server of a URL, for example ``redis://localhost:6379/0?prefix=shop``."""

    scheme = "redis"
    can_find = True
    can_delete = True
    history_limit = 10_000
    constant_history = True

    def __init__(
        self,
        server: RedisServer | str | None = None,
        clock: Clock = SYSTEM,
        *,
        client: Any = None,
        prefix: str = PREFIX,
    ) -> None:
        """Take a URL, or the caller's own ``client``, a ``redis.Redis``, and the ``prefix`` of the app's keys for it.

        ``App(datastore=RedisDatastore(client=…))`` has the queue on the same server. Raises ConfigurationError.
        """
        self.server = server_of(server, clock, client, prefix)

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

    def read_heads(self, keys: Sequence[str]) -> Heads:
        found, unreadable = dict[str, Document](), list[str]()
        for first in range(0, len(keys), AT_ONCE):
            some = keys[first : first + AT_ONCE]
            for key, (head, token) in zip(some, self.heads_with_cas(some), strict=True):
                if head is not None:
                    found[key] = head
                elif token:
                    unreadable.append(key)
        return Heads(found, super().read_heads(unreadable).unreadable)

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
        if query.terms:
            return self.find_by_terms(query)
        index, limit, start = BY_TIME[query.time], query.limit, query.start
        group = CREATED.groups.get(query.status or "", query.status)
        if index is CREATED and group not in (None, query.status) and self._is_rare(query.status or "", str(group)):
            return self._sorted(query)
        found: dict[str, tuple[list[str], Document]] = {}
        unreadable: list[str] = []
        step = limit + 1
        while len(found) <= limit:
            listed = self._listed(query, start, step)
            heads = self.heads_with_cas([place[-1] for place, _ in listed])
            stale: list[list[str]] = []
            for (place, texts), (head, token) in zip(listed, heads, strict=True):
                key = place[-1]
                if head is None and token:
                    unreadable.append(key)
                    continue
                if index in (ENDED, CREATED) and index.place(head) != texts:
                    stale.append([*texts, key])
                if head is not None and query.place(key, head) == place:
                    found[key] = place, head
            if stale:  # changed since it was listed, or by code without this index
                self._correct(index, stale)
            if len(listed) < step:
                break
            start, step = listed[-1][0], max(step, min(2 * step, AT_ONCE))  # most of these didn't match
        return _page(list(found.values()), limit, unreadable)

    def count(self, query: FindQuery, cap: int = CAP) -> Count:
        check_cap(cap)
        if query.terms:
            return self.count_by_terms(query, cap)
        narrowed, job_type = query.narrowed, query.job_type
        there = counted(self.server, narrowed)
        if there is None:
            return super().count(query, cap)
        if not query.rest:
            return Count(min(there, cap), there > cap)
        if query.time is None and query.queue is None and job_type is not None and query.status not in _OPEN:
            ended = ended_of_type(self.server, job_type, query.status)
            if ended is not None:
                return self._count_type(query, ended, cap)
        return Count(self._compared(narrowed, query, cap), there > cap)

    def _count_type(self, query: FindQuery, ended: int, cap: int) -> Count:
        """Count a type of jobs, of which so many have ended: those that have not are compared."""
        number, is_capped = ended, ended > cap
        for status in _OPEN if query.status is None and not is_capped else ():
            number += self._compared(FindQuery(status), query, cap)
            is_capped |= number > cap or count(self.server, STATUS, status) > cap
        return Count(min(number, cap), is_capped)

    def _compared(self, narrowed: FindQuery, query: FindQuery, most: int) -> int:
        """Return how many of the first jobs of a narrowed query match the query."""
        number, start = 0, list[str]()
        while most > 0 and (listed := self._listed(narrowed, start, min(most, AT_ONCE))):
            start = listed[-1][0]
            most -= len(listed)
            number += self._tally([place[-1] for place, _ in listed], query)
        return number

    def places(self, term: Term, query: FindQuery, start: Place, limit: int) -> list[Place]:
        return term_places(self.server, term, query, start, limit)

    def number(self, term: Term, query: FindQuery, most: int) -> int:
        return min(most, term_number(self.server, term, query))

    def tally(self, places: Sequence[Place], term: Term, query: FindQuery) -> int:
        keys = having(self.server, [each for each in query.terms if each != term], places)
        return self._tally(keys, query) if query.rest else len(keys)

    def _tally(self, keys: list[str], query: FindQuery) -> int:
        """Return how many of these jobs have the values that an index doesn't show."""
        fields = [text for field, value in query.rest.items() for text in (hash_name(field), text_of(value, field))]
        number, unsure = self.server.one({"command": "tally", "keys": keys, "fields": fields}, "count", writes=False)
        heads = self.read_heads([key.decode() for key in unsure]).found.values() if unsure else ()
        return int(number) + sum(query.place("", head) is not None for head in heads)

    def setup(self) -> list[str]:
        """Enter the jobs that older code has stored or ended into the indexes that it doesn't maintain."""
        listed = {
            index.name: sum(self._list(index, status) for status in incomplete(self.server, index))
            for index in (ENDED, CREATED)
        }
        return [f"{count} entries of the index {self.server.prefix}{name}" for name, count in listed.items() if count]

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

    def _is_rare(self, status: str, group: str) -> bool:
        number = count(self.server, STATUS, status)
        return number <= min(SORTED, count(self.server, CREATED, group) - number)

    def _sorted(self, query: FindQuery) -> Page:
        """Answer a query by creation for a status that few jobs have: by reading all of these."""
        found: list[tuple[list[str], Document]] = []
        unreadable: list[str] = []
        start, after = query.start, list[str]()
        while listed := self._listed(FindQuery(query.status), after, 1_000):
            keys, after = [place[-1] for place, _ in listed], listed[-1][0]
            for key, (head, token) in zip(keys, self.heads_with_cas(keys), strict=True):
                place = None if head is None else query.place(key, head)
                if head is None and token:
                    unreadable.append(key)
                elif head is not None and place is not None and query.is_ahead(place, start):
                    found.append((place, head))
        found.sort(key=lambda each: each[0], reverse=query.is_descending)
        return _page(found, query.limit, unreadable)

    def _list(self, index: Index, status: str) -> int:
        """Enter all jobs of a status into an index; return how many were missing."""
        count, start, groups = 0, list[str](), set(index.groups.values())
        while listed := self._listed(FindQuery(status), start, 1_000):
            keys, start = [place[-1] for place, _ in listed], listed[-1][0]
            heads = dict(zip(keys, self.heads_with_cas(keys), strict=True))
            for key in missing(self.server, index, [(key, head) for key, (head, _) in heads.items() if head]):
                head, token = heads[key]
                assert head is not None
                kept = [Set(field, head[field]) for field in index.fields[1:]]  # where the script reads them
                with suppress(self.casException):  # a concurrent change lists it
                    self.mutate(key, kept, cas=token)
                    self._correct(index, [[group, *(index.place(head) or ())[1:], key] for group in groups])
                    count += 1
        return count

    def _correct(self, index: Index, members: list[list[str]]) -> None:
        """Correct an index at these places, each with its key, by the documents as they are now."""
        self.server.one({"command": "list", "index": index.name, "members": members}, "the indexes of jobs")

    def _listed(self, query: FindQuery, start: list[str], limit: int) -> list[tuple[list[str], list[str]]]:
        """Return the next members of the query's index: each place in the query's order, and in the index."""
        command: Command = {"command": "find", "limit": str(limit)}
        status = query.status if query.order is None else CREATED.groups.get(query.status or "", query.status)
        words = {"order": query.order, "due": query.due, "status": status, "since": query.since}
        if query.until is not None:
            words |= {"job_type": query.job_type, "until_time": query.until}
        command |= {word: text for word, text in words.items() if text is not None}
        if start:
            command["after"] = start
        index = BY_TIME[query.time]
        listed = []
        for members in self.server.one(command, "find", writes=False):
            for member in members:
                texts, key = parsed(index, member)
                listed.append(([key] if query.time is None else [texts[-1], key], texts))
        return sorted(listed, reverse=query.is_descending)[:limit]

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


def _page(found: list[tuple[list[str], Document]], limit: int, unreadable: list[str]) -> Page:
    more = jsonvalues.encode_checked(found[limit - 1][0]) if len(found) > limit else None
    return Page([head for _, head in found[:limit]], more, unreadable)
