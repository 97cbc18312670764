"""Search many jobs by their creation: read heads page by page, and apply the filters that datastores don't have.

``JobReader`` is the part of ``App`` that shows jobs, from their documents alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from zerog.contracts.datastore import Datastore
from zerog.contracts.find import CAP, NEWEST, OLDEST, ORDERS, Count, FindQuery, Page
from zerog.exceptions import DatastoreError, InvalidValue, JobNotFound
from zerog.jobs.answers import Info, Progress
from zerog.jobs.base import BaseJob
from zerog.jobs.following import JobFollower
from zerog.jobs.progress import is_stalled
from zerog.maintenance.rates import Rates, rates
from zerog.records.attrs import error_texts, text_of
from zerog.records.job import KEY_PREFIX, RUNNING, STATUSES, Document, check_shown, make_key
from zerog.records.limits import ANY, parked_term
from zerog.records.periods import HOURS, MINUTES
from zerog.support import builds, jsonvalues
from zerog.support.clock import Clock, to_text

if TYPE_CHECKING:
    from zerog.engine.engine import Engine
    from zerog.registry import JobRegistry

PAGE = 500
"""Heads read at a time, and so in memory."""

EXAMINED = 5_000
"""Heads that are read for one page, at most."""

LATEST = datetime.max.replace(tzinfo=UTC)
"""Bound for jobs since a time: a damaged text, in place of a timestamp, is above it."""


_EXACT = re.compile(r"[0-9a-f]{16}|(?:[A-Za-z_]\w*\.)*[A-Z]\w*").fullmatch
"""A fingerprint, or the name of a class as people write them."""


@dataclass(frozen=True)
class Query:
    """Filters for jobs. Raises InvalidValue for an unknown status and for what is no text, code or limit."""

    status: str | None = None
    job_type: str | None = None
    queue: str | None = None
    error: str | None = None
    """The type of the last error, with or without its module, or its fingerprint; any other text: a part of its
    message, in small or capital letters."""
    code: int | None = None
    """The result code, or the code of the last error."""
    limit: int | None = None
    order: str = OLDEST
    since: datetime | None = None
    """Only jobs created then or later."""
    until: datetime | None = None
    """Only jobs created then or earlier."""
    stalled: bool = False
    """Only running jobs that are shown as stalled."""
    build: str | None = None
    """The build of the code that recorded the last error, or a range of builds."""
    schema_version: float | None = None
    """The version of its class that the document has."""
    attrs: Mapping[str, Any] | None = None
    """Attributes that the document has, all of them; texts, or values that are compared as text."""
    parked: str | None = None
    """Only jobs that are parked at this limit, as ``progress`` shows it, or at ``any``."""

    def __post_init__(self) -> None:
        if self.status is not None and self.status not in STATUSES:
            raise InvalidValue(f"no job ever has the status {self.status!r}; expected one of {', '.join(STATUSES)}")
        if self.stalled and self.status not in (None, RUNNING):
            raise InvalidValue(
                f"status={self.status!r} and stalled=True; expected {RUNNING!r} or None: no other is stalled"
            )
        if self.order not in ORDERS:
            raise InvalidValue(f"order={self.order!r:.80}; expected {OLDEST} or {NEWEST}")
        for name, moment in (("since", self.since), ("until", self.until)):
            if moment is not None and not isinstance(moment, datetime):
                raise InvalidValue(
                    f"{name}={moment!r:.80}; expected a datetime, in UTC unless it has a timezone, or None"
                )
        if self.limit is not None and (type(self.limit) is not int or self.limit < 0):
            raise InvalidValue(f"limit={self.limit!r}; expected a whole number, 0 or more, or None for all")
        if self.error is not None and (not isinstance(self.error, str) or not self.error):
            raise InvalidValue(
                f"error={self.error!r:.80}; expected the type of an exception or a part of a message, or None for any"
            )
        if self.parked is not None and (not isinstance(self.parked, str) or not self.parked):
            raise InvalidValue(f"parked={self.parked!r:.80}; expected a limit as it is shown, {ANY!r}, or None")
        if self.code is not None and type(self.code) is not int:
            raise InvalidValue(f"code={self.code!r:.80}; expected a whole number, or None for any")
        if self.build is not None and (not isinstance(self.build, str) or not self.build):
            raise InvalidValue(f"build={self.build!r:.80}; expected the name of a build, or None for any")
        if self.build is not None and builds.is_empty(self.build):
            raise InvalidValue(
                f"build={self.build!r:.80} is a range without builds; expected A..B, A.. or ..B, in order"
            )
        if self.attrs is not None and not _are_attributes(self.attrs):
            raise InvalidValue(
                f"attrs={self.attrs!r:.80}; expected names of attributes with texts, numbers or booleans, or None"
            )
        if self.schema_version is not None and type(self.schema_version) not in (int, float):
            raise InvalidValue(f"schema_version={self.schema_version!r:.80}; expected a number, or None for any")

    def jobs(
        self, datastore: Datastore, clock: Clock, shown: Callable[[Document, datetime], Progress]
    ) -> Iterator[Progress]:
        """Yield what ``shown`` makes of the heads of the matching jobs, in order, at the time of the clock.

        Raises DatastoreError if the datastore can't list.
        """
        for head in self.heads(datastore, clock):
            yield shown(head, clock.now())

    def heads(self, datastore: Datastore, clock: Clock) -> Iterator[Document]:
        """Yield the heads of the matching jobs as they are stored, in order. Raises DatastoreError."""
        query = self._query(datastore)
        is_picky = self._is_picky(query)
        most = None if is_picky else self.limit
        heads = self._stalled(datastore, query, clock) if self.stalled else self._heads(datastore, query, most)
        yield from islice((head for head in heads if not is_picky or self._fits(head)), self.limit)

    def page(self, datastore: Datastore, clock: Clock, after: str | None, limit: int) -> Page:
        """Return up to ``limit`` heads of matching jobs, in order, and the start of the next page.

        ``after``: that of the previous page, None for the first one. At most EXAMINED heads are read, so a page may be
        empty and not be the last one. Raises DatastoreError if the datastore can't list.
        """
        query = replace(self._query(datastore), after=after, limit=limit)
        if self.stalled:
            stalled = self._stalled(datastore, query, clock)
            heads = [head for head in stalled if query.is_ahead(_place(head), query.start)]
            return _cut([head for head in heads if self._fits(head)], limit, None)
        if not self._is_picky(query):
            return datastore.find(query)
        found: list[Document] = []
        for _ in range(EXAMINED // PAGE):
            page = datastore.find(replace(query, after=after, limit=PAGE))
            found += filter(self._fits, page.heads)
            after = page.after
            if after is None or len(found) >= limit:
                break
        return _cut(found, limit, after)

    def _is_picky(self, query: FindQuery) -> bool:
        """Return True if there is a filter that the datastore isn't asked for."""
        text = self.error if query.error is None else None
        return (text, self.code, self.build, self.schema_version) != (None,) * 4

    def fits(self, head: Document, now: datetime) -> bool:
        """Return True if a document that is stored elsewhere matches."""
        place = self._asked(has_terms=True).place(f"{KEY_PREFIX}{head.get('uuid')}", head)
        return place is not None and self._fits(head) and (not self.stalled or is_stalled(head, now))

    @property
    def is_exact_error(self) -> bool:
        """True if ``error`` is the form of a type's name or a fingerprint, which an index answers."""
        return self.error is not None and _EXACT(self.error) is not None

    def _query(self, datastore: Datastore) -> FindQuery:
        """Return what an index is asked for. Raises DatastoreError for attributes without an index of them."""
        if self.parked and not datastore.can_find_terms:
            raise DatastoreError(f"{type(datastore).__name__} has no index of attributes; no jobs are parked there")
        if self.attrs and not datastore.can_find_terms:
            raise DatastoreError(f"{type(datastore).__name__} has no index of attributes; it can't find jobs by attrs")
        return self._asked(datastore.can_find_terms)

    def _asked(self, has_terms: bool) -> FindQuery:
        attrs = tuple((name, str(text_of(value))) for name, value in (self.attrs or {}).items())
        return FindQuery(
            RUNNING if self.stalled else self.status,
            job_type=self.job_type,
            queue=self.queue,
            order=self.order,
            since=None if self.since is None else to_text(self.since),
            until=None if self.since is self.until is None else to_text(self.until or LATEST),
            attrs=attrs if self.parked is None else (*attrs, parked_term(self.parked)),
            error=self.error if self.is_exact_error and has_terms else None,
        )

    def _heads(self, datastore: Datastore, query: FindQuery, most: int | None) -> Iterator[Document]:
        """Yield the heads in order, page by page; ``most``: how many are wanted, None for an unknown number."""
        after, left = None, most
        while left is None or left > 0:
            page = datastore.find(replace(query, after=after, limit=PAGE if left is None else min(PAGE, left)))
            yield from page.heads
            left = None if left is None else left - len(page.heads)
            after = page.after
            if after is None:
                return

    def _stalled(self, datastore: Datastore, query: FindQuery, clock: Clock) -> list[Document]:
        """Return the heads of stalled jobs in order, from the index of running ones: those are as few as slots.

        Not every datastore has running jobs in the order of their creation without all that wait.
        """
        after, found = None, list[tuple[list[str], Document]]()
        while True:
            page = datastore.find(FindQuery(RUNNING, after=after, limit=PAGE))
            for head in page.heads:
                place = query.place(KEY_PREFIX + str(head.get("uuid")), head)
                if place is not None and is_stalled(head, clock.now()):
                    found.append((place, head))
            after = page.after
            if after is None:
                return [head for _, head in sorted(found, key=itemgetter(0), reverse=query.is_descending)]

    def count(self, datastore: Datastore, cap: int = CAP) -> Count:
        """Return the number of matching jobs as far as ``cap``, by what an index answers alone.

        Raises InvalidValue, and DatastoreError if the datastore can't list.
        """
        if self.error is not None and (not self.is_exact_error or not datastore.can_find_terms):
            raise InvalidValue(
                f"error={self.error!r:.80} of a count; expected a type or fingerprint, in a datastore with their index"
            )
        query = self._query(datastore)
        is_timed = query.terms or not query.since is query.until is None
        return datastore.count(query if is_timed else replace(query, order=None), cap)

    def _fits(self, head: Document) -> bool:
        stored = head.get("lastError")
        last: Document = stored if isinstance(stored, dict) else {}
        if self.build is not None and not builds.is_within(last.get("build"), self.build):
            return False
        if self.schema_version is not None and head.get("schemaVersion") != self.schema_version:
            return False
        if self.code is not None and self.code not in (head.get("resultCode"), last.get("errorCode")):
            return False
        if self.error is None:
            return True
        return self.error in error_texts(last) or self.error.lower() in str(last.get("msg") or "").lower()


