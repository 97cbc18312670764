"""The datastore contract: documents under keys, every write protected by compare-and-swap.

An adapter subclasses ``Datastore``. It must write ``read_with_cas`` and ``set_with_cas``; everything else has a
correct, slower form here that is built from those two. An adapter overrides what its server does better, and says in
the class attributes what it can and can't do. ``zerog.testing.contracts.datastore`` is the definition of all this.

Duties of every adapter:

- A document is a dict of JSON values and comes back as it went in: types, order of lists, 64-bit integers.
- A token is an opaque integer greater than 0. Every write makes a new one, never seen before under that key.
- A write has three answers: done (returns), refused (``casException``, ``lockedException``, ``ClaimLost``,
  ``InvalidValue``, ``DatastoreUnavailable``: nothing changed) and unknown (``AmbiguousWrite``: it may have
  happened). An adapter never repeats a write by itself.
- A document that isn't there is never created by an update.
- Every call may be made from any thread and, after a fork, from the child.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal, NamedTuple

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
from zerog.records.job import TERMINAL
from zerog.records.operations import Document, Operation, apply, check, present
from zerog.records.room import limit_of, make_room
from zerog.support import jsonvalues
from zerog.support.clock import SYSTEM

MAX_COLLISIONS = 200
"""How often a change is tried again because somebody else wrote first."""


class Mutation(NamedTuple):
    """What ``mutate`` answers."""

    token: int
    """The document's token after the change."""
    values: Document
    """The present values of the changed fields, without the lists that were appended to."""
    cancel_requested: bool
    """Whether somebody asked for the job to be cancelled."""


class RunGuard(NamedTuple):
    """Which run a write is for.

    A run is named by its nonce. The epoch alone doesn't do: a store that was set back gives the same epochs again.
    """

    epoch: int
    nonce: str | None
    seq: int | None = None
    """The number of a write of the run itself; None only asks whether the run owns the document."""

    @classmethod
    def of(cls, head: Document) -> RunGuard:
        """The run that a document names as its owner."""
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


@dataclass(frozen=True, slots=True)
class FindQuery:
    """Which job documents are to be found, and where a page begins.

    In the order of their keys; with ``due`` in that of ``due`` and then key, with ``until`` in that of ``finishedAt``
    and then key. Raises InvalidValue for a ``limit`` below 1, and for ``until`` with anything but what it takes.
    """

    status: str | None = None
    due: str | None = None
    """A stored timestamp: only documents whose ``due`` is not later."""
    job_type: str | None = None
    queue: str | None = None
    after: str | None = None
    """That of the page before, from the same query."""
    limit: int = 1_000
    """How many heads a page has at most."""
    until: str | None = None
    """A stored timestamp, with an ended status and a type: only documents whose ``finishedAt`` is not later, from an
    index: ended jobs that don't fit cost nothing."""

    def __post_init__(self) -> None:
        if type(self.limit) is not int or self.limit < 1:
            raise InvalidValue(f"find with limit={self.limit!r}; expected a whole number of at least 1")
        others = (self.due, self.queue) != (None, None)
        if self.until is not None and (self.status not in TERMINAL or self.job_type is None or others):
            raise InvalidValue(
                f"find with until={self.until!r}, status={self.status!r}, job_type={self.job_type!r}, "
                f"due={self.due!r}, queue={self.queue!r}; expected a status of {', '.join(TERMINAL)} and a type, and "
                "neither due nor queue"
            )

    @property
    def wanted(self) -> Document:
        """The values that documents have to have, by field."""
        values = {"status": self.status, "jobType": self.job_type, "queueName": self.queue}
        return {field: value for field, value in values.items() if value is not None}

    @property
    def time(self) -> str:
        """The field of the timestamp by which documents are chosen and ordered, if ``latest`` is one."""
        return "due" if self.until is None else "finishedAt"

    @property
    def latest(self) -> str | None:
        """The latest timestamp that fits; None if documents are ordered by their keys alone."""
        return self.due if self.until is None else self.until

    @property
    def start(self) -> list[str]:
        """The place of the last document of the page before: its timestamp, if there is one, and its key."""
        return [] if self.after is None else jsonvalues.decode(self.after)


