"""Removal of ended jobs whose classes have ``on_discard``: one after another, in a thread of its own.

Their code takes as long as it takes, so no sweep waits for it longer than ``WAIT``, and what it is busy with is found
finished by a later one. Jobs of other classes are removed meanwhile (``zerog.maintenance.retention``).
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from zerog.contracts.datastore import FindQuery
from zerog.engine.engine import Engine
from zerog.engine.operator import OnDiscard
from zerog.exceptions import DatastoreError, ZerogError
from zerog.jobs.discarding import failures_of, may_be_called
from zerog.maintenance.kept import PAGE, REASON, Kept, is_known, until_of
from zerog.records.job import Document
from zerog.support.clock import to_text

log = logging.getLogger("zerog")

WAIT = 2.0
"""Seconds that a sweep waits for the thread."""

LONG = 60.0
"""Seconds after which an ``on_discard`` that hasn't ended is logged."""


class _Busy(NamedTuple):
    uuid: str
    since: float


class Discards:
    """Removes such jobs; ``sweep`` begins with a page of each type and returns what was removed meanwhile."""

    def __init__(self, engine: Engine, on_discard: OnDiscard | None) -> None:
        self._engine = engine
        self._on_discard = on_discard
        self._after: dict[tuple[str, str], str] = {}
        self._removed: deque[str] = deque()
        self._thread: threading.Thread | None = None
        self._busy: _Busy | None = None
        self._logged: str | None = None
        self.is_behind = False
        """True if there is more to do, and nothing in its way."""

    def sweep(self, kept: Kept) -> list[str]:
        """Remove due jobs; return the uuids of those removed since the last call. Raises the errors of ``find``."""
        self.is_behind = False
        if self._on_discard is None:
            return []
        if self._thread is None or not self._thread.is_alive():
            heads = [head for page in self._pages(kept) for head in page]
            if heads:
                self._thread = threading.Thread(target=self._remove, args=(heads,), name="zerog-discard", daemon=True)
                self._thread.start()
        if self._thread is not None:
            self._thread.join(WAIT)
            if self._thread.is_alive():
                self.is_behind = False
                self._log_a_long_one()
        return [self._removed.popleft() for _ in range(len(self._removed))]

    def _pages(self, kept: Kept) -> Iterator[list[Document]]:
        """Yield the next page of each status and type, without jobs whose ``on_discard`` has failed lately."""
        now = to_text(self._engine.now())
        for status, types in kept.items():
            for job_type, keep in types.items():
                place = status, job_type
                query = FindQuery(
                    status=status,
                    job_type=job_type,
                    until=until_of(keep, now),
                    after=self._after.pop(place, None),
                    limit=PAGE,
                )
                page = self._engine.datastore.find(query)
                if page.after is not None:
                    self._after[place] = page.after
                    self.is_behind = True
                yield [head for head in page.heads if is_known(head, keep) and may_be_called(head, now)]

    def _remove(self, heads: Sequence[Document]) -> None:
        for head in heads:
            uuid = str(head["uuid"])
            self._busy = _Busy(uuid, self._engine.clock.monotonic())
            try:
                self._removed += self._engine.discard_all([head], REASON, self._on_discard)
            except Exception as error:
                unexpected = not isinstance(error, ZerogError)
                log.warning("job %s is not removed yet: %s", uuid, error, exc_info=unexpected)
                if isinstance(error, DatastoreError):  # an outage: a later sweep goes on
                    return
            finally:
                self._busy = None

    def _log_a_long_one(self) -> None:
        busy = self._busy
        if busy is None or busy.uuid == self._logged or self._engine.clock.monotonic() - busy.since < LONG:
            return
        self._logged = busy.uuid
        log.warning(
            "on_discard of job %s has not ended for %.0f s; until it does, this process removes no other job whose "
            "class has one",
            busy.uuid,
            LONG,
        )


def failed(engine: Engine, kept: Kept) -> Iterator[tuple[Document, int]]:
    """Yield heads of due jobs, and how often their ``on_discard`` has failed; of a page of each status and type."""
    now = to_text(engine.now())
    for status, types in kept.items():
        for job_type, keep in types.items():
            query = FindQuery(status=status, job_type=job_type, until=until_of(keep, now), limit=PAGE)
            for head in engine.datastore.find(query).heads:
                if is_known(head, keep) and failures_of(head):
                    yield head, failures_of(head)
