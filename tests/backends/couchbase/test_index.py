"""The index of unfinished jobs: it may be too full, never too empty."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from tests.backends.couchbase.servers import RunningStandIn, fresh_url, started
from zerog.backends.couchbase import index
from zerog.backends.couchbase.datastore import CouchbaseDatastore
from zerog.backends.couchbase.index import places_of
from zerog.contracts.datastore import FindQuery
from zerog.exceptions import AmbiguousWrite, DatastoreUnavailable
from zerog.records.job import new_uuid
from zerog.records.operations import Set
from zerog.support import jsonvalues

KEY = "zerog_job_0199a000-0000-7000-8000-000000000000"


@pytest.fixture
def url() -> str:
    return fresh_url(query=False)


@pytest.fixture
def datastore(url: str) -> Iterator[CouchbaseDatastore]:
    datastore = CouchbaseDatastore(url)
    yield datastore
    datastore.close()


@pytest.fixture
def another(url: str) -> Iterator[CouchbaseDatastore]:
    another = CouchbaseDatastore(url)
    yield another
    another.close()


def entries(datastore: CouchbaseDatastore) -> dict[str, list[str]]:
    """By place, all keys that the index has there."""
    return {place: datastore._index.keys(place) for place in index.PLACES}


def found(datastore: CouchbaseDatastore) -> list[str]:
    """The keys of all jobs that have not ended, according to their documents."""
    return [head["key"] for status in ("queued", "running") for head in datastore.find(FindQuery(status=status)).heads]


def find_everything(datastore: CouchbaseDatastore) -> None:
    """Do what a reconciler does to the index."""
    for query in ({"due": "9"}, {"status": "running"}, {"status": "queued"}):
        datastore.find(FindQuery(**query))


def test_a_life_leaves_nothing(datastore: CouchbaseDatastore) -> None:
    """A job is listed where it is, and once it has ended the finds of a reconciler remove it everywhere."""
    datastore.create(KEY, {"status": "queued", "due": "1", "key": KEY})
    assert entries(datastore) == {"due": [KEY], "running": [], "open": [KEY]}
    datastore.mutate(KEY, [Set("due", None)])
    datastore.mutate(KEY, [Set("status", "running")])
    assert entries(datastore)["running"] == [KEY]
    datastore.mutate(KEY, [Set("status", "succeeded")])
    datastore.find(FindQuery(status="running"))
    assert entries(datastore) == {"due": [], "running": [], "open": []}
    assert datastore.read(KEY) == {"status": "succeeded", "due": None, "key": KEY}


def test_one_that_ends_without_a_run_is_taken_out_at_once(datastore: CouchbaseDatastore) -> None:
    """No other search would find it: it is neither due nor running."""
    datastore.create(KEY, {"status": "queued", "due": None})
    datastore.mutate(KEY, [Set("status", "cancelled")])
    assert entries(datastore) == {"due": [], "running": [], "open": []}


def test_only_jobs_are_listed(datastore: CouchbaseDatastore) -> None:
    datastore.create("zerog_worker_a", {"status": "running", "due": "1"})
    datastore.create("zerog_workers", {"status": "queued"})
    assert entries(datastore) == {"due": [], "running": [], "open": []}


@pytest.mark.parametrize("name", ["a.b", "a[0]", "a`b`", 'a"b\\', "ü %41", "1", "x" * 150])
def test_odd_names_are_listed(datastore: CouchbaseDatastore, name: str) -> None:
    """No key is mistaken for a path, nor for another key."""
    key = f"zerog_job_{name}"
    datastore.create(key, {"status": "running", "key": key})
    assert found(datastore) == [key]
    datastore.mutate(key, [Set("status", "failed")])
    find_everything(datastore)
    assert entries(datastore)["open"] == []


def test_a_crash_before_the_write_leaves_the_index_too_full(
    datastore: CouchbaseDatastore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry does no harm, may belong to a slow writer and so stays, and is gone after the grace."""
    datastore._index.announce(KEY, {"open": 1, "due": "1"}, 0)
    for _ in range(2):
        find_everything(datastore)
    assert entries(datastore)["open"] == [KEY]
    monkeypatch.setattr(index, "GRACE", -1.0)
    find_everything(datastore)
    assert entries(datastore) == {"due": [], "running": [], "open": []}


def test_an_announcement_is_not_taken_back_before_its_write(
    datastore: CouchbaseDatastore, another: CouchbaseDatastore
) -> None:
    """An operator lets an ended job run again while readers look through the index: it is found afterwards."""
    datastore.create(KEY, {"status": "running", "key": KEY})
    token = datastore.mutate(KEY, [Set("status", "failed")]).token
    datastore._index.announce(KEY, {"open": 1, "due": "1"}, token)
    find_everything(another)
    text = jsonvalues.encode({"status": "queued", "due": "1", "key": KEY}).encode()
    datastore.server.collection.replace(KEY, text, cas=token)
    assert found(another) == [KEY]
    assert len(another.find(FindQuery(due="9")).heads) == 1


