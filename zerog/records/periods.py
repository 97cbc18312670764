"""The minutes and hours for which figures are kept, and their names in keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from zerog.records.fields import is_count
from zerog.records.operations import Document


@dataclass(frozen=True)
class Period:
    """One length of time. A moment is in a period by its number: lengths since 1970, in UTC."""

    field: str
    """The field of the document with the numbers of the first and the last period that have figures."""
    seconds: int
    kept: int
    """Periods for which figures are kept."""
    form: str

    def number(self, moment: datetime) -> int:
        """Return the number of the period that a moment is in."""
        return int(moment.timestamp() // self.seconds)

    def start(self, number: int) -> datetime:
        """Return the first moment of a period."""
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=number * self.seconds)

    def name(self, number: int) -> str:
        """Return the part of the key that names a period, for example ``2026-11-30T20:59``."""
        return self.start(number).strftime(self.form)

    def span(self, document: Document | None) -> tuple[int, int] | None:
        """Return the numbers of the first and the last period with figures; None if there are none."""
        stored = (document or {}).get(self.field)
        if not isinstance(stored, list) or len(stored) != 2 or not all(map(is_count, stored)):
            return None
        first, last = stored
        return (first, last) if first <= last <= self.number(datetime.max.replace(tzinfo=UTC)) else None

    def names(self, document: Document) -> Iterator[str]:
        """Yield the names of all periods that may have figures: of a long span its beginning and its end."""
        span = self.span(document)
        if span is not None:
            first, last = span
            beginning = range(first, min(last + 1, first + self.kept + 2))
            yield from map(self.name, beginning)
            yield from map(self.name, range(max(beginning.stop, last - self.kept), last + 1))


MINUTES = Period("minutes", 60, 24 * 60, "%Y-%m-%dT%H:%M")
HOURS = Period("hours", 3_600, 60 * 24, "%Y-%m-%dT%H")

minutes_in, hours_in = MINUTES.names, HOURS.names
