"""Rules about whole documents: storable values are read as they were written, other values are refused.

A part of ``zerog.testing.contracts.datastore``, which explains its use.
"""

from __future__ import annotations

from typing import Any

import pytest

from zerog.contracts.datastore import Datastore
from zerog.exceptions import InvalidValue
from zerog.records.job import new_uuid
from zerog.records.operations import Append, Set
from zerog.support import jsonvalues
from zerog.testing.contracts.datastore.values import FIELDS, REFUSED, STORABLE, cases, nested, same


class DocumentRules:
    """Rules for whole documents."""

    @pytest.fixture
    def another(self, datastore: Datastore) -> Datastore:
        """Return a second handle on the same documents; the same object if there can't be two."""
        return datastore

    @pytest.fixture
    def key(self) -> str:
        """Return an unused key."""
        return f"zerog_job_{new_uuid()}"

    # Values are read as they were written.

    @pytest.mark.parametrize("field", FIELDS)
    def test_values_come_back(self, datastore: Datastore, key: str, field: str) -> None:
        """A stored value is read as the JSON it was, in any field."""
        for number, value in enumerate(STORABLE.values()):
            datastore.create(f"{key}_{number}", {field: value, "other": 1})
        read = {name: datastore.read(f"{key}_{number}") for number, name in enumerate(STORABLE)}
        assert same(read, {name: {field: value, "other": 1} for name, value in STORABLE.items()})

    @pytest.mark.parametrize("field", FIELDS)
    def test_set_values_come_back(self, datastore: Datastore, key: str, field: str) -> None:
        """A value set by an operation is read as the JSON it was, in any field, whatever value it replaces."""
        datastore.create(key, {"other": 1})
        answers, read = {}, {}
        for name, value in STORABLE.items():
            answers[name] = datastore.mutate(key, [Set(field, value)]).values
            read[name] = datastore.read(key)
        assert same(answers, {name: {field: value} for name, value in STORABLE.items()})
        assert same(read, {name: {field: value, "other": 1} for name, value in STORABLE.items()})

    @pytest.mark.parametrize("field", ["events", "items"])
    def test_appended_values_come_back(self, datastore: Datastore, key: str, field: str) -> None:
        """A value appended to a list is read as the JSON it was."""
        datastore.create(key, {field: [0]})
        for value in STORABLE.values():
            datastore.mutate(key, [Append(field, value)])
        assert same(datastore.read(key), {field: [0, *STORABLE.values()]})

    def test_empty_document(self, datastore: Datastore, key: str) -> None:
        """A document without fields is a document."""
        token = datastore.create(key, {})
        assert datastore.read_with_cas(key) == ({}, token)

    def test_null_is_not_absent(self, datastore: Datastore, key: str) -> None:
        """A field that is null is present; a field that was never set is not."""
        datastore.create(key, {"a": None, "owner": None, "events": None})
        assert datastore.read(key) == {"a": None, "owner": None, "events": None}

    def test_no_field_appears(self, datastore: Datastore, key: str) -> None:
        """An adapter adds no fields, neither when creating nor when changing."""
        datastore.create(key, {"a": 1})
        datastore.mutate(key, [Set("a", 2)])
        assert datastore.read(key) == {"a": 2}

    def test_history_that_is_no_list(self, datastore: Datastore, key: str) -> None:
        """A history field may hold any JSON, as any other field."""
        document = {"events": {"a": 1}, "errors": "none", "warnings": 0}
        datastore.create(key, document)
        assert datastore.read(key) == document

    def test_history_order(self, datastore: Datastore, key: str) -> None:
        """History entries are read in the order in which they were written, whole and appended ones."""
        datastore.create(key, {"events": [{"n": n} for n in range(12)], "errors": ["e"]})
        datastore.mutate(key, [Append("events", {"n": n}) for n in range(12, 15)])
        assert datastore.read(key) == {"events": [{"n": n} for n in range(15)], "errors": ["e"]}

    def test_deepest_value(self, datastore: Datastore, key: str) -> None:
        """A document may nest as deep as MAX_DEPTH, however its parts were written."""
        deepest = nested(jsonvalues.MAX_DEPTH - 1)
        datastore.create(key, {"a": deepest})
        datastore.mutate(key, [Set("b", deepest), Append("events", deepest[0])])
        document, token = datastore.read_with_cas(key)
        assert document == {"a": deepest, "b": deepest, "events": [deepest[0]]}
        assert token is not None and datastore.set_with_cas(key, document, token)[0]

    def test_keys_are_apart(self, datastore: Datastore, key: str) -> None:
        """Keys that differ in case, in a character at the end or by an accent name different documents."""
        keys = [key, key.upper(), key + "0", key + " ", key + "é", key + "e\u0301", key + "%", key + "_"]
        for index, each in enumerate(keys):
            datastore.create(each, {"index": index})
        assert [datastore.read(each) for each in keys] == [{"index": index} for index in range(len(keys))]

    def test_missing(self, datastore: Datastore, key: str) -> None:
        """A document that was never stored reads as None, with no token, head or whole."""
        assert datastore.read(key) is None
        assert datastore.read_with_cas(key) == (None, None)
        assert datastore.read_with_cas(key, head=True) == (None, None)

    def test_handles_see_each_other(self, datastore: Datastore, another: Datastore, key: str) -> None:
        """A write of one handle is read by another one at once, under the same token."""
        datastore.create(key, {"a": 1})
        token = another.mutate(key, [Set("a", 2)]).token
        assert datastore.read_with_cas(key) == ({"a": 2}, token)

    # Values that can't be stored are refused, and nothing is written.

    @cases(REFUSED)
    def test_refused_in_a_document(self, datastore: Datastore, key: str, value: Any) -> None:
        """A value that JSON can't return is refused at the write, with the path of the field, and nothing is stored."""
        with pytest.raises(InvalidValue, match=r"params\.list\[1\]"):
            datastore.create(key, {"params": {"list": [0, value]}})
        assert datastore.read(key) is None

    @cases(REFUSED)
    @pytest.mark.parametrize("kind", [Set, Append])
    def test_refused_in_an_operation(self, datastore: Datastore, key: str, kind: Any, value: Any) -> None:
        """A value that JSON can't return is refused in an operation, too, and none of its batch is applied."""
        token = datastore.create(key, {"a": 1})
        with pytest.raises(InvalidValue, match=r"b\.list\[1\]"):
            datastore.mutate(key, [Set("a", 2), kind("b", {"list": [0, value]})])
        assert datastore.read_with_cas(key) == ({"a": 1}, token)

    @cases(REFUSED)
    def test_refused_in_a_replacement(self, datastore: Datastore, key: str, value: Any) -> None:
        """A refused document leaves the stored one as it was, under its token."""
        token = datastore.create(key, {"a": 1})
        for write in (datastore.set, datastore.update):
            with pytest.raises(InvalidValue):
                write(key, {"a": value})
        with pytest.raises(InvalidValue):
            datastore.set_with_cas(key, {"a": value}, token)
        assert datastore.read_with_cas(key) == ({"a": 1}, token)

    @pytest.mark.parametrize("document", [None, [], "text", 1], ids=repr)
    def test_only_dicts_are_documents(self, datastore: Datastore, key: str, document: Any) -> None:
        """A document is a dict; anything else is refused."""
        with pytest.raises(InvalidValue):
            datastore.create(key, document)
        assert datastore.read(key) is None

    @pytest.mark.parametrize("field", [1, None, "\ud800"], ids=repr)
    def test_field_names_are_text(self, datastore: Datastore, key: str, field: Any) -> None:
        """A field's name is storable text, in a document and in an operation."""
        with pytest.raises(InvalidValue):
            datastore.create(key, {field: 1})
        token = datastore.create(key, {})
        with pytest.raises(InvalidValue):
            datastore.mutate(key, [Set(field, 1)])
        assert datastore.read_with_cas(key) == ({}, token)

    def test_too_deep(self, datastore: Datastore, key: str) -> None:
        """A value nested beyond MAX_DEPTH is refused in every verb, so that stored documents can be rewritten."""
        token = datastore.create(key, {})
        for value in (nested(jsonvalues.MAX_DEPTH), nested(100_000)):
            with pytest.raises(InvalidValue, match="levels"):
                datastore.set_with_cas(key, {"a": value}, token)
            with pytest.raises(InvalidValue, match="levels"):
                datastore.mutate(key, [Set("a", value)])
            with pytest.raises(InvalidValue, match="levels"):
                datastore.mutate(key, [Append("events", value)])
        assert datastore.read_with_cas(key) == ({}, token)

    def test_endless(self, datastore: Datastore, key: str) -> None:
        """A list that contains itself is refused."""
        endless: list[Any] = []
        endless.append(endless)
        with pytest.raises(InvalidValue):
            datastore.create(key, {"a": endless})
        assert datastore.read(key) is None

    @pytest.mark.parametrize("field", ["output", "status", "events"])
    def test_too_large(self, datastore: Datastore, key: str, field: str) -> None:
        """A value beyond MAX_BYTES is refused with its size, in a document and in operations."""
        text = "ü" * (jsonvalues.MAX_BYTES // 2)
        token = datastore.create(key, {"events": []})
        with pytest.raises(InvalidValue, match="bytes"):
            datastore.set_with_cas(key, {field: [text]}, token)
        with pytest.raises(InvalidValue, match="bytes"):
            datastore.mutate(key, [Append(field, text) if field == "events" else Set(field, text)])
        assert datastore.read_with_cas(key) == ({"events": []}, token)

    def test_grown_too_large(self, datastore: Datastore, key: str) -> None:
        """A document that grows by operations stops at a size at which it can still be written whole."""
        datastore.create(key, {"a": 1})
        for n in range(4):
            datastore.mutate(key, [Set(f"part{n}", "x" * 1_000_000)])
        with pytest.raises(InvalidValue, match="bytes"):
            datastore.mutate(key, [Set("part4", "x" * 1_000_000)])
        document, token = datastore.read_with_cas(key)
        assert document is not None and token is not None and len(document) == 5
        assert datastore.set_with_cas(key, document, token)[0]
