"""The definition of a datastore: every rule for an adapter, as a test.

Subclass ``DatastoreContract`` in a test module and give it a fixture ``datastore``, an empty datastore. If several
handles on the same documents are possible, override the fixture ``another`` with a second one; define in ``corrupt``
how to make a stored document unreadable. An adapter declares in its class attributes what it can't do, and the rules
that need it are skipped::

    class TestMyDatastore(DatastoreContract):
        @pytest.fixture
        def datastore(self, tmp_path):
            return MyDatastore(tmp_path / "documents")

``zerog.testing.contracts.datastore.machine`` has the same contract as a model that hypothesis tests an adapter with.
"""

from __future__ import annotations

from zerog.contracts.datastore import Datastore
from zerog.testing.contracts.datastore.deletion import DeletionRules
from zerog.testing.contracts.datastore.documents import DocumentRules
from zerog.testing.contracts.datastore.fence import FenceRules
from zerog.testing.contracts.datastore.operations import OperationRules
from zerog.testing.contracts.datastore.races import RaceRules
from zerog.testing.contracts.datastore.room import RoomRules
from zerog.testing.contracts.datastore.terms import TermRules
from zerog.testing.contracts.datastore.tokens import TokenRules


class DatastoreContract(
    DocumentRules, TokenRules, DeletionRules, TermRules, OperationRules, FenceRules, RoomRules, RaceRules
):
    """Rules for every datastore."""

    def test_declarations(self, datastore: Datastore) -> None:
        """An adapter declares what it can do, with known values."""
        assert datastore.durability in ("fsync", "1s", "process", None)
        for flag in (
            datastore.can_find,
            datastore.can_find_ended,
            datastore.can_find_terms,
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
        """``setup`` returns the names of what it has created; repeated, through any handle, it is a no-op."""
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
        """Closing twice does no harm, and a later call works again or raises that it can't."""
        datastore.create(key, {"a": 1})
        datastore.close()
        datastore.close()
        assert datastore.read(key) == {"a": 1}
