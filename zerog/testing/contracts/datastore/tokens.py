"""Rules about tokens, heads, and the ownership of values; for ``zerog.testing.contracts.datastore``."""

from __future__ import annotations

from typing import Any

import pytest

from zerog.contracts.datastore import Datastore
from zerog.records.fields import HISTORY
from zerog.records.operations import Append, Document, Set


class TokenRules:
    """Rules for the protection of a document, and for values read from it."""

    # Tokens.

    def test_create_refuses_a_present_document(self, datastore: Datastore, another: Datastore, key: str) -> None:
        """Creating an existing document is refused, and leaves it alone."""
        token = datastore.create(key, {"a": 1})
        with pytest.raises(datastore.casException):
            another.create(key, {"a": 2})
        assert datastore.read_with_cas(key) == ({"a": 1}, token)

    def test_zero_creates(self, datastore: Datastore, key: str) -> None:
        """The token 0 means "no document yet": it creates."""
        done, token = datastore.set_with_cas(key, {"a": 1}, 0)
        assert done is True
        assert datastore.read_with_cas(key) == ({"a": 1}, token)

    @pytest.mark.parametrize("cas", [0, None], ids=repr)
    def test_no_token_is_never_unchecked(self, datastore: Datastore, key: str, cas: Any) -> None:
        """Neither 0 nor None means "any document"."""
        token = datastore.create(key, {"a": 1})
        for write in (datastore.set_with_cas, datastore.update_with_cas):
            with pytest.raises(datastore.casException):
                write(key, {"a": 2}, cas)
        assert datastore.read_with_cas(key) == ({"a": 1}, token)

    def test_present_token(self, datastore: Datastore, another: Datastore, key: str) -> None:
        """A write with the present token is done, returns the new token, and the next one needs that."""
        token = datastore.create(key, {"a": 1})
        done, newer = another.set_with_cas(key, {"b": 2}, token)
        assert done is True
        assert datastore.read_with_cas(key) == ({"b": 2}, newer)
        assert datastore.update_with_cas(key, {"c": 3}, newer)[0] is True
        assert datastore.read(key) == {"c": 3}

    def test_stale_token(self, datastore: Datastore, another: Datastore, key: str) -> None:
        """A write with a token from before the last write is refused and changes nothing."""
        stale = datastore.create(key, {"a": 1})
        token = another.mutate(key, [Set("a", 2)]).token
        for write in (datastore.set_with_cas, datastore.update_with_cas):
            with pytest.raises(datastore.casException):
                write(key, {"a": 3}, stale)
        assert datastore.read_with_cas(key) == ({"a": 2}, token)

    @pytest.mark.parametrize("cas", [1, -1, 2**62, 2**80])
    def test_token_of_nothing(self, datastore: Datastore, key: str, cas: int) -> None:
        """A token for a missing document is refused; the document is not created."""
        for write in (datastore.set_with_cas, datastore.update_with_cas):
            with pytest.raises(datastore.casException):
                write(key, {"a": 1}, cas)
        assert datastore.read(key) is None

    def test_tokens_are_positive_integers(self, datastore: Datastore, key: str) -> None:
        """A token is an integer above 0 that fits into 64 bits."""
        tokens = [datastore.create(key, {}), datastore.mutate(key, [Set("a", 1)]).token]
        assert all(type(token) is int and 0 < token < 2**64 for token in tokens)

    def test_every_write_makes_a_new_token(self, datastore: Datastore, key: str) -> None:
        """No two writes of one document leave the same token, even when they change nothing."""
        tokens = [datastore.create(key, {"a": 1})]
        for _ in range(5):
            tokens.append(datastore.set_with_cas(key, {"a": 1}, tokens[-1])[1])
            tokens.append(datastore.mutate(key, [Set("a", 1)]).token)
            tokens.append(datastore.mutate(key, []).token)
            tokens.append(datastore.set(key, {"a": 1}))
        assert len(set(tokens)) == len(tokens)

    def test_reading_keeps_the_token(self, datastore: Datastore, key: str) -> None:
        """Reading, head or whole, changes neither document nor token."""
        token = datastore.create(key, {"a": 1, "events": [1]})
        assert datastore.read_with_cas(key, head=True)[1] == token
        assert datastore.read_with_cas(key) == ({"a": 1, "events": [1]}, token)

    # The verbs for tools.

    def test_unchecked_set(self, datastore: Datastore, key: str) -> None:
        """``set`` stores whether or not a document exists, replacing all of it."""
        datastore.set(key, {"a": 1, "events": [1], "status": "new"})
        token = datastore.set(key, {"b": 2})
        assert datastore.read_with_cas(key) == ({"b": 2}, token)

    def test_unchecked_update(self, datastore: Datastore, key: str) -> None:
        """``update`` replaces an existing document and refuses to create one."""
        with pytest.raises(datastore.casException):
            datastore.update(key, {"a": 1})
        assert datastore.read(key) is None
        datastore.create(key, {"a": 1})
        token = datastore.update(key, {"b": 2})
        assert datastore.read_with_cas(key) == ({"b": 2}, token)

    # Heads.

    def test_head(self, datastore: Datastore, key: str) -> None:
        """A head is the document without its history lists, under the same token."""
        token = datastore.create(key, {"a": 1, "owner": None, "events": [1], "errors": [], "warnings": [2]})
        assert datastore.read_with_cas(key, head=True) == ({"a": 1, "owner": None}, token)

    def test_head_after_changes(self, datastore: Datastore, key: str) -> None:
        """A head shows the changes by operations, and never a history list that they have made."""
        datastore.create(key, {"a": 1, "status": "new"})
        token = datastore.mutate(key, [Set("a", 2), Set("status", "queued"), *(Append(f, 1) for f in HISTORY)]).token
        assert datastore.read_with_cas(key, head=True) == ({"a": 2, "status": "queued"}, token)

    # Aliasing.

    def test_what_was_written_is_the_callers(self, datastore: Datastore, key: str) -> None:
        """Changing an object after it was stored does not change the document."""
        document: Document = {"a": {"b": [1]}, "events": [{"n": 1}]}
        datastore.create(key, document)
        document["a"]["b"].append(2)
        document["events"][0]["n"] = 2
        assert datastore.read(key) == {"a": {"b": [1]}, "events": [{"n": 1}]}

    def test_what_was_read_is_the_callers(self, datastore: Datastore, key: str) -> None:
        """Changing a value that was read changes neither the document nor other readers' values."""
        datastore.create(key, {"a": {"b": [1]}, "events": [{"n": 1}]})
        for head in (False, True):
            first = datastore.read_with_cas(key, head=head)[0]
            assert first is not None
            first["a"]["b"].append(2)
            first.pop("a")
        first = datastore.read(key)
        assert first == {"a": {"b": [1]}, "events": [{"n": 1}]}
        first["events"][0]["n"] = 2
        assert datastore.read(key) == {"a": {"b": [1]}, "events": [{"n": 1}]}

    def test_operands_are_the_callers(self, datastore: Datastore, key: str) -> None:
        """Operations neither change nor keep the objects they carry, and the answer's values are the caller's own."""
        datastore.create(key, {"events": []})
        items: list[Any] = [1]
        entry = {"n": 1}
        answer = datastore.mutate(
            key, [Set("items", items), Set("c", items), Append("items", 2), Append("events", entry)]
        )
        assert items == [1]
        answer.values["c"].append("mine")
        items.append("mine")
        entry["n"] = 2
        assert datastore.read(key) == {"events": [{"n": 1}], "items": [1, 2], "c": [1]}
