"""How documents are stored: durability, growth, listing."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import zerog
from tests.backends.couchbase.builders import KEY, is_one_line_without_secrets
from tests.backends.couchbase.servers import RunningStandIn, fresh_url, started
from zerog.backends.couchbase.datastore import CouchbaseDatastore
from zerog.backends.couchbase.query import INDEXES
from zerog.backends.couchbase.texts import LARGEST
from zerog.contracts.datastore import FindQuery, RunGuard
from zerog.exceptions import DatastoreError
from zerog.records.operations import Append, Max, Set

# Durability


@pytest.mark.parametrize(
    ("durability", "level", "declared"),
    [
        ("none", 0, "process"),
        ("majority", 1, "process"),
        ("majority_and_persist_to_active", 2, "fsync"),
        ("persist_to_majority", 3, "fsync"),
    ],
)
def test_durability_is_requested_with_every_write(
    own: RunningStandIn, durability: str, level: int, declared: str
) -> None:
    """Documents and index alike; and the doctor reports what that means."""
    datastore = CouchbaseDatastore(own.url(durability=durability))
    assert datastore.durability == declared
    token = datastore.create(KEY, {"status": "queued", "due": "1", "events": []})
    own.heal()
    datastore.mutate(KEY, [Set("status", "running"), Append("events", 1)], cas=token)
    datastore.mutate(KEY, [Set("with.dot", 1)])
    datastore.set(KEY, {"status": "queued"})
    datastore.delete(KEY)
    counts = own.heal()
    assert {name for name in counts if name.startswith("durability.")} == {f"durability.{level}"}
    assert counts[f"durability.{level}"] >= 6
    datastore.close()


# Documents that grow


def test_a_progress_update_costs_the_same_with_a_long_history() -> None:
    """Recording event 1,000 sends and receives what recording event 10 does, but for digits."""
    server = started()
    datastore = CouchbaseDatastore(server.url())
    costs = []
    for entries in (10, 999):
        events = [{"timestamp": "2026-01-01T00:00:00.000000+00:00", "msg": f"step {n}"} for n in range(entries)]
        datastore.set("key", {"epoch": 1, "seq": 0, "owner": {"nonce": "n"}, "events": events, "n": 0})
        server.heal()
        for seq in range(1, 11):
            operations = [Set("n", seq), Append("events", {"msg": "step"}, 1_000), Max("updatedAt", "2026")]
            datastore.mutate("key", operations, run=RunGuard(1, "n", seq))
        costs.append(server.heal()["bytes"] / 10)
    datastore.close()
    server.kill()
    assert costs[1] < costs[0] * 1.2


def test_a_history_that_fills_its_document_lets_the_oldest_go() -> None:
    """By bytes, too, so that the end of a job with huge events can be stored; what fell out is counted."""
    url = fresh_url(query=False)
    datastore = CouchbaseDatastore(url)
    datastore.create("key", {"events": [], "n": 0})
    for n in range(30):
        datastore.mutate("key", [Append("events", [n, "x" * 500_000], 1_000), Set("n", n)])
    document = datastore.read("key") or {}
    datastore.close()
    kept = [entry[0] for entry in document["events"]]
    assert kept == list(range(30 - len(kept), 30)) and len(kept) * 500_000 < LARGEST
    assert document["eventsDropped"] == 30 - len(kept) > 0
    assert document["n"] == 29


# Listing


def test_without_a_query_service_the_error_names_the_remedy() -> None:
    datastore = CouchbaseDatastore(fresh_url(query=False))
    datastore.create(KEY, {"status": "failed"})
    for query in ({}, {"status": "failed"}):
        with pytest.raises(DatastoreError, match=r"no query service.*zerog setup") as caught:
            datastore.find(FindQuery(**query))
        assert is_one_line_without_secrets(str(caught.value))
    assert datastore.setup() == []
    datastore.close()


def test_without_an_index_the_error_names_the_remedy() -> None:
    datastore = CouchbaseDatastore(fresh_url())
    datastore.create(KEY, {"status": "failed"})
    with pytest.raises(DatastoreError, match=r"no index.*zerog setup"):
        datastore.find(FindQuery(status="failed"))
    assert datastore.setup() == list(INDEXES)
    assert datastore.find(FindQuery(status="failed")).heads == [{"status": "failed"}]
    datastore.close()


def test_the_documented_statements_make_the_indexes() -> None:
    """The statements in docs/couchbase.md to be run by hand are those that ``setup`` runs."""
    page = (Path(__file__).parents[3] / "docs" / "couchbase.md").read_text()
    documented = re.findall(r"^CREATE INDEX `(\w+)` ON `jobs`\.`_default`\.`_default`\((.*)\);$", page, re.MULTILINE)
    assert dict(documented) == INDEXES


def test_a_broken_index_document_is_named() -> None:
    """Not ignored: jobs that can't be listed would be jobs that are never repaired."""
    datastore = CouchbaseDatastore(fresh_url())
    datastore.create(KEY, {"status": "queued"})
    collection = datastore.server.collection
    names = [f"zerog_open_{n}" for n in range(64)]
    [name] = [name for name in names if collection.exists(name).exists]
    collection.upsert(name, b"[]")
    for call in (lambda: datastore.find(FindQuery(status="queued")), lambda: datastore.set(KEY, {"status": "running"})):
        with pytest.raises(zerog.CorruptDocument, match=name):
            call()
    assert datastore.read(KEY) == {"status": "queued"}
    datastore.close()


def test_closing_gives_the_connection_back() -> None:
    """And a later call opens it again, in every thread that calls."""
    datastore = CouchbaseDatastore(fresh_url())
    for n in range(3):
        datastore.set("key", {"n": n})
        datastore.close()
    assert datastore.read("key") == {"n": 2}
    datastore.close()
    assert os.getpid() == datastore.server._mine.pid
