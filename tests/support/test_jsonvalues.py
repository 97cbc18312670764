"""JSON values: what is written is read back, and what would not be is refused with its path."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerog.exceptions import InvalidValue
from zerog.support import jsonvalues
from zerog.testing.contracts.datastore.machine import json_values
from zerog.testing.contracts.datastore.values import REFUSED, STORABLE, nested, same

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
    """Every JSON value is read back exactly, from text and from bytes."""
    text = jsonvalues.encode(value)
    assert same(jsonvalues.decode(text), value)
    assert same(jsonvalues.decode(text.encode()), value)


@given(anything)
def test_accepted_or_named(value: Any) -> None:
    """A value either survives the round trip or is refused; nothing is read back as something else."""
    try:
        text = jsonvalues.encode(value)
    except InvalidValue:
        return
    assert repr(jsonvalues.decode(text)) == repr(value)


@given(st.text() | st.binary())
def test_decode_anything(text: str | bytes) -> None:
    """Any text is either JSON or a ValueError, never another error."""
    try:
        value = jsonvalues.decode(text)
    except ValueError:
        return
    assert json.loads(text) == value or value != value


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "[1,NaN]", "", "{", "[1] 2", "{'a': 1}", '{"a": 1,}'])
def test_decode_refuses(text: str) -> None:
    """What isn't strict JSON is refused, the constants of JavaScript too."""
    with pytest.raises(ValueError):
        jsonvalues.decode(text)


@pytest.mark.parametrize("value", list(REFUSED.values()), ids=list(REFUSED))
def test_refusals_name_the_path(value: Any) -> None:
    """The path of the offending part is in the message, which is short."""
    with pytest.raises(InvalidValue, match=r"params\.steps\[2\]\.size") as caught:
        jsonvalues.check({"steps": [0, {}, {"size": value}]}, "params")
    assert len(str(caught.value)) < 400


def test_keys_are_checked() -> None:
    """Text of a key is held to the same rules as text of a value."""
    with pytest.raises(InvalidValue, match="a key of params"):
        jsonvalues.check({"a\ud800": 1}, "params")


def test_depth() -> None:
    """MAX_DEPTH levels are accepted, one more is not; ``depth`` counts those around the value."""
    jsonvalues.check(nested(jsonvalues.MAX_DEPTH))
    jsonvalues.check(nested(jsonvalues.MAX_DEPTH - 2), depth=2)
    with pytest.raises(InvalidValue, match=f"more than {jsonvalues.MAX_DEPTH} levels"):
        jsonvalues.check(nested(jsonvalues.MAX_DEPTH + 1))
    with pytest.raises(InvalidValue, match=f"more than {jsonvalues.MAX_DEPTH} levels"):
        jsonvalues.check(nested(jsonvalues.MAX_DEPTH - 1), depth=2)


def test_endless() -> None:
    """A value that contains itself is refused instead of walked for ever."""
    endless: dict[str, Any] = {}
    endless.update({"a": endless, "b": endless})
    with pytest.raises(InvalidValue):
        jsonvalues.check(endless)


def test_size() -> None:
    """The limit counts bytes of UTF-8, not characters."""
    quotes = 2
    assert len(jsonvalues.encode("x" * (jsonvalues.MAX_BYTES - quotes))) == jsonvalues.MAX_BYTES
    jsonvalues.encode("ü" * (jsonvalues.MAX_BYTES // 2 - 1))
    for text in ("x" * (jsonvalues.MAX_BYTES - 1), "ü" * (jsonvalues.MAX_BYTES // 2)):
        with pytest.raises(InvalidValue, match="params takes 4,"):
            jsonvalues.encode(text, "params")


class Number(int):
    """A subclass that JSON would quietly turn into a plain number."""


@pytest.mark.parametrize("value", [Number(1), type("Text", (str,), {})("x"), type("D", (dict,), {})()], ids=repr)
def test_subclasses(value: Any) -> None:
    """A subclass of a JSON type would be read back as its base, and is refused."""
    with pytest.raises(InvalidValue):
        jsonvalues.check(value)


@given(json_values)
def test_copy(value: Any) -> None:
    """A copy is the same value."""
    assert same(jsonvalues.copy(value), value)


@pytest.mark.parametrize("value", list(STORABLE.values()), ids=list(STORABLE))
def test_copies_share_nothing(value: Any) -> None:
    """A copy shares no list or dict with its original, however deep."""

    def containers(item: Any) -> set[int]:
        parts = item.values() if type(item) is dict else item if type(item) is list else ()
        own = {id(item)} if type(item) in (dict, list) else set()
        return own.union(*(containers(part) for part in parts))

    duplicate = jsonvalues.copy(value)
    assert containers(value).isdisjoint(containers(duplicate))


@given(st.text(st.characters(exclude_categories=[])))
def test_storable_text(text: str) -> None:
    """Any message becomes one that can be stored; one that can be stored already stays as it is."""
    stored = jsonvalues.storable_text(text)
    jsonvalues.check(stored)
    if not any("\ud800" <= char <= "\udfff" for char in text):
        assert stored == text


def test_storable_text_is_bounded() -> None:
    """A long message keeps its beginning and its end and states how much is missing."""
    stored = jsonvalues.storable_text("a" * jsonvalues.MAX_TEXT + "b" * jsonvalues.MAX_TEXT)
    assert stored.startswith("aaa") and stored.endswith("bbb")
    assert f"{jsonvalues.MAX_TEXT:,} characters left out" in stored
    assert len(stored) < jsonvalues.MAX_TEXT + 100


@pytest.mark.parametrize("value", [10**5000, "x" * 1_000, nested(5_000), list(range(1_000))], ids=type)
def test_shown(value: Any) -> None:
    """An error message's excerpt of a value is never longer than a line, and never fails."""
    assert 0 < len(jsonvalues.short_repr(value)) <= 80
