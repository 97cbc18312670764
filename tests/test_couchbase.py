"""A Couchbase cluster that fails, and what a user then sees. All on the stand-in, spoken to by the real SDK."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from marshmallow import Schema, fields

import zerog
from tests.couchbaseservers import PASSWORD_VARIABLE, RunningStandIn, fresh_url, shared, started
from tests.processes import program
from zerog import couchbaseurl
from zerog.datastores.couchbase import LARGEST, CouchbaseDatastore
from zerog.datastores.operations import Add, Append, Max, Set
from zerog.exceptions import (
    AmbiguousWrite,
    ConfigurationError,
    DatastoreError,
    DatastoreUnavailable,
    DocumentLocked,
    InvalidValue,
)

TIMEOUT = 0.3
"""Seconds that the impatient datastores of these tests wait."""

KEY = "zerog_job_0199a000-0000-7000-8000-000000000000"


class Count(zerog.BaseJob):
    """Counts its steps in a field and in its events, which must agree whatever happens."""

    JOB_TYPE = "count"

    class State(Schema):
        steps = fields.Integer(load_default=0)

    steps: int

    def run(self) -> dict[str, int]:
        for _ in range(3):
            self.record_event("step")
            self.update_attrs(steps=self.steps + 1)
        return {"steps": self.steps}


@pytest.fixture
def own() -> Iterator[RunningStandIn]:
    """A stand-in that may be broken."""
    server = started("--largest", "6000000")
    yield server
    server.kill()


@pytest.fixture
def datastore(own: RunningStandIn) -> Iterator[CouchbaseDatastore]:
    """A datastore there that doesn't wait for long."""
    datastore = CouchbaseDatastore(own.url(timeout=TIMEOUT))
    yield datastore
    datastore.close()


def is_one_line_without_secrets(text: str) -> bool:
    return "\n" not in text.strip() and "hunter2" not in text and "Administrator" not in text


