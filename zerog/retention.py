"""Removing jobs that have ended once their class keeps them no longer.

A sweep goes on through the jobs that have ended where the one before stopped: at most HEADS of each status, a PAGE at a
time, oldest first. So it costs the same however many are kept; a hundred thousand kept jobs are gone through in a
quarter of an hour, and what became too old meanwhile is removed then. Nothing is read unless some class says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from zerog.clock import text_after, to_text
from zerog.datastores.base import Datastore
from zerog.document import Document, check_head, check_layout, make_key
from zerog.exceptions import CorruptDocument, InvalidUuid, SchemaTooNew
from zerog.lifecycle import Engine

HEADS = 1_000
"""Heads of one status that a sweep reads at most, and so the most that it removes of them."""

PAGE = 100
"""Heads read at a time: what has ended may have large outputs."""


class Keep(NamedTuple):
    """For how many seconds jobs of a type are kept, by code that knows documents up to this version."""

    seconds: float
    version: float


Kept = Mapping[str, Mapping[str, Keep]]
"""By status and type, how long ended jobs are kept; those that aren't named are kept for ever."""


def can_remove(datastore: Datastore) -> bool:
    """Whether ended jobs can be found and removed there."""
    return datastore.can_find and datastore.can_delete


class Retention:
    """Goes through what has ended. ``kept`` is asked at each sweep, for classes may be registered at any time."""

    def __init__(self, engine: Engine, kept: Callable[[], Kept]) -> None:
        self._engine = engine
        self._kept = kept
        self._after: dict[str, str | None] = {}

    def sweep(self) -> list[str]:
        """Remove what is too old among the next ones; returns their uuids."""
        removed: list[str] = []
        if can_remove(self._engine.datastore):
            for status, kept in self._kept().items():
                removed += self._go_on(status, kept)
        return removed

    def _go_on(self, status: str, kept: Mapping[str, Keep]) -> list[str]:
        now = to_text(self._engine.clock.now())
        removed: list[str] = []
        for _ in range(HEADS // PAGE):
            page = self._engine.datastore.find(status=status, after=self._after.get(status), limit=PAGE)
            old = [head for head in page.heads if _is_over(head, kept, now)]
            removed += self._engine.discard_all(old, "its class keeps it no longer")
            self._after[status] = page.after
            if page.after is None:
                break
        return removed


def _is_over(head: Document, kept: Mapping[str, Keep], now: str) -> bool:
    """Whether a job is kept no longer. What newer code has written is for newer code to remove."""
    ended, keep = head.get("finishedAt"), kept.get(str(head.get("jobType")))
    if keep is None or not isinstance(ended, str) or ended >= text_after(now, -keep.seconds):
        return False
    try:
        key = make_key(head.get("uuid") or "")
        check_head(key, head)
        check_layout(head)
    except (InvalidUuid, CorruptDocument, SchemaTooNew):
        return False
    return bool(head["schemaVersion"] <= keep.version)
