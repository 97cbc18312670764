"""JSON values in place of what a run returned."""

from __future__ import annotations

import string
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import date
from enum import Enum
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerog.exceptions import InvalidValue
from zerog.support import jsonvalues
from zerog.support.plainvalues import plain


class Color(Enum):
    RED = "r"


@dataclass
class Point:
    x: int
    y: Any


class Broken:
    def tolist(self) -> Any:
        raise RuntimeError("no list")


names = st.text(string.ascii_letters, max_size=4)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | names,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
odd_leaves = st.one_of(
    st.floats(), st.integers(), st.binary(max_size=4), st.text(st.characters(codec=None)), st.dates(), st.uuids(),
    st.decimals(), st.complex_numbers(), st.fractions(), st.sampled_from([Color.RED, Broken(), object, Ellipsis]),
)  # fmt: skip
odd_values = st.recursive(
    json_values | odd_leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(tuple),
        st.lists(inner, max_size=4).map(deque),
        st.dictionaries(names | st.integers() | st.none() | st.tuples(names), inner, max_size=4),
        st.builds(Point, st.integers(), inner),
    ),
    max_leaves=12,
)


@given(st.dictionaries(names, json_values, max_size=4))
def test_json_stays_as_it_is(value: dict[str, Any]) -> None:
    assert plain(value, "output") == (value, [])


@given(st.dictionaries(names | st.integers(), odd_values, max_size=4))
def test_anything_becomes_json(value: dict[Any, Any]) -> None:
    converted, _ = plain(value, "output")
    assert jsonvalues.decode(jsonvalues.encode(converted)) == converted


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Color.RED, "r"),
        (Point(1, (2, 3)), {"x": 1, "y": [2, 3]}),
        (OrderedDict(a=1), {"a": 1}),
        (date(2026, 11, 30), "2026-11-30"),
        (Fraction(1, 3), "1/3"),
        (PurePosixPath("/data/a.csv"), "/data/a.csv"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (range(3), [0, 1, 2]),
    ],
    ids=repr,
)
def test_what_has_an_obvious_form_loses_nothing(value: Any, expected: Any) -> None:
    assert plain({"a": value}, "output") == ({"a": expected}, [])


def test_a_structure_that_holds_itself_ends() -> None:
    value: dict[str, Any] = {}
    value["again"] = value
    converted, losses = plain(value, "output")
    assert len(losses) == 1
    jsonvalues.check(converted)


def test_keys_that_become_one_are_named() -> None:
    converted, losses = plain({1: "a", "1": "b"}, "output")
    assert (converted, losses) == ({"1": "b"}, ["output.1"])


def test_parts_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonvalues, "MAX_PARTS", 100)
    value: list[Any] = []
    for _ in range(10):
        value = [value, value]  # small in memory, 2^10 lists in JSON
    with pytest.raises(InvalidValue, match="more than can be stored"):
        plain({"a": value}, "output")
