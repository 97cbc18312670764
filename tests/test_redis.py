"""A Redis server that fails, and what a user then sees."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

import zerog
from tests.redisservers import RunningServer, shared, started
from zerog.clock import to_text
from zerog.datastores.operations import Add, Append, Set
from zerog.datastores.redis import RedisDatastore
from zerog.document import make_key, new_document, new_uuid
from zerog.engines.redis import RedisEngine
from zerog.exceptions import (
    AmbiguousWrite,
    ConfigurationError,
    CorruptDocument,
    DatastoreUnavailable,
    QueueUnavailable,
)
from zerog.queues.redis import RedisQueue
from zerog.reconcile import Reconciler
from zerog.redisserver import RedisServer
from zerog.testing.clock import ManualClock
from zerog.transitions import Settlement, Worker

ALICE = Worker("alice", 30.0)


class Count(zerog.BaseJob):
    JOB_TYPE = "count"

    def run(self) -> None:
        self.record_event("ran")


@pytest.fixture
def url() -> str:
    return shared("valkey").url()


@pytest.fixture
def own() -> Iterator[RunningServer]:
    """A server that may be broken."""
    server = started("valkey", "--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.kill()


def client(server: RunningServer) -> redis.Redis:
    return redis.Redis(port=server.port)


def engine_on(url: str, clock: ManualClock | None = None) -> RedisEngine:
    datastore = RedisDatastore(url, clock) if clock else RedisDatastore(url)
    engine = RedisEngine(datastore, RedisQueue(datastore.server))
    if clock:
        engine.clock = clock
    return engine


def submitted(engine: RedisEngine, **fields: object) -> str:
    document = {**new_document("test", 1.0, to_text(engine.clock.now())), **fields}
    engine.submit([document])
    return str(document["uuid"])


def claimed(engine: RedisEngine, want: int) -> list[str]:
    return [claim.uuid for claim in engine.claim(want, ALICE, lambda head: head["jobType"])]


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


# URLs


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("redis://:hunter2@localhost/0?colour=blue", "colour"),
        ("redis://:hunter2@localhost/0?prefix=", "prefix"),
        ("redis://:hunter2@localhost/0?prefix=a{b}", "prefix"),
        ("redis://:hunter2@localhost/0?timeout=soon", "timeout"),
        ("redis://:hunter2@localhost/0?timeout=0", "timeout"),
    ],
)
def test_a_wrong_url_is_refused_at_the_start(url: str, named: str) -> None:
    """The error names what is wrong and never the password."""
    with pytest.raises(ConfigurationError, match=named) as caught:
        zerog.App(url)
    assert "hunter2" not in str(caught.value)


def test_an_unknown_host_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.invalid") as caught:
        RedisDatastore("redis://:hunter2@nowhere.invalid/0").read("key")
    assert "hunter2" not in str(caught.value)


def test_nothing_of_redis_is_imported_before_its_url_is_used() -> None:
    code = "import sys, zerog; zerog.App('memory://'); sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_driver_names_the_extra() -> None:
    code = "import sys; sys.modules['redis'] = None; import zerog; zerog.App('redis://localhost')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'zerog[redis]'" in ended.stderr.splitlines()[-1]


def test_a_wrong_password_is_a_configuration_error(own: RunningServer) -> None:
    client(own).config_set("requirepass", "hunter2")
    for user in ("", ":hunter3@"):
        with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1") as caught:
            RedisDatastore(own.url().replace("//", f"//{user}")).create("key", {})
        assert "hunter" not in str(caught.value)
    datastore = RedisDatastore(own.url().replace("//", "//:hunter2@"))
    datastore.create("key", {"a": 1})
    assert datastore.read("key") == {"a": 1}


def test_a_socket_in_the_file_system() -> None:
    path = Path(tempfile.mkdtemp(dir="/tmp")) / "s"  # short: the system takes 107 characters
    server = started("valkey", "--unixsocket", str(path))
    try:
        datastore = RedisDatastore(f"unix://{path}?db=1&prefix=shop")
        datastore.create("key", {"a": 1.0})
        assert redis.Redis(port=server.port, db=1).keys() == [b"{shop}:d:key"]
    finally:
        server.kill()
        shutil.rmtree(path.parent)


def test_documents_and_queue_may_lie_apart() -> None:
    """In two databases of one server, or on two servers: the same jobs run."""
    url = shared("valkey").url()
    app = zerog.App(datastore=url, queue=url.replace("/0?", "/1?"))
    app.register(Count)
    jobs = [app.submit(Count, {}) for _ in range(5)]
    assert app.queue.size() == 5
    assert zerog.Worker(app).run(burst=True).succeeded == 5
    assert [app.get_job(job.uuid).status for job in jobs] == ["succeeded"] * 5


def test_apps_with_different_prefixes_share_nothing() -> None:
    server = shared("valkey")
    one, other = RedisDatastore(server.url()), RedisDatastore(server.url())
    one.create("key", {"status": "queued"})
    assert other.read("key") is None
    assert other.find().heads == []


# durability


@pytest.mark.parametrize(
    ("appendonly", "appendfsync", "expected"),
    [("yes", "always", "fsync"), ("yes", "everysec", "1s"), ("yes", "no", "process"), ("no", "always", "process")],
)
def test_durability_is_read_from_the_server(
    own: RunningServer, appendonly: str, appendfsync: str, expected: str
) -> None:
    client(own).config_set("appendonly", appendonly)
    client(own).config_set("appendfsync", appendfsync)
    assert RedisDatastore(own.url()).durability == expected


def test_durability_is_unknown_where_the_server_does_not_tell(own: RunningServer) -> None:
    client(own).execute_command("ACL SETUSER shop on >hunter2 +@all -config ~*")
    assert RedisDatastore(own.url().replace("//", "//shop:hunter2@")).durability is None


def test_the_documented_permissions_are_enough(own: RunningServer) -> None:
    """A user with those that docs/redis.md lists, for the keys of one prefix only, can do everything."""
    page = (Path(__file__).parents[1] / "docs" / "redis.md").read_text()
    rule = re.search(r"^ACL SETUSER shop (.*)$", page, re.MULTILINE)
    assert rule
    client(own).execute_command("ACL", "SETUSER", "shop", *rule[1].replace("…", "hunter2").split())
    engine = engine_on(own.url("shop").replace("//", "//shop:hunter2@"))
    assert engine.datastore.durability == "fsync"
    uuids = [submitted(engine) for _ in range(3)]
    [claim, *_] = engine.claim(3, ALICE, lambda head: head["jobType"])
    engine.datastore.mutate(claim.key, [Append("events", {"n": 1}, 0)], epoch=1, seq=1)
    engine.settle([Settlement(claim, "requeue", 2, delay=5)])
    assert not (engine.wait_ready(0.01) and engine.wait_ready(0.01))
    assert engine.datastore.now() is not None
    assert len(engine.datastore.find().heads) == len(engine.datastore.find(due="9").heads) + 3 == 3
    assert engine.queue.size() == 1
    assert engine.datastore.delete(make_key(uuids[1]))


def test_a_server_that_evicts_is_told_of(own: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    """Once, by name, with what to do."""
    client(own).config_set("maxmemory-policy", "allkeys-lru")
    datastore = RedisDatastore(own.url())
    for n in range(3):
        datastore.set("key", {"n": n})
    [told] = [text for text in caplog.messages if "allkeys-lru" in text]
    assert "noeviction" in told


# outages


def test_a_server_that_is_not_there(own: RunningServer) -> None:
    """Nothing was written, and the errors say that, of reads, writes and puts."""
    own.kill()
    datastore, queue = RedisDatastore(own.url()), RedisQueue(own.url())
    for call in (lambda: datastore.read("key"), lambda: datastore.create("key", {}), datastore.now):
        with pytest.raises(DatastoreUnavailable, match=f"127.0.0.1:{own.port}"):
            call()
    for call in (lambda: queue.put(new_uuid()), queue.reserve, queue.size, lambda: queue.reserve(1)):
        with pytest.raises(QueueUnavailable):
            call()


def test_a_hung_server(own: RunningServer) -> None:
    """A write whose answer doesn't come may have happened; it and a read end in time and name the server."""
    url = own.url(timeout=0.3)
    datastore = RedisDatastore(url)
    datastore.create("key", {"n": 0})
    own.signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(AmbiguousWrite, match=str(own.port)):
        datastore.mutate("key", [Add("n", 1)])
    with pytest.raises(DatastoreUnavailable, match=str(own.port)):
        datastore.read("key")
    assert time.monotonic() - began < 5
    own.signal(signal.SIGCONT)
    assert datastore.read("key") in ({"n": 0}, {"n": 1})
    datastore.mutate("key", [Add("n", 1)])