def _are_attributes(given: object) -> bool:
    if not isinstance(given, Mapping):
        return False
    return all(type(n) is str and n and type(value) in (str, int, float, bool) for n, value in given.items())


def _place(head: Document) -> list[str]:
    return [str(head.get("createdAt")), KEY_PREFIX + str(head.get("uuid"))]


def _cut(heads: list[Document], limit: int, after: str | None) -> Page:
    """Return the first heads as a page; the next one starts behind them, or at ``after`` if these are all."""
    if len(heads) <= limit:
        return Page(heads, after)
    return Page(heads[:limit], cursor_behind(heads[limit - 1]))


def cursor_behind(head: Document) -> str:
    """Return the start of the page behind a job, for ``Query.page``."""
    return jsonvalues.encode(_place(head))


def readable(datastore: Datastore, uuid: str, head: bool = False) -> Document:
    """Return a job's document, or its head, for showing, even if the engine can't work with it.

    Raises InvalidUuid, JobNotFound, CorruptDocument.
    """
    key = make_key(uuid)
    document = datastore.read_with_cas(key, head)[0]
    if document is None:
        raise JobNotFound(f"there is no job {uuid}")
    check_shown(key, document)
    return document


def readable_heads(datastore: Datastore, uuids: Collection[str]) -> dict[str, Document]:
    """Return the heads of jobs by uuid, read at once; raises what ``readable`` raises if one can't be shown."""
    found, unreadable = datastore.read_heads([make_key(uuid) for uuid in uuids])
    heads = {}
    for uuid in uuids:
        key = make_key(uuid)
        if key in unreadable:
            raise unreadable[key]
        if key not in found:
            raise JobNotFound(f"there is no job {uuid}")
        check_shown(key, found[key])
        heads[uuid] = found[key]
    return heads


