"""Remove ended jobs after the retention time of their class.

The datastore lists due jobs by status, type and end from an index (``Datastore.find`` with ``until``), so a sweep
reads only those, however many jobs are kept. It removes a page per transaction, pauses after each, so that claims and
settlements get their turn, and ends after ``BUDGET`` seconds. Nothing is read unless a class has RETAIN or
RETAIN_FAILED.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime

from zerog.contracts.datastore import Datastore, FindQuery, Page
from zerog.engine.engine import Engine
from zerog.engine.scheduled import without_latest
from zerog.exceptions import DatastoreError, DatastoreUnavailable
from zerog.maintenance.discards import Discards
from zerog.maintenance.kept import PAGE, REASON, Keep, Kept, is_known, named, until_of
from zerog.support.clock import text_after, to_text

log = logging.getLogger("zerog")

BUDGET = 5.0
"""Seconds after which a sweep leaves the rest to the next one, which is then due soon: other repairs get their turn."""

LEFT = 1_000
"""Due heads of one status and type that a sweep reads without removing them, before it leaves the rest to the next."""

PAUSE = 0.05
"""Seconds of the longest pause after a page, in which claims and settlements get their turn."""


OVERDUE = 900.0
"""Seconds after which a job should have been removed at the latest."""


def why_not(datastore: Datastore, kept: Kept) -> str | None:
    """Return why jobs can't be removed there after their retention time; None if they can.

    Raises DatastoreUnavailable.
    """
    if not (datastore.can_find and datastore.can_delete):
        return "this datastore can't list or can't delete jobs"
    if not datastore.can_find_ended:
        return "this datastore can't list jobs that have ended"
    status, job_type = next(((status, name) for status, types in kept.items() for name in types), ("", ""))
    try:
        if status:
            datastore.find(FindQuery(status=status, job_type=job_type, until="", limit=1))
    except DatastoreUnavailable:
        raise
    except DatastoreError as error:
        return str(error)
    return None


def left_over(engine: Engine, kept: Kept, now: datetime) -> Iterator[tuple[str, str, Page]]:
    """Yield statuses and types of jobs that should have been removed OVERDUE seconds ago, with a page of each."""
    datastore = engine.datastore
    for status, types in kept.items():
        for job_type, keep in types.items():
            until = until_of(keep, text_after(to_text(now), -OVERDUE))
            page = datastore.find(FindQuery(status=status, job_type=job_type, until=until, limit=PAGE))
            heads = without_latest(engine, [head for head in page.heads if is_known(head, keep)])
            if heads:
                yield status, job_type, page._replace(heads=heads)


class Retention:
    """Removes ended jobs in each sweep, which calls ``kept``: classes may be registered at any time."""

    def __init__(self, engine: Engine, kept: Callable[[], Kept], discards: Discards) -> None:
        """``discards``: removes the jobs of classes that have ``on_discard``."""
        self._engine = engine
        self._discards = discards
        self._kept = kept
        self._after: dict[tuple[str, str], str] = {}
        self._logged: str | None = None
        self.is_behind = False
        """True if the last sweep ended by ``BUDGET``, with more to remove."""

    def sweep(self) -> list[str]:
        """Remove due jobs; return the uuids. A datastore that can't is logged once, and ends no sweep."""
        kept = self._kept()
        removed: list[str] = []
        if not kept:
            return removed
        try:
            why = why_not(self._engine.datastore, kept)
            if why is None:
                self._remove(named(kept, with_hook=False), removed)
                removed += self._discards.sweep(named(kept, with_hook=True))
                self.is_behind |= self._discards.is_behind
        except DatastoreError as error:
            why = str(error)
        if why is not None and why != self._logged:
            log.warning("jobs that RETAIN keeps no longer are not removed: %s", why)
        self._logged = why
        return removed

    def _remove(self, kept: Kept, removed: list[str]) -> None:
        """Add to ``removed``: a page of each status and type in turn, until nothing is due or the time is over."""
        clock = self._engine.clock
        end = clock.monotonic() + BUDGET
        left = {(status, job_type): 0 for status, types in kept.items() for job_type in types}
        while left:
            for status, job_type in list(left):
                began = clock.monotonic()
                if began >= end:
                    self.is_behind = True
                    return
                due, gone = self._remove_page(status, job_type, kept[status][job_type])
                removed += gone
                place = status, job_type
                left[place] += due - len(gone)
                if place not in self._after or left[place] >= LEFT:
                    del left[place]
                if due:
                    clock.pause(min(clock.monotonic() - began, PAUSE))

    def _remove_page(self, status: str, job_type: str, keep: Keep) -> tuple[int, list[str]]:
        """Return how many heads of the next page are due, and the uuids of those removed."""
        place = status, job_type
        until = until_of(keep, to_text(self._engine.now()))
        page = self._engine.datastore.find(
            FindQuery(status=status, job_type=job_type, until=until, after=self._after.pop(place, None), limit=PAGE)
        )
        if page.after is not None:
            self._after[place] = page.after
        known = [head for head in page.heads if is_known(head, keep)]
        return len(page.heads), self._engine.discard_all(known, REASON) if known else []
