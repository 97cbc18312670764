"""The datastore contract: documents under keys, every write protected by compare-and-swap.

An adapter subclasses ``Datastore``. It must write ``read_with_cas`` and ``set_with_cas``; everything else has a
correct, slower form here that is built from those two. An adapter overrides what its server does better, and declares
in the class attributes what it can and can't do. ``zerog.testing.contracts.datastore`` defines all this by tests.

Duties of every adapter:

- A document is a dict of JSON values and is read as it was written: types, order of lists, 64-bit integers.
- A token is an opaque integer greater than 0. Every write makes a new one, never used before under that key.
- A write has three answers: done (returns), refused (``casException``, ``lockedException``, ``ClaimLost``,
  ``InvalidValue``, ``DatastoreUnavailable``: nothing changed) and unknown (``AmbiguousWrite``: it may have
  happened). An adapter never retries a write.
- An update never creates a missing document.
- Every call may be made from any thread and, after a fork, from the child.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, Literal, NamedTuple

from zerog.contracts.find import CAP, Count, Heads, check_cap
from zerog.contracts.find import FindQuery as FindQuery
from zerog.contracts.find import Page as Page
from zerog.contracts.troubles import Trouble
from zerog.exceptions import (
    CasMismatch,
    ClaimLost,
    CorruptDocument,
    DatastoreError,
    DocumentLocked,
    InvalidValue,
    TooManyCollisions,
)
from zerog.records.fields import HISTORY
from zerog.records.operations import Document, Operation, apply, check, present
from zerog.records.room import limit_of, make_room
from zerog.support import jsonvalues
from zerog.support.clock import SYSTEM

MAX_COLLISIONS = 200
"""Retries of a change after concurrent writes."""


STEP = 1_000
"""Heads read at a time by a count."""


class Mutation(NamedTuple):
    """The result of ``mutate``."""

    token: int
    """The document's token after the change."""
    values: Document
    """The present values of the changed fields, without the lists that were appended to."""
    cancel_requested: bool
    """True if the job is to be cancelled."""


class RunGuard(NamedTuple):
    """The run that a write is for.

    A run is named by its nonce. The epoch is not enough: a store that was rolled back gives the same epochs again.
    """

    epoch: int
    nonce: str | None
    seq: int | None = None
    """The number of a write of the run itself; None only checks that the run owns the document."""

    @classmethod
    def of(cls, head: Document) -> RunGuard:
        """Return the run that a document names as its owner."""
        return cls(head.get("epoch"), _nonce(head))  # type: ignore[arg-type]

    def owns(self, head: Document) -> bool:
        """True if the document names this run as its owner."""
        return head.get("owner") is not None and (self.epoch, self.nonce) == (head.get("epoch"), _nonce(head))

    def has_ended(self, head: Document) -> bool:
        """True if the document has no owner and this run's last write was the last one of its epoch.

        A document without ``run`` was claimed by code that didn't keep the nonce: epoch and number decide alone.
        """
        is_named = head.get("run", self.nonce) == self.nonce
        return head.get("owner") is None and is_named and self.epoch == head.get("epoch")


def _nonce(head: Document) -> Any:
    owner = head.get("owner")
    return owner.get("nonce") if isinstance(owner, dict) else None


