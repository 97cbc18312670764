"""Documents on a Couchbase cluster: each is a JSON document under its key, in the bucket or collection of the URL.

A change reads the paths that it needs, decides here, and sends the changed paths under the token of the reading; a
concurrent write makes it start again. So it costs the same however long the document is. Jobs that have not ended are
found by ZeroG's own index (``index``), all other jobs by SQL++ (``query``).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

from zerog.backends.couchbase.changes import Known, Reading, change, reading
from zerog.backends.couchbase.index import (
    DUE,
    FIRST,
    LAST,
    LOCKED,
    OPEN,
    RUNNING,
    UNREADABLE,
    OpenIndex,
    Places,
    is_job,
    new_places,
    places_of,
)
from zerog.backends.couchbase.query import JobQuery
from zerog.backends.couchbase.server import CouchbaseServer, options, sdk
from zerog.backends.couchbase.texts import decoded, encoded, shortened
from zerog.contracts.datastore import (
    MAX_COLLISIONS,
    Datastore,
    FindQuery,
    Mutation,
    Page,
    RunGuard,
    fence,
    repeated,
    without_history,
)
from zerog.contracts.find import CAP, Count, Heads, check_cap
from zerog.exceptions import AmbiguousWrite, CorruptDocument, DatastoreError, DocumentLocked, TooManyCollisions
from zerog.records.job import KEY_PREFIX, TERMINAL
from zerog.records.operations import Document, Operation, apply, check
from zerog.support import jsonvalues
from zerog.support.clock import SYSTEM

AT_ONCE = 100
"""Documents read by one call."""


class CouchbaseDatastore(Datastore):
    """Documents on the cluster of a URL, for example ``couchbase://user@host/bucket``."""

    can_find = True
    can_delete = True

    def __init__(self, server: CouchbaseServer | str) -> None:
        self.server = CouchbaseServer(server) if isinstance(server, str) else server
        self._index = OpenIndex(self.server)
        self._query = JobQuery(self.server)

    @property
    def durability(self) -> str:  # type: ignore[override]
        """The durability by the URL's option: data on a disk survives a power cut, data in memory doesn't."""
        return "fsync" if "persist" in self.server.address.durability else "process"

    @property
    def can_find_ended(self) -> bool:  # type: ignore[override]
        """Return True if there is a query service. Raises the errors of connecting."""
        return self._query.answers()

    def read_with_cas(self, key: str, head: bool = False) -> tuple[Document, int] | tuple[None, None]:
        try:
            answer = self.server.reading(key, lambda collection: collection.get(key))
        except sdk.DocumentNotFoundException:
            return None, None
        document = decoded(key, answer.value)
        return (without_history(document) if head else document), answer.cas

    def set_with_cas(self, key: str, value: Document, cas: int) -> tuple[Literal[True], int]:
        text = encoded(key, value, jsonvalues.MAX_BYTES if cas else jsonvalues.JOB_BYTES)
        if cas is None or not 0 <= cas < LOCKED:
            raise self.casException(f"{key} has another token than {cas}; nothing was written")
        return True, self._store(key, value, text, cas, places_of(value))

    def delete(self, key: str, cas: int | None = None) -> bool:
        if cas is not None and not 0 < cas < LOCKED:
            if self.read_with_cas(key)[1] is None:
                return False
            raise self.casException(f"{key} has another token than {cas}; it was not deleted")
        how = options.RemoveOptions(cas=cas or 0, **self.server.durable)
        try:
            self._written(key, lambda collection: collection.remove(key, how))
        except sdk.DocumentNotFoundException:
            return False
        except sdk.CasMismatchException:
            raise self.casException(f"{key} has another token than {cas}; it was not deleted") from None
        return True

    def mutate(
        self, key: str, operations: Sequence[Operation], cas: int | None = None, run: RunGuard | None = None
    ) -> Mutation:
        check(operations)
        needed = reading(operations)
        for _ in range(MAX_COLLISIONS):
            try:
                if needed is not None:
                    mutation = self._mutate_paths(key, needed, operations, cas, run)
                    if mutation is not None:
                        return mutation
                return self._mutate_whole(key, operations, cas, run)
            except sdk.CasMismatchException:
                SYSTEM.pause(random.uniform(0, 0.002))
        raise TooManyCollisions(f"{key} was changed by others {MAX_COLLISIONS} times in a row; this is not stored")

    def find(self, query: FindQuery) -> Page:
        """Return heads of the job documents that have all the given values.

        Unfinished jobs, and with ``due`` any, are found without the query service; all others by its answers.
        """
        _check_terms(query)
        start, limit = query.start, query.limit
        listed = _place_of(query)
        found: list[tuple[list[str], Document]] = []
        unreadable: list[str] = []
        stale: list[str] = []
        for keys, surely in self._keys(listed, query):
            for key, (head, token) in self._look(keys).items():
                if head is None and token:
                    unreadable.append(key)
                elif listed is not None and listed not in places_of(head):
                    stale.append(key)
                elif head is not None:
                    place = query.place(key, head)
                    if place is not None and query.is_ahead(place, start):
                        found.append((place, head))
            if sum(query.is_ahead(surely, place) for place, _ in found) > limit:
                break
        self._index.tidy(stale, self._look)
        page = sorted(found, key=lambda each: each[0], reverse=query.is_descending)
        more = jsonvalues.encode_checked(page[limit - 1][0]) if len(page) > limit else None
        return Page([head for _, head in page[:limit]], more, unreadable)

    def read_heads(self, keys: Sequence[str]) -> Heads:
        found, unreadable = dict[str, Document](), list[str]()
        for first in range(0, len(keys), AT_ONCE):
            for key, (head, token) in self._look(keys[first : first + AT_ONCE]).items():
                if head is not None:
                    found[key] = head
                elif token:
                    unreadable.append(key)
        return Heads(found, super().read_heads(unreadable).unreadable)

    def count(self, query: FindQuery, cap: int = CAP) -> Count:
        _check_terms(query)
        number, left, narrowed = 0, check_cap(cap) + 1, replace(query.narrowed, limit=AT_ONCE)
        listed = _place_of(query)
        for keys, _ in self._keys(listed, narrowed):
            some = keys[:left]
            if listed is None and not query.rest:
                number += len(some)  # all that the query service returns match
            else:
                heads = [head for head, _ in self._look(some).values() if head is not None]
                number += sum(query.place("", head) is not None for head in heads)
            left -= len(some)
            if not left:
                break
        return Count(min(number, cap), not left)

    def setup(self) -> list[str]:
        """Create the indexes for listing jobs that have ended, if there is a query service."""
        return self._query.make_indexes()

    def close(self) -> None:
        self.server.close()

    # reading

    def _look(self, keys: Sequence[str]) -> dict[str, tuple[Document | None, int]]:
        """Return the heads of documents and their tokens.

        (None, 0) for a missing one, (None, UNREADABLE) for an unreadable one.
        """
        heads: dict[str, tuple[Document | None, int]] = {}
        if not keys:
            return heads
        answer = self.server.reading(keys[0], lambda collection: collection.get_multi(list(keys)))
        for key in keys:
            error = answer.exceptions.get(key)
            try:
                if error is None:
                    stored = answer.results[key]
                    heads[key] = without_history(decoded(key, stored.value)), stored.cas
                elif isinstance(error, sdk.DocumentNotFoundException):
                    heads[key] = None, 0
                else:  # read alone it is returned, or raises its error
                    head, token = self.read_with_cas(key, head=True)
                    heads[key] = head, token or 0
            except CorruptDocument:
                heads[key] = None, UNREADABLE
        return heads

    def _keys(self, listed: str | None, query: FindQuery) -> Iterator[tuple[list[str], list[str]]]:
        """Yield batches of keys that may belong to a page, each with a place ahead of which no later one will be."""
        if listed is None:
            return self._queried(query) if query.time is None else self._queried_by_time(query)
        return self._listed(listed, query.start) if query.time is None else self._listed_by_time(listed, query)

    def _listed(self, place: str, start: list[str]) -> Iterator[tuple[list[str], list[str]]]:
        """Yield the keys that the index has in a place."""
        keys = [key for key in self._index.keys(place) if [key] > start]
        for number in range(0, len(keys), AT_ONCE):
            yield keys[number : number + AT_ONCE], keys[number + AT_ONCE : number + AT_ONCE + 1] or [LAST]

    def _listed_by_time(self, place: str, query: FindQuery) -> Iterator[tuple[list[str], list[str]]]:
        """Yield the keys whose time may match, by the first one in the query's order that each may have."""
        low, high = query.since or FIRST, LAST if query.latest is None else query.latest
        if query.start:
            low, high = (low, query.start[0]) if query.is_descending else (query.start[0], high)
        entries = [each for each in self._index.timed(place) if each.earliest <= high and each.latest >= low]
        if query.is_descending:
            entries.sort(key=lambda each: each.latest, reverse=True)
        for number in range(0, len(entries), AT_ONCE):
            surely = [FIRST if query.is_descending else LAST]
            if later := entries[number + AT_ONCE : number + AT_ONCE + 1]:
                surely = [later[0].latest, LAST] if query.is_descending else [later[0].earliest]
            yield [each.key for each in entries[number : number + AT_ONCE]], surely

    def _queried(self, query: FindQuery) -> Iterator[tuple[list[str], list[str]]]:
        """Yield the keys that the query service returns."""
        after = query.start[-1] if query.start else KEY_PREFIX
        while True:
            keys = self._query.keys(query.wanted, after, min(query.limit + 1, AT_ONCE))
            if not keys:
                return
            after = keys[-1]
            yield keys, [f"{after}\0"]

    def _queried_by_time(self, query: FindQuery) -> Iterator[tuple[list[str], list[str]]]:
        """Yield the keys that the query service returns in the order of a time."""
        start = query.start
        while places := self._query.by_time(query, start, min(query.limit + 1, AT_ONCE)):
            start = places[-1]
            yield [key for _, key in places], start if query.is_descending else [start[0], f"{start[1]}\0"]

    # writing

    def _store(self, key: str, document: Document, text: bytes, cas: int, places: Places) -> int:
        """Write a whole document, which enters ``places``; return its token. Raises ``casException``."""
        began = self._index.announce(key, places, cas)
        try:
            if cas:
                replacing = options.ReplaceOptions(cas=cas, **self.server.durable)
                answer = self._written(key, lambda collection: collection.replace(key, text, replacing))
            else:
                inserting = options.InsertOptions(**self.server.durable)
                answer = self._written(key, lambda collection: collection.insert(key, text, inserting))
        except (sdk.CasMismatchException, sdk.DocumentNotFoundException, sdk.DocumentExistsException):
            raise self.casException(f"{key} has another token than {cas}; nothing was written") from None
        self._index.confirm(key, places, answer.cas, began)
        return int(answer.cas)

    def _mutate_paths(
        self,
        key: str,
        needed: Reading,
        operations: Sequence[Operation],
        cas: int | None,
        run: RunGuard | None,
    ) -> Mutation | None:
        """Change path by path; None if the whole document is needed. Raises CasMismatchException to start again."""
        known = self._known(key, needed)
        if known is None:
            return None
        if fence(self, key, known.fields, known.token, cas, run):
            return None  # the answer to a repeated write needs the whole head
        sent = change(known, operations, None if run is None else run.seq)
        if sent is None or known.size + sent.growth > jsonvalues.JOB_BYTES:
            return None
        old, new = places_of(known.fields), places_of(sent.head)
        coming = new_places(old, new)
        began = self._index.announce(key, coming, known.token)
        how = options.MutateInOptions(cas=known.token, **self.server.durable)
        try:
            answer = self._written(key, lambda collection: collection.mutate_in(key, sent.specs, how))
        except (sdk.CasMismatchException, sdk.DocumentNotFoundException):
            raise sdk.CasMismatchException from None
        except sdk.CouchbaseException:
            return None  # an unexpected value, or one nested too deep: the whole document shows it
        self._index.confirm(key, coming, answer.cas, began)
        self._tidy_after(key, old, new)
        return Mutation(answer.cas, sent.values, sent.head.get("cancelRequested") is not None)

    def _known(self, key: str, needed: Reading) -> Known | None:
        """Return the values that were asked for; None if that is impossible path by path. Raises DocumentLocked."""
        try:
            answer = self.server.reading(key, lambda collection: collection.lookup_in(key, needed.specs))
        except sdk.CouchbaseException:
            return None
        if answer.cas == LOCKED:
            # A write would wait for the whole timeout, and its result would be unknown.
            raise DocumentLocked(f"another client holds a lock on {key} on {self.server.name}; nothing was written")
        answers: list[Any] = []
        for number in range(len(needed.specs)):
            try:
                answers.append(jsonvalues.decode(answer.content_as[bytes](number)))
            except sdk.PathNotFoundException:
                answers.append(_ABSENT)
            except (sdk.CouchbaseException, ValueError, RecursionError):
                return None
        size, fields, lengths = answers[0], answers[1 : 1 + len(needed.fields)], answers[1 + len(needed.fields) :]
        return Known(answer.cas, size, _present(needed.fields, fields), _present(needed.lists, lengths))

    def _mutate_whole(
        self, key: str, operations: Sequence[Operation], cas: int | None, run: RunGuard | None
    ) -> Mutation:
        """Change a document by reading and writing it as a whole. Raises CasMismatchException to start again."""
        document, token = self.read_with_cas(key)
        if fence(self, key, document, token, cas, run):
            return repeated(document, token, operations)
        assert document is not None and token is not None
        if token == LOCKED:
            raise DocumentLocked(f"another client holds a lock on {key} on {self.server.name}; nothing was written")
        old = places_of(document)
        changed = apply(document, operations)
        if run is not None and run.seq is not None:
            document["seq"] = run.seq
        text = shortened(key, document, operations, changed)
        try:
            written = self._store(key, document, text, token, new_places(old, places_of(document)))
        except self.casException:
            raise sdk.CasMismatchException from None
        self._tidy_after(key, old, places_of(document))
        return Mutation(written, changed, document.get("cancelRequested") is not None)

    def _tidy_after(self, key: str, old: Places, new: Places) -> None:
        if OPEN in old.keys() - new.keys() and RUNNING not in old and is_job(key):
            # A job that ran is met by every find of running jobs; no other find would meet this one.
            self._index.tidy([key], self._look)

    def _written(self, key: str, call: Any) -> Any:
        """Return a write's result. Raises AmbiguousWrite if the SDK reports only that it met a lock at some time."""
        try:
            return self.server.writing(key, call)
        except DocumentLocked as error:
            if self.read_with_cas(key)[1] == LOCKED:
                raise
            raise AmbiguousWrite(f"{key} was locked for a while, and may be written since: {error}") from error


_ABSENT = object()


def _check_terms(query: FindQuery) -> None:
    if query.terms:
        raise DatastoreError(
            f"CouchbaseDatastore has no index of attributes and errors; asked for {query.terms!r:.200}"
        )


def _place_of(query: FindQuery) -> str | None:
    """Return the place of the index with the jobs of a query; None if the query service has to list them."""
    if query.due is not None:
        return DUE
    if query.status is None or query.status in TERMINAL:
        return None
    return RUNNING if query.status == RUNNING else OPEN


def _present(names: Sequence[str], answers: Sequence[Any]) -> dict[str, Any]:
    return {name: value for name, value in zip(names, answers, strict=True) if value is not _ABSENT}
