"""The rules about ``delete``, for ``zerog.testing.contracts.datastore``."""

from __future__ import annotations

import pytest

from zerog.contracts.datastore import Datastore, RunGuard
from zerog.exceptions import ClaimLost, DatastoreError
from zerog.records.operations import Append, Set


class DeletionRules:
    """Rules for ``delete``; skipped, except the last one, for an adapter that declares that it can't."""

    @pytest.fixture
    def deleting(self, datastore: Datastore) -> Datastore:
        """Return the datastore, if it can delete."""
        if not datastore.can_delete:
            pytest.skip("this adapter can't delete")
        return datastore

    def test_delete(self, deleting: Datastore, another: Datastore, key: str) -> None:
        """A deleted document is gone with all of its history, and deleting returns whether there was one."""
        deleting.create(key, {"a": 1, "events": [1, 2]})
        assert another.delete(key) is True
        assert deleting.delete(key) is False
        assert deleting.read(key) is None
        deleting.create(key, {"events": []})
        assert deleting.read(key) == {"events": []}

    def test_delete_under_a_token(self, deleting: Datastore, another: Datastore, key: str) -> None:
        """With the present token the document is removed with its history; any handle may have read the token."""
        deleting.create(key, {"a": 1, "events": [1, 2]})
        token = another.mutate(key, [Append("events", 3)]).token
        assert deleting.delete(key, cas=token) is True
        assert another.read_with_cas(key) == (None, None)

    def test_delete_under_a_stale_token(self, deleting: Datastore, another: Datastore, key: str) -> None:
        """A document that was changed since stays, whole, under the token it has."""
        stale = deleting.create(key, {"a": 1, "events": [1]})
        token = another.mutate(key, [Set("a", 2), Append("events", 2)]).token
        with pytest.raises(deleting.casException):
            deleting.delete(key, cas=stale)
        assert deleting.read_with_cas(key) == ({"a": 2, "events": [1, 2]}, token)

    def test_delete_under_token_0(self, deleting: Datastore, key: str) -> None:
        """``cas=0`` is no document's token and never means "without a token"."""
        deleting.create(key, {"a": 1})
        with pytest.raises(deleting.casException):
            deleting.delete(key, cas=0)
        assert deleting.read(key) == {"a": 1}

    def test_delete_what_is_gone_under_a_token(self, deleting: Datastore, key: str) -> None:
        """A missing document can't be refused: repeating a deletion whose answer was lost does no harm."""
        token = deleting.create(key, {"a": 1})
        assert deleting.delete(key, cas=token) is True
        assert deleting.delete(key, cas=token) is False

    def test_a_later_document_is_not_deleted_under_an_old_token(self, deleting: Datastore, key: str) -> None:
        """A late deletion does not hit another document that has the key by then."""
        token = deleting.create(key, {"a": 1})
        deleting.delete(key)
        deleting.create(key, {"a": 2})
        with pytest.raises(deleting.casException):
            deleting.delete(key, cas=token)
        assert deleting.read(key) == {"a": 2}

    def test_what_was_deleted_is_not_made_again(self, deleting: Datastore, key: str) -> None:
        """Neither a change nor a run's write restores a deleted document."""
        token = deleting.create(key, {"a": 1, "epoch": 1, "seq": 0, "owner": {"nonce": "n"}, "events": []})
        deleting.delete(key, cas=token)
        with pytest.raises(deleting.casException):
            deleting.mutate(key, [Set("a", 2)])
        with pytest.raises(ClaimLost):
            deleting.mutate(key, [Append("events", 1)], run=RunGuard(1, "n", 1))
        assert deleting.read(key) is None

    def test_tokens_survive_deletion(self, deleting: Datastore, key: str) -> None:
        """A token from before a deletion is not that of the document created afterwards."""
        tokens = []
        for _ in range(5):
            tokens.append(deleting.create(key, {}))
            tokens.append(deleting.mutate(key, [Set("a", 1)]).token)
            assert deleting.delete(key) is True
        token = deleting.create(key, {"a": "new"})
        assert len({*tokens, token}) == len(tokens) + 1
        with pytest.raises(deleting.casException):
            deleting.set_with_cas(key, {}, tokens[-1])
        assert deleting.read(key) == {"a": "new"}

    def test_delete_raises_if_it_cannot(self, datastore: Datastore, key: str) -> None:
        """An adapter that can't delete raises, instead of leaving the document silently."""
        if datastore.can_delete:
            pytest.skip("this adapter deletes")
        with pytest.raises(DatastoreError):
            datastore.delete(key)
        with pytest.raises(DatastoreError):
            datastore.delete(key, cas=1)
