"""Documents in a MongoDB collection, one each; ``values`` describes how they are stored.

``mutate`` is one update in most cases, made by ``updates``. If that changes nothing, the document is read: it shows why
the change is refused, or that it was done before, or it is changed here and written by compare-and-swap.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

from zerog.backends.mongo.server import COLLECTION, MAX_BSON, MongoServer, decoded, encoded
from zerog.backends.mongo.updates import SURE_BYTES, update_for
from zerog.backends.mongo.values import HEAD, field_name, from_stored, indexed_term, to_stored, to_value
from zerog.contracts.datastore import FindQuery, Mutation, Page, RunGuard, check_document
from zerog.contracts.find import CAP, Count, Heads, check_cap
from zerog.contracts.terms import Place, TermDatastore
from zerog.exceptions import ConfigurationError, CorruptDocument, DatastoreError, InvalidValue
from zerog.records.attrs import Term
from zerog.records.operations import Document, Operation, Remove, check, present
from zerog.support import jsonvalues

INDEXES = {
    "zerog_status": ("status", "_id"),
    "zerog_due": ("due", "_id"),
    "zerog_end": ("status", "jobType", "finishedAt", "_id"),
    "zerog_creation": ("createdAt", "_id"),
    "zerog_status_creation": ("status", "createdAt", "_id"),
    "zerog_attrs": ("_attrs", "createdAt", "_id"),
    "zerog_errors": ("_lastError", "createdAt", "_id"),
}
"""The indexes made by ``setup``, so that ``find`` reads little more than it returns."""

AT_ONCE = 1_000
"""Heads read by one query."""

_SOME = {
    "zerog_end": {"finishedAt": {"$gt": ""}},
    "zerog_attrs": {"_attrs": {"$exists": True}},
    "zerog_errors": {"_lastError": {"$exists": True}},
}
"""The documents in an index, if not all: a job that has not ended costs nothing there."""

_LARGEST = 2**63 - 1


class MongoDatastore(TermDatastore):
    """Documents in the database of a URL, for example ``mongodb://localhost:27017/zerog``."""

    can_find = True
    can_delete = True

    def __init__(
        self,
        server: MongoServer | str | None = None,
        *,
        client: Any = None,
        database: str = "zerog",
        collection: str = COLLECTION,
    ) -> None:
        """Take a URL, or the caller's own ``client``: pymongo's, or an object that acts like it (mongomock's).

        ``database`` and ``collection`` are for a client; a URL names its own. Raises ConfigurationError.
        """
        if (server is None) == (client is None):
            raise ConfigurationError("MongoDatastore needs either a URL or client=…, and not both")
        if server is None:
            from zerog.backends.mongo.client import (
                server_of,  # after mongoserver, which names the extra if pymongo is missing
            )

            self.server: MongoServer = server_of(client, database, collection)
        else:
            self.server = MongoServer(server) if isinstance(server, str) else server
        self.shared = not self.server.is_stand_in  # type: ignore[misc]
        self.forkable = client is None  # type: ignore[misc]
        self._has_pipelines = not self.server.is_stand_in

    @property
    def durability(self) -> str | None:  # type: ignore[override]
        """The durability by the write concern and, unless that is ``majority``, the deployment; None if unknown."""
        server = self.server
        if server.is_stand_in:
            return "process"
        journaled = "fsync" if server.journal else "1s"
        if server.w == "majority":
            return journaled
        if isinstance(server.w, str):  # by tags, defined only in its configuration
            return None
        try:
            hello = server.ask("durability", "hello")
        except (ConfigurationError, DatastoreError):
            return None
        is_alone = "setName" not in hello and hello.get("msg") != "isdbgrid"
        return journaled if is_alone else "process"  # a failover may lose it

    def read_with_cas(self, key: str, head: bool = False) -> tuple[Document, int] | tuple[None, None]:
        with self.server.translated(key, writes=False):
            stored = self.server.collection.find_one({"_id": key}, HEAD if head else None)
        return (None, None) if stored is None else from_stored(key, stored)

    def set_with_cas(self, key: str, value: Document, cas: int) -> tuple[Literal[True], int]:
        check_document(key, value)
        if cas == 0:
            token = _first_token()
            stored = _checked(key, to_stored(key, value, token), value, jsonvalues.JOB_BYTES)
            with self.server.translated(key):
                self.server.collection.insert_one(self.server.packed(stored))
            return True, token
        if cas is None or not 0 < cas < _LARGEST:
            raise self.casException(f"{key} can't have the token {cas}; nothing was written")
        stored = _checked(key, to_stored(key, value, cas + 1), value)
        with self.server.translated(key):
            found = self.server.collection.replace_one(
                {"_id": key, "_cas": cas}, self.server.packed(stored)
            ).matched_count
        if not found:
            raise self.casException(f"{key} has another token than {cas}; nothing was written")
        return True, cas + 1

    def delete(self, key: str, cas: int | None = None) -> bool:
        wanted: Document = {"_id": key}
        if cas is not None:
            wanted["_cas"] = cas if 0 < cas < _LARGEST else 0  # a token that no document has
        with self.server.translated(key):
            deleted = self.server.collection.delete_one(wanted).deleted_count
        if not deleted and cas is not None and self.read_with_cas(key, head=True)[1] is not None:
            raise self.casException(f"{key} has another token than {cas}; it was not deleted")
        return bool(deleted)

    def mutate(
        self, key: str, operations: Sequence[Operation], cas: int | None = None, run: RunGuard | None = None
    ) -> Mutation:
        check(operations)
        update = update_for(key, operations, cas, run, _size(operations)) if self._has_pipelines else None
        if update is not None:
            with self.server.translated(key):
                stored = self.server.collection.find_one_and_update(
                    update.filter, update.pipeline, update.projection, return_document=True
                )
            if stored is not None:
                changed, token = from_stored(key, stored)
                answer = present({**changed, **update.known}, operations)
                return Mutation(token, answer, changed.get("cancelRequested") is not None)
        return super().mutate(key, operations, cas, run)

    def read_heads(self, keys: Sequence[str]) -> Heads:
        found, unreadable = dict[str, Document](), dict[str, CorruptDocument]()
        for first in range(0, len(keys), AT_ONCE):
            some = {"_id": {"$in": list(keys[first : first + AT_ONCE])}}
            with self.server.translated("reading many", writes=False):
                rows = list(self.server.undecoded().find(some, HEAD, batch_size=AT_ONCE))
            heads, damaged = _readable(rows)
            found |= heads
            unreadable |= damaged
        return Heads(found, unreadable)

    def find(self, query: FindQuery) -> Page:
        if query.terms:
            return self.find_by_terms(query)
        limit, wanted = query.limit, _filter(query)
        way = -1 if query.is_descending else 1
        order = [("_id", way)] if query.time is None else [(query.time, way), ("_id", way)]
        with self.server.translated("find", writes=False):
            rows = list(self.server.undecoded().find(wanted, HEAD, sort=order, limit=limit + 1, batch_size=limit + 1))
        heads, damaged = _readable(rows[:limit])
        if len(rows) <= limit:
            return Page([*heads.values()], None, [*damaged])
        last = rows[limit - 1]
        return Page([*heads.values()], jsonvalues.encode_checked([last[name] for name, _ in order]), [*damaged])

    def count(self, query: FindQuery, cap: int = CAP) -> Count:
        check_cap(cap)
        if query.terms:
            return self.count_by_terms(query, cap)
        limit, rest, wanted = cap + 1, query.rest, _filter(query.narrowed)
        with self.server.translated("count", writes=False):
            if not rest:
                number = looked_at = int(self.server.collection.count_documents(wanted, limit=limit))
            else:
                rows = list(self.server.undecoded().find(wanted, dict.fromkeys(rest, True), limit=limit))
                number = sum(_has(row, rest) for row in rows)
                looked_at = len(rows)
        return Count(min(number, cap), looked_at > cap)

    def places(self, term: Term, query: FindQuery, start: Place, limit: int) -> list[Place]:
        way = -1 if query.is_descending else 1
        wanted = _of_term(term, replace(query, after=jsonvalues.encode_checked(start) if start else None))
        order, names = [("createdAt", way), ("_id", way)], {"createdAt": True}
        with self.server.translated("find", writes=False):
            rows = self.server.collection.find(wanted, names, sort=order, limit=limit, batch_size=limit)
            return [[row["createdAt"], row["_id"]] for row in rows]

    def number(self, term: Term, query: FindQuery, most: int) -> int:
        with self.server.translated("count", writes=False):
            return int(self.server.collection.count_documents(_of_term(term, replace(query, after=None)), limit=most))

    def tally(self, places: Sequence[Place], term: Term, query: FindQuery) -> int:
        whole = replace(query, after=None)
        wanted = [{"_id": {"$in": [key for _, key in places]}}, _filter(whole)]
        wanted += [_of_term(each, whole) for each in query.terms]
        with self.server.translated("count", writes=False):
            return int(self.server.collection.count_documents({"$and": wanted}))

    def setup(self) -> list[str]:
        with self.server.translated("setup"):
            collection = self.server.collection
            there = collection.index_information()
            for name, fields in INDEXES.items():
                options: dict[str, Any] = {"partialFilterExpression": _SOME[name]} if name in _SOME else {}
                collection.create_index([(field, 1) for field in fields], name=name, **options)
        return [f"index {name} of {self.server.collection_name}" for name in INDEXES if name not in there]

    def about(self) -> str:
        if self.server.is_stand_in:
            return f"{self.server.name}, in the memory of this process"
        version = self.server.ask("its version", "buildInfo").get("version", "of an unknown version")
        name = self.server.ask("its version", "hello").get("setName")
        where = f"replica set {name}" if name else "no replica set"
        journal = "journaled" if self.server.journal else "not journaled at once"
        return f"MongoDB {version} ({where}, w={self.server.w}, {journal})"

    def close(self) -> None:
        self.server.close()


