"""Rules about ``mutate``: each operation, alone and in a batch; for ``zerog.testing.contracts.datastore``."""

from __future__ import annotations

from typing import Any

import pytest

from zerog.contracts.datastore import Datastore
from zerog.exceptions import InvalidValue
from zerog.records.operations import Add, Append, Document, Max, Operation, Put, Remove, Set
from zerog.testing.contracts.datastore.values import same


class OperationRules:
    """Rules for the operations of ``mutate``."""

    def changed(self, datastore: Datastore, key: str, document: Document, *operations: Operation) -> Document:
        """Return the document after one batch, with the answer checked against it."""
        datastore.create(key, document)
        answer = datastore.mutate(key, operations)
        stored, token = datastore.read_with_cas(key)
        assert stored is not None and answer.token == token
        assert same(answer.values, {field: stored[field] for field in answer.values})
        return stored

    def test_set(self, datastore: Datastore, key: str) -> None:
        """``Set`` gives a field a value, whatever it was, and leaves other fields alone."""
        document = {"a": 1, "b": [1], "c": 3, "status": "x", "owner": None}
        operations: list[Operation] = [
            Set("a", "x"),
            Set("b", None),
            Set("new", {}),
            Set("status", 5),
            Set("owner", {"a": [1]}),
        ]
        expected = {"a": "x", "b": None, "c": 3, "new": {}, "status": 5, "owner": {"a": [1]}}
        assert self.changed(datastore, key, document, *operations) == expected

    @pytest.mark.parametrize("field", ["attrs", "a", "owner"])
    @pytest.mark.parametrize(
        ("old", "text", "expected"),
        [
            (None, "1", {"x.y": "1"}),
            ({}, "é\0$", {"x.y": "é\0$"}),
            ({"x.y": "0", "z": [1]}, "1", {"z": [1], "x.y": "1"}),
            ({"x.y": "0", "z": [1]}, None, {"z": [1]}),
            (None, None, {}),
        ],
        ids=repr,
    )
    def test_put(
        self, datastore: Datastore, key: str, field: str, old: Any, text: str | None, expected: Document
    ) -> None:
        """``Put`` sets or removes one member of an object, and leaves its others alone."""
        assert self.changed(datastore, key, {field: old}, Put(field, "x.y", text)) == {field: expected}

    def test_put_into_nothing(self, datastore: Datastore, key: str) -> None:
        """``Put`` makes an object of a missing field; several in one batch come together, with other operations."""
        operations: list[Operation] = [Put("a", "x", "1"), Set("b", 1), Put("a", "y", "2"), Put("a", "x", "3")]
        assert self.changed(datastore, key, {}, *operations) == {"a": {"x": "3", "y": "2"}, "b": 1}

    @pytest.mark.parametrize("old", [1, "x", [1]], ids=repr)
    def test_put_into_another_value(self, datastore: Datastore, key: str, old: Any) -> None:
        """``Put`` into what is no object is refused, and nothing is written."""
        datastore.create(key, {"a": old})
        with pytest.raises(InvalidValue):
            datastore.mutate(key, [Set("b", 1), Put("a", "x", "1")])
        assert datastore.read(key) == {"a": old}

    def test_set_a_history_list(self, datastore: Datastore, key: str) -> None:
        """``Set`` replaces a whole history list, by a list or by anything else."""
        document = {"events": [1, 2], "errors": [1], "warnings": None}
        operations: list[Operation] = [Set("events", [3]), Set("errors", "x"), Set("warnings", [])]
        assert self.changed(datastore, key, document, *operations) == {"events": [3], "errors": "x", "warnings": []}

    @pytest.mark.parametrize("field", ["count", "attempts"])
    @pytest.mark.parametrize(
        ("old", "amount", "expected"),
        [(1, 2, 3), (1, -2, -1), (1, 0.5, 1.5), (0.5, 0.5, 1.0), (2**53, 1, 2**53 + 1), (None, 3, 3), (0, 0, 0)],
    )
    def test_add(self, datastore: Datastore, key: str, field: str, old: Any, amount: Any, expected: Any) -> None:
        """``Add`` adds exactly; integers stay integers, null counts as 0."""
        assert same(self.changed(datastore, key, {field: old}, Add(field, amount)), {field: expected})

    def test_add_to_nothing(self, datastore: Datastore, key: str) -> None:
        """``Add`` to a missing field starts at 0."""
        assert self.changed(datastore, key, {}, Add("a", 2), Add("attempts", 1)) == {"a": 2, "attempts": 1}

    @pytest.mark.parametrize(
        ("amount", "low", "high", "expected"),
        [(9, None, 10, 10), (4, None, 10, 9), (-9, 0, None, 0), (1, 0, 10, 6), (9, 0, 7.5, 7.5), (1, 8, None, 8)],
    )
    def test_add_within_bounds(
        self, datastore: Datastore, key: str, amount: Any, low: Any, high: Any, expected: Any
    ) -> None:
        """``Add`` keeps the sum within ``low`` and ``high``."""
        assert same(self.changed(datastore, key, {"a": 5}, Add("a", amount, low, high)), {"a": expected})

    @pytest.mark.parametrize("old", ["1", True, [], {}], ids=repr)
    @pytest.mark.parametrize("field", ["a", "attempts"])
    def test_add_to_no_number(self, datastore: Datastore, key: str, field: str, old: Any) -> None:
        """``Add`` to a value that is no number is refused, naming the field."""
        self.refused(datastore, key, {field: old}, Add(field, 1), match=field)

    @pytest.mark.parametrize("amount", ["1", True, None, float("nan"), float("inf"), 2**63], ids=repr)
    def test_add_no_number(self, datastore: Datastore, key: str, amount: Any) -> None:
        """An amount or bound that is no storable number is refused."""
        self.refused(datastore, key, {"a": 1}, Add("a", amount), match="a")
        if amount is not None:
            datastore.set(key, {"a": 1})
            with pytest.raises(InvalidValue):
                datastore.mutate(key, [Add("a", 1, low=amount)])
            with pytest.raises(InvalidValue):
                datastore.mutate(key, [Add("a", 1, high=amount)])

    @pytest.mark.parametrize(("old", "amount"), [(2**63 - 1, 1), (-(2**63), -1), (1.7e308, 1.7e308)])
    @pytest.mark.parametrize("field", ["a", "attempts"])
    def test_add_overflows(self, datastore: Datastore, key: str, field: str, old: Any, amount: Any) -> None:
        """A sum that can't be stored is refused instead of wrapping around or turning into another type."""
        self.refused(datastore, key, {field: old}, Add(field, amount), match=field)

    @pytest.mark.parametrize("field", ["a", "completeness"])
    @pytest.mark.parametrize(
        ("old", "value", "expected"),
        [(1, 2, 2), (2, 1, 2), (1, 1.5, 1.5), (-1, -2, -1), ("a", "b", "b"), ("b", "B", "b"), (None, 1, 1)],
    )
    def test_max(self, datastore: Datastore, key: str, field: str, old: Any, value: Any, expected: Any) -> None:
        """``Max`` raises a number or a text and never lowers it; null counts as nothing."""
        assert same(self.changed(datastore, key, {field: old}, Max(field, value)), {field: expected})

    def test_max_of_nothing(self, datastore: Datastore, key: str) -> None:
        """``Max`` on a missing field sets it."""
        assert self.changed(datastore, key, {}, Max("a", -5)) == {"a": -5}

    @pytest.mark.parametrize(
        ("old", "value"), [("1", 1), (1, "1"), (True, 2), ([1], 2), ({}, "a"), (1, None), (1, True)]
    )
    def test_max_of_what_does_not_compare(self, datastore: Datastore, key: str, old: Any, value: Any) -> None:
        """``Max`` of values without an order is refused, naming the field."""
        self.refused(datastore, key, {"a": old}, Max("a", value), match="a ")

    @pytest.mark.parametrize(
        ("operation", "expected"),
        [(Max("completeness", 1.0), 1.0), (Max("a", 5), 5), (Add("errorCount", 2), 4), (Set("status", "x"), "x")],
        ids=repr,
    )
    def test_the_same_operation_twice(
        self, datastore: Datastore, key: str, operation: Operation, expected: object
    ) -> None:
        """Both are applied, and the answer has their result."""
        datastore.set(key, {})
        mutation = datastore.mutate(key, [operation, Set("b", 1), operation])
        assert same(mutation.values, {operation.field: expected, "b": 1})
        assert same(datastore.read(key), {operation.field: expected, "b": 1})

    @pytest.mark.parametrize("field", ["items", "events"])
    @pytest.mark.parametrize("document", [{}, {"items": None, "events": None}, {"items": [], "events": []}], ids=repr)
    def test_append(self, datastore: Datastore, key: str, field: str, document: Document) -> None:
        """``Append`` adds values to the end of a list, making it if it is absent or null."""
        expected = {**document, field: ["a", ["b"]]}
        assert self.changed(datastore, key, document, Append(field, "a"), Append(field, ["b"])) == expected

    @pytest.mark.parametrize("field", ["items", "events", "status"])
    @pytest.mark.parametrize("old", ["text", 1, {}, False], ids=repr)
    def test_append_to_no_list(self, datastore: Datastore, key: str, field: str, old: Any) -> None:
        """``Append`` to a value that is no list is refused, naming the field."""
        self.refused(datastore, key, {field: old}, Append(field, 1), match=field)

    @pytest.mark.parametrize("field", ["items", "events"])
    def test_append_keeps(self, datastore: Datastore, key: str, field: str) -> None:
        """With ``keep`` only the last entries stay, and dropped ones are counted, from one batch to the next."""
        counter = f"{field}Dropped"
        document = self.changed(datastore, key, {field: [1, 2]}, Append(field, 3, 3))
        assert document == {field: [1, 2, 3]}
        answer = datastore.mutate(key, [Append(field, 4, 3)])
        assert answer.values == {counter: 1}
        assert datastore.read(key) == {field: [2, 3, 4], counter: 1}
        datastore.mutate(key, [Append(field, 5, 3)])
        assert datastore.read(key) == {field: [3, 4, 5], counter: 2}

    @pytest.mark.parametrize("field", ["items", "events"])
    def test_append_keeps_within_a_batch(self, datastore: Datastore, key: str, field: str) -> None:
        """Several entries dropped in one batch are all counted."""
        counter = f"{field}Dropped"
        operations: list[Operation] = [Append(field, n, 2) for n in range(3, 7)]
        assert self.changed(datastore, key, {field: [1, 2]}, *operations) == {field: [5, 6], counter: 4}

    @pytest.mark.parametrize("field", ["items", "events"])
    @pytest.mark.parametrize(("keep", "left"), [(0, []), (1, [9]), (2, [5, 9])])
    def test_append_keeps_fewer(self, datastore: Datastore, key: str, field: str, keep: int, left: list[int]) -> None:
        """A bound below the present length drops the surplus and counts it."""
        expected = {field: left, f"{field}Dropped": 6 - keep}
        assert self.changed(datastore, key, {field: [1, 2, 3, 4, 5]}, Append(field, 9, keep)) == expected

    @pytest.mark.parametrize("keep", [-1, 1.5, "1", True], ids=repr)
    def test_append_keeps_a_number(self, datastore: Datastore, key: str, keep: Any) -> None:
        """A bound that is no number of entries is refused."""
        self.refused(datastore, key, {"events": [1]}, Append("events", 2, keep), match="keep")

    @pytest.mark.parametrize("field", ["a", "status", "events"])
    def test_remove(self, datastore: Datastore, key: str, field: str) -> None:
        """``Remove`` removes a field, and is a no-op if it is missing."""
        assert self.changed(datastore, key, {field: [1], "b": 1}, Remove(field), Remove("c")) == {"b": 1}
        datastore.mutate(key, [Remove(field)])
        assert datastore.read(key) == {"b": 1}

    def test_removed_stays_removed(self, datastore: Datastore, key: str) -> None:
        """A field that was set by an operation and then removed does not reappear with the next change."""
        datastore.create(key, {"b": 1})
        datastore.mutate(key, [Set("a", 1)])
        datastore.mutate(key, [Remove("a")])
        datastore.mutate(key, [Set("b", 2)])
        assert datastore.read(key) == {"b": 2}

    def test_nothing_to_do(self, datastore: Datastore, key: str) -> None:
        """A batch of no operations is a write: it is answered, makes a new token and changes nothing."""
        token = datastore.create(key, {"a": 1})
        answer = datastore.mutate(key, [])
        assert answer.values == {} and answer.token != token
        assert datastore.read_with_cas(key) == ({"a": 1}, answer.token)

    @pytest.mark.parametrize("field", ["a", "attempts"])
    def test_order_within_a_batch(self, datastore: Datastore, key: str, field: str) -> None:
        """Each operation works on the results of those before it, and the answer has the last values."""
        batches: list[tuple[list[Operation], Any]] = [
            ([Set(field, 5), Add(field, 1), Max(field, 3)], 6),
            ([Add(field, 1), Set(field, 0)], 0),
            ([Remove(field), Add(field, 1)], 1),
            ([Set(field, []), Append(field, 1), Append(field, 2)], [1, 2]),
            ([Add(field, 1, high=10), Add(field, 90, high=50), Add(field, -1)], 49),
        ]
        for operations, expected in batches:
            datastore.set(key, {field: 10})
            answer = datastore.mutate(key, operations)
            assert same(datastore.read(key), {field: expected})
            assert answer.values == ({} if type(expected) is list else {field: expected})

    @pytest.mark.parametrize("field", ["a", "status", "events"])
    def test_set_then_removed(self, datastore: Datastore, key: str, field: str) -> None:
        """A field that a batch sets and then removes is in neither document nor answer."""
        datastore.create(key, {"b": 1})
        assert datastore.mutate(key, [Set(field, [1]), Remove(field)]).values == {}
        assert datastore.read(key) == {"b": 1}

    def test_order_within_a_history_list(self, datastore: Datastore, key: str) -> None:
        """Appending, replacing and removing a history list in one batch happen in their order."""
        batches: list[tuple[list[Operation], Document]] = [
            ([Remove("events"), Append("events", 1)], {"events": [1]}),
            ([Append("events", 1), Remove("events")], {}),
            ([Set("events", None), Append("events", 1)], {"events": [1]}),
            ([Set("events", [5]), Append("events", 6), Append("events", 7, 2)], {"events": [6, 7], "eventsDropped": 1}),
            ([Append("events", 1), Set("events", [5])], {"events": [5]}),
            ([Append("events", 1, 1), Set("events", "x")], {"events": "x", "eventsDropped": 1}),
        ]
        for operations, expected in batches:
            datastore.set(key, {"events": [0]})
            datastore.mutate(key, operations)
            assert datastore.read(key) == expected

    def test_answer_leaves_lists_out(self, datastore: Datastore, key: str) -> None:
        """The answer has the new values of changed fields, and not the lists that were appended to."""
        datastore.create(key, {"n": 1, "events": [0], "items": [0]})
        operations: list[Operation] = [
            Add("n", 1),
            Set("s", "x"),
            Append("events", 1),
            Append("items", 1),
            Remove("gone"),
        ]
        assert datastore.mutate(key, operations).values == {"n": 2, "s": "x"}

    def test_all_or_nothing(self, datastore: Datastore, key: str) -> None:
        """One operation that is refused undoes its whole batch, in every part of the document."""
        document = {"a": 1, "status": "x", "events": [1, 2], "items": [1], "bad": "text"}
        first: list[Operation] = [
            Set("a", 2),
            Set("status", "y"),
            Append("events", 3, 2),
            Append("items", 2),
            Set("errors", [1]),
        ]
        self.refused(datastore, key, document, *first, Add("bad", 1), match="bad")
        self.refused(datastore, key, document, *first[:4], Add("bad", 1), match="bad")

    def test_missing_document(self, datastore: Datastore, key: str) -> None:
        """A change of a missing document is refused, and does not create it."""
        for operations in ([], [Set("a", 1)], [Append("events", 1)]):
            with pytest.raises(datastore.casException):
                datastore.mutate(key, operations)
            with pytest.raises(datastore.casException):
                datastore.mutate(key, operations, cas=1)
        assert datastore.read(key) is None

    def test_changes_add_up(self, datastore: Datastore, key: str) -> None:
        """Many changes, one after the other, are all stored, in head and history and for another reader."""
        datastore.create(key, {"n": 0, "attempts": 0, "events": []})
        for n in range(40):
            datastore.mutate(key, [Add("n", 1), Add("attempts", 1), Append("events", n), Set(f"f{n % 7}", n)])
        assert datastore.read(key) == {
            "n": 40,
            "attempts": 40,
            "events": list(range(40)),
            **{f"f{n % 7}": n for n in range(40)},
        }

    def refused(self, datastore: Datastore, key: str, document: Document, *operations: Operation, match: str) -> None:
        """Check that a batch is refused with InvalidValue and leaves document and token as they were."""
        token = datastore.set(key, document)
        with pytest.raises(InvalidValue, match=match):
            datastore.mutate(key, operations)
        assert datastore.read_with_cas(key) == (document, token)
