"""One command a write, and many writers on one document."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymongo import monitoring

import zerog
from tests.backends.mongo.builders import NOW, OWNED, Count
from tests.backends.mongo.servers import forget, shared, url_for
from tests.processes import program
from zerog.backends.mongo.datastore import MongoDatastore
from zerog.backends.mongo.updates import update_for
from zerog.contracts.datastore import RunGuard
from zerog.records.job import new_document
from zerog.records.operations import Add, Append, Max, Operation, Set


class Sent(monitoring.CommandListener):
    """The names of all commands that clients made from now on send."""

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
def watched(sent: Sent) -> Iterator[MongoDatastore]:
    """A datastore whose commands ``sent`` records."""
    datastore = MongoDatastore(shared().url())
    yield datastore
    forget(datastore)


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
def test_what_a_run_writes_is_one_command(watched: MongoDatastore, sent: Sent, name: str) -> None:
    """And none is read before or after."""
    document = new_document("test", 1.0, NOW)
    watched.create("key", {**document, **OWNED, "events": [0]})
    sent.names.clear()
    watched.mutate("key", USUAL[name], run=RunGuard(1, "n", 1))
    assert sent.names == ["findAndModify"]


def test_the_reason_of_a_refusal_is_found_by_one_read(watched: MongoDatastore, sent: Sent) -> None:
    watched.create("key", OWNED)
    sent.names.clear()
    with pytest.raises(zerog.exceptions.ClaimLost):
        watched.mutate("key", [Add("n", 1)], run=RunGuard(2, "n", 1))
    with pytest.raises(watched.casException):
        watched.mutate("key", [Add("n", 1)], cas=5)
    assert sent.names == ["findAndModify", "find"] * 2


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
    assert update_for("key", operations, None, None, 100) is None


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
        from zerog.backends.mongo.datastore import MongoDatastore
        from zerog.records.operations import Add, Append
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


@pytest.mark.parametrize("executor", ["process", "async"])
def test_every_executor_runs_jobs(tmp_path: Path, executor: str) -> None:
    """Children write through clients of their own."""
    app = zerog.App(datastore=url_for(tmp_path), queue=f"sqlite:///{tmp_path}/queue.db")
    app.register(Count)
    jobs = [app.submit(Count, {}) for _ in range(6)]
    assert zerog.Worker(app, executor=executor, concurrency=3).run(burst=True).succeeded == 6
    stored = [app.get_job(job.uuid) for job in jobs]
    assert [(job.status, job.attempts, len(job.events)) for job in stored] == [("succeeded", 1, 3)] * 6
    app.close()
