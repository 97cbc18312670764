"""A server that fails, and what a user then sees."""

from __future__ import annotations

import logging
import signal
import threading
import time
from typing import Any

import bson
import pymongo
import pymongo.errors
import pytest

import zerog
from tests.backends.mongo.builders import OWNED, Count, behind, refused
from tests.backends.mongo.proxy import WRITES, Proxy
from tests.backends.mongo.servers import RunningServer, shared
from tests.processes import stretched, until
from zerog.backends.mongo.datastore import MongoDatastore
from zerog.contracts.datastore import FindQuery, RunGuard
from zerog.exceptions import AmbiguousWrite, CorruptDocument, DatastoreError, DatastoreUnavailable
from zerog.records.operations import Add, Append, Operation

pytestmark = pytest.mark.wide

LOSSES = ("closed", "silent", "unsent")


@pytest.mark.parametrize("loss", LOSSES)
def test_a_lost_answer_is_ambiguous(proxy: Proxy, loss: Any) -> None:
    """Whatever the verb, and a repetition under the same numbers is applied once; nothing is repeated automatically."""
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
        datastore.mutate("key", write, run=RunGuard(1, "n", 1))
    assert datastore.mutate("key", write, run=RunGuard(1, "n", 1)).values == {"n": 1}
    assert datastore.read("key") == {**OWNED, "seq": 1, "n": 1, "events": ["e"]}

    proxy.lose(loss, "delete")
    with pytest.raises(AmbiguousWrite, match="key"):
        datastore.delete("key")
    assert datastore.delete("key") is (loss == "unsent")
    assert datastore.read("key") is None
    datastore.close()


@pytest.mark.parametrize("loss", ["closed", "unsent"])
def test_a_url_may_have_the_driver_repeat_writes(proxy: Proxy, loss: Any) -> None:
    """On a server that remembers what it was sent, as a replica set does: applied once, and no error is raised."""
    datastore = MongoDatastore(behind(proxy, retryWrites="true"))
    datastore.create("key", {"n": 0})
    proxy.lose(loss, "findAndModify")
    assert datastore.mutate("key", [Add("n", 1)]).values == {"n": 1}
    assert proxy.has_lost and datastore.read("key") == {"n": 1}
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
        datastore.find(FindQuery())
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
        except AmbiguousWrite:  # for its own record: a worker that can't begin ends, and is started again
            continue


@pytest.mark.parametrize("loss", ["closed", pytest.param("unsent", marks=pytest.mark.slow)])
def test_each_write_of_a_life_may_lose_its_answer(proxy: Proxy, loss: Any) -> None:
    """From the submit to the settlement: every step is applied once, and the job succeeds."""
    calm, _ = one_life(behind(proxy))
    calm.close()
    writes = sum(proxy.seen[command] for command in WRITES)
    assert writes > 8
    for number in range(writes):
        proxy.lose(loss, after=number)
        app, uuid = one_life(behind(proxy))
        job = app.wait(uuid, timeout=stretched(10))
        assert (job.resultCode, job.attempts, job.output) == (200, 1, {"steps": 3}), f"write {number}"
        assert [event["msg"] for event in job.events] == ["step 0", "step 1", "step 2"], f"write {number}"
        assert (job.errorCount, job.crashes, job.lost) == (0, 0, 0)
        app.close()
        if not proxy.has_lost:
            break
    else:
        number += 1
    assert number >= writes * 2 / 3  # how many there are depends on the worker's timing


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
        (pymongo.errors.ProtocolError("what"), AmbiguousWrite, CorruptDocument),
        (bson.errors.InvalidBSON("what"), AmbiguousWrite, CorruptDocument),
    ],
    ids=str,
)
def test_answers_are_distinguished(
    datastore: MongoDatastore,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    of_writes: type[Exception],
    of_reads: type[Exception],
) -> None:
    """Refused, so nothing was done, or stopped on its way, so the outcome is unknown."""
    refused(monkeypatch, error)
    for expected, call in ((of_writes, lambda: datastore.create("key", {})), (of_reads, lambda: datastore.read("key"))):
        with pytest.raises(expected, match=f"key: mongodb://127.0.0.1:{shared().port}/test") as caught:
            call()
        assert type(caught.value) is expected


def test_a_server_that_is_not_there(own: RunningServer) -> None:
    """Nothing was written, and the error states so within the time that the URL gives."""
    own.kill()
    datastore = MongoDatastore(own.url("shop:hunter2@", serverSelectionTimeoutMS=300))
    began = time.monotonic()
    for call in (
        lambda: datastore.read("key"),
        lambda: datastore.create("key", {}),
        lambda: datastore.mutate("key", []),
        lambda: datastore.find(FindQuery()),
        datastore.setup,
        datastore.about,
    ):
        with pytest.raises(DatastoreUnavailable, match=f"127.0.0.1:{own.port}/test can't be reached") as caught:
            call()
        assert "hunter2" not in str(caught.value) and "\n" not in str(caught.value)
    assert time.monotonic() - began < stretched(6 * 1.5)
    datastore.close()


def test_a_hung_server(own: RunningServer) -> None:
    """A write without an answer may have happened; it and a read end in time and name the server."""
    datastore = MongoDatastore(own.url(socketTimeoutMS=300, serverSelectionTimeoutMS=300, connectTimeoutMS=300))
    datastore.create("key", {"n": 0})
    own.signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(AmbiguousWrite, match=str(own.port)):
        datastore.mutate("key", [Add("n", 1)])
    with pytest.raises(DatastoreUnavailable, match=str(own.port)):
        datastore.read("key")
    assert time.monotonic() - began < stretched(5)
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
    """kill -9: what was answered is there, and the same object works again."""
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
    app.close()