def _readable(rows: Sequence[Any]) -> tuple[dict[str, Document], dict[str, CorruptDocument]]:
    """Return the heads in undecoded documents, in order, and the errors of those that can't be read; by key."""
    heads, unreadable = dict[str, Document](), dict[str, CorruptDocument]()
    for row in rows:
        try:
            heads[row["_id"]] = from_stored(row["_id"], decoded(row))[0]
        except CorruptDocument as error:
            unreadable[row["_id"]] = error
    return heads, unreadable


def _has(row: Any, values: Document) -> bool:
    """Return True if an undecoded document has these values."""
    with suppress(CorruptDocument):
        stored = decoded(row)
        return all(stored.get(field) == value for field, value in values.items())
    return False


def _filter(query: FindQuery) -> dict[str, Any]:
    """Return the filter of a page: a field that is a list never matches, though the server compares its elements."""
    place, time = query.start, query.time
    ahead = "$lt" if query.is_descending else "$gt"
    wanted: dict[str, Any] = {"status": {"$type": "string"}, "_id": {"$gt": ""}}
    wanted |= {field: {"$eq": value} for field, value in query.wanted.items()}
    if time is None:
        wanted["_id"] = {"$gt": place[0] if place else ""}
    else:
        wanted[time] = {"$gte": query.since or ""}
        if time == "finishedAt":
            wanted[time]["$gt"] = ""  # required for the index, which has only such documents
        if query.latest is not None:
            wanted[time]["$lte"] = query.latest
        if place:
            wanted[time][f"{ahead}e"] = place[0]
            wanted["$or"] = [{time: {ahead: place[0]}}, {"_id": {ahead: place[1]}}]
    for field in wanted.keys() - {"_id", "$or"}:
        wanted[field]["$not"] = {"$type": "array"}
    return wanted


