"""The times of a schedule: its ticks, by a cron expression in a timezone, or at multiples of an interval.

cronsim reads the expressions and follows Debian's rules where a clock changes: a tick at a time of day that is skipped
comes at the end of the gap, and one at a time of day that happens twice comes the first time; expressions whose minute
or hour begins with a star go by elapsed time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice, takewhile
from typing import Any

from zerog.exceptions import ConfigurationError, InvalidValue
from zerog.support.clock import in_utc
from zerog.support.extras import how_to_install

SHORTEST = 1
"""Seconds of the shortest interval."""

LONGEST = 366 * 86400
"""Seconds of the longest interval."""

LATE = timedelta(minutes=2)
"""How late a tick may be submitted and still count as on time: longer than it takes another worker to lead."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REFUSED = "The schedule was not stored."


@dataclass(frozen=True)
class Timing:
    """When a schedule has its ticks: ``cron`` in ``timezone``, or ``every`` so many seconds since 1970 in UTC."""

    cron: str | None = None
    every: int | None = None
    timezone: str = "UTC"

    def ticks(self, after: datetime) -> Iterator[datetime]:
        """Yield the ticks later than a moment, in UTC, without end or as long as there are any in 50 years.

        Raises InvalidValue, and ConfigurationError if cronsim isn't installed.
        """
        if self.every is not None:
            number = (after - _EPOCH) // timedelta(seconds=self.every)
            while True:
                number += 1
                yield _EPOCH + timedelta(seconds=number * self.every)
        latest = after
        for local in self._simulated(after):
            tick = local.astimezone(UTC)
            if tick > latest:  # not so where a time of day happens twice
                latest = tick
                yield tick

    def next_ticks(self, after: datetime, count: int) -> list[datetime]:
        """Return the first ticks later than a moment; fewer if there aren't as many."""
        return list(islice(self.ticks(after), count))

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        """Return the last tick later than ``after`` and not later than ``until``; None if there is none."""
        span = timedelta(hours=1) if self.every is None else timedelta(seconds=2 * self.every)
        while True:
            start = max(after, until - span)
            found = list(takewhile(lambda tick: tick <= until, self.ticks(start)))
            if found:
                return found[-1]
            if start == after:
                return None
            span *= 4

    def due(self, noted: datetime, now: datetime) -> tuple[list[datetime], datetime | None]:
        """Return the ticks since ``noted`` that are on time, and the latest that is not, None if there is none."""
        late = now - LATE
        on_time = list(takewhile(lambda tick: tick <= now, self.ticks(max(noted, late))))
        return on_time, self.latest(noted, late) if noted < late else None

    def words(self) -> str:
        """Return the times in English: ``At 03:00 every day, Europe/Berlin``."""
        if self.every is not None:
            return f"every {_span(self.every)}"
        return f"{self._simulated(_EPOCH).explain()}, {self.timezone}"

    def _simulated(self, after: datetime) -> Any:
        cronsim, local = _cronsim(), after.astimezone(zone_of(self.timezone))
        try:
            return cronsim.CronSim(self.cron, local)
        except (cronsim.CronSimError, AssertionError, ValueError) as error:
            raise InvalidValue(f"cron={self.cron!r:.80} can't be read: {_why(error)}.") from None


def timing_of(cron: object, every: object, timezone: object) -> Timing:
    """Return the timing that a program or an operator gave: a cron expression, or an interval.

    Raises InvalidValue, and ConfigurationError if cronsim isn't installed.
    """
    if (cron is None) == (every is None):
        raise InvalidValue(
            f"cron={cron!r:.80} and every={every!r:.80}; expected one of both: a cron expression such as '0 3 * * *', "
            f"or an interval such as timedelta(minutes=5). {_REFUSED}"
        )
    if type(timezone) is not str:
        raise InvalidValue(f"timezone={timezone!r:.80}; expected a name such as 'Europe/Berlin'. {_REFUSED}")
    if every is not None:
        if timezone != "UTC":
            raise InvalidValue(
                f"every={every!r:.80} with timezone={timezone!r:.80}; an interval has no timezone, a cron expression "
                f"has. {_REFUSED}"
            )
        return Timing(every=_seconds(every))
    if type(cron) is not str or len(cron.split()) != 5 or len(cron) > 200:
        raise InvalidValue(
            f"cron={cron!r:.80}; expected five fields: minute, hour, day of the month, month, day of the week. For "
            f"intervals of seconds use every=timedelta(seconds=…). {_REFUSED}"
        )
    timing = Timing(cron=" ".join(cron.split()), timezone=timezone)
    try:
        if timing.next_ticks(datetime(2026, 1, 1, tzinfo=UTC), 1):
            return timing
    except InvalidValue as error:
        raise InvalidValue(f"{error} {_REFUSED}") from None
    raise InvalidValue(f"cron={cron!r:.80} has no time in 50 years. {_REFUSED}")


def zone_of(name: str) -> tzinfo:
    """Return a timezone by its name in the IANA database. Raises InvalidValue."""
    if name == "UTC":
        return UTC
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = zoneinfo.available_timezones()
        hint = "" if known else f" This machine has no timezones: {how_to_install('schedules')} brings them."
        raise InvalidValue(
            f"timezone={name!r:.80} is unknown here; expected a name such as 'Europe/Berlin' or 'UTC'.{hint}"
        ) from None


def _seconds(every: object) -> int:
    seconds = every.total_seconds() if isinstance(every, timedelta) else 0.0
    if not seconds.is_integer() or not SHORTEST <= seconds <= LONGEST:
        raise InvalidValue(
            f"every={every!r:.80}; expected a timedelta of whole seconds, from {SHORTEST} s to 366 days. {_REFUSED}"
        )
    return int(seconds)


def _cronsim() -> Any:
    try:
        import cronsim
    except ImportError as error:
        raise ConfigurationError(
            f"cron expressions need cronsim, which isn't installed: {how_to_install('schedules')}."
        ) from error
    return cronsim


def _why(error: Exception) -> str:
    text = str(error)
    return f"the {text[4:]} makes no sense" if text.startswith("Bad ") else text or "a field makes no sense"


_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def _span(seconds: int) -> str:
    for length, unit in _UNITS:
        if seconds % length == 0:
            count = seconds // length
            return unit if count == 1 else f"{count:,} {unit}s"
    raise AssertionError  # one second divides all


def moment_of(text: str) -> datetime:
    """Return a stored moment in UTC."""
    return in_utc(datetime.fromisoformat(text))
