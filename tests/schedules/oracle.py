"""The ticks of a cron expression by Debian's rules, found without cronsim: every minute of a year is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def values_of(text: str, low: int, high: int) -> set[int]:
    """The values of a field of numbers, ranges, lists and steps."""
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin, end = (low, high) if span == "*" else (int(first), int(last or first))
        found.update(range(begin, end + 1, int(step or 1)))
    return found


def ticks_of(cron: str, timezone: str, start: datetime, end: datetime) -> list[datetime]:
    """The ticks later than ``start`` and not later than ``end``, in UTC."""
    texts = cron.split()
    minutes, hours, days, months, weekdays = (
        values_of(text, *bounds) for text, bounds in zip(texts, FIELDS, strict=True)
    )
    zone = ZoneInfo(timezone)

    def has(day: date) -> bool:
        by_day, by_weekday = day.day in days, bool({day.isoweekday() % 7, day.isoweekday()} & weekdays)
        both = texts[2].startswith("*") or texts[4].startswith("*")
        return day.month in months and ((by_day and by_weekday) if both else (by_day or by_weekday))

    def by_elapsed_time() -> Iterator[datetime]:
        moment = start.replace(second=0, microsecond=0)
        while moment <= end:
            local = moment.astimezone(zone)
            if local.minute in minutes and local.hour in hours and has(local.date()):
                yield moment
            moment += timedelta(minutes=1)

    def by_time_of_day() -> Iterator[datetime]:
        day = start.date() - timedelta(days=2)
        while day <= end.date() + timedelta(days=2):
            for hour in hours if has(day) else ():
                for minute in minutes:
                    local = datetime.combine(day, time(hour, minute))
                    while local.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) != local:
                        local += timedelta(minutes=1)  # the clock skips it
                    yield local.replace(tzinfo=zone).astimezone(UTC)
            day += timedelta(days=1)

    goes_by_elapsed_time = texts[0].startswith("*") or texts[1].startswith("*")
    found = by_elapsed_time() if goes_by_elapsed_time else by_time_of_day()
    return sorted({tick for tick in found if start < tick <= end})