class JobReader(JobFollower):
    """Reads jobs of one datastore; needs no class, but for ``errorsLeft`` of a job without a limit of its own."""

    clock: Clock
    engine: Engine
    registry: JobRegistry

    @property
    def datastore(self) -> Any:
        """The datastore."""
        raise NotImplementedError

    def progress(self, uuid: str) -> Progress:
        """Return a job's ``completeness``, ``result``, ``status`` and more, as JSON values.

        ``stalled`` is true of a running job without a write for its class's STALLED_AFTER, by this process's clock.
        Raises InvalidUuid, JobNotFound, CorruptDocument.
        """
        return self.progress_of(readable(self.datastore, uuid, head=True))

    def info(self, uuid: str) -> Info:
        """Return ``progress`` with ``attrs`` (of the class's ATTRIBUTES), ``events``, ``warnings`` and ``errors``.

        A parked job also has ``place``: among those of its priority and key that wait for the same limit, from 1.
        """
        document = readable(self.datastore, uuid)
        info = self.registry.info(document, self.clock.now(), self.fleet.past.seconds)
        place = self.engine.place_of(document)
        return info if place is None else {**info, "place": place}

    def jobs(
        self,
        *,
        status: str | None = None,
        job_type: str | type[BaseJob] | None = None,
        queue: str | None = None,
        error: str | None = None,
        code: int | None = None,
        limit: int | None = None,
        order: str = OLDEST,
        since: datetime | None = None,
        until: datetime | None = None,
        stalled: bool = False,
        build: str | None = None,
        schema_version: float | None = None,
        attrs: Mapping[str, Any] | None = None,
        parked: str | None = None,
    ) -> Iterator[Progress]:
        """Yield the ``progress`` of all jobs with the given values, read page by page, by when they were created.

        ``attrs``: the texts of attributes (of the class's ATTRIBUTES), all of which a job has. ``error``: the type of
        the last error, with or without its module (``ValueError``), or its fingerprint; or any other text, which is
        looked for in the messages of those jobs that all else gives, in small or capital letters. ``code``: the result
        code, or that of the last error. ``order``: ``oldest`` or ``newest`` first. ``since`` and ``until`` (in UTC
        unless they have a timezone): only jobs created between them. ``stalled``: only running jobs that ``progress``
        shows as stalled. ``build``: the build of the code that recorded the last error, or a range of them:
        ``A..B``, ``A..``, ``..B``, compared part by part, digits as numbers. ``schema_version``: the version
        of its class that a document has. ``parked``: only jobs that wait for this limit, as ``progress`` shows it, or
        for ``any``. Raises InvalidValue for a value that no job can have and for an attribute
        that no registered class has, and DatastoreError if the datastore can't list, or not by attributes.
        """
        name = job_type.JOB_TYPE if isinstance(job_type, type) else job_type
        moments = (since, until, stalled)
        filters = Query(status, name, queue, error, code, limit, order, *moments, build, schema_version, attrs, parked)
        self.registry.check_attributes(attrs or (), name)
        return filters.jobs(self.datastore, self.clock, lambda head, _now: self.progress_of(head))

    def rates(self, count: int = 60, *, hourly: bool = False) -> list[Rates]:
        """Return what all workers did in each of the last ``count`` minutes, or hours, oldest first.

        The last one is the current minute or hour, so far. Each has its ``start``, and by job type the number of runs
        by outcome, the seconds that they took and that their jobs had waited; and how often workers lost their lease,
        writes collided and sweeps repaired a job. Workers report with their heartbeats, so figures come up to 20
        seconds late; those of runs after the last heartbeat of a killed worker are missing. Minutes are kept for a
        day, hours for 60 days. Raises InvalidValue for a ``count`` below 1 or above what is kept.
        """
        kept = (HOURS if hourly else MINUTES).kept
        if type(count) is not int or not 1 <= count <= kept:
            raise InvalidValue(f"count={count!r:.80}; expected a whole number from 1 to {kept}")
        return rates(self.engine, count, hourly)

    def count(
        self,
        *,
        status: str | None = None,
        job_type: str | type[BaseJob] | None = None,
        queue: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        attrs: Mapping[str, Any] | None = None,
        error: str | None = None,
        parked: str | None = None,
        cap: int = CAP,
    ) -> Count:
        """Return how many jobs have the given values: ``number``, and ``is_capped`` if there may be more.

        It looks at no more than ``cap`` jobs, so that it costs the same however many are stored. With ``status`` and
        times alone the number is exact up to ``cap``. If there are more than ``cap`` such jobs, only the first ones
        are compared with ``job_type`` and ``queue``: the number of those is marked as capped, however small. The
        same holds of one of ``attrs``, ``parked`` or an ``error`` (a type or fingerprint) together with anything else
        but times. Raises InvalidValue and DatastoreError as ``jobs`` does.
        """
        name = job_type.JOB_TYPE if isinstance(job_type, type) else job_type
        filters = Query(status, name, queue, error, since=since, until=until, attrs=attrs, parked=parked)
        self.registry.check_attributes(attrs or (), name)
        return filters.count(self.datastore, cap)
