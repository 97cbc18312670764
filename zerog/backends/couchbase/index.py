"""The index of unfinished jobs, which lists the documents to read without the query service.

It is kept in 64 documents, ``zerog_open_0`` and so on; a job's key determines which. Each holds for every place
(``open``, ``running``, ``due``) the jobs that are there, and for each job the tokens of the documents from which it was
brought there, each with the ``due`` that it was given::
there, each with the ``due`` that it was given::

    {"due": {"0199…": {"0": "2026-…"}}, "running": {"0198…": {"1795334931850002432": 1}}, "open": {…}}

A job is announced before the write that brings it to a place, so that a crash can only leave the index too full. A find
that meets a job which isn't where the index has it removes it. That must not undo an announcement whose write is still
to follow. Such a write is made under the token that was announced, so it can only succeed while the document has that
token: an entry is removed only if the document has another one, and only under the token of the index document that was
read before it. If the document has that very token (its writer died, or is slow) the entry stays for ``GRACE``.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from zerog.backends.couchbase.server import CouchbaseServer, options, paths, sdk
from zerog.exceptions import AmbiguousWrite, CorruptDocument, DatastoreUnavailable, DocumentLocked, ZerogError
from zerog.records.job import KEY_PREFIX, TERMINAL
from zerog.records.keys import OPEN_JOBS
from zerog.records.operations import Document
from zerog.support import jsonvalues
from zerog.support.clock import SYSTEM

log = logging.getLogger("zerog")

SHARDS = 64

OPEN, RUNNING, DUE = "open", "running", "due"
PLACES = (DUE, RUNNING, OPEN)
"""Jobs that reconcile must check; running jobs; jobs that have not ended."""

LOCKED = 2**64 - 1
"""The token that the server shows for a locked document."""

UNREADABLE = -1
"""Stands for the token of a document that can't be read."""

GRACE = 600.0
"""Seconds for which an announcement without its write stays, measured by one process."""

SLOW = 60.0
"""Seconds after which the writer of an announced write announces it once more when it is done."""

ANNOUNCING = 3
"""Tries of an announcement until it is answered; it may be made twice without harm."""

TIDYING = 16
"""Paths removed from an index document by one call."""


FIRST, LAST = "", "\U0010ffff"
"""Sort before and behind all times and keys."""

Places = dict[str, str | int]
"""Places, and the values entered there: at ``due`` that time, elsewhere the time of creation, 1 if it has none."""


def places_of(head: Document | None) -> Places:
    """Return the places of a job with this head."""
    places: Places = {}
    if head is None or type(head.get("status")) is not str:
        return places
    if type(head.get("due")) is str:
        places[DUE] = head["due"]
    created = head["createdAt"] if type(head.get("createdAt")) is str else 1
    if head["status"] not in TERMINAL:
        places[OPEN] = created
    if head["status"] == RUNNING:
        places[RUNNING] = created
    return places


def new_places(old: Places, new: Places) -> Places:
    """Return the places to announce before a job moves from one to the other."""
    return {place: value for place, value in new.items() if old.get(place) != value}


class Entry(NamedTuple):
    """A job and the earliest and latest time that it may have, according to the index. They sort by the earlier one."""

    earliest: str
    key: str
    latest: str


def is_job(key: str) -> bool:
    """Return True if a document under this key is listed."""
    return key.startswith(KEY_PREFIX)


