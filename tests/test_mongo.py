"""A MongoDB server that fails, and what a user then sees."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bson
import pymongo
import pymongo.errors
import pytest
from pymongo import monitoring

import zerog
from tests.mongoproxy import WRITES, Proxy
from tests.mongoservers import RunningServer, forget, shared, started, with_options
from tests.processes import program, until
from zerog.datastores.mongo import INDEXES, MongoDatastore
from zerog.datastores.mongochanges import SURE_BYTES, update_for
from zerog.datastores.operations import Add, Append, Max, Operation, Set
from zerog.document import new_document
from zerog.exceptions import (
    AmbiguousWrite,
    ConfigurationError,
    CorruptDocument,
    DatastoreError,
    DatastoreUnavailable,
    InvalidValue,
)

OWNED: dict[str, Any] = {"epoch": 1, "seq": 0, "owner": {"worker": "w"}, "n": 0, "events": []}


class Count(zerog.BaseJob):
    JOB_TYPE = "count"

    def run(self) -> dict[str, int]:
        for n in range(3):
            self.record_event(f"step {n}")
            self.update_attrs(completeness=n / 3)
        return {"steps": 3}


@pytest.fixture
def datastore() -> Iterator[MongoDatastore]:
    datastore = MongoDatastore(shared().url())
    yield datastore
    forget(datastore)


@pytest.fixture
def own() -> Iterator[RunningServer]:
    """A server that may be broken."""
    server = started()
    yield server
    server.kill()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    proxy = Proxy(shared().port)
    yield proxy
    proxy.close()


def behind(proxy: Proxy, **options: object) -> str:
    """A URL of the shared server that leads through the proxy."""
    return with_options(f"mongodb://127.0.0.1:{proxy.port}/test?directConnection=true", **options)


# URLs


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("mongodb://shop:hunter2@localhost/db?colour=blue", "colour"),
        ("mongodb://shop:hunter2@localhost/db?serverSelectionTimeoutMS=soon", "serverselectiontimeoutms"),
        ("mongodb://shop:hunter2@localhost/db?w=0", "w=0"),
        ("mongodb://shop:hunter2@localhost/db?collection=", "collection"),
        ("mongodb://shop:hunter2@localhost/db?collection=a$b", "collection"),
        ("mongodb://shop:hunter2@localhost", "no database"),
        ("mongodb://shop:hunter2@localhost/", "no database"),
        ("mongodb://shop:hunter2@localhost/a.b", "no database"),
        ("mongodb://shop:hunter2@localhost/a b", "a b"),
        ("mongodb://shop:hunter2@localhost:port/db", "Port"),
        ("mongodb+srv://shop:hunter2@localhost:27017/db", "port"),
        ("mongodb://shop:hun/ter2@localhost/db", "percent-encoded"),
        ("mongodb://shop:hun@ter2@localhost/db", "percent-encoded"),
        ("mongodb://shop:hun?ter2@localhost/db", "mongodb://…"),
        ("mongodb://localhost/db?authMechanism=X&authMechanismProperties=TOKEN:hunter2", "no valid URL"),
        ("mongodb://localhost/db?tls=true&tlsCertificateKeyFile=/none&tlsCertificateKeyFilePassword=hunter2", "valid"),
    ],
)
def test_a_wrong_url_is_refused_at_the_start(url: str, named: str) -> None:
    """The error names what is wrong and never the password, not even one that should have been encoded."""
    with pytest.raises(ConfigurationError, match=named) as caught:
        zerog.App(datastore=url, queue="memory://")
    assert "hun" not in str(caught.value) and "ter2" not in str(caught.value)


def test_documents_need_a_queue_elsewhere() -> None:
    """One URL makes both parts of an app, and MongoDB has no queue: the error says what to write instead."""
    for url in ("mongodb://shop:hunter2@localhost/db", "mongodb+srv://shop:hunter2@localhost/db"):
        with pytest.raises(ConfigurationError, match=r"localhost/db.*queue=") as caught:
            zerog.App(url)
        assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="names no queue"):
        zerog.App(datastore="memory://", queue="mongodb://localhost/db")


def test_nothing_of_mongodb_is_imported_before_its_url_is_used() -> None:
    code = "import sys, zerog; zerog.App('memory://'); sys.exit('pymongo' in sys.modules or 'bson' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_driver_names_the_extra() -> None:
    code = "import sys; sys.modules['pymongo'] = None; import zerog; zerog.App('mongodb://localhost/db')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'zerog[mongodb]'" in ended.stderr.splitlines()[-1]


def test_the_url_decides_over_what_is_set_by_default() -> None:
    """A majority has what is answered and read, nothing is retried, everything ends in 5 s; or as the URL says."""
    usual = MongoDatastore("mongodb://localhost/db")
    options = usual.server._client().options
    assert usual.server.collection.write_concern.document == {"w": "majority", "j": True}
    assert usual.server.collection.read_concern.document == {"level": "majority"}
    assert (options.retry_writes, options.retry_reads) == (False, False)
    assert options.server_selection_timeout == options.pool_options.socket_timeout == 5
    assert options.pool_options.connect_timeout == options.pool_options.wait_queue_timeout == 5
    special = MongoDatastore(
        "mongodb://localhost/db?w=2&journal=false&retryWrites=true&socketTimeoutMS=900&serverSelectionTimeoutMS=100"
        "&readPreference=secondary"
    )
    options = special.server._client().options
    assert special.server.collection.write_concern.document == {"w": 2, "j": False}
    assert options.retry_writes is True
    assert (options.server_selection_timeout, options.pool_options.socket_timeout) == (0.1, 0.9)
    assert special.server.collection.read_concern.document == {}  # a majority may not have what was answered
    assert special.server.collection.read_preference == pymongo.ReadPreference.PRIMARY  # elsewhere lies the past


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", "fsync"),
        ("?w=majority", "fsync"),
        ("?w=majority&journal=false", "1s"),
        ("?w=1", "process"),
        ("?w=1&journal=false", "process"),
        ("?w=tag", None),
    ],
)
def test_durability_on_a_replica_set(options: str, expected: str | None) -> None:
    """What one member has written a failover may take back, whatever its disk says."""
    datastore = MongoDatastore(f"mongodb://127.0.0.1:{shared().port}/test{options}")
    assert datastore.durability == expected
    assert ("w=1," in datastore.about()) == ("w=1" in options)
    datastore.close()


def test_durability_on_a_server_alone() -> None:
    server = started("--standalone")
    for options, expected in (("?w=1", "fsync"), ("?w=1&journal=false", "1s"), ("", "fsync")):
        datastore = MongoDatastore(f"mongodb://127.0.0.1:{server.port}/test{options}")
        assert datastore.durability == expected
        assert "no replica set" in datastore.about()
        datastore.close()
    server.kill()
    gone = MongoDatastore(f"mongodb://127.0.0.1:{server.port}/test?w=1&serverSelectionTimeoutMS=100")
    assert gone.durability is None
    gone.close()


# How documents lie there.


def test_a_document_lies_there_as_one_would_expect(datastore: MongoDatastore) -> None:
    """Fields under their names, so that other tools can query them; only names that MongoDB can't bear are encoded."""
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


