"""JSON values: what goes in comes out, and what would not is refused with its path."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerog import values
from zerog.exceptions import InvalidValue
from zerog.testing.datastore_machine import json_values
from zerog.testing.datastore_values import REFUSED, STORABLE, nested, same

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=3),
    lambda children: (
        st.lists(children, max_size=4)
        | st.tuples(children)
        | st.dictionaries(st.text(max_size=3) | st.integers(), children, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values)
def test_round_trip(value: Any) -> None:
    """Every JSON value comes back exactly, from text and from bytes."""
    text = values.encode(value)
    assert same(values.decode(text), value)
    assert same(values.decode(text.encode()), value)


@given(anything)
def test_accepted_or_named(value: Any) -> None:
    """A value either survives the round trip or is refused; nothing comes back as something else."""
    try:
        text = values.encode(value)
    except InvalidValue:
        return
    assert repr(values.decode(text)) == repr(value)


@given(st.text() | st.binary())
def test_decode_anything(text: str | bytes) -> None:
    """Any text is either JSON or a ValueError, never another error."""
    try:
        value = values.decode(text)
    except ValueError:
        return
    assert json.loads(text) == value or value != value


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "[1,NaN]", "", "{", "[1] 2", "{'a': 1}", '{"a": 1,}'])
def test_decode_refuses(text: str) -> None:
    """What isn't strict JSON is refused, the constants of JavaScript too."""
    with pytest.raises(ValueError):
        values.decode(text)


@pytest.mark.parametrize("value", list(REFUSED.values()), ids=list(REFUSED))
def test_refusals_name_the_path(value: Any) -> None:
    """The path of the offending part is in the message, which is short."""
    with pytest.raises(InvalidValue, match=r"params\.steps\[2\]\.size") as caught:
        values.check({"steps": [0, {}, {"size": value}]}, "params")
    assert len(str(caught.value)) < 400


def test_keys_are_checked() -> None:
    """Text of a key is held to the same rules as text of a value."""
    with pytest.raises(InvalidValue, match="a key of params"):
        values.check({"a\ud800": 1}, "params")


def test_depth() -> None:
    """MAX_DEPTH levels are accepted, one more is not; ``depth`` counts those around the value."""
    values.check(nested(values.MAX_DEPTH))
    values.check(nested(values.MAX_DEPTH - 2), depth=2)
    with pytest.raises(InvalidValue, match=f"more than {values.MAX_DEPTH} levels"):
        values.check(nested(values.MAX_DEPTH + 1))
    with pytest.raises(InvalidValue, match=f"more than {values.MAX_DEPTH} levels"):
        values.check(nested(values.MAX_DEPTH - 1), depth=2)


def test_endless() -> None:
    """A value that contains itself is refused instead of looked through for ever."""
    endless: dict[str, Any] = {}
    endless.update({"a": endless, "b": endless})
    with pytest.raises(InvalidValue):
        values.check(endless)


def test_size() -> None:
    """The limit counts bytes of UTF-8, not characters."""
    quotes = 2
    assert len(values.encode("x" * (values.MAX_BYTES - quotes))) == values.MAX_BYTES
    values.encode("ü" * (values.MAX_BYTES // 2 - 1))
    for text in ("x" * (values.MAX_BYTES - 1), "ü" * (values.MAX_BYTES // 2)):
        with pytest.raises(InvalidValue, match="params takes 4,"):
            values.encode(text, "params")


class Number(int):
    """A subclass that JSON would quietly turn into a plain number."""


@pytest.mark.parametrize("value", [Number(1), type("Text", (str,), {})("x"), type("D", (dict,), {})()], ids=repr)
def test_subclasses(value: Any) -> None:
    """A subclass of a JSON type would come back as its base, and is refused."""
    with pytest.raises(InvalidValue):
        values.check(value)


@given(json_values)
def test_copy(value: Any) -> None:
    """A copy is the same value."""
    assert same(values.copy(value), value)


@pytest.mark.parametrize("value", list(STORABLE.values()), ids=list(STORABLE))
def test_copies_share_nothing(value: Any) -> None:
    """A copy shares no list or dict with its original, however deep."""

    def containers(item: Any) -> set[int]:
        parts = item.values() if type(item) is dict else item if type(item) is list else ()
        own = {id(item)} if type(item) in (dict, list) else set()
        return own.union(*(containers(part) for part in parts))

    duplicate = values.copy(value)
    assert containers(value).isdisjoint(containers(duplicate))


@given(st.text(st.characters(exclude_categories=[])))
def test_storable_text(text: str) -> None:
    """Any message becomes one that can be stored; one that can be stored already stays as it is."""
    stored = values.storable_text(text)
    values.check(stored)
    if not any("\ud800" <= char <= "\udfff" for char in text):
        assert stored == text


def test_storable_text_is_bounded() -> None:
    """A long message keeps its beginning and its end and says how much is missing."""
    stored = values.storable_text("a" * values.MAX_TEXT + "b" * values.MAX_TEXT)
    assert stored.startswith("aaa") and stored.endswith("bbb")
    assert f"{values.MAX_TEXT:,} characters left out" in stored
    assert len(stored) < values.MAX_TEXT + 100


@pytest.mark.parametrize("value", [10**5000, "x" * 1_000, nested(5_000), list(range(1_000))], ids=type)
def test_shown(value: Any) -> None:
    """What an error message shows of a value is never longer than a line, and never fails."""
    assert 0 < len(values.shown(value)) <= 80