def test_a_connection_that_was_closed_meanwhile_is_opened_again(own: RunningServer) -> None:
    """After a restart the first call works: nothing had been sent on the dead connection."""
    datastore = RedisDatastore(own.url())
    datastore.create("key", {"n": 0})
    own.kill()
    own.start()
    assert datastore.mutate("key", [Set("n", 1)]).values == {"n": 1}


def test_a_server_that_forgot_the_script(url: str) -> None:
    datastore = RedisDatastore(url)
    datastore.create("key", {"n": 0})
    datastore.server.ask("a test", "SCRIPT", "FLUSH")
    assert datastore.mutate("key", [Set("n", 1)]).values == {"n": 1}


def test_a_server_without_memory_left(own: RunningServer) -> None:
    """Writes are refused by name; reads and what is there go on."""
    datastore, queue = RedisDatastore(own.url()), RedisQueue(own.url())
    datastore.create("key", {"n": 0})
    client(own).config_set("maxmemory", 1)
    with pytest.raises(DatastoreUnavailable, match="maxmemory"):
        datastore.mutate("key", [Set("n", 1)])
    with pytest.raises(QueueUnavailable, match="maxmemory"):
        queue.put(new_uuid())
    assert datastore.read("key") == {"n": 0}
    client(own).config_set("maxmemory", 0)
    assert datastore.mutate("key", [Add("n", 1)]).values == {"n": 1}


