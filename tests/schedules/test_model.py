"""Every state of the small model, and what it finds if the protocol had a mistake."""

from __future__ import annotations

import pytest

from tests.schedules.model import MISTAKES, QUEUE, SKIP, explore


@pytest.mark.parametrize("overlap", [SKIP, QUEUE])
def test_no_state_breaks_a_rule(overlap: str) -> None:
    states, fault = explore(overlap)
    assert fault is None
    assert states > 5_000


@pytest.mark.parametrize("overlap", [SKIP, QUEUE])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_mistake_is_found(mistake: str, overlap: str) -> None:
    assert explore(overlap, mistake)[1] is not None
