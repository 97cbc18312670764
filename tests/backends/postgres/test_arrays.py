"""Lists as parameters: what the server reads is what was given."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backends.postgres.servers import shared
from zerog.backends.postgres.connection import Connection, open_connection
from zerog.backends.postgres.statements import complete

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
WHOLE = st.integers(-(2**63), 2**63 - 1)
FINITE = st.floats(allow_nan=False, allow_infinity=False)

_connections: list[Connection] = []


def answered(cast: str, format_: str, values: list[Any]) -> Any:
    """What the server has read."""
    if not _connections:
        _connections.append(open_connection(shared().url().partition("?")[0], 10, "a test"))
    statement = complete(f"SELECT %(values){format_}::{cast}[]", "zerog")
    row = _connections[0].execute(statement.text, statement.values({"values": values})).fetchone()
    assert row is not None
    return row[0]


@given(st.lists(st.none() | TEXT, max_size=6))
def test_texts(values: list[str | None]) -> None:
    assert answered("text", "b", values) == answered("text", "s", values) == values


@pytest.mark.parametrize("values", [["é"] * 3, [None] * 2, ["a", "b", "a"], ["a", None, "a"]], ids=repr)
def test_texts_that_repeat(values: list[str | None]) -> None:
    assert answered("text", "b", values) == values


@given(st.lists(st.none() | WHOLE, max_size=6), st.lists(st.none() | FINITE, max_size=6))
def test_numbers(whole: list[int | None], real: list[float | None]) -> None:
    assert answered("bigint", "s", whole) == whole
    assert answered("float8", "s", real) == real


@pytest.mark.parametrize("values", [[], [True], [False, None, True]], ids=repr)
def test_truth_values(values: list[bool | None]) -> None:
    assert answered("boolean", "s", values) == values


def test_words_that_mean_something_in_a_literal() -> None:
    values = ["NULL", "null", "{}", '"', "\\", "a,b", " ", ""]
    assert answered("text", "s", values) == values