def test_setup_makes_the_indexes_that_find_uses(datastore: MongoDatastore) -> None:
    assert len(datastore.setup()) == len(INDEXES)
    keys = [list(index["key"]) for index in datastore.server.collection.index_information().values()]
    assert [("status", 1), ("_id", 1)] in keys and [("due", 1), ("_id", 1)] in keys


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
def test_what_others_have_written_is_left_alone(datastore: MongoDatastore, broken: dict[str, Any]) -> None:
    """A document with something in it that is no JSON, or no token, is said to be corrupt, by its key."""
    for key in ("a", "b", "c"):
        datastore.create(key, {"status": "queued", "key": key})
    datastore.server.collection.update_one({"_id": "b"}, broken)
    with pytest.raises(CorruptDocument, match="b "):
        datastore.read("b")
    with pytest.raises(CorruptDocument):
        datastore.set("b", {})
    page = datastore.find(status="queued")
    assert [head["key"] for head in page.heads] == ["a", "c"]
    assert page.unreadable == ["b"]


# One update.


class Sent(monitoring.CommandListener):
    """Every command that clients made from now on send."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    listener = Sent()
    listeners = monitoring._LISTENERS
    monkeypatch.setattr(monitoring, "_LISTENERS", listeners._replace(command_listeners=[listener]))
    return listener


@pytest.fixture
def heard(sent: Sent) -> Iterator[MongoDatastore]:
    """A datastore whose commands ``sent`` shows."""
    datastore = MongoDatastore(shared().url())
    yield datastore
    forget(datastore)


NOW = "2026-01-01T00:00:00.000000+00:00"
USUAL: dict[str, list[Operation]] = {
    "progress": [Set("x", {"a": [1.0]}), Add("completeness", 0.1, 0.0, 1.0), Max("updatedAt", NOW)],
    "event": [Append("events", {"msg": "ran"}, 1_000), Max("updatedAt", NOW)],
    "events": [Append("events", 1, 2), Append("events", 2, 2), Append("events", 3, 2)],
    "error": [Append("errors", {"msg": "x"}, 1_000), Add("errorCount", 1), Max("updatedAt", NOW)],
    "end": [Set("owner", None), Set("status", "succeeded"), Set("completeness", 0.5), Max("completeness", 1.0)],
    "nothing": [],
    "list": [Append("items", {"$a": "$b"}), Append("items", None)],
    "twice": [Add("n", 1), Add("n", 2, high=2), Max("n", 1.5), Max("updatedAt", "1"), Max("updatedAt", "2")],
}


@pytest.mark.parametrize("name", USUAL)
def test_what_a_run_writes_is_one_command(heard: MongoDatastore, sent: Sent, name: str) -> None:
    """And none is read before or after."""
    document = new_document("test", 1.0, NOW)
    heard.create("key", {**document, **OWNED, "events": [0]})
    sent.names.clear()
    heard.mutate("key", USUAL[name], epoch=1, seq=1)
    assert sent.names == ["findAndModify"]


def test_a_refusal_is_told_by_reading_once(heard: MongoDatastore, sent: Sent) -> None:
    heard.create("key", OWNED)
    sent.names.clear()
    with pytest.raises(zerog.exceptions.ClaimLost):
        heard.mutate("key", [Add("n", 1)], epoch=2, seq=1)
    with pytest.raises(heard.casException):
        heard.mutate("key", [Add("n", 1)], cas=5)
    assert sent.names == ["findAndModify", "find"] * 2


# Sizes.


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


def test_a_history_is_bounded(datastore: MongoDatastore) -> None:
    """The last 1,000 entries stay and the others are counted, with no more said by whoever records them."""
    app = zerog.App(datastore=datastore, queue="memory://")
    app.register(Count)
    job = app.submit(Count, {})
    events = [{"timestamp": NOW, "msg": str(n)} for n in range(1_010)]
    datastore.mutate(job.key(), [Append("events", event) for event in events])
    app.get_job(job.uuid).record_event("the last")
    stored = datastore.read(job.key())
    assert stored is not None and len(stored["events"]) == 1_000
    assert stored["events"][-1]["msg"] == "the last" and stored["eventsDropped"] == 11


# Many writers.


def test_eight_threads_lose_nothing(datastore: MongoDatastore) -> None:
    """On one document, each with its own handle: sums, lists and bounds are what they must be."""
    datastore.create("key", {"n": 0, "share": 0.0, "events": []})
    url = f"{datastore.server._url}?collection={datastore.server.collection_name}"

    def write(thread: int) -> None:
        handle = MongoDatastore(url)
        for n in range(25):
            handle.mutate("key", [Add("n", 1), Add("share", 0.25, 0.0, 10.0), Append("events", [thread, n], 150)])
        handle.close()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    document = datastore.read("key")
    assert document is not None
    assert (document["n"], document["share"]) == (200, 10.0)
    assert (len(document["events"]), document["eventsDropped"]) == (150, 50)
    for thread in range(8):
        numbers = [n for by, n in document["events"] if by == thread]
        assert numbers == list(range(25 - len(numbers), 25))


def test_four_processes_lose_nothing(datastore: MongoDatastore) -> None:
    """The same by processes, half of them changing by compare-and-swap."""
    datastore.create("key", {"n": 0, "events": []})
    source = """
        import sys
        from zerog.datastores.mongo import MongoDatastore
        from zerog.datastores.operations import Add, Append
        datastore, name = MongoDatastore(sys.argv[1]), int(sys.argv[2])
        print("ready", flush=True)
        sys.stdin.readline()
        for n in range(25):
            if name % 2:
                datastore.mutate("key", [Add("n", 1), Append("events", [name, n])])
                continue
            while True:
                document, token = datastore.read_with_cas("key")
                document["n"] += 1
                document["events"].append([name, n])
                try:
                    datastore.set_with_cas("key", document, token)
                    break
                except datastore.casException:
                    pass
        datastore.close()
    """
    url = f"{datastore.server._url}?collection={datastore.server.collection_name}"
    with (
        program(source, url, 0) as a,
        program(source, url, 1) as b,
        program(source, url, 2) as c,
        program(source, url, 3) as d,
    ):
        for process in (a, b, c, d):
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        for process in (a, b, c, d):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.wait(60) for process in (a, b, c, d)] == [0] * 4
    document = datastore.read("key")
    assert document is not None and document["n"] == len(document["events"]) == 100
    for name in range(4):
        assert [n for by, n in document["events"] if by == name] == list(range(25))


def test_a_forked_child_has_its_own_client(datastore: MongoDatastore) -> None:
    """Parent and child use the same object at the same time, and neither reads the other's answers."""
    for key in ("parent", "child"):
        datastore.create(key, {"n": 0})
    child = os.fork()
    if not child:
        code = 1
        try:
            for n in range(50):
                assert datastore.mutate("child", [Add("n", 1)]).values == {"n": n + 1}
            datastore.close()
            code = 0
        finally:
            os._exit(code)
    for n in range(50):
        assert datastore.mutate("parent", [Add("n", 1)]).values == {"n": n + 1}
    assert os.waitpid(child, 0)[1] == 0