def test_an_announcement_whose_write_must_fail_is_taken_back(
    datastore: CouchbaseDatastore, another: CouchbaseDatastore
) -> None:
    """A token that is no longer the document's changes nothing."""
    stale = datastore.create(KEY, {"status": "running", "key": KEY})
    datastore.mutate(KEY, [Set("status", "failed")])
    datastore._index.announce(KEY, {"open": 1, "due": "1", "running": 1}, stale)
    find_everything(another)
    assert entries(another) == {"due": [], "running": [], "open": []}


def test_two_announcements_of_one_job_stand_side_by_side(
    datastore: CouchbaseDatastore, another: CouchbaseDatastore
) -> None:
    """One whose write must fail doesn't remove another that is under way."""
    stale = datastore.create(KEY, {"status": "running", "key": KEY})
    token = datastore.mutate(KEY, [Set("status", "failed")]).token
    datastore._index.announce(KEY, {"open": 1}, token)
    another._index.announce(KEY, {"open": 1}, stale)
    datastore.find(FindQuery(status="queued"))
    assert entries(another)["open"] == [KEY]


def test_what_can_t_be_judged_stays(datastore: CouchbaseDatastore) -> None:
    """The entry of a document that is locked or invalid waits until its state is known."""
    datastore.create(KEY, {"status": "running", "key": KEY})
    datastore.mutate(KEY, [Set("status", "failed")])
    collection = datastore.server.collection
    lock = collection.get_and_lock(KEY, timedelta(seconds=20))
    find_everything(datastore)
    assert entries(datastore)["open"] == [KEY]
    collection.unlock(KEY, lock.cas)
    text = collection.get(KEY).value
    collection.upsert(KEY, text[:5])
    assert datastore.find(FindQuery(status="running")).unreadable == [KEY]
    datastore._index.tidy([KEY], datastore._look)
    assert entries(datastore)["open"] == [KEY]
    collection.upsert(KEY, text)
    find_everything(datastore)
    assert entries(datastore) == {"due": [], "running": [], "open": []}