# URLs and secrets


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("couchbase://user:hunter2@host", "bucket"),
        ("couchbase://user:hunter2@host/bucket/scope", "scope/collection"),
        ("couchbase://host/bucket", "user@host"),
        ("couchbase://user:hunter2@host/bucket?colour=blue", "colour"),
        ("couchbase://user:hunter2@host/bucket?timeout=soon", "soon"),
        ("couchbase://user:hunter2@host/bucket?timeout=0", "timeout"),
        ("couchbase://user:hunter2@host/bucket?durability=yes", "persist_to_majority"),
        ("couchbase://user@host/bucket", PASSWORD_VARIABLE),
    ],
)
def test_a_wrong_url_is_refused_at_the_start(url: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names what is wrong and never user or password."""
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    with pytest.raises(ConfigurationError, match=named) as caught:
        zerog.App(datastore=url, queue="memory://")
    assert "hunter2" not in str(caught.value) and "couchbase://" in str(caught.value)


def test_the_password_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL without one takes it from there; nothing that prints what the datastore holds shows it."""
    monkeypatch.setenv(PASSWORD_VARIABLE, "password")
    datastore = CouchbaseDatastore(shared().url(shared().new_collection(), password=""))
    datastore.create("key", {"a": 1})
    assert datastore.read("key") == {"a": 1}
    assert "'password'" not in repr(vars(datastore.server))
    datastore.close()


def test_a_url_is_taken_apart() -> None:
    address = couchbaseurl.parse(
        "couchbases://a%40b:p%2Fw@one:12000,two/my%20bucket/s/c?timeout=1.5&ca=/etc/ca.pem&network=external"
    )
    assert (address.name, address.user, address.password) == (
        "couchbases://one:12000,two/my%20bucket/s/c",
        "a@b",
        "p/w",
    )
    assert (address.hosts, address.bucket, address.scope, address.collection) == (
        "one:12000,two",
        "my bucket",
        "s",
        "c",
    )
    assert (address.timeout, address.ca, address.network) == (1.5, "/etc/ca.pem", "external")


def test_a_couchbase_url_names_no_queue() -> None:
    """It takes a second part, and the error says so rather than that nobody knows such a URL."""
    with pytest.raises(ConfigurationError, match="has no queue"):
        zerog.App("couchbase://user:hunter2@host/bucket")


def test_nothing_of_couchbase_is_imported_before_its_url_is_used() -> None:
    code = "import sys, zerog; zerog.App('memory://'); sys.exit('couchbase' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_driver_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['couchbase'] = None; import zerog\n"
        "zerog.App(datastore='couchbase://u:p@localhost/b', queue='memory://')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'zerog[couchbase]'" in ended.stderr.splitlines()[-1]


# What can't be reached or used


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wrong_urls(server: RunningStandIn) -> dict[str, tuple[str, str]]:
    """By trouble: a URL that has it, and what the error says."""
    return {
        "password": (server.url(password=":hunter2"), "user or password is wrong"),
        "bucket": (server.url("nowhere"), "no bucket 'nowhere'"),
        "scope": (server.url("default/nowhere/c", timeout=1), "no collection nowhere.c"),
        "collection": (server.url("default/_default/nowhere", timeout=1), "no collection _default.nowhere"),
        "port": (f"couchbase://Administrator:hunter2@127.0.0.1:{_free_port()}/default?timeout=1", "refused"),
        "host": ("couchbase://Administrator:hunter2@nowhere.invalid/default?timeout=1", "no host 'nowhere.invalid'"),
    }


@pytest.mark.parametrize("trouble", ["password", "bucket", "scope", "collection", "port", "host"])
def test_what_cannot_be_used_is_named(own: RunningStandIn, trouble: str) -> None:
    """One line, within the timeout and a second: the cause, and the URL without its secrets. Nothing is written."""
    url, named = wrong_urls(own)[trouble]
    datastore = CouchbaseDatastore(url)
    kind = DatastoreUnavailable if trouble == "port" else ConfigurationError
    for call in (lambda: datastore.read("key"), lambda: datastore.create("key", {}), lambda: datastore.find(due="9")):
        began = time.monotonic()
        with pytest.raises(kind, match=named) as caught:
            call()
        assert time.monotonic() - began < datastore.server.address.timeout + 1.5
        assert is_one_line_without_secrets(str(caught.value))
        assert datastore.server.name in str(caught.value)


@pytest.mark.parametrize("trouble", ["password", "bucket", "collection", "port", "host"])
@pytest.mark.parametrize(
    "command", [["doctor"], ["worker", "--connect-retries", "0"], ["submit", "count"], ["setup"]], ids=lambda c: c[0]
)
def test_a_command_says_it_in_one_line(own: RunningStandIn, trouble: str, command: list[str], tmp_path: Path) -> None:
    url, named = wrong_urls(own)[trouble]
    source = (
        f'import zerog\napp = zerog.App(datastore="{url}", queue="sqlite:///queue.db")\n@app.job\ndef count(job): ...\n'
    )
    (tmp_path / "myapp.py").write_text(source)
    called = [sys.executable, "-m", "zerog", command[0], "myapp:app", *command[1:]]
    ended = subprocess.run(called, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode in (1, 2)
    *logged, said = ended.stderr.strip().split("\n")  # a worker logs that it gives up, and then says why
    assert named in said
    assert len(logged) == (command[0] == "worker" and trouble == "port")
    assert all(map(is_one_line_without_secrets, [*logged, said]))


def test_threads_that_wait_for_a_connection_share_its_failure() -> None:
    """Each of them trying in turn would keep the last one waiting for so many timeouts."""
    url = f"couchbase://Administrator:hunter2@127.0.0.1:{_free_port()}/default?timeout=1"
    datastore = CouchbaseDatastore(url)

    def read(_: int) -> bool:
        try:
            datastore.read("key")
        except DatastoreUnavailable:
            return True
        return False

    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))
    assert time.monotonic() - began < 4


def test_a_locked_document(own: RunningStandIn, datastore: CouchbaseDatastore) -> None:
    """It can be read; a change is refused at once, by name, and goes through when the lock is gone."""
    datastore.create(KEY, {"n": 0})
    token = datastore.read_with_cas(KEY)[1]
    lock = datastore.server.collection.get_and_lock(KEY, timedelta(seconds=20))
    assert datastore.read(KEY) == {"n": 0}
    calls: list[Callable[[], object]] = [
        lambda: datastore.mutate(KEY, [Add("n", 1)]),
        lambda: datastore.mutate(KEY, [Set("with.dot", 1)]),
        lambda: datastore.set_with_cas(KEY, {}, token or 0),
        lambda: datastore.delete(KEY, cas=token),
    ]
    for call in calls:
        with pytest.raises(datastore.lockedException, match="lock") as caught:
            call()
        assert isinstance(caught.value, DocumentLocked)
        assert datastore.server.name in str(caught.value) and is_one_line_without_secrets(str(caught.value))
    datastore.server.collection.unlock(KEY, lock.cas)
    assert datastore.mutate(KEY, [Add("n", 1)]).values == {"n": 1}