class Page(NamedTuple):
    """Some heads, and where the next page starts."""

    heads: list[Document]
    after: str | None
    """Pass it to ``find`` for the next page; None on the last one."""
    unreadable: Sequence[str] = ()
    """Keys of documents that were left out because they can't be read, as far as the adapter sees them."""


class Datastore:
    """Keeps documents. See the module's text for the duties of a subclass."""

    casException: ClassVar[type[Exception]] = CasMismatch
    lockedException: ClassVar[type[Exception]] = DocumentLocked

    durability: ClassVar[str | None] = None
    """What survives once a write returned: ``fsync`` (a power cut), ``1s`` (all but the last second of one),
    ``process`` (nothing beyond this process), None (unknown)."""
    can_find: ClassVar[bool] = False
    """Whether ``find`` works. Without it nothing can be reconciled."""
    can_find_ended: ClassVar[bool] = True
    """Whether ``find`` lists jobs that have ended, too; else it does with a status of others, or with ``due``."""
    can_delete: ClassVar[bool] = False
    """Whether ``delete`` works. Without it nothing that has ended is ever cleared away."""
    history_limit: ClassVar[int] = 1_000
    """Entries kept in each of the history lists of a job, unless the caller says otherwise."""
    constant_history: ClassVar[bool] = False
    """Whether appending to a long history costs what appending to a short one does."""
    shared: ClassVar[bool] = True
    """Whether other processes see the same documents."""

    def read_with_cas(self, key: str, head: bool = False) -> tuple[Document, int] | tuple[None, None]:
        """The document under ``key`` and its token, or ``(None, None)``; with ``head`` without its history.

        The caller owns the document. Raises CorruptDocument if what is stored is no document.
        """
        raise NotImplementedError

    def set_with_cas(self, key: str, value: Document, cas: int) -> tuple[Literal[True], int]:
        """Store ``value`` if the token is still ``cas``; ``cas=0`` means that nothing is there yet.

        Returns ``(True, new token)``. Raises ``casException`` for a stale token, for ``cas=0`` where a document is,
        and for any other token where none is.
        """
        raise NotImplementedError

    def read(self, key: str) -> Document | None:
        """The document under ``key``, or None."""
        return self.read_with_cas(key)[0]

    def create(self, key: str, value: Document) -> int:
        """Store a new document and return its token. Raises ``casException`` if there is one already."""
        return self.set_with_cas(key, value, 0)[1]

    def update_with_cas(self, key: str, value: Document, cas: int) -> tuple[Literal[True], int]:
        """``set_with_cas`` for a document that must exist; ``cas=0`` is refused with ``casException``."""
        if not cas:
            raise self.casException(f"update of {key} without a token; read the document first. Nothing was written.")
        return self.set_with_cas(key, value, cas)

    def set(self, key: str, value: Document) -> int:
        """Store ``value`` whatever is there; for tools, never for jobs. Returns the token."""
        for _ in range(MAX_COLLISIONS):
            token = self.read_with_cas(key)[1]
            try:
                return self.set_with_cas(key, value, token or 0)[1]
            except self.casException:
                _back_off()
        raise _collisions(key)

    def update(self, key: str, value: Document) -> int:
        """``set`` for a document that must exist. Raises ``casException`` if it doesn't."""
        for _ in range(MAX_COLLISIONS):
            token = self.read_with_cas(key)[1]
            try:
                return self.update_with_cas(key, value, token or 0)[1]
            except self.casException:
                if token is None:
                    raise
                _back_off()
        raise _collisions(key)

    def delete(self, key: str, cas: int | None = None) -> bool:
        """Remove the document; for tools, never for jobs. Tells whether there was one.

        With ``cas`` a document that has another token stays. Raises ``casException`` for that, and DatastoreError if
        the adapter can't delete (``can_delete``).
        """
        raise DatastoreError(f"{type(self).__name__} can't delete {key}")

    def mutate(
        self, key: str, operations: Sequence[Operation], cas: int | None = None, run: RunGuard | None = None
    ) -> Mutation:
        """Apply ``operations`` in one atomic step.

        With ``cas`` a stale token is refused. With ``run`` the write is refused unless that run owns the document.
        If ``run`` has a number it is a *run write*: the stored number answers "done" again, also after the write that
        gave up the ownership; the next number is applied.

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
                _back_off()
                continue
            return Mutation(token, changed, document.get("cancelRequested") is not None)
        raise _collisions(key)

    def find(self, query: FindQuery) -> Page:
        """Return a page of heads of the job documents that have all the values of ``query``.

        Documents that can't be read are left out and named apart, so that a page may be empty and still not the last.
        Raises DatastoreError if the adapter can't (``can_find``, and for a query without ``due`` that ended jobs may
        answer ``can_find_ended``).
        """
        raise DatastoreError(f"{type(self).__name__} has no find")

    def setup(self) -> list[str]:
        """Make what the server needs before its first use (tables, indexes), as far as it isn't there.

        Safe to repeat, and beside others. Returns the names of what this object has made, now or when it was opened,
        and has not named yet. Raises what the other verbs raise.
        """
        return []

    def about(self) -> str | None:
        """Name and version of the engine that keeps the documents, or None if there is nothing to tell.

        Raises what the other verbs raise.
        """
        return None

    def troubles(self) -> Sequence[Trouble]:
        """What is wrong with the store itself, for ``zerog doctor``. Raises what the other verbs raise."""
        return []

    def now(self) -> datetime | None:
        """Return the server's clock, or None if it has none that all clients share.

        Delays and due times go by it. It is called at each step of a job, so an adapter does not ask the server each
        time.
        """
        return None

    def close(self) -> None:
        """Give back connections. Harmless when repeated; a later call may open them again."""


def fence(
    datastore: Datastore,
    key: str,
    head: Document | None,
    token: int | None,
    cas: int | None,
    run: RunGuard | None,
) -> bool:
    """True if a ``mutate`` of this document has happened already; raises if it is refused.

    The one place that states the rule; every adapter calls it or lets its server do the same.
    """
    if head is None:
        if run is not None:
            raise ClaimLost(f"{key} is gone; this run must not write to it")
        raise datastore.casException(f"there is no document {key}; nothing was written")
    stored = head.get("seq") or 0
    if type(stored) is not int:
        raise CorruptDocument(f"{key} has the seq {jsonvalues.short_repr(stored)}; it was left as it is")
    if run is not None and _is_done(key, head, stored, run):
        return True  # judged before the token, which the write itself has changed
    if cas is not None and cas != token:
        raise datastore.casException(f"{key} was changed since it was read; nothing was written")
    return False


def _is_done(key: str, head: Document, stored: int, run: RunGuard) -> bool:
    """True if this run write is stored already. Raises ClaimLost if it may not be written, nor was."""
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
    """The answer to a run write that has been applied before."""
    assert head is not None and token is not None
    return Mutation(token, present(head, operations), head.get("cancelRequested") is not None)


def without_history(document: Document) -> Document:
    """The head of a document."""
    return {field: value for field, value in document.items() if field not in HISTORY or type(value) is not list}


def check_document(key: str, document: Any) -> None:
    """Refuse a document that can't be stored. Raises InvalidValue with the path of what is wrong."""
    if type(document) is not dict:
        raise InvalidValue(f"the document {key} must be a dict, not {type(document).__name__}; nothing was written")
    jsonvalues.check(document, key)


def _back_off() -> None:
    """Let the winner of a collision get away, for up to 2 ms."""
    SYSTEM.pause(random.uniform(0, 0.002))


def _collisions(key: str) -> TooManyCollisions:
    return TooManyCollisions(f"{key} was changed by others {MAX_COLLISIONS} times in a row; this change is not stored")