# Answers that are lost.

LOSSES = ("closed", "silent", "unsent")


@pytest.mark.parametrize("loss", LOSSES)
def test_a_lost_answer_is_ambiguous(proxy: Proxy, loss: Any) -> None:
    """Whatever the verb, and a repetition under the same numbers is applied once; nothing is repeated by itself."""
    datastore = MongoDatastore(behind(proxy, socketTimeoutMS=300))
    proxy.lose(loss, "insert")
    with pytest.raises(AmbiguousWrite, match=f"key.*127.0.0.1:{proxy.port}"):
        datastore.create("key", OWNED)
    assert datastore.read("key") == (None if loss == "unsent" else OWNED)
    token = datastore.set("key", OWNED)

    proxy.lose(loss, "update")
    with pytest.raises(AmbiguousWrite, match="key"):
        datastore.set_with_cas("key", {**OWNED, "n": 1}, token)
    document, newer = datastore.read_with_cas("key")
    assert document == {**OWNED, "n": int(loss != "unsent")}
    assert newer is not None and (newer == token) == (loss == "unsent")

    datastore.set("key", OWNED)
    write: list[Operation] = [Add("n", 1), Append("events", "e", 10)]
    proxy.lose(loss, "findAndModify")
    with pytest.raises(AmbiguousWrite, match="key"):
        datastore.mutate("key", write, epoch=1, seq=1)
    assert datastore.mutate("key", write, epoch=1, seq=1).values == {"n": 1}
    assert datastore.read("key") == {**OWNED, "seq": 1, "n": 1, "events": ["e"]}

    proxy.lose(loss, "delete")
    with pytest.raises(AmbiguousWrite, match="key"):
        datastore.delete("key")
    assert datastore.delete("key") is (loss == "unsent")
    assert datastore.read("key") is None
    datastore.close()