def _of_term(term: Term, query: FindQuery) -> dict[str, Any]:
    """Return the filter of the jobs that have a term."""
    narrowed = _filter(replace(query, status=None, job_type=None, queue=None))
    return {**narrowed, "_attrs" if term.name else "_lastError": {"$exists": True, "$eq": indexed_term(term)}}


def _checked(key: str, stored: Document, document: Document, limit: int = jsonvalues.MAX_BYTES) -> Any:
    """Return the encoded document, if it is not too large. Raises InvalidValue with its size."""
    body = encoded(stored)
    size = len(body.raw)
    if size > MAX_BSON:
        raise InvalidValue(f"{key} takes {size:,} bytes as BSON; MongoDB stores at most {MAX_BSON:,}")
    if size > SURE_BYTES:
        jsonvalues.encode_checked(document, key, limit)
    return body


def _size(operations: Sequence[Operation]) -> int:
    """Return how many bytes of BSON the operations may add to a document, or a little more."""
    added = {
        str(n): [field_name(o.field), to_value(o[1])] for n, o in enumerate(operations) if not isinstance(o, Remove)
    }
    return len(encoded(added).raw) + 64


def _first_token() -> int:
    """Return a random first token for a new document, so that it differs from those of a deleted one of that key."""
    return int.from_bytes(os.urandom(6)) + 1
