"""The definition of a datastore: every rule that an adapter keeps, as a test.

Subclass ``DatastoreContract`` in a test module and give it a fixture ``datastore``, an empty datastore. Where several
handles on the same documents are possible, override the fixture ``another`` with a second one; say how to make a
stored document unreadable in ``corrupt``. What an adapter can't do it declares in its class attributes, and the rules
that need it are skipped::

    class TestMyDatastore(DatastoreContract):
        @pytest.fixture
        def datastore(self, tmp_path):
            return MyDatastore(tmp_path / "documents")

``zerog.testing.datastore_machine`` has the same contract as a model that hypothesis runs against an adapter.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from zerog.datastores.base import Datastore
from zerog.datastores.operations import Add, Append, Document, Max, Operation, Remove, Set
from zerog.exceptions import ClaimLost, InvalidValue
from zerog.testing.datastore_deletion import DeletionRules
from zerog.testing.datastore_documents import DocumentRules, FindRules, same

THREADS = 8
ROUNDS = 12


class OperationRules:
    """What holds for the operations of ``mutate``."""

    def changed(self, datastore: Datastore, key: str, document: Document, *operations: Operation) -> Document:
        """The document after one batch, with the answer checked against it."""
        datastore.create(key, document)
        answer = datastore.mutate(key, operations)
        stored, token = datastore.read_with_cas(key)
        assert stored is not None and answer.token == token
        assert same(answer.values, {field: stored[field] for field in answer.values})
        return stored

    def test_set(self, datastore: Datastore, key: str) -> None:
        """``Set`` gives a field a value, whatever it held, and leaves the others alone."""
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
        """``Add`` to a field that isn't there starts at 0."""
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
        """``Add`` to what is no number is refused, naming the field."""
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
        """``Max`` on a field that isn't there sets it."""
        assert self.changed(datastore, key, {}, Max("a", -5)) == {"a": -5}

    @pytest.mark.parametrize(
        ("old", "value"), [("1", 1), (1, "1"), (True, 2), ([1], 2), ({}, "a"), (1, None), (1, True)]
    )
    def test_max_of_what_does_not_compare(self, datastore: Datastore, key: str, old: Any, value: Any) -> None:
        """``Max`` of what has no order is refused, naming the field."""
        self.refused(datastore, key, {"a": old}, Max("a", value), match="a ")

    @pytest.mark.parametrize("field", ["items", "events"])
    @pytest.mark.parametrize("document", [{}, {"items": None, "events": None}, {"items": [], "events": []}], ids=repr)
    def test_append(self, datastore: Datastore, key: str, field: str, document: Document) -> None:
        """``Append`` puts values at the end of a list, making it if it is absent or null."""
        expected = {**document, field: ["a", ["b"]]}
        assert self.changed(datastore, key, document, Append(field, "a"), Append(field, ["b"])) == expected

    @pytest.mark.parametrize("field", ["items", "events", "status"])
    @pytest.mark.parametrize("old", ["text", 1, {}, False], ids=repr)
    def test_append_to_no_list(self, datastore: Datastore, key: str, field: str, old: Any) -> None:
        """``Append`` to what is no list is refused, naming the field."""
        self.refused(datastore, key, {field: old}, Append(field, 1), match=field)

    @pytest.mark.parametrize("field", ["items", "events"])
    def test_append_keeps(self, datastore: Datastore, key: str, field: str) -> None:
        """With ``keep`` only the last entries stay, and what fell out is counted, from one batch to the next."""
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
        """Several entries that fall out in one batch are all counted."""
        counter = f"{field}Dropped"
        operations: list[Operation] = [Append(field, n, 2) for n in range(3, 7)]
        assert self.changed(datastore, key, {field: [1, 2]}, *operations) == {field: [5, 6], counter: 4}

    @pytest.mark.parametrize("field", ["items", "events"])
    @pytest.mark.parametrize(("keep", "left"), [(0, []), (1, [9]), (2, [5, 9])])
    def test_append_keeps_fewer(self, datastore: Datastore, key: str, field: str, keep: int, left: list[int]) -> None:
        """A bound below what is there drops the surplus and counts it."""
        expected = {field: left, f"{field}Dropped": 6 - keep}
        assert self.changed(datastore, key, {field: [1, 2, 3, 4, 5]}, Append(field, 9, keep)) == expected

    @pytest.mark.parametrize("keep", [-1, 1.5, "1", True], ids=repr)
    def test_append_keeps_a_number(self, datastore: Datastore, key: str, keep: Any) -> None:
        """A bound that is no number of entries is refused."""
        self.refused(datastore, key, {"events": [1]}, Append("events", 2, keep), match="keep")

    @pytest.mark.parametrize("field", ["a", "status", "events"])
    def test_remove(self, datastore: Datastore, key: str, field: str) -> None:
        """``Remove`` takes a field out, and does nothing if it isn't there."""
        assert self.changed(datastore, key, {field: [1], "b": 1}, Remove(field), Remove("c")) == {"b": 1}
        datastore.mutate(key, [Remove(field)])
        assert datastore.read(key) == {"b": 1}

    def test_removed_stays_removed(self, datastore: Datastore, key: str) -> None:
        """A field that was set by an operation and then removed does not come back with the next change."""
        datastore.create(key, {"b": 1})
        datastore.mutate(key, [Set("a", 1)])
        datastore.mutate(key, [Remove("a")])
        datastore.mutate(key, [Set("b", 2)])
        assert datastore.read(key) == {"b": 2}

    def test_nothing_to_do(self, datastore: Datastore, key: str) -> None:
        """A batch of no operations is a write: it answers, makes a new token and changes nothing."""
        token = datastore.create(key, {"a": 1})
        answer = datastore.mutate(key, [])
        assert answer.values == {} and answer.token != token
        assert datastore.read_with_cas(key) == ({"a": 1}, answer.token)

    @pytest.mark.parametrize("field", ["a", "attempts"])
    def test_order_within_a_batch(self, datastore: Datastore, key: str, field: str) -> None:
        """Each operation sees what those before it did, and the answer has the last values."""
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
        """A change of a document that isn't there is refused, and does not create it."""
        for operations in ([], [Set("a", 1)], [Append("events", 1)]):
            with pytest.raises(datastore.casException):
                datastore.mutate(key, operations)
            with pytest.raises(datastore.casException):
                datastore.mutate(key, operations, cas=1)
        assert datastore.read(key) is None

    def test_changes_add_up(self, datastore: Datastore, key: str) -> None:
        """Many changes, one after the other, are all there, in head and history and for another reader."""
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


