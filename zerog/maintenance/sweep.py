"""Read the pages of one sweep of ``zerog.maintenance.reconcile``, and report it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from zerog.contracts.datastore import FindQuery
from zerog.engine.engine import Engine
from zerog.exceptions import CorruptDocument, InvalidUuid, SchemaTooNew
from zerog.records.job import KEY_PREFIX, Document, check_head, make_key
from zerog.support.jsonvalues import short_repr

PAGE = 500
"""Heads read at a time."""

HEADS = 10_000
"""Heads of each kind (pending, running) read in one sweep, at most."""


@dataclass
class Report:
    """The results of one sweep, by uuid."""

    put_again: list[str] = field(default_factory=list)
    rescued: list[str] = field(default_factory=list)
    given_back: list[str] = field(default_factory=list)
    """Jobs that named a living worker which did not hold them."""
    cancelled: list[str] = field(default_factory=list)
    expired: list[str] = field(default_factory=list)
    """Waiting jobs that ended because no run had begun in time."""
    stuck: dict[str, str] = field(default_factory=dict)
    """Skipped jobs, and the reasons."""
    forgotten: list[str] = field(default_factory=list)
    """Dead workers whose records were removed."""
    followed: list[str] = field(default_factory=list)
    """Jobs that were submitted because others had ended."""
    removed: list[str] = field(default_factory=list)
    """Ended jobs whose retention was over."""
    heads: int = 0
    """Number of heads read of jobs that have not ended."""

    @property
    def repairs(self) -> int:
        """Return how many jobs were repaired."""
        return sum(map(len, (self.put_again, self.rescued, self.given_back, self.cancelled, self.expired)))

    def __bool__(self) -> bool:
        return self.repairs > 0


class Course:
    """Pages of one query; stops after HEADS heads, or ``most``, and continues there next time."""

    def __init__(self, most: int | None = None, **query: Any) -> None:
        self._query = query
        self._most = most
        self._after: str | None = None
        self.is_over = False
        """True if the latest walk has reached the last page."""

    def walk(self, engine: Engine, report: Report, **query: Any) -> Iterator[list[Document]]:
        """Yield pages of heads; ``query`` is laid over that of the course."""
        left = self._most or HEADS
        self.is_over = False
        while left > 0 and not self.is_over:
            limit = min(PAGE, left)
            page = engine.datastore.find(FindQuery(**{**self._query, **query}, after=self._after, limit=limit))
            self._after = page.after
            self.is_over = page.after is None
            left -= limit
            report.heads += len(page.heads)
            _set_aside_unreadable(engine, page.unreadable)
            yield [head for head in page.heads if is_usable(engine, head)]


def is_usable(engine: Engine, head: Document) -> bool:
    """True if the engine can work with a head; if not, the job is set aside."""
    try:
        check_head(make_key(head.get("uuid") or ""), head)
        return True
    except (CorruptDocument, InvalidUuid, SchemaTooNew) as error:
        engine.set_aside(short_repr(head.get("uuid")).strip("'"), error, "sweep.left")
        return False


def _set_aside_unreadable(engine: Engine, keys: Sequence[str]) -> None:
    new = [key for key in keys if key.removeprefix(KEY_PREFIX) not in engine.skipped]
    for key, error in engine.datastore.read_heads(new).unreadable.items():
        engine.set_aside(key.removeprefix(KEY_PREFIX), error, "sweep.left")