def test_a_document_that_is_too_large(own: RunningStandIn) -> None:
    """What is beyond the server's own limit is refused by name, and the document stays as it is."""
    datastore = CouchbaseDatastore(own.url())
    datastore.create(KEY, {"events": []})
    datastore.mutate(KEY, [Append("events", "x" * 3_500_000)])
    with pytest.raises(InvalidValue, match=KEY) as caught:
        datastore.mutate(KEY, [Append("events", "y" * 3_500_000)])
    assert datastore.server.name in str(caught.value) and is_one_line_without_secrets(str(caught.value))
    assert len((datastore.read(KEY) or {})["events"]) == 1
    datastore.close()


def test_a_request_that_the_server_does_not_take_is_no_outage(
    own: RunningStandIn, datastore: CouchbaseDatastore
) -> None:
    """Waiting would not help, so it isn't called unavailable."""
    datastore.create(KEY, {"n": 0})
    own.fail("INVALID", times=0)
    with pytest.raises(DatastoreError, match=datastore.server.name) as caught:
        datastore.set(KEY, {"n": 1})
    assert not isinstance(caught.value, (DatastoreUnavailable, AmbiguousWrite))
    assert is_one_line_without_secrets(str(caught.value))
    own.heal()
    assert datastore.read(KEY) == {"n": 0}


@pytest.mark.parametrize("kind", ["TEMPORARY", "NO_ACCESS", "DURABILITY_IMPOSSIBLE"])
def test_refusals_are_named(own: RunningStandIn, datastore: CouchbaseDatastore, kind: str) -> None:
    """One line, in time; and when the server takes writes again, they go through."""
    datastore.create(KEY, {"n": 0})
    own.fail(kind, times=0)
    with pytest.raises((DatastoreUnavailable, AmbiguousWrite)) as caught:
        datastore.mutate(KEY, [Add("n", 1)])
    assert datastore.server.name in str(caught.value) and is_one_line_without_secrets(str(caught.value))
    assert isinstance(caught.value, DatastoreUnavailable) or kind == "TEMPORARY"
    own.heal()
    assert datastore.read(KEY) == {"n": 0}
    assert datastore.mutate(KEY, [Add("n", 1)]).values == {"n": 1}


# Lost answers


@pytest.mark.parametrize("kind", ["unanswered", "dropped", "closed", "SYNC_WRITE_AMBIGUOUS", "SYNC_WRITE_IN_PROGRESS"])
def test_a_write_without_an_answer_is_unknown(own: RunningStandIn, datastore: CouchbaseDatastore, kind: str) -> None:
    """Never a refusal and never "done"; in time, with the URL; and no write is repeated behind the caller's back."""
    token = datastore.create("key", {"n": 0})
    calls: list[Callable[[], object]] = [
        lambda: datastore.mutate("key", [Add("n", 1)]),
        lambda: datastore.set_with_cas("key", {"n": 1}, datastore.read_with_cas("key")[1] or token),
        lambda: datastore.create("another", {}),
        lambda: datastore.delete("key"),
    ]
    for call in calls:
        own.fail(kind, times=0 if kind == "SYNC_WRITE_IN_PROGRESS" else 1)  # the SDK tries that one again
        began = time.monotonic()
        with pytest.raises(AmbiguousWrite, match=datastore.server.name) as caught:
            call()
        assert time.monotonic() - began < 3
        assert is_one_line_without_secrets(str(caught.value))
        own.heal()
    done = kind in ("unanswered", "closed")
    assert datastore.read("key") == (None if done else {"n": 0})
    assert datastore.read("another") == ({} if done else None)


@pytest.mark.parametrize("kind", ["dropped", "TEMPORARY"])
def test_a_read_without_an_answer_is_unavailable(own: RunningStandIn, datastore: CouchbaseDatastore, kind: str) -> None:
    datastore.create("key", {"n": 0})
    own.fail(kind, op="document", times=0)
    calls = (
        lambda: datastore.read("key"),
        lambda: datastore.mutate("key", [Add("n", 1)]),
        lambda: datastore.find(due="9"),
        lambda: datastore.find(status="queued"),
    )
    for call in calls:
        with pytest.raises(DatastoreUnavailable, match=datastore.server.name):
            call()
    own.heal()
    assert datastore.read("key") == {"n": 0}


def test_a_read_that_a_closed_connection_cut_off_is_repeated(
    own: RunningStandIn, datastore: CouchbaseDatastore
) -> None:
    """It changes nothing twice, so nobody has to hear of it."""
    datastore.create("key", {"n": 0})
    own.fail("closed", op="GET")
    assert datastore.read("key") == {"n": 0}
    own.fail("closed", op="LOOKUP")
    assert datastore.mutate("key", [Add("n", 1)]).values == {"n": 1}