def test_a_lost_answer_to_a_question_changes_nothing(proxy: Proxy) -> None:
    datastore = MongoDatastore(behind(proxy, socketTimeoutMS=300))
    datastore.create("key", {"status": "queued"})
    for loss in LOSSES:
        proxy.lose(loss, "find")
        with pytest.raises(DatastoreUnavailable, match="nothing was changed"):
            datastore.read("key")
    proxy.lose("closed", "find")
    with pytest.raises(DatastoreUnavailable):
        datastore.find()
    assert datastore.read("key") == {"status": "queued"}
    datastore.close()


def one_life(url: str) -> tuple[zerog.App, str]:
    """A job's whole life; its app and uuid."""
    app = zerog.App(datastore=url, queue="memory://")
    app.register(Count)
    job = app.submit(Count, {})
    while True:
        try:
            zerog.Worker(app).run(burst=True)
            return app, str(job.uuid)
        except AmbiguousWrite:  # of its own record: a worker that can't begin ends, and is started again
            continue


@pytest.mark.parametrize("loss", ["closed", pytest.param("unsent", marks=pytest.mark.slow)])
def test_each_write_of_a_life_may_lose_its_answer(proxy: Proxy, loss: Any) -> None:
    """From the submit to the settlement: every step is applied once, and the job succeeds."""
    calm, _ = one_life(behind(proxy))
    calm.engine.close()
    writes = sum(proxy.seen[command] for command in WRITES)
    assert writes > 8
    for number in range(writes):
        proxy.lose(loss, after=number)
        app, uuid = one_life(behind(proxy))
        job = app.wait(uuid, timeout=10)
        assert (job.resultCode, job.attempts, job.output) == (200, 1, {"steps": 3}), f"write {number}"
        assert [event["msg"] for event in job.events] == ["step 0", "step 1", "step 2"], f"write {number}"
        assert (job.errorCount, job.crashes, job.lost) == (0, 0, 0)
        app.engine.close()
        if not proxy.has_lost:
            break
    else:
        number += 1
    assert number >= writes - 2  # how many there are depends a little on the worker's timing