class FenceRules:
    """What holds for a ``mutate`` that says which token or which owner it is for."""

    @pytest.fixture
    def owned(self, datastore: Datastore, key: str) -> str:
        """The key of a document with an owner, epoch 3, after write 5."""
        datastore.create(key, {"epoch": 3, "seq": 5, "owner": {"worker": "w"}, "n": 0, "events": []})
        return key

    def test_cas(self, datastore: Datastore, key: str) -> None:
        """With the present token a change is applied; with any other it is refused and changes nothing."""
        token = datastore.create(key, {"n": 0})
        newer = datastore.mutate(key, [Add("n", 1)], cas=token).token
        for stale in (token, 0, newer + 1_000):
            with pytest.raises(datastore.casException):
                datastore.mutate(key, [Add("n", 1)], cas=stale)
        assert datastore.read_with_cas(key) == ({"n": 1}, newer)

    def test_epoch(self, datastore: Datastore, owned: str) -> None:
        """With the owner's epoch a change is applied, as often as it comes, and takes no number."""
        for _ in range(2):
            datastore.mutate(owned, [Add("n", 1)], epoch=3)
        assert self.numbers(datastore, owned) == (3, 5, 2)

    @pytest.mark.parametrize("epoch", [0, 2, 4])
    @pytest.mark.parametrize("seq", [None, 5, 6])
    def test_another_epoch(self, datastore: Datastore, owned: str, epoch: int, seq: int | None) -> None:
        """A change under any other epoch is refused with ClaimLost, whatever its number."""
        with pytest.raises(ClaimLost):
            datastore.mutate(owned, [Add("n", 1)], epoch=epoch, seq=seq)
        assert self.numbers(datastore, owned) == (3, 5, 0)

    def test_next_write(self, datastore: Datastore, owned: str) -> None:
        """The run write with the next number is applied, and its number is stored with it."""
        assert datastore.mutate(owned, [Add("n", 1)], epoch=3, seq=6).values == {"n": 1}
        assert self.numbers(datastore, owned) == (3, 6, 1)
        datastore.mutate(owned, [Add("n", 1)], epoch=3, seq=7)
        assert self.numbers(datastore, owned) == (3, 7, 2)

    def test_first_write(self, datastore: Datastore, key: str) -> None:
        """The first run write of a document that has no number yet, or null for one, is number 1."""
        for document in ({"epoch": 1, "owner": {}}, {"epoch": 1, "owner": {}, "seq": None}):
            datastore.set(key, document)
            datastore.mutate(key, [Set("n", 1)], epoch=1, seq=1)
            assert self.numbers(datastore, key) == (1, 1, 1)

    def test_repeated_write(self, datastore: Datastore, owned: str) -> None:
        """The run write with the stored number answers "done" with the same values, and is not applied again."""
        operations: list[Operation] = [
            Add("n", 1),
            Append("events", "e", 0),
            Set("status", "x"),
            Set("gone", 1),
            Remove("gone"),
        ]
        first = datastore.mutate(owned, operations, epoch=3, seq=6)
        again = datastore.mutate(owned, operations, epoch=3, seq=6)
        assert again == first
        assert datastore.read_with_cas(owned)[1] == first.token
        assert self.numbers(datastore, owned) == (3, 6, 1)

    def test_repeated_write_with_its_token(self, datastore: Datastore, owned: str) -> None:
        """A repeated run write is done although the token it was made with is stale: it made it so itself."""
        token = datastore.read_with_cas(owned)[1]
        first = datastore.mutate(owned, [Add("n", 1)], cas=token, epoch=3, seq=6)
        assert datastore.mutate(owned, [Add("n", 1)], cas=token, epoch=3, seq=6) == first
        assert self.numbers(datastore, owned) == (3, 6, 1)

    def test_repeated_settlement(self, datastore: Datastore, owned: str) -> None:
        """A write that gives up the ownership is done when repeated, though there is no owner any more."""
        operations: list[Operation] = [Set("owner", None), Set("status", "succeeded")]
        first = datastore.mutate(owned, operations, epoch=3, seq=6)
        assert datastore.mutate(owned, operations, epoch=3, seq=6) == first

    @pytest.mark.parametrize("seq", [4, 7, 8, 1])
    def test_gap(self, datastore: Datastore, owned: str, seq: int) -> None:
        """A run write with a number out of turn is an error that names both numbers."""
        with pytest.raises(InvalidValue, match=rf"{seq}.*5"):
            datastore.mutate(owned, [Add("n", 1)], epoch=3, seq=seq)
        assert self.numbers(datastore, owned) == (3, 5, 0)

    @pytest.mark.parametrize("seq", [0, -1])
    def test_numbers_start_at_one(self, datastore: Datastore, key: str, seq: int) -> None:
        """Number 0 is no number: on a fresh document it must not answer "done"."""
        datastore.create(key, {"epoch": 1, "seq": 0, "owner": {}, "n": 0})
        with pytest.raises(InvalidValue):
            datastore.mutate(key, [Add("n", 1)], epoch=1, seq=seq)
        assert self.numbers(datastore, key) == (1, 0, 0)

    def test_number_without_epoch(self, datastore: Datastore, owned: str) -> None:
        """A number without an epoch is an error: nobody could tell whose write it counts."""
        with pytest.raises(InvalidValue, match="epoch"):
            datastore.mutate(owned, [Add("n", 1)], seq=6)
        assert self.numbers(datastore, owned) == (3, 5, 0)

    @pytest.mark.parametrize(
        "document", [{"epoch": 3, "seq": 5, "owner": None, "n": 0}, {"epoch": 3, "seq": 5, "n": 0}]
    )
    @pytest.mark.parametrize("seq", [None, 6])
    def test_no_owner(self, datastore: Datastore, key: str, document: Document, seq: int | None) -> None:
        """A document without an owner refuses run writes with ClaimLost."""
        datastore.create(key, document)
        with pytest.raises(ClaimLost):
            datastore.mutate(key, [Add("n", 1)], epoch=3, seq=seq)
        assert self.numbers(datastore, key) == (3, 5, 0)

    def test_no_epoch_stored(self, datastore: Datastore, key: str) -> None:
        """A document that nobody ever claimed refuses run writes with ClaimLost."""
        datastore.create(key, {"n": 0})
        with pytest.raises(ClaimLost):
            datastore.mutate(key, [Add("n", 1)], epoch=1, seq=1)
        assert datastore.read(key) == {"n": 0}

    def test_missing_under_an_epoch(self, datastore: Datastore, key: str) -> None:
        """A run write to a document that is gone is refused with ClaimLost, and does not bring it back."""
        for seq in (None, 1):
            with pytest.raises(ClaimLost):
                datastore.mutate(key, [Set("n", 1)], epoch=1, seq=seq)
        assert datastore.read(key) is None

    def test_stale_token_of_the_owner(self, datastore: Datastore, owned: str) -> None:
        """Token and epoch must both hold."""
        token = datastore.read_with_cas(owned)[1]
        datastore.mutate(owned, [Add("n", 1)])
        with pytest.raises(datastore.casException):
            datastore.mutate(owned, [Add("n", 1)], cas=token, epoch=3, seq=6)
        assert self.numbers(datastore, owned) == (3, 5, 1)

    def test_refused_write_keeps_its_number(self, datastore: Datastore, owned: str) -> None:
        """A run write refused for its values has not used its number."""
        with pytest.raises(InvalidValue):
            datastore.mutate(owned, [Append("n", 1)], epoch=3, seq=6)
        datastore.mutate(owned, [Add("n", 1)], epoch=3, seq=6)
        assert self.numbers(datastore, owned) == (3, 6, 1)

    def test_writes_of_others_take_no_number(self, datastore: Datastore, owned: str) -> None:
        """Changes by anybody else leave number and epoch alone, and the owner goes on counting."""
        datastore.mutate(owned, [Append("events", "from a web application")])
        datastore.mutate(owned, [Add("n", 1)], epoch=3, seq=6)
        assert self.numbers(datastore, owned) == (3, 6, 1)

    @pytest.mark.parametrize("value", ["2026-01-01T00:00:00.000000+00:00", None])
    def test_cancel_requested(self, datastore: Datastore, owned: str, value: Any) -> None:
        """Every answer tells whether somebody asked for the job to be cancelled, a repeated one too."""
        assert not datastore.mutate(owned, []).cancel_requested
        assert datastore.mutate(owned, [Set("cancelRequested", value)]).cancel_requested is (value is not None)
        assert datastore.mutate(owned, [Add("n", 1)], epoch=3, seq=6).cancel_requested is (value is not None)
        assert datastore.mutate(owned, [Add("n", 1)], epoch=3, seq=6).cancel_requested is (value is not None)
        assert datastore.mutate(owned, [Append("events", 1), Append("items", 1)]).cancel_requested is (
            value is not None
        )

    def numbers(self, datastore: Datastore, key: str) -> tuple[int, int, int]:
        """The stored epoch and seq, and the field that the tests count with."""
        document = datastore.read(key)
        assert document is not None
        return document["epoch"], document["seq"], document["n"]