class Datastore:
    """Stores documents. See the module's text for the duties of a subclass."""

    casException: ClassVar[type[Exception]] = CasMismatch
    lockedException: ClassVar[type[Exception]] = DocumentLocked

    durability: ClassVar[str | None] = None
    """Durability of a write that returned: ``fsync`` (survives a power cut), ``1s`` (all but the last second of one),
    ``process`` (nothing beyond this process), None (unknown)."""
    can_find: ClassVar[bool] = False
    """True if ``find`` works. Without it nothing can be reconciled."""
    can_find_ended: ClassVar[bool] = True
    """True if ``find`` lists ended jobs, too; else it needs the status of unfinished ones, or ``due``."""
    can_find_terms: ClassVar[bool] = False
    """True if ``find`` and ``count`` heed ``attrs`` and ``error`` of a query."""
    can_delete: ClassVar[bool] = False
    """True if ``delete`` works. Without it no ended job is ever removed."""
    history_limit: ClassVar[int] = 1_000
    """Entries kept in each of the history lists of a job, unless the caller sets another number."""
    constant_history: ClassVar[bool] = False
    """True if appending to a long history costs what appending to a short one does."""
    shared: ClassVar[bool] = True
    """True if other processes see the same documents."""
    forkable: ClassVar[bool] = True
    """True if a forked child may use what its parent has made, by connections of its own."""
    collisions: int = 0
    """Writes that were made again since another one had changed the document; a worker takes them into its figures."""
    scheme: ClassVar[str | None] = None
    """The scheme of its URLs, if its backend makes one engine of such a datastore and a queue on the same server."""

    def read_with_cas(self, key: str, head: bool = False) -> tuple[Document, int] | tuple[None, None]:
        """Return the document under ``key`` and its token, or ``(None, None)``; with ``head`` without its history.

        The caller owns the document. Raises CorruptDocument if the stored value is no document.
        """
        raise NotImplementedError

    def read_heads(self, keys: Sequence[str]) -> Heads:
        """Return the heads of the documents under ``keys``, as of one time or several; an adapter reads many at once.

        The caller owns them. Raises what ``read_with_cas`` raises, but for CorruptDocument, which is returned.
        """
        found, unreadable = dict[str, Document](), dict[str, CorruptDocument]()
        for key in keys:
            try:
                head = self.read_with_cas(key, head=True)[0]
            except CorruptDocument as error:
                unreadable[key] = error
            else:
                found |= {} if head is None else {key: head}
        return Heads(found, unreadable)

    def set_with_cas(self, key: str, value: Document, cas: int) -> tuple[Literal[True], int]:
        """Store ``value`` if the token is still ``cas``; ``cas=0`` means that no document exists yet.

        Returns ``(True, new token)``. Raises ``casException`` for a stale token, for ``cas=0`` where a document exists,
        and for any other token where none does.
        """
        raise NotImplementedError

    def read(self, key: str) -> Document | None:
        """Return the document under ``key``, or None."""
        return self.read_with_cas(key)[0]

    def create(self, key: str, value: Document) -> int:
        """Store a new document and return its token. Raises ``casException`` if one exists already."""
        return self.set_with_cas(key, value, 0)[1]

    def update_with_cas(self, key: str, value: Document, cas: int) -> tuple[Literal[True], int]:
        """Do ``set_with_cas`` for a document that must exist; ``cas=0`` is refused with ``casException``."""
        if not cas:
            raise self.casException(f"update of {key} without a token; read the document first. Nothing was written.")
        return self.set_with_cas(key, value, cas)

    def set(self, key: str, value: Document) -> int:
        """Store ``value``, replacing any document; for tools, never for jobs. Returns the token."""
        for _ in range(MAX_COLLISIONS):
            token = self.read_with_cas(key)[1]
            try:
                return self.set_with_cas(key, value, token or 0)[1]
            except self.casException:
                self.give_way()
        raise _collisions(key)

    def update(self, key: str, value: Document) -> int:
        """Do ``set`` for a document that must exist. Raises ``casException`` if it doesn't."""
        for _ in range(MAX_COLLISIONS):
            token = self.read_with_cas(key)[1]
            try:
                return self.update_with_cas(key, value, token or 0)[1]
            except self.casException:
                if token is None:
                    raise
                self.give_way()
        raise _collisions(key)

    def delete(self, key: str, cas: int | None = None) -> bool:
        """Remove the document; for tools, never for jobs. Returns True if there was one.

        With ``cas`` a document that has another token stays. Raises ``casException`` for that, and DatastoreError if
        the adapter can't delete (``can_delete``).
        """
        raise DatastoreError(f"{type(self).__name__} can't delete {key}")

    def mutate(
        self, key: str, operations: Sequence[Operation], cas: int | None = None, run: RunGuard | None = None
    ) -> Mutation:
        """Apply ``operations`` in one atomic step.

        With ``cas`` a stale token is refused. With ``run`` the write is refused unless that run owns the document.
        If ``run`` has a number it is a *run write*: the stored number is answered "done" again, also after the write
        that released the ownership; the next number is applied.

        Raises ``casException`` (stale token; missing document), ClaimLost (another run, no owner, a number out of
        turn; missing document under a run), InvalidValue (an operand, or a field of the wrong type).
        """
        check(operations)
        for _ in range(MAX_COLLISIONS):
            document, token = self.read_with_cas(key)
            if fence(self, key, document, token, cas, run):
                return repeated(document, token, operations)
            assert document is not None and token is not None
            changed = apply(document, operations)
            if run is not None and run.seq is not None:
                document["seq"] = run.seq
            if self.constant_history:
                jsonvalues.encode_checked(without_history(document), key, limit_of(operations))
            else:
                make_room(key, document, operations, changed)
            try:
                token = self.set_with_cas(key, document, token)[1]
            except self.casException:
                self.give_way()
                continue
            return Mutation(token, changed, document.get("cancelRequested") is not None)
        raise _collisions(key)

    def find(self, query: FindQuery) -> Page:
        """Return a page of heads of the job documents that have all the values of ``query``.

        Unreadable documents are left out and listed separately, so a page may be empty without being the last.
        Raises DatastoreError if the adapter can't (``can_find``, and for a query without ``due`` that may match ended
        jobs ``can_find_ended``).
        """
        raise DatastoreError(f"{type(self).__name__} has no find")

    def count(self, query: FindQuery, cap: int = CAP) -> Count:
        """Return how many jobs ``find`` would list on all pages, as far as ``cap``, which bounds the cost.

        Up to ``cap`` jobs of those to which an index narrows the query are compared with the rest of it. So the number
        is exact if there are no more; otherwise ``is_capped`` is True and the number may be below ``cap``. A document
        that can't be read may be counted or not. Raises InvalidValue for a ``cap`` below 1, and what ``find`` raises.
        """
        number, left, narrowed = 0, check_cap(cap) + 1, query.narrowed
        after = None
        while left > 0:
            page = self.find(replace(narrowed, after=after, limit=min(left, STEP)))
            number += sum(query.place("", head) is not None for head in page.heads)
            left -= len(page.heads)
            after = page.after
            if after is None:
                break
        return Count(min(number, cap), left <= 0)

    def setup(self) -> list[str]:
        """Create the tables and indexes, or the like, that the server lacks before its first use.

        Safe to repeat, and to run concurrently. Returns the names of what this object has created, now or when it was
        opened, and has not returned yet. Raises the errors of the other verbs.
        """
        return []

    def about(self) -> str | None:
        """Return name and version of the engine that stores the documents, or None if unknown.

        Raises the errors of the other verbs.
        """
        return None

    def troubles(self) -> Sequence[Trouble]:
        """Return faults of the store itself, for ``zerog doctor``. Raises the errors of the other verbs."""
        return []

    def now(self) -> datetime | None:
        """Return the server's clock, or None if it has none that all clients share.

        It determines delays and due times. It is called at each step of a job, so an adapter does not ask the server
        each time.
        """
        return None

    def give_way(self) -> None:
        """Count a write that was refused because of another one, and wait up to 2 ms, so that the winner can finish."""
        self.collisions += 1
        SYSTEM.pause(random.uniform(0, 0.002))

    def close(self) -> None:
        """Close the connections. Harmless when repeated; a later call may open them again."""


