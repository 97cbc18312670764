"""The contract, over the datastores that need no server and over the least that a user's own may bring."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from typing import Any, Literal

import pytest

from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.contracts.datastore import Datastore, check_document, without_history
from zerog.contracts.find import Count
from zerog.contracts.foreign import as_datastore
from zerog.exceptions import CorruptDocument
from zerog.records.operations import Document
from zerog.support import jsonvalues
from zerog.testing.contracts.datastore import DatastoreContract


class TestMemory(DatastoreContract):
    @pytest.fixture
    def datastore(self) -> Datastore:
        return MemoryDatastore()

    def corrupt(self, datastore: Datastore, key: str) -> None:
        assert isinstance(datastore, MemoryDatastore)
        datastore._records[key].head = '{"status": "queued'


class TestSqlite(DatastoreContract):
    @pytest.fixture
    def datastore(self, tmp_path):
        datastore = SqliteDatastore(tmp_path / "jobs.db", synchronous="normal")
        yield datastore
        datastore.close()

    @pytest.fixture
    def another(self, datastore, tmp_path):
        another = SqliteDatastore(tmp_path / "jobs.db", synchronous="normal")
        yield another
        another.close()

    def corrupt(self, datastore: Datastore, key: str) -> None:
        assert isinstance(datastore, SqliteDatastore)
        with sqlite3.connect(datastore.file.path) as sqlite:
            sqlite.execute("UPDATE zerog_documents SET body = substr(body, 1, 5) WHERE key = ?", (key,))
        sqlite.close()


class Mismatch(Exception):
    """The exception of a foreign store for a stale token."""


class Locked(Exception):
    """The exception of a foreign store for a locked document."""


class ForeignStore:
    """Two verbs and two exceptions, and the worst habit of such objects: it keeps and returns live objects."""

    casException = Mismatch
    lockedException = Locked

    def __init__(self) -> None:
        self._documents: dict[str, tuple[Document, int]] = {}
        self._tokens = itertools.count(1)
        self._lock = threading.Lock()

    def read_with_cas(self, key):
        with self._lock:
            return self._documents.get(key, (None, None))

    def set_with_cas(self, key, document, cas):
        with self._lock:
            if self._documents.get(key, (None, 0))[1] != cas:
                raise Mismatch(key)
            self._documents[key] = document, next(self._tokens)
            return True, self._documents[key][1]


@pytest.mark.wide
class TestForeignStore(DatastoreContract):
    @pytest.fixture
    def datastore(self) -> Datastore:
        return as_datastore(ForeignStore())


class SmallDatastore(Datastore):
    """The least that a subclass may define."""

    def __init__(self) -> None:
        self._documents: dict[str, tuple[str, int]] = {}
        self._tokens = itertools.count(1)
        self._lock = threading.Lock()

    def read_with_cas(self, key: str, head: bool = False) -> tuple[Document, int] | tuple[None, None]:
        with self._lock:
            if key not in self._documents:
                return None, None
            text, token = self._documents[key]
        document = jsonvalues.decode(text)
        return (without_history(document) if head else document), token

    def set_with_cas(self, key: str, value: Document, cas: int) -> tuple[Literal[True], int]:
        check_document(key, value)
        text = jsonvalues.encode_checked(value, key)
        with self._lock:
            if self._documents.get(key, ("", 0))[1] != cas:
                raise self.casException(key)
            token = next(self._tokens)
            self._documents[key] = text, token
        return True, token


class TestSmallDatastore(DatastoreContract):
    @pytest.fixture
    def datastore(self) -> Datastore:
        return SmallDatastore()


def test_a_datastore_is_itself() -> None:
    datastore = MemoryDatastore()
    assert as_datastore(datastore) is datastore


@pytest.mark.parametrize("missing", ["read_with_cas", "set_with_cas", "casException", "lockedException"])
def test_what_is_missing_is_named(missing: str) -> None:
    names = {"read_with_cas", "set_with_cas", "casException", "lockedException"} - {missing}
    store: Any = type("Store", (), dict.fromkeys(names))()
    with pytest.raises(TypeError, match=rf"has no {missing}$"):
        as_datastore(store)


def test_foreign_exceptions_are_kept() -> None:
    datastore = as_datastore(ForeignStore())
    assert (datastore.casException, datastore.lockedException) == (Mismatch, Locked)


@pytest.mark.parametrize("stored", ["text", 1, []], ids=repr)
def test_what_is_no_document_is_corrupt(stored: Any) -> None:
    store = ForeignStore()
    store._documents["key"] = stored, 5
    with pytest.raises(CorruptDocument, match="key"):
        as_datastore(store).read("key")


def test_a_count_is_shown_with_a_plus_if_there_may_be_more() -> None:
    assert (str(Count(3)), str(Count(12_345)), str(Count(10_000, True))) == ("3", "12,345", "10,000+")
