"""Redis that is away, hangs, restarts, is full or answers nonsense; and what recovers unaided."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

import zerog
from tests.backends.redis.engines import Count, claimed, client, engine_on, submitted
from tests.backends.redis.servers import RunningServer, shared, started
from tests.processes import stretched, until
from zerog.backends.redis.datastore import RedisDatastore
from zerog.backends.redis.queue import RedisQueue
from zerog.backends.rq.queue import RqQueue
from zerog.contracts.datastore import FindQuery
from zerog.exceptions import AmbiguousWrite, CorruptDocument, DatastoreUnavailable, QueueUnavailable
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import make_key, new_uuid
from zerog.records.operations import Add, Set
from zerog.testing.clock import ManualClock


@pytest.fixture
def url() -> str:
    return shared("valkey").url()


@pytest.fixture
def own() -> Iterator[RunningServer]:
    """A server that may be broken."""
    server = started("valkey", "--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.kill()


def test_a_server_that_is_not_there(own: RunningServer) -> None:
    """Nothing was written, and the errors state that, of reads, writes and puts."""
    own.kill()
    datastore, queue = RedisDatastore(own.url()), RedisQueue(own.url())
    for call in (lambda: datastore.read("key"), lambda: datastore.create("key", {}), datastore.now):
        with pytest.raises(DatastoreUnavailable, match=f"127.0.0.1:{own.port}"):
            call()
    for call in (lambda: queue.put(new_uuid()), queue.reserve, queue.size, lambda: queue.reserve(1)):
        with pytest.raises(QueueUnavailable):
            call()


def test_a_hung_server(own: RunningServer) -> None:
    """A write without an answer may have happened; it and a read end in time and name the server."""
    url = own.url(timeout=0.3)
    datastore = RedisDatastore(url)
    datastore.create("key", {"n": 0})
    own.signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(AmbiguousWrite, match=str(own.port)):
        datastore.mutate("key", [Add("n", 1)])
    with pytest.raises(DatastoreUnavailable, match=str(own.port)):
        datastore.read("key")
    assert time.monotonic() - began < stretched(5)
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


def test_a_server_that_forgets_its_scripts_all_the_time(url: str) -> None:
    """Submits, puts and claims work on: each call that the server doesn't know brings its script along."""
    app = zerog.App(url)
    app.register(Count)
    queues = [app.queue, RqQueue(url)]
    flushing = threading.Event()

    def flush() -> None:
        with redis.Redis.from_url(url.partition("?")[0]) as server:
            while not flushing.is_set():
                server.script_flush()

    thread = threading.Thread(target=flush)
    thread.start()
    try:
        for _ in range(200):
            app.submit(Count)
            for queue in queues:
                queue.put(new_uuid())
                assert queue.reserve() is not None
    finally:
        flushing.set()
        thread.join()
    app.close()


def test_many_threads_wait_for_a_slow_server(own: RunningServer) -> None:
    """A moment in which the server answers no call is no outage, however many threads call it."""
    app = zerog.App(own.url(timeout=20))
    app.register(Count)
    app.submit(Count)
    client(own).client_pause(1_000)
    with ThreadPoolExecutor(200) as pool:
        uuids = list(pool.map(lambda _: app.submit(Count).uuid, range(200)))
    assert len(set(uuids)) == 200
    app.close()


def test_a_server_without_memory_left(own: RunningServer) -> None:
    """Writes are refused by name; reads and what is there still work."""
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
    """Answers that a test can't make a server give: nothing was done, and the error names the reason."""
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
    assert bad in engine.skipped
    assert [head["uuid"] for head in engine.datastore.find(FindQuery()).heads] == [good]
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


def test_a_worker_continues_after_a_restart_of_its_server(
    own: RunningServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 of the server and a restart: nothing accepted is lost; what the worker can't do is logged once each."""
    url = own.url(timeout=1)
    app = zerog.App(url)
    app.register(Count)
    tries: list[object] = []
    step = app.engine.step
    monkeypatch.setattr(app.engine, "step", lambda *args, **more: (tries.append(args), step(*args, **more))[1])
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
    began = [text for text in caplog.messages if "waiting for the datastore" in text]
    over = [text for text in caplog.messages if "answers again" in text]
    for verb in ("settle", "claim"):
        assert sum(f"the worker can't {verb}" in text for text in began) <= 1
        assert sum(f"can't {verb}" in text for text in began) == sum(f"can {verb}" in text for text in over)


def test_flushed_queues_are_filled_again(url: str) -> None:
    """Every key of the queues is gone: reconcile puts every waiting job back."""
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
        reconciler.sweep()
        clock.advance(30)
    assert sorted(claimed(engine, 50)) == sorted(uuids)