# Refusals and outages


def refused(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Have every operation on a collection end in this error."""

    def refuse(*_: object, **__: object) -> None:
        raise error

    for name in ("find_one", "find_one_and_update", "insert_one", "replace_one"):
        monkeypatch.setattr(f"pymongo.collection.Collection.{name}", refuse)


@pytest.mark.parametrize(
    ("error", "of_writes", "of_reads"),
    [
        (pymongo.errors.NotPrimaryError("not primary", {"code": 10107}), DatastoreUnavailable, DatastoreUnavailable),
        (pymongo.errors.NotPrimaryError("shutdown", {"code": 91}), AmbiguousWrite, DatastoreUnavailable),
        (pymongo.errors.WTimeoutError("slow", 64, {}), AmbiguousWrite, AmbiguousWrite),
        (pymongo.errors.ExecutionTimeout("slow", 50), AmbiguousWrite, DatastoreUnavailable),
        (pymongo.errors.OperationFailure("disk full", 14031), DatastoreUnavailable, DatastoreUnavailable),
        (pymongo.errors.OperationFailure("what", 2), DatastoreError, DatastoreError),
        (pymongo.errors.WaitQueueTimeoutError("busy"), DatastoreUnavailable, DatastoreUnavailable),
        (pymongo.errors.InvalidOperation("after close"), DatastoreUnavailable, DatastoreUnavailable),
    ],
    ids=str,
)
def test_answers_are_told_apart(
    datastore: MongoDatastore,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    of_writes: type[Exception],
    of_reads: type[Exception],
) -> None:
    """Refused, so nothing was done, or stopped on its way, so nobody knows."""
    refused(monkeypatch, error)
    for expected, call in ((of_writes, lambda: datastore.create("key", {})), (of_reads, lambda: datastore.read("key"))):
        with pytest.raises(expected, match=f"key: mongodb://127.0.0.1:{shared().port}/test") as caught:
            call()
        assert type(caught.value) is expected


def test_a_server_that_is_not_there(own: RunningServer) -> None:
    """Nothing was written, and the error says so within the time that the URL gives."""
    own.kill()
    datastore = MongoDatastore(own.url("shop:hunter2@", serverSelectionTimeoutMS=300))
    began = time.monotonic()
    for call in (
        lambda: datastore.read("key"),
        lambda: datastore.create("key", {}),
        lambda: datastore.mutate("key", []),
        datastore.find,
        datastore.setup,
        datastore.about,
    ):
        with pytest.raises(DatastoreUnavailable, match=f"127.0.0.1:{own.port}/test can't be reached") as caught:
            call()
        assert "hunter2" not in str(caught.value) and "\n" not in str(caught.value)
    assert time.monotonic() - began < 6 * 1.5
    datastore.close()


def test_a_hung_server(own: RunningServer) -> None:
    """A write whose answer doesn't come may have happened; it and a read end in time and name the server."""
    datastore = MongoDatastore(own.url(socketTimeoutMS=300, serverSelectionTimeoutMS=300, connectTimeoutMS=300))
    datastore.create("key", {"n": 0})
    own.signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(AmbiguousWrite, match=str(own.port)):
        datastore.mutate("key", [Add("n", 1)])
    with pytest.raises(DatastoreUnavailable, match=str(own.port)):
        datastore.read("key")
    assert time.monotonic() - began < 5
    own.signal(signal.SIGCONT)
    until(lambda: answers(datastore))
    assert datastore.read("key") in ({"n": 0}, {"n": 1})
    datastore.close()


def answers(datastore: MongoDatastore) -> bool:
    try:
        datastore.read("key")
    except DatastoreUnavailable:
        return False
    return True


def test_a_server_that_was_restarted_is_found_again(own: RunningServer) -> None:
    """kill -9: what was answered is there, and the same object goes on."""
    datastore = MongoDatastore(own.url())
    datastore.create("key", {"n": 0})
    own.kill()
    own.start()
    until(lambda: answers(datastore))
    assert datastore.mutate("key", [Add("n", 1)]).values == {"n": 1}
    datastore.close()


def test_a_worker_and_a_submitter_go_on_after_a_restart(own: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    """kill -9 of the server and a restart: nothing accepted is lost or run twice, and runs repeat what failed."""
    app = zerog.App(datastore=own.url(serverSelectionTimeoutMS=500), queue="memory://")
    app.datastore.setup()
    killed = threading.Event()

    @app.job
    def patient(job: Any) -> None:
        job.record_event("before")
        killed.wait(20)
        job.record_event("after")

    worker = zerog.Worker(app, concurrency=2)
    running = threading.Thread(target=worker.run)
    submitted: list[str] = []
    refusals: list[Exception] = []

    def submit() -> None:
        while len(submitted) < 20:
            try:
                submitted.append(str(app.submit("patient", {}).uuid))
            except DatastoreError as error:
                refusals.append(error)

    with caplog.at_level(logging.WARNING, "zerog"):
        running.start()
        early = [str(app.submit("patient", {}).uuid) for _ in range(4)]
        until(lambda: sum(len(app.get_job(uuid).events) for uuid in early) == 2)  # they run
        own.kill()
        killed.set()
        submitter = threading.Thread(target=submit)
        submitter.start()
        until(lambda: len(refusals) >= 2)
        own.start()
        submitter.join(60)
        jobs = [app.wait(uuid, timeout=60) for uuid in early + submitted]
        worker.stop()
        running.join(20)
    for job in jobs:
        assert (job.resultCode, job.attempts, [event["msg"] for event in job.events]) == (200, 1, ["before", "after"])
    assert {type(error) for error in refusals} == {DatastoreUnavailable}
    app.engine.close()


# Users and passwords


@pytest.fixture(scope="module")
def guarded() -> Iterator[RunningServer]:
    """A server that asks who one is. ``shop``, password ``hunter2``, may use the database ``jobs``."""
    server = started()
    with pymongo.MongoClient(f"mongodb://127.0.0.1:{server.port}") as client:
        roles = [{"role": "readWrite", "db": "jobs"}]
        client.jobs.command("createUser", "shop", pwd="hunter2", roles=roles)
    server.signal(signal.SIGTERM)
    assert server.process is not None
    server.process.wait(20)
    server.options = ("--auth",)
    server.start()
    yield server
    server.kill()


def guarded_url(server: RunningServer, case: str) -> str:
    """A URL that has one thing wrong."""
    soon = {"serverSelectionTimeoutMS": 500}
    wrong = {
        "no password": server.url("", "jobs", **soon),
        "wrong password": server.url("shop:hunter3@", "jobs", **soon),
        "forbidden database": server.url("shop:hunter2@", "other", authSource="jobs", **soon),
        "no server": with_options("mongodb://shop:hunter2@127.0.0.1:1/jobs", **soon),
        "no host": with_options("mongodb://shop:hunter2@nowhere.invalid/jobs", **soon),
    }
    return wrong[case]


CASES = {
    "no password": r"127\.0\.0\.1:\d+/jobs refuses this user, password or database .*requires authentication",
    "wrong password": r"127\.0\.0\.1:\d+/jobs refuses this user, password or database .*authentication failed",
    "forbidden database": r"127\.0\.0\.1:\d+/other refuses this user, password or database .*not authorized on other",
    "no server": r"127\.0\.0\.1:1/jobs can't be reached .*Connection refused",
    "no host": r"nowhere\.invalid/jobs: there is no such host",
}


@pytest.mark.parametrize("case", CASES)
def test_who_may_not_is_told_at_first_use(guarded: RunningServer, case: str) -> None:
    """The error names the server and the reason, and not the password; asked again it is the same one."""
    expected = DatastoreUnavailable if case == "no server" else ConfigurationError
    datastore = MongoDatastore(guarded_url(guarded, case))
    for call in (lambda: datastore.create("key", {}), lambda: datastore.read("key"), lambda: datastore.mutate("k", [])):
        with pytest.raises(expected, match=CASES[case]) as caught:
            call()
        assert "hunter" not in str(caught.value)
    datastore.close()


def test_who_may_can_do_everything(guarded: RunningServer) -> None:
    """``readWrite`` on the database is enough."""
    app = zerog.App(datastore=guarded.url("shop:hunter2@", "jobs"), queue="memory://")
    assert len(app.datastore.setup()) == 2
    assert app.datastore.about().startswith("MongoDB")
    app.register(Count)
    job = app.submit(Count, {})
    zerog.Worker(app).run(burst=True)
    assert app.get_job(job.uuid).status == "succeeded"
    assert app.datastore.delete(job.key())
    app.engine.close()


def test_a_password_that_is_taken_away_later_is_an_outage(guarded: RunningServer, monkeypatch: Any) -> None:
    """Of a server that took it before: workers wait until it is back, instead of ending."""
    datastore = MongoDatastore(guarded.url("shop:hunter2@", "jobs"))
    datastore.create("key", {})
    refused(monkeypatch, pymongo.errors.OperationFailure("Authentication failed", 18))
    with pytest.raises(DatastoreUnavailable, match="refuses this user"):
        datastore.read("key")
    datastore.close()


APP = """
import os
import zerog

app = zerog.App(datastore=os.environ["DOCUMENTS"], queue="sqlite:///queue.db")

@app.job("hello")
def hello(job, text: str = ""):
    pass
"""


def ran(folder: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command on an app whose documents are at a URL."""
    (folder / "myapp.py").write_text(APP)
    return subprocess.run(
        [sys.executable, "-m", "zerog", *arguments],
        cwd=folder,
        env={**os.environ, "DOCUMENTS": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(("command", "case"), [*(("doctor", case) for case in CASES), ("worker", "wrong password")])
def test_commands_say_it_on_one_line(guarded: RunningServer, tmp_path: Path, command: str, case: str) -> None:
    """With the server's name, without the password, and without a traceback."""
    ended = ran(
        tmp_path, guarded_url(guarded, case), command, "myapp:app", *(["--burst"] if command == "worker" else [])
    )
    assert ended.returncode in (1, 2)
    [line] = ended.stderr.splitlines()
    assert re.search(CASES[case], line), line
    assert "hunter" not in ended.stdout + ended.stderr


def test_submit_says_what_is_too_large(guarded: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text(json.dumps({"text": "x" * 5_000_000}))
    url = guarded.url("shop:hunter2@", "jobs")
    ended = ran(tmp_path, url, "submit", "myapp:app", "hello", "--json", "params.json")
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert re.search(r"takes 5,\d+,\d+ bytes", line), line


# What there is no sure update for.


@pytest.mark.parametrize(
    "operations",
    [
        [Set("events", [])],
        [Add("n", 2**53), Add("n", 1)],
        [Add("n", -0.0)],
        [Add("n", 1)] * 9,
        [Add("a", 1), Set("a", 1)],
        [Set("a", "x"), Add("a", 1)],
        [Max("a", 1), Max("a", "b")],
        [Append("events", 1, 2), Append("events", 1, 3)],
        [Append("events", 1, 2), Add("eventsDropped", 1)],
        [Append("events", 1, 2**31)],
    ],
    ids=str,
)
def test_what_is_not_sure_is_not_tried(operations: list[Operation]) -> None:
    """Then the document is read and changed here."""
    assert update_for("key", operations, None, None, None, 100) is None
