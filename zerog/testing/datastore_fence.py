"""Rules about who may write: tokens, epochs and numbers of runs; for ``zerog.testing.datastore_contract``."""

from __future__ import annotations

from typing import Any

import pytest

from zerog.datastores.base import Datastore
from zerog.datastores.operations import Add, Append, Document, Operation, Remove, Set
from zerog.exceptions import ClaimLost, InvalidValue


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