class RaceRules:
    """What holds when threads write to one document at the same time."""

    def race(self, count: int, call: Any) -> list[Any]:
        """What ``call(n)`` gave in each of so many threads that start together."""
        barrier = Barrier(count)

        def run(n: int) -> Any:
            barrier.wait()
            return call(n)

        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(run, range(count)))

    def test_one_creates(self, datastore: Datastore, another: Datastore, key: str) -> None:
        """Of many that create one document at once exactly one succeeds, and its document is the one that is there."""

        def create(n: int) -> int | None:
            try:
                return (datastore, another)[n % 2].create(key, {"by": n})
            except datastore.casException:
                return None

        tokens = self.race(THREADS, create)
        (winner,) = [n for n, token in enumerate(tokens) if token is not None]
        assert datastore.read_with_cas(key) == ({"by": winner}, tokens[winner])

    def test_one_replaces(self, datastore: Datastore, another: Datastore, key: str) -> None:
        """Of many that write over one token at once exactly one succeeds."""
        token = datastore.create(key, {"by": None})

        def replace(n: int) -> bool:
            try:
                return (datastore, another)[n % 2].set_with_cas(key, {"by": n}, token)[0]
            except datastore.casException:
                return False

        results = self.race(THREADS, replace)
        assert results.count(True) == 1
        assert datastore.read(key) == {"by": results.index(True)}

    def test_sums_and_lists(self, datastore: Datastore, another: Datastore, key: str) -> None:
        """Counters and lists that many change at once lose nothing, and each thread's entries keep their order."""
        datastore.create(key, {"n": 0, "attempts": 0, "events": []})

        def change(thread: int) -> list[int]:
            handle = (datastore, another)[thread % 2]
            tokens = []
            for n in range(ROUNDS):
                operations: list[Operation] = [
                    Add("n", 1),
                    Add("attempts", 2),
                    Append("events", [thread, n]),
                    Set(f"by{thread}", n),
                ]
                tokens.append(handle.mutate(key, operations).token)
            return tokens

        tokens = [token for tokens in self.race(THREADS, change) for token in tokens]
        document = datastore.read(key)
        assert document is not None
        events = document.pop("events")
        assert document == {
            "n": THREADS * ROUNDS,
            "attempts": 2 * THREADS * ROUNDS,
            **{f"by{thread}": ROUNDS - 1 for thread in range(THREADS)},
        }
        for thread in range(THREADS):
            assert [n for by, n in events if by == thread] == list(range(ROUNDS))
        assert len(set(tokens)) == THREADS * ROUNDS == len(events)

    def test_no_number_twice(self, datastore: Datastore, another: Datastore, key: str) -> None:
        """A run write that many send at once, as repetitions of an unanswered one, is applied once."""
        datastore.create(key, {"epoch": 1, "seq": 0, "owner": {}, "n": 0, "events": []})
        for seq in range(1, ROUNDS + 1):

            def write(n: int, seq: int = seq) -> Any:
                operations: list[Operation] = [Add("n", 1), Append("events", seq)]
                return (datastore, another)[n % 2].mutate(key, operations, epoch=1, seq=seq)

            assert len({repr(answer) for answer in self.race(THREADS, write)}) == 1
        expected = {"epoch": 1, "seq": ROUNDS, "owner": {}, "n": ROUNDS, "events": list(range(1, ROUNDS + 1))}
        assert datastore.read(key) == expected

    def test_claims_and_writes(self, datastore: Datastore, another: Datastore, key: str) -> None:
        """While some take the document over, no write is applied under an epoch that has passed."""
        datastore.create(key, {"epoch": 0, "seq": 0, "owner": None, "events": []})

        def run(thread: int) -> int:
            handle = (datastore, another)[thread % 2]
            applied = 0
            for _ in range(4):
                head, token = handle.read_with_cas(key, head=True)
                assert head is not None
                epoch = head["epoch"] + 1
                try:
                    handle.mutate(key, [Set("epoch", epoch), Set("seq", 0), Set("owner", {"t": thread})], cas=token)
                    for seq in range(1, 5):
                        handle.mutate(key, [Append("events", [epoch, seq, thread])], epoch=epoch, seq=seq)
                        applied += 1
                except (datastore.casException, ClaimLost):
                    pass
            return applied

        applied = sum(self.race(THREADS, run))
        document = datastore.read(key)
        assert document is not None
        events = document["events"]
        assert applied == len(events)
        assert [(epoch, seq) for epoch, seq, _ in events] == sorted({(epoch, seq) for epoch, seq, _ in events})

    def test_readers_see_whole_writes(self, datastore: Datastore, another: Datastore, key: str) -> None:
        """Whoever reads while others write sees all of a write or none of it, in head and history."""
        datastore.create(key, {"a": 0, "attempts": 0, "events": []})

        def run(thread: int) -> bool:
            if thread % 2:
                for _ in range(ROUNDS):
                    datastore.mutate(key, [Add("a", 1), Add("attempts", 1), Append("events", 0)])
                return True
            seen = [another.read(key) for _ in range(3 * ROUNDS)]
            return all(each and each["a"] == each["attempts"] == len(each["events"]) for each in seen)

        assert all(self.race(THREADS, run))


