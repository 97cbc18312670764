"""Ticks against a second reading of Debian's rules, and from wherever one begins to look."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.schedules.oracle import ticks_of
from zerog.schedules.timing import LATE, Timing

ZONES = st.sampled_from(
    ["Europe/Berlin", "America/New_York", "Australia/Adelaide", "Asia/Kolkata", "America/St_Johns", "UTC"]
)
"""Without Lord Howe, whose clock changes by half an hour: by elapsed time cronsim steps over the hour after that."""
CHANGES = [datetime(2026, *day, tzinfo=UTC) for day in ((3, 8), (3, 29), (4, 5), (10, 4), (10, 25), (11, 1))]
"""Days on which a clock of ZONES changes."""


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    return st.one_of(
        number.map(str),
        st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}"),
        st.lists(number, min_size=2, max_size=3, unique=True).map(lambda many: ",".join(map(str, many))),
        st.integers(1, high).map(lambda step: f"*/{step}"),
        st.just("*"),
    )


CRONS = st.tuples(field(0, 59), field(0, 23), field(1, 31), st.just("*"), field(0, 7)).map(" ".join)
MOMENTS = st.tuples(st.sampled_from(CHANGES), st.integers(-2 * 86400, 2 * 86400)).map(
    lambda pair: pair[0] + timedelta(seconds=pair[1])
)


@settings(max_examples=60, deadline=None)
@given(cron=CRONS, zone=ZONES, start=MOMENTS)
def test_ticks_are_those_of_debian(cron: str, zone: str, start: datetime) -> None:
    end = start + timedelta(days=3)
    found = list(takewhile(lambda tick: tick <= end, Timing(cron=cron, timezone=zone).ticks(start)))
    assert found == ticks_of(cron, zone, start, end)


@settings(max_examples=60, deadline=None)
@given(cron=CRONS, zone=ZONES, start=MOMENTS, later=st.integers(1, 86400))
def test_ticks_don_t_depend_on_where_one_begins(cron: str, zone: str, start: datetime, later: int) -> None:
    timing, end = Timing(cron=cron, timezone=zone), start + timedelta(days=2)
    middle = start + timedelta(seconds=later)
    whole = list(takewhile(lambda tick: tick <= end, timing.ticks(start)))
    assert [tick for tick in whole if tick > middle] == list(takewhile(lambda t: t <= end, timing.ticks(middle)))
    assert timing.latest(start, end) == (whole[-1] if whole else None)


@settings(max_examples=100, deadline=None)
@given(every=st.integers(1, 366 * 86400), start=MOMENTS)
def test_an_interval_s_ticks_are_its_multiples(every: int, start: datetime) -> None:
    first, second = Timing(every=every).next_ticks(start, 2)
    assert first.timestamp() % every == 0
    assert (second - first).total_seconds() == every
    assert start < first <= start + timedelta(seconds=every)


def test_what_is_due_splits_at_two_minutes() -> None:
    now = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
    on_time, missed = Timing(cron="* * * * *").due(now - timedelta(hours=1), now)
    assert on_time == [now - timedelta(seconds=90), now - timedelta(seconds=30)]
    assert missed == now - timedelta(seconds=150)
    assert Timing(cron="* * * * *").due(now - LATE, now)[1] is None


def test_years_of_missed_ticks_cost_no_more_than_a_few() -> None:
    """The last one is found from the end."""
    now = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
    on_time, missed = Timing(every=600).due(datetime(1990, 1, 1, tzinfo=UTC), now)
    assert (on_time, missed) == ([now - timedelta(seconds=30)], now - timedelta(seconds=630))
    assert Timing(cron="0 0 29 2 *").latest(datetime(1990, 1, 1, tzinfo=UTC), now) == datetime(2024, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "every second"), (90, "every 90 seconds"), (300, "every 5 minutes"), (86400, "every day")],
)
def test_intervals_in_words(seconds: int, words: str) -> None:
    assert Timing(every=seconds).words() == words