def test_a_slow_writer_announces_again(datastore: CouchbaseDatastore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped for longer than the grace between announcement and write, it finds its entry gone and makes it anew."""
    monkeypatch.setattr(index, "SLOW", -1.0)
    written = datastore._written

    def write_late(key: str, call: Any) -> Any:
        for number in range(index.SHARDS):
            shard = f"zerog_open_{number}"
            if datastore.server.collection.exists(shard).exists:
                datastore.server.collection.remove(shard)
        return written(key, call)

    monkeypatch.setattr(datastore, "_written", write_late)
    datastore.create(KEY, {"status": "queued", "key": KEY})
    assert found(datastore) == [KEY]
    datastore.mutate(KEY, [Set("status", "running")])
    assert found(datastore) == [KEY]
    datastore.mutate(KEY, [Set("with.dot", 1), Set("due", "1")])
    assert len(datastore.find(FindQuery(due="9")).heads) == 1


def test_a_page_of_due_jobs_reads_no_more_than_it_needs(
    datastore: CouchbaseDatastore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are due, as they are while the queue is away; and the time that counts is the present one."""
    keys = [f"zerog_job_{number:04}" for number in range(450)]
    for number, key in enumerate(keys):
        datastore.create(key, {"status": "queued", "due": f"{number:04}", "key": key})
    datastore.mutate(keys[0], [Set("due", "0300")])
    datastore.mutate(keys[449], [Set("due", "0001")])
    looked: list[str] = []
    look = datastore._look
    monkeypatch.setattr(datastore, "_look", lambda some: (looked.extend(some), look(some))[1])
    page = datastore.find(FindQuery(due="9", limit=20))
    assert [head["key"] for head in page.heads] == [keys[1], keys[449], *keys[2:20]]
    assert len(looked) <= 200
    looked.clear()
    page = datastore.find(FindQuery(due="9", limit=300, after=page.after))
    assert [head["key"] for head in page.heads] == [*keys[20:300], keys[0], *keys[300:319]]
    assert len(datastore.find(FindQuery(due="9", limit=500, after=page.after)).heads) == 450 - 320


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_a_page_by_creation_reads_no_more_than_it_needs(
    datastore: CouchbaseDatastore, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """However many wait. Of a job that an earlier version has listed the index has no time: it is read, and found."""
    keys = [f"zerog_job_{number:04}" for number in range(450)]
    for number, key in enumerate(keys):
        datastore.create(key, {"status": "queued", "createdAt": f"{450 - number:04}", "key": key})
    expected = keys if order == "newest" else keys[::-1]
    odd = {"status": "queued", "createdAt": "0200.5", "key": "zerog_job_odd"}
    monkeypatch.setattr("zerog.backends.couchbase.datastore.places_of", lambda head: dict.fromkeys(places_of(head), 1))
    datastore.create("zerog_job_odd", odd)
    monkeypatch.undo()
    expected.insert(expected.index("zerog_job_0250") + (order == "oldest"), "zerog_job_odd")
    looked: list[str] = []
    look = datastore._look
    monkeypatch.setattr(datastore, "_look", lambda some: (looked.extend(some), look(some))[1])
    found: list[str] = []
    after = None
    while not found or after:
        page = datastore.find(FindQuery(status="queued", order=order, limit=20, after=after))
        found += [head["key"] for head in page.heads]
        after = page.after
        assert len(looked) <= 200
        looked.clear()
    assert found == expected


@pytest.fixture
def own() -> Iterator[RunningStandIn]:
    """A stand-in that may be broken."""
    server = started()
    yield server
    server.kill()


def test_an_announcement_without_an_answer_is_repeated(own: RunningStandIn) -> None:
    """It may be made twice without harm, so only a server that never answers it keeps the job from being stored."""
    datastore = CouchbaseDatastore(own.url(timeout=0.3))
    own.fail("unanswered", key="zerog_open_", times=2)
    datastore.create(KEY, {"status": "queued", "key": KEY})
    assert found(datastore) == [KEY]
    own.fail("dropped", key="zerog_open_", times=0)
    with pytest.raises(DatastoreUnavailable, match="could not be listed"):
        datastore.mutate(KEY, [Set("status", "running")])
    own.heal()
    assert datastore.read(KEY) == {"status": "queued", "key": KEY}
    datastore.close()


def test_finds_do_not_fail_when_tidying_does(own: RunningStandIn) -> None:
    """What can't be removed now is removed by a later one."""
    datastore = CouchbaseDatastore(own.url(timeout=0.3))
    datastore.create(KEY, {"status": "running", "key": KEY})
    datastore.mutate(KEY, [Set("status", "failed")])
    own.fail("dropped", key="zerog_open_", times=0)
    assert datastore.find(FindQuery(status="running")).heads == []
    own.heal()
    assert entries(datastore)["running"] == [KEY]
    datastore.find(FindQuery(status="running"))
    assert entries(datastore)["running"] == []
    datastore.close()


def test_no_job_is_ever_missing(url: str) -> None:
    """While many clients move jobs about and tidy, a job that rests unfinished is found by every reader."""
    keys = [f"zerog_job_{new_uuid()}" for _ in range(4)]
    stop = threading.Event()
    handles = [CouchbaseDatastore(url) for _ in range(6)]
    for key in keys:
        handles[0].create(key, {"status": "queued", "due": None, "key": key})

    def move(number: int) -> int:
        choice, moves = random.Random(number), 0
        while moves < 60:
            key, datastore = choice.choice(keys), handles[number]
            token = datastore.read_with_cas(key, head=True)[1]
            status = choice.choice(["queued", "running", "failed", "cancelled"])
            due = choice.choice([None, "1", "2"])
            try:
                datastore.mutate(key, [Set("status", status), Set("due", due)], cas=token)
                moves += 1
            except datastore.casException:
                continue
        return moves

    def tidy(number: int) -> None:
        while not stop.is_set():
            find_everything(handles[number])

    with ThreadPoolExecutor(6) as pool:
        tidying = [pool.submit(tidy, number) for number in (4, 5)]
        assert list(pool.map(move, range(4))) == [60] * 4
        stop.set()
        for each in tidying:
            each.result()
    heads = {key: handles[0].read(key) or {} for key in keys}
    expected = [key for key in keys if heads[key]["status"] == "queued"]
    expected += [key for key in keys if heads[key]["status"] == "running"]
    assert found(handles[0]) == expected
    due = sorted((heads[key]["due"], key) for key in keys if heads[key]["due"] is not None)
    assert [head["key"] for head in handles[0].find(FindQuery(due="9")).heads] == [key for _, key in due]
    for handle in handles:
        handle.close()


def test_an_ambiguous_creation_is_listed_either_way(own: RunningStandIn) -> None:
    """Whether the document was stored or not, the index has it."""
    datastore = CouchbaseDatastore(own.url(timeout=0.3))
    for kind, heads in (("dropped", 0), ("unanswered", 1)):
        own.fail(kind, op="ADD")
        with pytest.raises(AmbiguousWrite):
            datastore.create(KEY, {"status": "queued"})
        assert len(datastore.find(FindQuery(status="queued")).heads) == heads
    datastore.close()