class DatastoreContract(DocumentRules, DeletionRules, FindRules, OperationRules, FenceRules, RaceRules):
    """Rules that every datastore keeps."""

    def test_declarations(self, datastore: Datastore) -> None:
        """An adapter says what it can do, in terms that the callers know."""
        assert datastore.durability in ("fsync", "1s", "process", None)
        for flag in (
            datastore.can_find,
            datastore.can_find_ended,
            datastore.can_delete,
            datastore.constant_history,
            datastore.shared,
        ):
            assert isinstance(flag, bool)
        assert datastore.history_limit >= 1
        assert issubclass(datastore.casException, Exception)
        assert datastore.about() is None or isinstance(datastore.about(), str)
        assert issubclass(datastore.lockedException, Exception)

    def test_setup_is_safe_to_repeat(self, datastore: Datastore, another: Datastore, key: str) -> None:
        """``setup`` says by name what it has made; repeated, through any handle, it makes nothing and loses nothing."""
        made = datastore.setup()
        assert all(type(name) is str for name in made)
        token = datastore.create(key, {"a": 1, "events": [1]})
        another.setup()
        assert datastore.setup() == another.setup() == []
        assert datastore.read_with_cas(key) == ({"a": 1, "events": [1]}, token)

    def test_clock(self, datastore: Datastore) -> None:
        """The server's clock is timezone-aware and does not run backwards, or there is none."""
        first, second = datastore.now(), datastore.now()
        if first is None or second is None:
            assert first is None and second is None
        else:
            assert first.tzinfo is not None and first <= second

    def test_close_is_harmless(self, datastore: Datastore, key: str) -> None:
        """Closing twice does no harm, and a later call works again or says that it can't."""
        datastore.create(key, {"a": 1})
        datastore.close()
        datastore.close()
        assert datastore.read(key) == {"a": 1}
