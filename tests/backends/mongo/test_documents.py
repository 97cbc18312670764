"""How documents are stored, and what is too large to store."""

from __future__ import annotations

from typing import Any

import bson
import pymongo
import pymongo.errors
import pytest

import zerog
from tests.backends.mongo.builders import NOW, ON_BOTH, Count, refused
from zerog.backends.mongo.datastore import INDEXES, MongoDatastore
from zerog.backends.mongo.updates import SURE_BYTES
from zerog.contracts.datastore import FindQuery
from zerog.exceptions import CorruptDocument, InvalidValue
from zerog.records.operations import Append, Set


@ON_BOTH
def test_a_document_is_stored_with_its_plain_fields(datastore: MongoDatastore) -> None:
    """Fields under their names, so that other tools can query them; only names that MongoDB can't store are encoded."""
    document = {"status": "queued", "a.b": {"$x": 1, "y": [1.0]}, "_id": 5, "": None, "_": 1, "events": [{"n": 1}]}
    datastore.create("key", document)
    assert datastore.read("key") == document
    stored = datastore.server.collection.find_one({"status": "queued"})
    assert stored is not None and type(stored.pop("_cas")) is not str
    assert stored == {
        "_id": "key",
        "status": "queued",
        "a%2Eb": {"%24x": 1, "y": [1.0]},
        "%5Fid": 5,
        "%": None,
        "%5F": 1,
        "events": [{"n": 1}],
    }


@ON_BOTH
def test_setup_makes_the_indexes_that_find_uses(datastore: MongoDatastore) -> None:
    assert len(datastore.setup()) == len(INDEXES)
    keys = [list(index["key"]) for index in datastore.server.collection.index_information().values()]
    assert [("status", 1), ("_id", 1)] in keys and [("due", 1), ("_id", 1)] in keys


@ON_BOTH
@pytest.mark.parametrize(
    "broken",
    [
        {"$set": {"_cas": "seven"}},
        {"$set": {"_cas": -1}},
        {"$unset": {"_cas": 1}},
        {"$set": {"output": {"at": [bson.ObjectId("5" * 24)]}}},
        {"$set": {"output": float("nan")}},
        {"$set": {"output": bson.DatetimeMS(0)}},
    ],
)
def test_foreign_values_are_reported_as_corrupt(datastore: MongoDatastore, broken: dict[str, Any]) -> None:
    """A document that holds a value that is no JSON, or no token, is reported as corrupt, by its key."""
    for key in ("a", "b", "c"):
        datastore.create(key, {"status": "queued", "key": key})
    datastore.server.collection.update_one({"_id": "b"}, broken)
    with pytest.raises(CorruptDocument, match="b "):
        datastore.read("b")
    with pytest.raises(CorruptDocument):
        datastore.set("b", {})
    page = datastore.find(FindQuery(status="queued"))
    assert [head["key"] for head in page.heads] == ["a", "c"]
    assert page.unreadable == ["b"]


@ON_BOTH
@pytest.mark.wide
def test_a_document_too_large_for_the_server_is_refused_by_its_size(datastore: MongoDatastore) -> None:
    """Many small numbers are much larger in BSON than in JSON; what the server would refuse is refused here."""
    zeros = [0] * 1_400_000
    with pytest.raises(InvalidValue, match=r"key takes 1\d,\d{3},\d{3} bytes as BSON.* 16,777,216"):
        datastore.create("key", {"a": zeros})
    assert datastore.read("key") is None
    token = datastore.create("key", {"b": 1})
    with pytest.raises(InvalidValue, match="bytes as BSON"):
        datastore.mutate("key", [Set("b", 2), Append("events", zeros)])
    assert datastore.read_with_cas("key") == ({"b": 1}, token)


@pytest.mark.parametrize("code", [10334, 17419])
def test_a_refusal_by_the_server_for_size_is_an_invalid_value(
    datastore: MongoDatastore, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    refused(monkeypatch, pymongo.errors.OperationFailure("too large", code))
    with pytest.raises(InvalidValue, match=r"key is too large.*16,777,216"):
        datastore.mutate("key", [])


@ON_BOTH
def test_what_may_grow_too_large_is_changed_by_reading_it(datastore: MongoDatastore) -> None:
    """Near the bound the size is counted exactly, so that a document can always be written whole again."""
    odd = "\x01"  # six bytes of JSON
    datastore.create("key", {"a": odd * (SURE_BYTES * 9 // 10)})
    with pytest.raises(InvalidValue, match="bytes as JSON"):
        datastore.mutate("key", [Set("b", odd * (SURE_BYTES // 5))])
    datastore.mutate("key", [Set("b", odd * (SURE_BYTES // 20))])
    document, token = datastore.read_with_cas("key")
    assert document is not None and token is not None and len(document) == 2
    assert datastore.set_with_cas("key", document, token)[0]


@ON_BOTH
def test_a_history_is_bounded(datastore: MongoDatastore) -> None:
    """The last 1,000 entries stay and earlier ones are counted, without any extra step by the caller."""
    app = zerog.App(datastore=datastore, queue="memory://")
    app.register(Count)
    job = app.submit(Count, {})
    events = [{"timestamp": NOW, "msg": str(n)} for n in range(1_010)]
    datastore.mutate(job.key(), [Append("events", event) for event in events])
    app.get_job(job.uuid).record_event("the last")
    stored = datastore.read(job.key())
    assert stored is not None and len(stored["events"]) == 1_000
    assert stored["events"][-1]["msg"] == "the last" and stored["eventsDropped"] == 11
