"""The documents of one bucket: tokens, locks, collections."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from tests.backends.couchbase.standin.protocol import LOCKED_CAS, Refused, Status

Place = tuple[int, bytes]
"""A collection's number and a key."""


@dataclass
class Document:
    """One document; ``locked_until`` by the monotonic clock, 0 if it isn't locked."""

    text: bytes
    flags: int
    cas: int
    locked_until: float = 0.0

    @property
    def is_locked(self) -> bool:
        return self.locked_until > time.monotonic()

    @property
    def shown_cas(self) -> int:
        """The token that a reader gets."""
        return LOCKED_CAS if self.is_locked else self.cas

    @property
    def meta(self) -> dict[str, Any]:
        """The virtual attribute that every document has."""
        return {"$document": {"value_bytes": len(self.text), "CAS": f"{self.cas:#018x}"}}


class Bucket:
    """Documents under keys. Every change holds ``lock``."""

    def __init__(self, collections: list[tuple[str, str]], largest: int) -> None:
        self.lock = threading.RLock()
        self.documents: dict[Place, Document] = {}
        self.collections = {("_default", "_default"): 0}
        self.numbers = {0}
        for name in collections:
            self.add(name)
        self._largest = largest
        self._cas = 0

    def add(self, name: tuple[str, str]) -> None:
        """Add a collection."""
        with self.lock:
            number = self.collections.setdefault(name, len(self.collections) + 8)
            self.numbers.add(number)

    def collection(self, scope: str, name: str) -> int:
        """The number of a collection."""
        if (scope, name) in self.collections:
            return self.collections[scope, name]
        known = any(scope == each for each, _ in self.collections)
        raise Refused(Status.UNKNOWN_COLLECTION if known else Status.UNKNOWN_SCOPE)

    def texts(self, scope: str, name: str) -> dict[str, str]:
        """The documents of a collection by their keys."""
        with self.lock:
            number = self.collection(scope, name)
            return {
                key.decode(): document.text.decode() for (at, key), document in self.documents.items() if at == number
            }

    def present(self, place: Place) -> Document:
        """The document there."""
        if place not in self.documents:
            raise Refused(Status.NOT_FOUND)
        return self.documents[place]

    def check(self, document: Document, cas: int) -> None:
        """Refuse a change under a stale token, and of a locked document under any but the lock's."""
        if document.is_locked:
            if cas != document.cas:
                raise Refused(Status.LOCKED)
        elif cas and cas != document.cas:
            raise Refused(Status.EXISTS)

    def store(self, place: Place, text: bytes, flags: int) -> int:
        """Store a document; return its token."""
        if len(text) > self._largest:
            raise Refused(Status.TOO_BIG)
        cas = self.next_cas()
        self.documents[place] = Document(text, flags, cas)
        return cas

    def next_cas(self) -> int:
        """Return a token that was never used before."""
        self._cas = max(self._cas + 0x10000, time.time_ns() & ~0xFFFF)
        return self._cas
