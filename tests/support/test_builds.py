"""Ranges of builds."""

from __future__ import annotations

import pytest

from zerog.support.builds import is_empty, is_within


@pytest.mark.parametrize(
    ("build", "wanted", "expected"),
    [
        ("1f2e", "1f2e", True),
        ("1f2e", "1f2", False),
        ("2026.11.9", "2026.11.8..2026.11.10", True),
        ("2026.11.10", "2026.11.8..2026.11.10", True),
        ("2026.11.11", "2026.11.8..2026.11.10", False),
        ("2026.11.9", "2026.11.10..", False),
        ("v10", "v9..", True),
        ("v8", "..v9", True),
        ("v10", "..v9", False),
        ("a..b", "a..b", True),
        (None, "v9..", False),
        (9, "v9..", False),
    ],
)
def test_a_build_is_within_a_range(build: object, wanted: str, expected: bool) -> None:
    assert is_within(build, wanted) is expected


@pytest.mark.parametrize(("wanted", "expected"), [("..", True), ("v9..v8", True), ("v9..v9", False), ("v9", False)])
def test_a_range_may_be_empty(wanted: str, expected: bool) -> None:
    assert is_empty(wanted) is expected
