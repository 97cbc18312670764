"""How many starts of a rate may be made at once."""

from __future__ import annotations

import pytest

from zerog.records.limits import Limit
from zerog.records.settings import Rate
from zerog.records.slots import Sharing, Slots, burst_of

NOON = "2026-01-01T12:00:00.000000+00:00"


@pytest.mark.parametrize(("text", "most"), [("100/hour", 10), ("10/minute", 2), ("5/second", 6), ("600/minute", 60)])
def test_after_a_pause_a_tenth_starts_at_once_and_at_least_two(text: str, most: int) -> None:
    """And more than in a second, where delays may be whole seconds; the next one is too early."""
    limit, slots = Limit(("type", "test", "rate"), rate=Rate.read(text)), Slots(None)
    started = [slots.take(f"job {number}", f"run {number}", limit, NOON) for number in range(most + 1)]
    assert started == [True] * most + [False]
    assert burst_of(Rate.read(text)) == most


def test_a_slot_is_free_with_the_last_run_that_shares_it() -> None:
    """Whatever order they end in; and no run joins one of another worker."""
    limit, slots = Limit(("type", "test"), 1), Slots(None)
    mine = slots.shared_by(Sharing(lambda nonce: True, lambda of: 8))
    assert [slots.take(name, f"run of {name}", limit, NOON, 8, mine) for name in "abc"] == [True] * 3
    stored = Slots(slots.to_document())
    assert stored.shared_by(Sharing(lambda nonce: nonce == "run of b", lambda of: 8)) == {"run of a": 3}
    assert not stored.take(
        "d", "run of d", limit, NOON, 8, stored.shared_by(Sharing(lambda nonce: False, lambda of: 8))
    )
    for name in "ab":
        stored.give(f"run of {name}")
        assert (stored.taken, stored.room) == (1, 0)
    stored.give("run of c")
    assert (stored.taken, stored.room) == (0, 1)