def life(own: RunningStandIn, folder: Path) -> zerog.BaseJob:
    """A job's life, from its submit to its end, by workers that are started again if they end; the job as stored."""
    app = zerog.App(datastore=own.url(timeout=TIMEOUT), queue=f"sqlite:///{folder}/queue.db")
    app.register(Count)
    job = app.submit(Count)
    for _ in range(5):
        with suppress(DatastoreError):  # a worker whose first sign of life isn't answered doesn't start
            app.reconcile()
            zerog.Worker(app).run(burst=True)
            if app.progress(job.uuid)["status"] == "succeeded":
                break
    stored = app.get_job(job.uuid)
    app.close()
    return stored


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unanswered", "dropped", "closed"])
def test_an_answer_that_is_lost_at_any_write_of_a_life(own: RunningStandIn, kind: str, tmp_path: Path) -> None:
    """Each write in turn, of documents, index and records: it is applied once, whether it was done or not."""
    own.heal()
    life(own, tmp_path)
    writes = sum(count for name, count in own.heal().items() if name.startswith("durability."))
    assert writes >= 15
    hit = 0
    for skip in range(writes):
        own.fail(kind, skip=skip)
        job = life(own, tmp_path)
        hit += own.heal().get(f"fault.{kind}", 0)
        assert (job.status, job.output) == ("succeeded", {"steps": 3}), f"write {skip}"
        assert [event["msg"] for event in job.events].count("step") == 3, f"write {skip}"
        assert job.attempts == 1, f"write {skip}"
    assert hit >= writes - 2  # the very last ones are not the same each time


def test_a_hung_cluster_holds_a_worker_up_and_no_longer(own: RunningStandIn, tmp_path: Path) -> None:
    """While nothing is answered a worker waits; afterwards it goes on by itself, and every job is done once."""
    app = zerog.App(datastore=own.url(timeout=TIMEOUT), queue=f"sqlite:///{tmp_path}/queue.db")
    app.register(Count)
    jobs = [app.submit(Count) for _ in range(5)]
    worker = zerog.Worker(app, concurrency=2)
    running = threading.Thread(target=worker.run)
    own.fail("dropped", op="document", skip=40, times=12)
    running.start()
    done = [app.wait(job.uuid, timeout=60) for job in jobs]
    worker.stop()
    running.join(30)
    assert [(job.status, job.output) for job in done] == [("succeeded", {"steps": 3})] * 5
    assert [[event["msg"] for event in job.events].count("step") for job in done] == [3] * 5
    assert own.heal()["fault.dropped"] > 0
    app.close()


# Many at once

WRITER = """
    import sys
    from concurrent.futures import ThreadPoolExecutor
    from zerog.datastores.couchbase import CouchbaseDatastore
    from zerog.datastores.operations import Add, Append, Max, Set

    url, name, threads, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    datastore = CouchbaseDatastore(url)

    def write(thread):
        for n in range(rounds):
            operations = [Add("n", 1), Append("events", f"{name}.{thread}.{n}"), Max("most", n), Set(f"f{thread}", n)]
            datastore.mutate("key", operations)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(write, range(threads)))
    datastore.close()
"""


def test_no_update_of_eight_threads_and_four_processes_is_lost() -> None:
    """Two threads in each of four processes: counters add up, lists have all entries, each writer's in its order."""
    url = fresh_url()
    datastore = CouchbaseDatastore(url)
    datastore.create("key", {"n": 0, "events": []})
    with (
        program(WRITER, url, "a", 2, 25) as a,
        program(WRITER, url, "b", 2, 25) as b,
        program(WRITER, url, "c", 2, 25) as c,
        program(WRITER, url, "d", 2, 25) as d,
    ):
        assert [each.wait(60) for each in (a, b, c, d)] == [0] * 4
    document = datastore.read("key") or {}
    datastore.close()
    events = document["events"]
    assert (document["n"], len(events), len(set(events)), document["most"]) == (200, 200, 200, 24)
    for writer in {event.rpartition(".")[0] for event in events}:
        own = [int(event.rpartition(".")[2]) for event in events if event.startswith(f"{writer}.")]
        assert own == list(range(25))


FORKING = """
    import os, sys
    from zerog.datastores.couchbase import CouchbaseDatastore
    from zerog.datastores.operations import Add

    datastore, how = CouchbaseDatastore(sys.argv[1]), sys.argv[2]
    for key in ("parent", "child"):
        datastore.create(key, {"n": 0})
    child = os.fork()
    if not child:
        for n in range(0 if how == "idle" else 50):
            assert datastore.mutate("child", [Add("n", 1)]).values == {"n": n + 1}
        if how == "close":
            datastore.close()
        sys.exit(0)
    for n in range(50):
        assert datastore.mutate("parent", [Add("n", 1)]).values == {"n": n + 1}
    assert os.waitpid(child, 0)[1] == 0
    datastore.close()
"""