def test_a_replica_takes_no_writes(own: RunningServer) -> None:
    datastore = RedisDatastore(own.url())
    datastore.create("key", {"n": 0})
    client(own).execute_command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(DatastoreUnavailable, match="replica"):
        datastore.mutate("key", [Set("n", 1)])
    client(own).config_set("replica-serve-stale-data", "no")
    with pytest.raises(DatastoreUnavailable, match="primary is gone"):
        datastore.read("key")
    client(own).execute_command("REPLICAOF", "NO", "ONE")
    assert datastore.read("key") == {"n": 0}


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (redis.exceptions.BusyLoadingError("Redis is loading the dataset in memory"), "loading"),
        (redis.exceptions.ClusterDownError("CLUSTERDOWN Hash slot not served"), "cluster is down"),
        (redis.exceptions.MovedError("866 127.0.0.1:7001"), "another node"),
        (redis.exceptions.ResponseError("MISCONF Redis is configured to save RDB snapshots"), "can't save"),
        (redis.exceptions.ResponseError("Error running script: @user_script:1: -OOM command not allowed"), "maxmemory"),
    ],
)
def test_refusals_are_named(url: str, monkeypatch: pytest.MonkeyPatch, error: Exception, named: str) -> None:
    """Answers that a test can't make a server give: nothing was done, and the reason is said."""
    datastore = RedisDatastore(url)
    datastore.create("key", {})

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("redis.connection.Connection.read_response", refuse)
    with pytest.raises(DatastoreUnavailable, match=named):
        datastore.mutate("key", [])


def test_a_key_that_holds_something_else_is_left_alone(url: str) -> None:
    engine = engine_on(url)
    bad, good = submitted(engine), submitted(engine)
    server = engine.datastore.server
    name = f"{server.prefix}d:{make_key(bad)}"
    server.ask("a test", "SET", name, "hello")
    with pytest.raises(CorruptDocument):
        engine.datastore.read(make_key(bad))
    with pytest.raises(CorruptDocument):
        engine.datastore.set(make_key(bad), {})
    assert claimed(engine, 5) == [good]
    assert bad in engine.unsuitable
    assert [head["uuid"] for head in engine.datastore.find().heads] == [good]
    assert server.ask("a test", "GET", name) == b"hello"


def test_a_forked_child_has_its_own_connection(url: str) -> None:
    """Parent and child use the same objects at the same time, and neither reads the other's answers."""
    datastore = RedisDatastore(url)
    for key in ("parent", "child"):
        datastore.create(key, {"n": 0})
    child = os.fork()
    if not child:
        code = 1
        try:
            for n in range(200):
                assert datastore.mutate("child", [Add("n", 1)]).values == {"n": n + 1}
            code = 0
        finally:
            os._exit(code)
    for n in range(200):
        assert datastore.mutate("parent", [Add("n", 1)]).values == {"n": n + 1}
    assert os.waitpid(child, 0)[1] == 0


# a worker on a server that restarts


