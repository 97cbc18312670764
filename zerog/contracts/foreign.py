"""Wrap a foreign object with the minimum, two verbs and two exceptions, as a datastore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from zerog.contracts.datastore import Datastore, check_document, without_history
from zerog.exceptions import AmbiguousWrite, CorruptDocument, DatastoreUnavailable, ZerogError
from zerog.records.operations import Document
from zerog.support import jsonvalues


def as_datastore(store: Any) -> Datastore:
    """Return ``store`` itself, or a datastore around an object with only the two verbs and two exceptions."""
    if isinstance(store, Datastore):
        return store
    missing = [
        name
        for name in ("read_with_cas", "set_with_cas", "casException", "lockedException")
        if not hasattr(store, name)
    ]
    if missing:
        raise TypeError(f"{store!r} is no datastore: it has no {', '.join(missing)}")
    return _Wrapped(store)


class _Wrapped(Datastore):
    """A datastore around a foreign object. Values are copied, for it may keep the objects that it gets."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.casException = store.casException  # type: ignore[misc]
        self.lockedException = store.lockedException  # type: ignore[misc]

    def read_with_cas(self, key: str, head: bool = False) -> tuple[Document, int] | tuple[None, None]:
        with self._translated():
            document, token = self._store.read_with_cas(key)
        if document is None:
            return None, None
        if type(document) is not dict:
            raise CorruptDocument(
                f"{key} holds {jsonvalues.short_repr(document)}, not a JSON object; it was left as it is"
            )
        return jsonvalues.copy(without_history(document) if head else document), token

    def set_with_cas(self, key: str, value: Document, cas: int) -> tuple[Literal[True], int]:
        check_document(key, value)
        jsonvalues.encode_checked(value, key, jsonvalues.MAX_BYTES if cas else jsonvalues.JOB_BYTES)  # for its size
        with self._translated(key):
            return True, self._store.set_with_cas(key, jsonvalues.copy(value), cas)[1]

    @contextmanager
    def _translated(self, written: str | None = None) -> Iterator[None]:
        """Translate a driver's errors to ZeroG's; ``written``: the key that may have been written by then.

        Raises AmbiguousWrite for a write, DatastoreUnavailable for a read. The store's own two exceptions and ZeroG's
        stay as they are.
        """
        try:
            yield
        except (ZerogError, self.casException, self.lockedException):
            raise
        except Exception as error:
            failed = f"{type(self._store).__name__} failed with {error!r:.200}"
            if written is None:
                raise DatastoreUnavailable(f"{failed}; nothing was read") from error
            raise AmbiguousWrite(f"{failed}; {written} may be written or not") from error