@pytest.mark.parametrize("how", ["use", "close", "idle"])
def test_a_forked_child_has_its_own_connection(how: str) -> None:
    """Parent and child use the same object at the same time; the child ends as any program does, and doesn't hang."""
    with program(FORKING, fresh_url(), how) as process:
        assert process.wait(20) == 0


def test_the_cluster_that_comes_back_is_found_again(own: RunningStandIn) -> None:
    """The same object goes on; what it is asked in between is unavailable, and nothing was written."""
    datastore = CouchbaseDatastore(own.url(timeout=1))
    datastore.create("key", {"n": 0})
    own.kill()
    for call in (lambda: datastore.read("key"), lambda: datastore.create("key", {})):
        with pytest.raises((DatastoreUnavailable, AmbiguousWrite), match=datastore.server.name):
            call()
    own.start()
    deadline = time.monotonic() + 20
    while True:
        try:
            assert datastore.read("key") is None  # the stand-in has forgotten everything
            break
        except DatastoreUnavailable:
            assert time.monotonic() < deadline
    assert datastore.create("key", {"n": 1})
    datastore.close()


def test_a_hung_server_is_given_up_in_time(own: RunningStandIn, datastore: CouchbaseDatastore) -> None:
    datastore.create("key", {"n": 0})
    assert own.process is not None
    own.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, own.process.pid, os.WSTOPPED)
    began = time.monotonic()
    with pytest.raises(DatastoreUnavailable, match=datastore.server.name):
        datastore.read("key")
    with pytest.raises(AmbiguousWrite, match=datastore.server.name):
        datastore.create("another", {})
    assert time.monotonic() - began < 10 * TIMEOUT
    own.process.send_signal(signal.SIGCONT)
    assert datastore.read("key") == {"n": 0}


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
def test_durability_is_asked_for_with_every_write(
    own: RunningStandIn, durability: str, level: int, declared: str
) -> None:
    """Documents and index alike; and the doctor is told what that means."""
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
        datastore.set("key", {"epoch": 1, "seq": 0, "owner": {"worker": "w"}, "events": events, "n": 0})
        server.heal()
        for seq in range(1, 11):
            operations = [Set("n", seq), Append("events", {"msg": "step"}, 1_000), Max("updatedAt", "2026")]
            datastore.mutate("key", operations, epoch=1, seq=seq)
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


def test_without_a_query_service_the_error_says_what_to_do() -> None:
    datastore = CouchbaseDatastore(fresh_url(query=False))
    datastore.create(KEY, {"status": "failed"})
    for query in ({}, {"status": "failed"}):
        with pytest.raises(DatastoreError, match=r"no query service.*zerog setup") as caught:
            datastore.find(**query)
        assert is_one_line_without_secrets(str(caught.value))
    assert datastore.setup() == []
    datastore.close()


def test_without_an_index_the_error_says_what_to_do() -> None:
    datastore = CouchbaseDatastore(fresh_url())
    datastore.create(KEY, {"status": "failed"})
    with pytest.raises(DatastoreError, match=r"no index.*zerog setup"):
        datastore.find(status="failed")
    assert datastore.setup() == ["zerog_jobs", "zerog_jobs_by_status"]
    assert datastore.find(status="failed").heads == [{"status": "failed"}]
    datastore.close()


def test_a_broken_index_document_is_named() -> None:
    """Nobody looks away: jobs that can't be listed would be jobs that nobody repairs."""
    datastore = CouchbaseDatastore(fresh_url())
    datastore.create(KEY, {"status": "queued"})
    collection = datastore.server.collection
    names = [f"zerog_open_{n}" for n in range(64)]
    [name] = [name for name in names if collection.exists(name).exists]
    collection.upsert(name, b"[]")
    for call in (lambda: datastore.find(status="queued"), lambda: datastore.set(KEY, {"status": "running"})):
        with pytest.raises(zerog.CorruptDocument, match=name):
            call()
    assert datastore.read(KEY) == {"status": "queued"}
    datastore.close()


def test_closing_gives_the_connection_back() -> None:
    """And a later call opens it again, in every thread that comes by."""
    datastore = CouchbaseDatastore(fresh_url())
    for n in range(3):
        datastore.set("key", {"n": n})
        datastore.close()
    assert datastore.read("key") == {"n": 2}
    datastore.close()
    assert os.getpid() == datastore.server._mine.pid