def test_a_worker_goes_on_by_itself_after_a_restart(
    own: RunningServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 of the server and a restart: nothing accepted is lost, and the outage is told once."""
    url = own.url(timeout=1)
    app = zerog.App(url)
    app.register(Count)
    tries: list[object] = []
    step = app.engine.step
    monkeypatch.setattr(app.engine, "step", lambda *args: (tries.append(args), step(*args))[1])
    worker = zerog.Worker(app, concurrency=2)
    running = threading.Thread(target=worker.run)
    with caplog.at_level(logging.WARNING, "zerog"):
        running.start()
        first = [app.submit(Count, {}) for _ in range(20)]
        app.wait(first[-1].uuid, timeout=20)
        own.kill()
        until(lambda: any("waiting for the datastore" in text for text in caplog.messages))
        known = len(tries)
        until(lambda: len(tries) >= known + 3)
        own.start()
        second = [app.submit(Count, {}) for _ in range(20)]
        jobs = [app.wait(job.uuid, timeout=20) for job in first + second]
        worker.stop()
        running.join(20)
    assert [job.resultCode for job in jobs] == [200] * 40
    assert [len(job.events) for job in jobs] == [1] * 40
    told = [text for text in caplog.messages if "waiting for the datastore" in text]
    assert len(told) == 1
    assert sum("answers again" in text for text in caplog.messages) == 1


def test_flushed_queues_are_filled_again(url: str) -> None:
    """Every key of the queues is gone: reconcile brings every waiting job back."""
    clock = ManualClock()
    engine = engine_on(url, clock)
    uuids = [submitted(engine, priority=n % 3) for n in range(30)]
    server = engine.datastore.server
    keys = server.ask("a test", "KEYS", f"{server.prefix}q:*")
    assert keys
    server.ask("a test", "DEL", *keys)
    assert claimed(engine, 50) == []
    reconciler = Reconciler(engine, "sweeper", clock)
    for _ in range(4):
        reconciler.sweep(queue_was_empty=True)
        clock.advance(30)
    assert sorted(claimed(engine, 50)) == sorted(uuids)


# cost, priorities, what lies there


def calls_of(server: RedisServer, call: Callable[[], object]) -> dict[str, int]:
    """How often the server did which command while ``call`` ran."""

    def counts() -> dict[str, int]:
        lines = server.ask("a test", "INFO", "commandstats").decode().split()
        found = (re.match(r"cmdstat_(\w+):calls=(\d+)", line) for line in lines)
        return {match[1]: int(match[2]) for match in found if match}

    before = counts()
    call()
    return {name: n - before.get(name, 0) for name, n in counts().items() if n != before.get(name, 0)}


def test_a_late_event_costs_what_the_first_did(own: RunningServer) -> None:
    """The same commands, and no list is read."""
    datastore = RedisDatastore(own.url())
    datastore.create("key", {"status": "running", "events": [], "payload": "x" * 10_000})
    append = [Append("events", {"msg": "ran"}, 10_000)]
    datastore.mutate("key", append)
    first = calls_of(datastore.server, lambda: datastore.mutate("key", append))
    for _ in range(10):
        datastore.mutate("key", append * 1_000)
    late = calls_of(datastore.server, lambda: datastore.mutate("key", append))
    assert late.pop("ltrim") == 1
    assert late.pop("hget") == first.pop("hget") + 1  # the counter of those that fell out
    assert late == first
    assert "lrange" not in late


def test_finding_waiting_jobs_does_not_read_ended_ones(own: RunningServer) -> None:
    datastore = RedisDatastore(own.url())
    for n in range(300):
        datastore.create(f"zerog_job_{n:03}", {"status": "queued" if n % 100 == 50 else "succeeded"})
    calls = calls_of(datastore.server, lambda: datastore.find(status="queued"))
    assert calls["hgetall"] == 3


def test_what_lies_there_is_text(url: str) -> None:
    """No value is a pickle or anything else that had to be trusted: every one is UTF-8 text."""
    engine = engine_on(url)
    for _ in range(4):
        submitted(engine, headers={"ü": [1.0, None]})
    [claim, other, *_] = engine.claim(3, ALICE, lambda head: head["jobType"])
    engine.renew(ALICE, 1)
    engine.datastore.mutate(claim.key, [Append("events", {"n": 1}, 10)], epoch=1, seq=1)
    engine.settle([Settlement(claim, "finish", 2, 200), Settlement(other, "requeue", 1, delay=60)])
    server = engine.datastore.server
    reads = {
        b"hash": ("HGETALL",),
        b"list": ("LRANGE", 0, -1),
        b"zset": ("ZRANGE", 0, -1),
        b"string": ("GET",),
    }
    keys = server.ask("a test", "KEYS", f"{server.prefix}*")
    assert len(keys) > 8
    for key in keys:
        command, *rest = reads[server.ask("a test", "TYPE", key)]
        found = server.ask("a test", command, key, *rest)
        for text in found if isinstance(found, list) else [found]:
            text.decode()
