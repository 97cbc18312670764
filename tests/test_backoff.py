"""The pauses of zerog.backoff, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from zerog import backoff
from zerog.exceptions import ConfigurationError


@pytest.mark.parametrize(
    ("policy", "pauses"),
    [
        (backoff.none(), [0, 0, 0]),
        (backoff.constant(5), [5, 5, 5]),
        (backoff.linear(10, jitter=False), [10, 20, 30]),
        (backoff.linear(10, cap=25, jitter=False), [10, 20, 25]),
        (backoff.exponential(jitter=False), [1, 2, 4]),
        (backoff.exponential(30, factor=3, cap=200, jitter=False), [30, 90, 200]),
        (backoff.exponential(7, factor=1, jitter=False), [7, 7, 7]),
    ],
    ids=str,
)
def test_the_shapes(policy: backoff.Backoff, pauses: list[float]) -> None:
    assert [policy(count, None) for count in (1, 2, 3)] == pauses


@pytest.mark.parametrize(
    ("policy", "longest"), [(backoff.DEFAULT, 60.0), (backoff.exponential(), 3600.0), (backoff.linear(1), 3600.0)]
)
@pytest.mark.parametrize("count", [5_000, 10**400])
def test_no_number_of_errors_goes_beyond_the_cap(policy: backoff.Backoff, longest: float, count: int) -> None:
    assert 0.75 * longest <= policy(count, None) <= longest


def test_the_default_doubles_up_to_a_minute() -> None:
    for count, longest in ((1, 1.0), (2, 2.0), (4, 8.0), (50, 60.0)):
        assert 0.75 * longest <= backoff.DEFAULT(count, None) <= longest


@pytest.mark.parametrize(("jitter", "share"), [(True, 0.25), (1, 1.0), (0.5, 0.5)])
def test_jitter_takes_up_to_its_share_off_at_random(jitter: Any, share: float) -> None:
    pauses = [backoff.constant(100, jitter=jitter)(1, None) for _ in range(1_000)]
    assert 100 * (1 - share) <= min(pauses) < 100 * (1 - share * 0.9)
    assert 100 * (1 - share * 0.1) < max(pauses) <= 100


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: backoff.constant(-1), "seconds=-1"),
        (lambda: backoff.constant("5"), "seconds='5'"),  # type: ignore[arg-type]
        (lambda: backoff.constant(True), "seconds=True"),
        (lambda: backoff.constant(float("nan")), "seconds=nan"),
        (lambda: backoff.constant(10**9), "up to 1,000,000,000"),
        (lambda: backoff.linear(-1), "step=-1"),
        (lambda: backoff.linear(1, cap=float("inf")), "cap=inf"),
        (lambda: backoff.linear(10, cap=5), "cap=5 is below the first pause of 10 s"),
        (lambda: backoff.exponential(5000), "cap=3600.0 is below the first pause of 5000 s"),
        (lambda: backoff.exponential(factor=0.5), "factor=0.5"),
        (lambda: backoff.exponential(factor="2"), "factor='2'"),  # type: ignore[arg-type]
        (lambda: backoff.exponential(first=None), "first=None"),  # type: ignore[arg-type]
        (lambda: backoff.exponential(jitter=2), "jitter=2"),
        (lambda: backoff.exponential(jitter=-0.1), "jitter=-0.1"),
        (lambda: backoff.exponential(jitter="full"), "jitter='full'"),  # type: ignore[arg-type]
    ],
)
def test_arguments_that_make_no_sense_are_refused_by_name(make: Any, named: str) -> None:
    with pytest.raises(ConfigurationError, match="expected") as refused:
        make()
    assert named in str(refused.value)
