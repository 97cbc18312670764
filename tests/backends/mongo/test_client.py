"""Clients that the caller made: mongomock's, in this process, and pymongo's."""

from __future__ import annotations

from typing import Any

import mongomock
import pymongo
import pytest

import zerog
from tests.backends.mongo.builders import OWNED, Count
from tests.backends.mongo.servers import shared
from tests.forks import in_a_fork
from zerog.backends.mongo.datastore import MongoDatastore
from zerog.contracts.datastore import RunGuard
from zerog.exceptions import ClaimLost, ConfigurationError
from zerog.records.operations import Add, Append, Set


@pytest.fixture
def client() -> Any:
    return mongomock.MongoClient()


def test_workers_with_threads_run_jobs_on_mongomock(client: Any) -> None:
    """Jobs are submitted, run in several threads and polled; each event of each run is stored."""
    app = zerog.App(datastore=MongoDatastore(client=client, database="shop", collection="jobs"), queue="memory://")
    app.register(Count)
    uuids = list(app.submit_many(Count, [{}] * 20))
    zerog.Worker(app, concurrency=4).run(burst=True)
    assert [app.get_job(uuid).output for uuid in uuids] == [{"steps": 3}] * 20
    stored = list(client["shop"]["jobs"].find({"jobType": "count"}))
    assert [len([e for e in job["events"] if e["msg"].startswith("step")]) for job in stored] == [3] * 20
    app.close()


def test_a_change_replaces_the_whole_document(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """mongomock's update pipelines are never used; the fence holds all the same."""
    monkeypatch.delattr(mongomock.Collection, "find_one_and_update")
    datastore = MongoDatastore(client=client)
    datastore.create("key", OWNED)
    changed = datastore.mutate(
        "key", [Add("n", 2, high=1), Append("events", "e"), Set("a.b", 1)], run=RunGuard(1, "n", 1)
    )
    assert changed.values["n"] == 1
    assert datastore.read("key") == {**OWNED, "seq": 1, "n": 1, "events": ["e"], "a.b": 1}
    with pytest.raises(ClaimLost):
        datastore.mutate("key", [Add("n", 1)], run=RunGuard(2, "n", 2))


def test_it_is_known_to_live_in_one_process(client: Any) -> None:
    """Its description names that, and a worker whose jobs run in other processes is refused."""
    datastore = MongoDatastore(client=client)
    assert (datastore.shared, datastore.durability) == (False, "process")
    assert datastore.about().startswith("mongomock.")
    with pytest.raises(ConfigurationError, match="executor='process'"):
        zerog.Worker(zerog.App(datastore=datastore, queue="memory://"), executor="process")


def test_a_forked_process_is_refused(client: Any) -> None:
    """The other processes would never see what a fork changed there."""
    datastore = MongoDatastore(client=client)

    def write() -> None:
        with pytest.raises(ConfigurationError, match="forked"):
            datastore.create("key", {})

    assert in_a_fork(write) == 0
    assert datastore.read("key") is None


def test_a_client_of_pymongo_writes_as_safely_as_a_url() -> None:
    """Unless the client is set otherwise a majority has what is written, and the client stays the caller's."""
    with pymongo.MongoClient(f"mongodb://127.0.0.1:{shared().port}/") as client:
        datastore = MongoDatastore(client=client, database="test", collection="of_a_client")
        assert datastore.shared and (datastore.server.w, datastore.server.journal) == ("majority", True)
        datastore.create("key", OWNED)
        assert datastore.mutate("key", [Add("n", 2)], run=RunGuard(1, "n", 1)).values == {"n": 2}
        datastore.close()
        assert client["test"]["of_a_client"].find_one({"_id": "key"}, {"n": True}) == {"_id": "key", "n": 2}
        client["test"].drop_collection("of_a_client")


def test_the_settings_of_a_pymongo_client_hold() -> None:
    with pymongo.MongoClient("mongodb://localhost/?w=2&journal=false&readConcernLevel=local", connect=False) as client:
        server = MongoDatastore(client=client).server
        assert (server.w, server.journal) == (2, False)
        assert server.collection.read_concern.document == {"level": "local"}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "URL or client"),
        ({"server": "mongodb://localhost/db", "client": mongomock.MongoClient()}, "URL or client"),
        ({"client": "mongodb://localhost/db"}, "get_database"),
        ({"client": pymongo.AsyncMongoClient(connect=False)}, "an asynchronous one; expected pymongo.MongoClient"),
        ({"client": pymongo.MongoClient(w=0, connect=False)}, "w=0"),
        ({"client": mongomock.MongoClient(), "collection": "a$b"}, "can't be used"),
        ({"client": pymongo.MongoClient(connect=False), "database": "a b"}, "can't be used"),
    ],
)
def test_what_is_no_client_is_refused_at_the_start(given: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        MongoDatastore(**given)


def test_a_worker_forks_nothing_over_a_client(caplog: pytest.LogCaptureFixture) -> None:
    """Which could not be used there: with processes it refuses to start; a hard limit takes the job from its run."""
    with pymongo.MongoClient(f"mongodb://127.0.0.1:{shared().port}/") as client:
        datastore = MongoDatastore(client=client, database="test", collection="of_a_worker")
        app = zerog.App(datastore=datastore, queue="memory://")
        app.register(type("Made", (zerog.BaseJob,), {"JOB_TYPE": "made", "run": lambda job: None, "TIMEOUT": 60}))
        with pytest.raises(ConfigurationError, match="client of yours that can't be used after a fork"):
            zerog.Worker(app, executor="process")
        uuid = app.submit("made").uuid
        zerog.Worker(app).run(burst=True)
        assert (app.progress(uuid)["status"], "can't kill a run of made" in caplog.text) == ("succeeded", True)
        client["test"].drop_collection("of_a_worker")