def fence(
    datastore: Datastore,
    key: str,
    head: Document | None,
    token: int | None,
    cas: int | None,
    run: RunGuard | None,
) -> bool:
    """Return True if a ``mutate`` of this document has happened already; raise if it is refused.

    The only place with the rule; every adapter calls it or makes its server do the same.
    """
    if head is None:
        if run is not None:
            raise ClaimLost(f"{key} is gone; this run must not write to it")
        raise datastore.casException(f"there is no document {key}; nothing was written")
    stored = head.get("seq") or 0
    if type(stored) is not int:
        raise CorruptDocument(f"{key} has the seq {jsonvalues.short_repr(stored)}; it was left as it is")
    if run is not None and _is_done(key, head, stored, run):
        return True  # decided before the token, which the write itself has changed
    if cas is not None and cas != token:
        raise datastore.casException(f"{key} was changed since it was read; nothing was written")
    return False


def _is_done(key: str, head: Document, stored: int, run: RunGuard) -> bool:
    """Return True if this run write is stored already. Raises ClaimLost if it is not and may not be."""
    if run.seq is not None and run.seq < 1:
        raise InvalidValue(f"write {run.seq} to {key}: the writes of a run are numbered from 1. Not written.")
    if run.owns(head):
        if run.seq is None or run.seq == stored + 1:
            return False
        if run.seq == stored:
            return True
        raise ClaimLost(
            f"write {run.seq} to {key} follows write {stored}; expected {stored + 1}. Not written, and this run must "
            "not write any more: the document was set back, or written by a copy of the run."
        )
    if run.seq is not None and run.seq == stored and run.has_ended(head):
        return True
    owner = jsonvalues.short_repr(head.get("owner"))
    owner = jsonvalues.short_repr(head.get("owner"))
    raise ClaimLost(
        f"{key} belongs to epoch {head.get('epoch')} with owner {owner}; run {run.nonce} of epoch {run.epoch} "
        "must not write"
    )


def repeated(head: Document | None, token: int | None, operations: Sequence[Operation]) -> Mutation:
    """Return the answer to a run write that was applied before."""
    assert head is not None and token is not None
    return Mutation(token, present(head, operations), head.get("cancelRequested") is not None)


def without_history(document: Document) -> Document:
    """Return the head of a document."""
    head = {**document}
    for field in HISTORY:
        if type(head.get(field)) is list:
            del head[field]
    return head


def check_document(key: str, document: Any) -> None:
    """Refuse a document that can't be stored. Raises InvalidValue with the path of the fault."""
    if type(document) is not dict:
        raise InvalidValue(f"the document {key} must be a dict, not {type(document).__name__}; nothing was written")
    jsonvalues.check(document, key)


def _collisions(key: str) -> TooManyCollisions:
    return TooManyCollisions(f"{key} was changed by others {MAX_COLLISIONS} times in a row; this change is not stored")
