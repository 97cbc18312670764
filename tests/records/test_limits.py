"""How many starts of a rate may be made at once."""

from __future__ import annotations

import pytest

from zerog.records.limits import Limit, Slots, burst_of
from zerog.records.settings import Rate

NOON = "2026-01-01T12:00:00.000000+00:00"


@pytest.mark.parametrize(("text", "most"), [("100/hour", 10), ("10/minute", 2), ("5/second", 6), ("600/minute", 60)])
def test_after_a_pause_a_tenth_starts_at_once_and_at_least_two(text: str, most: int) -> None:
    """And more than in a second, where delays may be whole seconds; the next one is too early."""
    limit, slots = Limit(("type", "test", "rate"), rate=Rate.read(text)), Slots(None)
    started = [slots.take(f"job {number}", f"run {number}", limit, NOON) for number in range(most + 1)]
    assert started == [True] * most + [False]
    assert burst_of(Rate.read(text)) == most
