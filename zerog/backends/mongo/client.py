"""A MongoDB client made by the caller: pymongo's, or a stand-in within this process, for example mongomock's.

A stand-in takes dicts only, its calls aren't atomic between threads, and its results of an update pipeline are
unreliable. So its calls take turns, and ``MongoDatastore`` replaces whole documents there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bson
import pymongo
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from zerog.backends.mongo.server import PLAIN, SETTINGS, Client, MongoServer
from zerog.exceptions import ConfigurationError

_turn = threading.RLock()
"""Held during each call of a stand-in. One for all, since several of its clients may share their documents."""


class GivenClient(MongoServer):
    """A database and collection of a client that the caller makes and closes."""

    def __init__(self, client: Client, database: str, collection: str) -> None:
        kind = type(client)
        self.name = f"{kind.__module__}.{kind.__qualname__}, database {database}"
        self.database_name = database
        self.collection_name = collection
        self._given = client
        self._pid = os.getpid()
        self._was_reached = False
        self._read_settings()

    @property
    def collection(self) -> Collection[dict[str, Any]]:
        client = self._client()
        writes = client.write_concern if client.write_concern.document else _usual_writes()
        reads = client.read_concern
        if not reads.level and writes.document.get("w") == "majority":
            reads = ReadConcern("majority")  # else a document read back after a lost answer might be lost again
        database = client.get_database(self.database_name, PLAIN, pymongo.ReadPreference.PRIMARY, writes, reads)
        return database.get_collection(self.collection_name)

    def close(self) -> None:
        """Leave the client open, since it is the caller's."""

    def _client(self) -> Client:
        if self._pid != os.getpid():
            raise ConfigurationError(
                f"{self.name}: the client was made in process {self._pid} and can't be used in process {os.getpid()}, "
                "which was forked from it; nothing was done. Expected a URL instead of client=… where jobs run in "
                "processes of their own"
            )
        return self._given


class StandIn(GivenClient):
    """A database and collection of a client that isn't pymongo's and keeps documents in this process."""

    is_stand_in = True

    @property
    def collection(self) -> Collection[dict[str, Any]]:
        return self._client().get_database(self.database_name).get_collection(self.collection_name)

    def undecoded(self) -> Collection[Any]:
        return self.collection

    def packed(self, body: RawBSONDocument) -> Any:
        return bson.decode(body.raw)

    @contextmanager
    def _translating(self, what: str, writes: bool) -> Iterator[None]:
        with _turn, super()._translating(what, writes):
            yield

    def _selection_errors(self) -> list[Exception | None]:
        return []

    def _has_no_such_host(self) -> bool:
        return False


def server_of(client: Any, database: str, collection: str) -> GivenClient:
    """Return the deployment of a client. Raises ConfigurationError for other objects, and for impossible names."""
    if isinstance(client, pymongo.MongoClient):
        if client.write_concern.document.get("w") == 0:
            raise ConfigurationError("client=… has w=0, with which a write is not acknowledged; expected w=1 or more")
        return GivenClient(client, database, collection)
    if isinstance(client, pymongo.AsyncMongoClient) or not hasattr(client, "get_database"):
        raise ConfigurationError(
            f"client={client!r:.200} has no get_database, or an asynchronous one; expected pymongo.MongoClient(…) or "
            "what acts like it"
        )
    return StandIn(client, database, collection)


def _usual_writes() -> WriteConcern:
    return WriteConcern(SETTINGS["w"], j=SETTINGS["journal"])