class OpenIndex:
    """The index of one keyspace."""

    def __init__(self, server: CouchbaseServer) -> None:
        self._server = server
        self._unresolved: dict[tuple[str, str], float] = {}

    def announce(self, key: str, places: Places, token: int) -> float:
        """Enter a job into places, before the write under ``token`` that brings it there; 0 if it creates it.

        Returns the time of that, for ``confirm``. Raises DatastoreUnavailable: then the write must not be made.
        """
        began = SYSTEM.monotonic()
        if not places or not is_job(key):
            return began
        name = _name(key)
        specs = [
            paths.upsert(f"{place}.{name}.`{token}`", jsonvalues.encode(value).encode(), create_parents=True)
            for place, value in places.items()
        ]
        how = options.MutateInOptions(store_semantics=paths.StoreSemantics.UPSERT, **self._server.durable)
        shard = _shard(key)
        for attempt in range(ANNOUNCING):
            try:
                self._server.writing(shard, lambda collection: collection.mutate_in(shard, specs, how))
                return began
            except (AmbiguousWrite, DocumentLocked) as error:
                if attempt + 1 == ANNOUNCING:
                    raise DatastoreUnavailable(f"{key} could not be listed, so it was not written ({error})") from error
            except sdk.CouchbaseException as error:
                raise _broken(shard, error) from error
        raise AssertionError  # pragma: no cover

    def confirm(self, key: str, places: Places, token: int, began: float) -> None:
        """Confirm an announced write after it, with the arguments and the result of ``announce``.

        If the write took so long that another process may have removed its announcement, it is made once more.
        """
        if places and SYSTEM.monotonic() - began > SLOW:
            try:
                self.announce(key, places, token)
            except (DatastoreUnavailable, CorruptDocument) as error:  # the write itself is stored
                log.warning("%s is stored, and perhaps not listed among the unfinished jobs: %s", key, error)

    def keys(self, place: str) -> list[str]:
        """Return the keys of all jobs that the index has in a place, in order."""
        return sorted(_key(name) for entries in self._shards() for name in entries[place])

    def timed(self, place: str) -> list[Entry]:
        """Return all jobs that the index has in a place, in the order of the earliest time that each may have."""
        found = []
        for entries in self._shards():
            for name, tokens in entries[place].items():
                values = list(tokens.values())
                # A value that is no text was entered by an earlier version, or for a job without a time.
                times = sorted(values) if all(type(time) is str for time in values) else [FIRST, LAST]
                if times:
                    found.append(Entry(times[0], _key(name), times[-1]))
        return sorted(found)

    def _shards(self) -> Iterator[dict[str, dict[str, Any]]]:
        shards = [_shard_name(number) for number in range(SHARDS)]
        answer = self._server.reading("the index of jobs", lambda collection: collection.get_multi(shards))
        for shard in shards:
            error = answer.exceptions.get(shard)
            if error is None:
                yield _entries(shard, answer.results[shard].value)
            elif not isinstance(error, sdk.DocumentNotFoundException):
                yield self._read(shard)[1]  # read alone it is returned, or raises its error

    def tidy(self, keys: Iterable[str], look: Any) -> None:
        """Remove jobs from places where they are not, as far as that is safe now; the rest stays for later.

        ``look`` maps keys to the heads and tokens that their documents have: (None, 0) for a missing one,
        (None, UNREADABLE) for an unreadable one.
        """
        by_shard: dict[str, list[str]] = {}
        for key in keys:
            by_shard.setdefault(_shard(key), []).append(key)
        for shard, its_keys in by_shard.items():
            try:
                self._tidy_shard(shard, its_keys, look)
            except (ZerogError, sdk.CouchbaseException) as error:
                log.debug("%s stays too full for now: %s", shard, error)

    def _tidy_shard(self, shard: str, keys: list[str], look: Any) -> None:
        token, entries = self._read(shard)  # before the documents: see the module's text
        found = look(keys)
        gone = []
        for key in keys:
            head, own = found[key]
            if own in (LOCKED, UNREADABLE):
                continue  # its place, and the writes that may follow, are unknown
            name = key.removeprefix(KEY_PREFIX)
            for place in set(PLACES) - places_of(head).keys():
                tokens = entries[place].get(quote(name, safe=""))
                if tokens is not None and not self._may_be_under_way(key, place, tokens, own):
                    gone.append(f"{place}.{_name(key)}")
        while gone:
            now, gone = gone[:TIDYING], gone[TIDYING:]
            how = options.MutateInOptions(cas=token, **self._server.durable)
            specs = [paths.remove(path) for path in now]
            call = self._server.writing(shard, lambda c, s=specs, o=how: c.mutate_in(shard, s, o))  # type: ignore[misc]
            token = call.cas

    def _may_be_under_way(self, key: str, place: str, tokens: Collection[str], own: int) -> bool:
        """Return True if a write that was announced under the document's present token may still follow."""
        seen = (key, place)
        if str(own) not in tokens:
            self._unresolved.pop(seen, None)
            return False
        if SYSTEM.monotonic() - self._unresolved.setdefault(seen, SYSTEM.monotonic()) <= GRACE:
            return True
        del self._unresolved[seen]
        return False

    def _read(self, shard: str) -> tuple[int, dict[str, dict[str, Any]]]:
        try:
            answer = self._server.reading(shard, lambda collection: collection.get(shard))
        except sdk.DocumentNotFoundException:
            return 0, {place: {} for place in PLACES}
        return answer.cas, _entries(shard, answer.value)


def _entries(shard: str, text: bytes) -> dict[str, dict[str, Any]]:
    """Return, by place, the jobs there and their tokens. Raises CorruptDocument."""
    try:
        stored = jsonvalues.decode(text)
        entries = {place: dict(stored.get(place, {})) for place in PLACES}
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        raise _broken(shard, error) from error
    return entries


def _broken(shard: str, error: Exception) -> CorruptDocument:
    return CorruptDocument(
        f"the index document {shard} makes no sense ({type(error).__name__}); jobs can't be listed until it is mended. "
        "Nothing was written."
    )


def _shard(key: str) -> str:
    return _shard_name(zlib.crc32(key.encode()) % SHARDS)


def _shard_name(number: int) -> str:
    return f"{OPEN_JOBS}{number}"


def _name(key: str) -> str:
    """Return a job's name as a part of a path; its uuid, as a rule."""
    return f"`{quote(key.removeprefix(KEY_PREFIX), safe='')}`"


def _key(name: str) -> str:
    return KEY_PREFIX + unquote(name)
