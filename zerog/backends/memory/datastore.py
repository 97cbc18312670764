"""The reference datastore: documents in this process, lost with it.

It stores serialized text, never the caller's objects, so that a test on it can't pass with a value that a real server
would refuse. Heads and history are separate, as in the adapters for servers.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain, count
from typing import Any, Literal

from zerog.contracts.datastore import (
    Datastore,
    FindQuery,
    Mutation,
    Page,
    RunGuard,
    check_document,
    fence,
    repeated,
)
from zerog.contracts.find import CAP, Count, check_cap
from zerog.exceptions import CorruptDocument
from zerog.records.fields import HISTORY
from zerog.records.operations import Add, Append, Document, Operation, apply, check, dropped_field
from zerog.records.room import fitting, is_measured, limit_of
from zerog.support import jsonvalues


class _Record:
    """One document: the text of its head, the texts of its history entries, its token."""

    __slots__ = ("head", "history", "token")

    def __init__(self, head: str, history: dict[str, list[str]], token: int) -> None:
        self.head = head
        self.history = history
        self.token = token


class MemoryDatastore(Datastore):
    """Documents in a dict, under one lock."""

    durability = "process"
    can_find = can_find_terms = True
    can_delete = True
    history_limit = 10_000
    constant_history = True
    shared = False

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}
        self._tokens = count(1)
        self._lock = threading.Lock()

    def read_with_cas(self, key: str, head: bool = False) -> tuple[Document, int] | tuple[None, None]:
        with self._lock:
            record = self._records.get(key)
            if record is None:
                return None, None
            history = {} if head else {field: list(texts) for field, texts in record.history.items()}
            text, token = record.head, record.token
        document = _decode(key, text)
        for field, texts in history.items():
            document[field] = [_decode(key, entry, dict_only=False) for entry in texts]
        return document, token

    def set_with_cas(self, key: str, value: Document, cas: int) -> tuple[Literal[True], int]:
        head, history = _encode(key, value, jsonvalues.MAX_BYTES if cas else jsonvalues.JOB_BYTES)
        with self._lock:
            record = self._records.get(key)
            if (record.token if record else 0) != cas:
                raise self.casException(f"{key} has another token than {cas}; nothing was written")
            return True, self._store(key, head, history)

    def set(self, key: str, value: Document) -> int:
        head, history = _encode(key, value)
        with self._lock:
            return self._store(key, head, history)

    def delete(self, key: str, cas: int | None = None) -> bool:
        with self._lock:
            record = self._records.get(key)
            if record is None:
                return False
            if cas is not None and cas != record.token:
                raise self.casException(f"{key} has another token than {cas}; it was not deleted")
            del self._records[key]
            return True

    def mutate(
        self, key: str, operations: Sequence[Operation], cas: int | None = None, run: RunGuard | None = None
    ) -> Mutation:
        check(operations)
        with self._lock:
            record = self._records.get(key)
            head = _decode(key, record.head) if record else None
            token = record.token if record else None
            if fence(self, key, head, token, cas, run):
                return repeated(head, token, operations)
            assert record is not None and head is not None
            history = _History(record.history)
            changed = _apply(head, history, operations)
            if run is not None and run.seq is not None:
                head["seq"] = run.seq
            record.head = jsonvalues.encode_checked(head, key, limit_of(operations))
            history.commit()
            record.token = next(self._tokens)
            return Mutation(record.token, changed, head.get("cancelRequested") is not None)

    def find(self, query: FindQuery) -> Page:
        with self._lock:
            texts = [(key, record.head) for key, record in self._records.items()]
        start = query.start
        found: list[tuple[list[str], Document]] = []
        unreadable: list[str] = []
        for key, text in texts:
            try:
                head = _decode(key, text)
            except CorruptDocument:
                unreadable.append(key)
                continue
            place = query.place(key, head)
            if place is not None and query.is_ahead(place, start):
                found.append((place, head))
        found.sort(key=lambda pair: pair[0], reverse=query.is_descending)
        page = found[: query.limit + 1]
        more = len(page) > query.limit
        last = jsonvalues.encode_checked(page[query.limit - 1][0]) if more else None
        return Page([head for _, head in page[: query.limit]], last, unreadable if query.after is None else ())

    def count(self, query: FindQuery, cap: int = CAP) -> Count:
        number, most = 0, check_cap(cap)
        with self._lock:
            texts = [(key, record.head) for key, record in self._records.items()]
        for key, text in texts:
            with suppress(CorruptDocument):
                number += query.place(key, _decode(key, text)) is not None
            if number > most:
                return Count(most, is_capped=True)
        return Count(number)

    def _store(self, key: str, head: str, history: dict[str, list[str]]) -> int:
        token = next(self._tokens)
        self._records[key] = _Record(head, history, token)
        return token


def _encode(key: str, document: Document, limit: int = jsonvalues.MAX_BYTES) -> tuple[str, dict[str, list[str]]]:
    check_document(key, document)
    history = {field: document[field] for field in HISTORY if type(document.get(field)) is list}
    head = {field: value for field, value in document.items() if field not in history}
    texts = {field: [jsonvalues.encode_checked(entry) for entry in entries] for field, entries in history.items()}
    return jsonvalues.encode_checked(head, key, limit), texts


def _decode(key: str, text: str, dict_only: bool = True) -> Any:
    try:
        value = jsonvalues.decode(text)
    except (ValueError, RecursionError) as error:
        raise CorruptDocument(f"{key} holds no JSON ({error}); it was left as it is") from None
    if dict_only and type(value) is not dict:
        raise CorruptDocument(f"{key} holds {text[:60]!r}, not a JSON object; it was left as it is")
    return value


class _History:
    """The history of one document while operations are applied; the stored lists change only at ``commit``."""

    def __init__(self, stored: dict[str, list[str]]) -> None:
        self._stored = stored
        self._base: dict[str, list[str] | None] = dict(stored)
        self._added: dict[str, list[str]] = {}
        self._dropped: dict[str, int] = {}

    def append(self, field: str, text: str, keep: int | None) -> int:
        """Add one entry; return how many are dropped from the front."""
        base = self._base.get(field)
        if base is None:
            base = self._base[field] = []
        added = self._added.setdefault(field, [])
        added.append(text)
        dropped = self._dropped.get(field, 0)
        if keep is not None and is_measured(len(text)):
            newest = chain(reversed(added), reversed(base))
            keep = min(keep, fitting(len(entry.encode()) for entry in newest))
        overflow = 0 if keep is None else max(0, len(base) + len(added) - dropped - keep)
        self._dropped[field] = dropped + overflow
        return overflow

    def take(self, field: str) -> list[Any] | None:
        """Remove and return the whole list; None if there is none."""
        base = self._base.get(field)
        if base is None:
            return None
        texts = [*base, *self._added.pop(field, ())][self._dropped.pop(field, 0) :]
        self._base[field] = None
        return [jsonvalues.decode(text) for text in texts]

    def put(self, field: str, entries: list[Any]) -> None:
        """Store this list from now on."""
        self._base[field] = [jsonvalues.encode_checked(entry, field) for entry in entries]

    def commit(self) -> None:
        for field, base in self._base.items():
            if base is None:
                self._stored.pop(field, None)
                continue
            base.extend(self._added.get(field, ()))
            del base[: self._dropped.get(field, 0)]
            self._stored[field] = base


def _apply(head: Document, history: _History, operations: Sequence[Operation]) -> Document:
    """Apply in order; an append to a stored history list touches only its end."""
    changed: Document = {}
    for operation in operations:
        field = operation.field
        if field not in HISTORY or (type(operation) is Append and head.get(field) is not None):
            apply(head, [operation], changed)
        elif type(operation) is Append:
            head.pop(field, None)
            changed.pop(field, None)
            overflow = history.append(field, jsonvalues.encode_checked(operation.value, field), operation.keep)
            if overflow:
                apply(head, [Add(dropped_field(field), overflow)], changed)
        else:
            entries = history.take(field)
            whole = {field: entries} if entries is not None else {f: head.pop(f) for f in (field,) if f in head}
            apply(whole, [operation], changed)
            if type(whole.get(field)) is list:
                history.put(field, whole[field])
            elif field in whole:
                head[field] = whole[field]
    return changed
