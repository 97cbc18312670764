"""Rules about the right to write: tokens, nonces, epochs and run numbers; for ``zerog.testing.contracts.datastore``."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from zerog.contracts.datastore import Datastore, RunGuard
from zerog.exceptions import ClaimLost, InvalidValue
from zerog.records.operations import Add, Append, Document, Operation, Remove, Set


class FenceRules:
    """Rules for a ``mutate`` under a token or an owner."""

    @pytest.fixture
    def owned(self, datastore: Datastore, key: str) -> str:
        """Return the key of a document that run n of epoch 3 owns, after its write 5."""
        datastore.create(
            key, {"epoch": 3, "seq": 5, "owner": {"worker": "w", "nonce": "n"}, "run": "n", "n": 0, "events": []}
        )
        return key

    def test_cas(self, datastore: Datastore, key: str) -> None:
        """With the present token a change is applied; with any other it is refused and changes nothing."""
        token = datastore.create(key, {"n": 0})
        newer = datastore.mutate(key, [Add("n", 1)], cas=token).token
        for stale in (token, 0, newer + 1_000):
            with pytest.raises(datastore.casException):
                datastore.mutate(key, [Add("n", 1)], cas=stale)
        assert datastore.read_with_cas(key) == ({"n": 1}, newer)

    def test_owner(self, datastore: Datastore, owned: str) -> None:
        """With the owner's name a change is applied, as often as it is sent, and takes no number."""
        for _ in range(2):
            datastore.mutate(owned, [Add("n", 1)], run=RunGuard(3, "n"))
        assert self.numbers(datastore, owned) == (3, 5, 2)

    @pytest.mark.parametrize("epoch", [0, 2, 4])
    @pytest.mark.parametrize("seq", [None, 5, 6])
    def test_another_epoch(self, datastore: Datastore, owned: str, epoch: int, seq: int | None) -> None:
        """A change under any other epoch is refused with ClaimLost, whatever its number."""
        with pytest.raises(ClaimLost):
            datastore.mutate(owned, [Add("n", 1)], run=RunGuard(epoch, "n", seq))
        assert self.numbers(datastore, owned) == (3, 5, 0)

    def test_next_write(self, datastore: Datastore, owned: str) -> None:
        """The run write with the next number is applied, and its number is stored with it."""
        assert datastore.mutate(owned, [Add("n", 1)], run=RunGuard(3, "n", 6)).values == {"n": 1}
        assert self.numbers(datastore, owned) == (3, 6, 1)
        datastore.mutate(owned, [Add("n", 1)], run=RunGuard(3, "n", 7))
        assert self.numbers(datastore, owned) == (3, 7, 2)

    def test_first_write(self, datastore: Datastore, key: str) -> None:
        """The first run write of a document that has no number yet, or null for one, is number 1."""
        for document in ({"epoch": 1, "owner": {"nonce": "n"}}, {"epoch": 1, "owner": {"nonce": "n"}, "seq": None}):
            datastore.set(key, document)
            datastore.mutate(key, [Set("n", 1)], run=RunGuard(1, "n", 1))
            assert self.numbers(datastore, key) == (1, 1, 1)

    def test_repeated_write(self, datastore: Datastore, owned: str) -> None:
        """The run write with the stored number is answered "done" with the same values, and is not applied again."""
        operations: list[Operation] = [
            Add("n", 1),
            Append("events", "e", 0),
            Set("status", "x"),
            Set("gone", 1),
            Remove("gone"),
        ]
        first = datastore.mutate(owned, operations, run=RunGuard(3, "n", 6))
        again = datastore.mutate(owned, operations, run=RunGuard(3, "n", 6))
        assert again == first
        assert datastore.read_with_cas(owned)[1] == first.token
        assert self.numbers(datastore, owned) == (3, 6, 1)

    def test_repeated_write_with_its_token(self, datastore: Datastore, owned: str) -> None:
        """A repeated run write is done although its token is stale: it was changed by the write itself."""
        token = datastore.read_with_cas(owned)[1]
        first = datastore.mutate(owned, [Add("n", 1)], cas=token, run=RunGuard(3, "n", 6))
        assert datastore.mutate(owned, [Add("n", 1)], cas=token, run=RunGuard(3, "n", 6)) == first
        assert self.numbers(datastore, owned) == (3, 6, 1)

    def test_repeated_settlement(self, datastore: Datastore, owned: str) -> None:
        """A write that releases the ownership is done when repeated, though there is no owner any more."""
        operations: list[Operation] = [Set("owner", None), Set("status", "succeeded")]
        first = datastore.mutate(owned, operations, run=RunGuard(3, "n", 6))
        assert datastore.mutate(owned, operations, run=RunGuard(3, "n", 6)) == first

    @pytest.mark.parametrize("seq", [None, 4, 5, 6])
    def test_another_nonce(self, datastore: Datastore, owned: str, seq: int | None) -> None:
        """A change by another run of the same epoch is refused with ClaimLost, whatever its number."""
        for nonce in ("m", "", "nn", '"', None):
            with pytest.raises(ClaimLost):
                datastore.mutate(owned, [Add("n", 1)], run=RunGuard(3, nonce, seq))
        assert self.numbers(datastore, owned) == (3, 5, 0)

    @pytest.mark.parametrize("nonce", ["m", "n"])
    def test_another_runs_settlement(self, datastore: Datastore, owned: str, nonce: str) -> None:
        """The number of a settlement is "done" for the run that made it, and ClaimLost for another run of its epoch."""
        settled = datastore.mutate(owned, [Set("owner", None), Set("run", "m")], run=RunGuard(3, "n", 6))
        if nonce == "m":
            assert datastore.mutate(owned, [Add("n", 1)], run=RunGuard(3, "m", 6)).token == settled.token
        else:
            with pytest.raises(ClaimLost):
                datastore.mutate(owned, [Add("n", 1)], run=RunGuard(3, "n", 6))
        assert self.numbers(datastore, owned) == (3, 6, 0)

    def test_a_settlement_that_kept_no_nonce(self, datastore: Datastore, key: str) -> None:
        """Of a document without ``run``, as earlier versions wrote it, epoch and number decide."""
        datastore.create(key, {"epoch": 3, "seq": 5, "owner": {"nonce": "n"}, "n": 0})
        first = datastore.mutate(key, [Set("owner", None)], run=RunGuard(3, "n", 6))
        assert datastore.mutate(key, [Set("owner", None)], run=RunGuard(3, "n", 6)) == first
        for epoch, seq in ((3, 5), (3, 7), (2, 6), (3, None)):
            with pytest.raises(ClaimLost):
                datastore.mutate(key, [Add("n", 1)], run=RunGuard(epoch, "n", seq))
        assert self.numbers(datastore, key) == (3, 6, 0)

    def test_the_owner_counts_and_not_the_last_run(self, datastore: Datastore, key: str) -> None:
        """While a document has an owner, ``run`` decides nothing: a worker of an earlier version leaves it as it is."""
        datastore.create(key, {"epoch": 3, "seq": 5, "owner": {"nonce": "new"}, "run": "old", "n": 0})
        with pytest.raises(ClaimLost):
            datastore.mutate(key, [Add("n", 1)], run=RunGuard(3, "old", 6))
        datastore.mutate(key, [Add("n", 1)], run=RunGuard(3, "new", 6))
        assert self.numbers(datastore, key) == (3, 6, 1)

    def test_two_runs_of_one_epoch(self, datastore: Datastore, key: str) -> None:
        """If a store was rolled back and an epoch given again, the document holds writes of the present run only.

        Tested with every order of the writes of both runs, each of which is sent twice, as after a lost answer.
        """
        for number, order in enumerate(sorted(set(itertools.permutations("aaabbb")))):
            name = f"{key}_{number}"
            before: Document = {"epoch": 0, "seq": 0, "owner": None, "events": []}
            self.claim_again(datastore, name, before, "a")
            sent = dict.fromkeys("ab", 0)
            for nonce in order:
                if nonce == "b" and not sent["b"]:
                    self.claim_again(datastore, name, before, "b")
                sent[nonce] += 1
                is_last = sent[nonce] == 3
                operations: list[Operation] = [Append("events", [nonce, sent[nonce]])]
                operations += [Set("owner", None)] if is_last else []
                for _ in range(2):
                    if nonce == "a" and sent["b"]:
                        with pytest.raises(ClaimLost):
                            datastore.mutate(name, operations, run=RunGuard(1, nonce, sent[nonce]))
                    else:
                        datastore.mutate(name, operations, run=RunGuard(1, nonce, sent[nonce]))
            document = datastore.read(name)
            assert document is not None and document["events"] == [["b", 1], ["b", 2], ["b", 3]]

    def claim_again(self, datastore: Datastore, key: str, before: Document, nonce: str) -> None:
        """Roll a document back to its state before its claim, and claim it."""
        token = datastore.set(key, before)
        claimed = [Set("epoch", 1), Set("seq", 0), Set("owner", {"worker": "w", "nonce": nonce}), Set("run", nonce)]
        datastore.mutate(key, claimed, cas=token)

    @pytest.mark.parametrize("seq", [4, 7, 8, 1])
    def test_gap(self, datastore: Datastore, owned: str, seq: int) -> None:
        """A run write with a number out of turn raises ClaimLost with both numbers: the document was rolled back."""
        with pytest.raises(ClaimLost, match=rf"{seq}.*5"):
            datastore.mutate(owned, [Add("n", 1)], run=RunGuard(3, "n", seq))
        assert self.numbers(datastore, owned) == (3, 5, 0)

    @pytest.mark.parametrize("seq", [0, -1])
    def test_numbers_start_at_one(self, datastore: Datastore, key: str, seq: int) -> None:
        """Number 0 is no number: on a fresh document it must not be answered "done"."""
        datastore.create(key, {"epoch": 1, "seq": 0, "owner": {"nonce": "n"}, "n": 0})
        with pytest.raises(InvalidValue):
            datastore.mutate(key, [Add("n", 1)], run=RunGuard(1, "n", seq))
        assert self.numbers(datastore, key) == (1, 0, 0)

    @pytest.mark.parametrize(
        "document",
        [
            {"epoch": 3, "seq": 5, "owner": None, "n": 0},
            {"epoch": 3, "seq": 5, "n": 0},
            {"epoch": 3, "seq": 5, "owner": None, "run": "n", "n": 0},
            {"epoch": 3, "seq": 5, "owner": "n", "run": "n", "n": 0},
            {"epoch": 3, "seq": 5, "owner": ["n"], "run": "n", "n": 0},
            {"epoch": 3, "seq": 5, "owner": {"nonce": ["n"]}, "run": "n", "n": 0},
            {"epoch": 3, "seq": 5, "owner": {"worker": "n", "is": {"nonce": "m"}}, "run": "n", "n": 0},
        ],
    )
    @pytest.mark.parametrize("seq", [None, 6])
    def test_no_owner(self, datastore: Datastore, key: str, document: Document, seq: int | None) -> None:
        """A document without an owner, or with one that names no run, refuses run writes with ClaimLost."""
        datastore.create(key, document)
        with pytest.raises(ClaimLost):
            datastore.mutate(key, [Add("n", 1)], run=RunGuard(3, "n", seq))
        assert self.numbers(datastore, key) == (3, 5, 0)

    def test_no_epoch_stored(self, datastore: Datastore, key: str) -> None:
        """A document that was never claimed refuses run writes with ClaimLost."""
        datastore.create(key, {"n": 0})
        with pytest.raises(ClaimLost):
            datastore.mutate(key, [Add("n", 1)], run=RunGuard(1, "n", 1))
        assert datastore.read(key) == {"n": 0}

    def test_missing_under_a_run(self, datastore: Datastore, key: str) -> None:
        """A run write to a missing document is refused with ClaimLost, and does not restore it."""
        for seq in (None, 1):
            with pytest.raises(ClaimLost):
                datastore.mutate(key, [Set("n", 1)], run=RunGuard(1, "n", seq))
        assert datastore.read(key) is None

    def test_stale_token_of_the_owner(self, datastore: Datastore, owned: str) -> None:
        """Token and run must both match."""
        token = datastore.read_with_cas(owned)[1]
        datastore.mutate(owned, [Add("n", 1)])
        with pytest.raises(datastore.casException):
            datastore.mutate(owned, [Add("n", 1)], cas=token, run=RunGuard(3, "n", 6))
        assert self.numbers(datastore, owned) == (3, 5, 1)

    def test_refused_write_keeps_its_number(self, datastore: Datastore, owned: str) -> None:
        """A run write refused for its values has not used its number."""
        with pytest.raises(InvalidValue):
            datastore.mutate(owned, [Append("n", 1)], run=RunGuard(3, "n", 6))
        datastore.mutate(owned, [Add("n", 1)], run=RunGuard(3, "n", 6))
        assert self.numbers(datastore, owned) == (3, 6, 1)

    def test_writes_from_outside_take_no_number(self, datastore: Datastore, owned: str) -> None:
        """Changes from outside the run leave number and epoch alone, and the owner continues counting."""
        datastore.mutate(owned, [Append("events", "from a web application")])
        datastore.mutate(owned, [Add("n", 1)], run=RunGuard(3, "n", 6))
        assert self.numbers(datastore, owned) == (3, 6, 1)

    @pytest.mark.parametrize("value", ["2026-01-01T00:00:00.000000+00:00", None])
    def test_cancel_requested(self, datastore: Datastore, owned: str, value: Any) -> None:
        """Every answer shows a requested cancellation, a repeated one too."""
        assert not datastore.mutate(owned, []).cancel_requested
        assert datastore.mutate(owned, [Set("cancelRequested", value)]).cancel_requested is (value is not None)
        assert datastore.mutate(owned, [Add("n", 1)], run=RunGuard(3, "n", 6)).cancel_requested is (value is not None)
        assert datastore.mutate(owned, [Add("n", 1)], run=RunGuard(3, "n", 6)).cancel_requested is (value is not None)
        assert datastore.mutate(owned, [Append("events", 1), Append("items", 1)]).cancel_requested is (
            value is not None
        )

    def numbers(self, datastore: Datastore, key: str) -> tuple[int, int, int]:
        """Return the stored epoch and seq, and the field that the tests count with."""
        document = datastore.read(key)
        assert document is not None
        return document["epoch"], document["seq"], document["n"]
