"""The question that ``Datastore.find`` and ``count`` answer, and their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from zerog.exceptions import CorruptDocument, InvalidValue
from zerog.records.attrs import ATTRS, LAST_ERROR, Term, error_texts
from zerog.records.job import TERMINAL
from zerog.records.operations import Document
from zerog.support import jsonvalues

CAP = 10_000
"""Jobs that are counted, unless the caller sets another number."""

OLDEST, NEWEST = ORDERS = ("oldest", "newest")
"""``order``: by creation, the oldest or the newest job first."""


@dataclass(frozen=True, slots=True)
class FindQuery:
    """The job documents to find, and the start of a page.

    In the order of their keys; with ``order`` in that of ``createdAt`` and then key, with ``due`` in that of ``due``
    and then key, with ``until`` alone in that of ``finishedAt`` and then key. Documents without a text there are left
    out. Raises InvalidValue for a ``limit`` below 1, and for ``order``, ``since`` and ``until`` with anything but what
    they take.
    """

    status: str | None = None
    due: str | None = None
    """A stored timestamp: only documents whose ``due`` is not later."""
    job_type: str | None = None
    queue: str | None = None
    after: str | None = None
    """``after`` of the previous page, from the same query."""
    limit: int = 1_000
    """Heads on one page, at most."""
    until: str | None = None
    """A stored timestamp. With ``order`` only documents whose ``createdAt`` is not later. Without, and with an ended
    status and a type: only documents whose ``finishedAt`` is not later, from an index: ended jobs that don't match cost
    nothing."""
    order: str | None = None
    """``oldest`` or ``newest`` first, by creation whatever the key; not with ``due``."""
    since: str | None = None
    """A stored timestamp, with ``order``: only documents whose ``createdAt`` is not earlier."""
    attrs: tuple[tuple[str, str], ...] = ()
    """Names and texts, with ``order``: only documents that have all of these in ``attrs``."""
    error: str | None = None
    """With ``order``: only documents whose last error has this fingerprint, or this type with or without its module."""

    def __post_init__(self) -> None:
        if type(self.limit) is not int or self.limit < 1:
            raise InvalidValue(f"find with limit={self.limit!r}; expected a whole number of at least 1")
        if self.terms and self.order is None:
            raise InvalidValue(f"find by {self.terms!r:.200} and no order; expected {OLDEST} or {NEWEST}")
        if self.order is not None:
            if self.order not in ORDERS or self.due is not None:
                raise InvalidValue(
                    f"find with order={self.order!r}, due={self.due!r}; expected {OLDEST} or {NEWEST}, and no due"
                )
            return
        if self.since is not None:
            raise InvalidValue(f"find with since={self.since!r} and no order; expected {OLDEST} or {NEWEST}")
        others = (self.due, self.queue) != (None, None)
        if self.until is not None and (self.status not in TERMINAL or self.job_type is None or others):
            raise InvalidValue(
                f"find with until={self.until!r}, status={self.status!r}, job_type={self.job_type!r}, "
                f"due={self.due!r}, queue={self.queue!r}; expected an order, or a status of {', '.join(TERMINAL)} and "
                "a type, and neither due nor queue"
            )

    @property
    def wanted(self) -> Document:
        """Return the values that documents must have, by field."""
        values = {"status": self.status, "jobType": self.job_type, "queueName": self.queue}
        return {field: value for field, value in values.items() if value is not None}

    @property
    def terms(self) -> list[Term]:
        """The terms that documents must have, by which adapters find them."""
        return [*([] if self.error is None else [Term("", self.error)]), *(Term(*each) for each in self.attrs)]

    @property
    def time(self) -> str | None:
        """The field of the timestamp by which documents are chosen and ordered; None if by their keys alone."""
        if self.order is not None:
            return "createdAt"
        if self.until is not None:
            return "finishedAt"
        return None if self.due is None else "due"

    @property
    def latest(self) -> str | None:
        """The latest matching timestamp; None if there is no such bound."""
        return self.until if self.due is None else self.due

    @property
    def is_descending(self) -> bool:
        """True if documents are returned from the last place to the first."""
        return self.order == NEWEST

    @property
    def start(self) -> list[str]:
        """The place of the last document of the previous page: its timestamp, if there is one, and its key."""
        return [] if self.after is None else jsonvalues.decode(self.after)

    @property
    def narrowed(self) -> FindQuery:
        """The first page of what an index of every adapter answers: this query without some of its values."""
        if self.time == "finishedAt":
            return replace(self, after=None)
        if self.terms:  # an index has all that have one term, in the order of their creation
            return replace(self, status=None, job_type=None, queue=None, after=None)
        return replace(self, status=self.status if self.due is None else None, job_type=None, queue=None, after=None)

    @property
    def rest(self) -> Document:
        """The values that ``narrowed`` lacks, by field."""
        indexed = self.narrowed.wanted
        return {field: value for field, value in self.wanted.items() if field not in indexed}

    def place(self, key: str, head: Document) -> list[str] | None:
        """Return the place of a document in the order; None if it is none that this query finds."""
        if type(head.get("status")) is not str or any(head.get(f) != value for f, value in self.wanted.items()):
            return None
        if self.terms and not self._has_terms(head):
            return None
        if self.time is None:
            return [key]
        time = head.get(self.time)
        if type(time) is not str or (self.latest is not None and time > self.latest):
            return None
        return None if self.since is not None and time < self.since else [time, key]

    def _has_terms(self, head: Document) -> bool:
        attrs, last = head.get(ATTRS), head.get(LAST_ERROR)
        if self.attrs and not (type(attrs) is dict and all(attrs.get(name) == text for name, text in self.attrs)):
            return False
        return self.error is None or (type(last) is dict and self.error in error_texts(last))

    def is_ahead(self, place: list[str], start: list[str]) -> bool:
        """True if a place comes after ``start``; always if that is empty."""
        return not start or (place < start if self.is_descending else place > start)


class Page(NamedTuple):
    """Some heads, and the start of the next page."""

    heads: list[Document]
    after: str | None
    """Pass it to ``find`` for the next page; None on the last one."""
    unreadable: Sequence[str] = ()
    """Keys of documents that were left out because they can't be read, if the adapter notices them."""


class Heads(NamedTuple):
    """Heads that were read by their keys; a key without a document is in neither."""

    found: dict[str, Document]
    """By key."""
    unreadable: dict[str, CorruptDocument]
    """By the key of a document that can't be read, the error that reading it alone raises."""


class Count(NamedTuple):
    """A number of jobs. As text ``42``, or ``10,000+`` if there may be more."""

    number: int
    is_capped: bool = False
    """True if there may be more than ``number``."""

    def __str__(self) -> str:
        return f"{self.number:,}{'+' * self.is_capped}"


def check_cap(cap: int) -> int:
    """Return the bound of a count. Raises InvalidValue for one below 1."""
    if type(cap) is not int or cap < 1:
        raise InvalidValue(f"count with cap={cap!r:.80}; expected a whole number of at least 1")
    return cap
