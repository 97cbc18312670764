"""A Redis server: its URLs, how durable it is, what a call costs, and what is stored there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

import zerog
from tests.backends.redis.engines import ALICE, Count, client, engine_on, submitted
from tests.backends.redis.servers import BINARIES, RunningServer, shared, started
from zerog.backends.redis.datastore import RedisDatastore
from zerog.backends.redis.server import RedisServer
from zerog.contracts.datastore import FindQuery
from zerog.engine.transitions import Settlement
from zerog.exceptions import ConfigurationError
from zerog.fleet.heartbeat import WorkerRecords
from zerog.records.job import make_key
from zerog.records.operations import Append


@pytest.fixture
def url() -> str:
    return shared("valkey").url()


@pytest.fixture
def own() -> Iterator[RunningServer]:
    """A server that may be broken."""
    server = started("valkey", "--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.kill()


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
    assert "pip install -e '.[redis]'" in ended.stderr.splitlines()[-1]


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
    assert other.find(FindQuery()).heads == []


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


def test_durability_is_unknown_where_the_server_hides_it(own: RunningServer) -> None:
    client(own).execute_command("ACL SETUSER shop on >hunter2 +@all -config ~*")
    assert RedisDatastore(own.url().replace("//", "//shop:hunter2@")).durability is None


@pytest.mark.parametrize("name", BINARIES)
def test_the_documented_permissions_are_enough(name: str) -> None:
    """A user with those that docs/redis.md lists, for the keys of one prefix, can do everything on each server."""
    own = started(name, "--appendonly", "yes", "--appendfsync", "always")
    page = (Path(__file__).parents[3] / "docs" / "redis.md").read_text()
    rule = re.search(r"^ACL SETUSER shop (.*)$", page, re.MULTILINE)
    assert rule
    client(own).execute_command("ACL", "SETUSER", "shop", *rule[1].replace("…", "hunter2").split())
    engine = engine_on(own.url("shop").replace("//", "//shop:hunter2@"))
    assert engine.datastore.durability == "fsync"
    uuids = [submitted(engine) for _ in range(3)]
    [claim, *_] = engine.claim(3, ALICE, lambda head: head["jobType"])
    engine.datastore.mutate(claim.key, [Append("events", {"n": 1}, 0)], run=claim.run._replace(seq=1))
    engine.settle([Settlement(claim, "requeue", 2, delay=5)])
    assert not (engine.wait_ready(0.01) and engine.wait_ready(0.01))
    assert engine.datastore.now() is not None
    assert (
        len(engine.datastore.find(FindQuery()).heads) == len(engine.datastore.find(FindQuery(due="9")).heads) + 3 == 3
    )
    assert engine.queue.size() == 1
    assert engine.datastore.delete(make_key(uuids[1]))
    client(own).execute_command("SCRIPT", "FLUSH")
    submitted(engine)
    assert engine.datastore.setup() == engine.queue.setup() == []
    assert client(own).execute_command("ACL", "LOG") == []  # nothing was refused, and skipped
    own.kill()


def test_a_server_that_evicts_is_warned_of(own: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    """Once, by name, with the remedy."""
    client(own).config_set("maxmemory-policy", "allkeys-lru")
    datastore = RedisDatastore(own.url())
    for n in range(3):
        datastore.set("key", {"n": n})
    [recorded] = [text for text in caplog.messages if "allkeys-lru" in text]
    assert "noeviction" in recorded


# cost, priorities, what is stored


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
    datastore = RedisDatastore(own.url(timeout=60))
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
    calls = calls_of(datastore.server, lambda: datastore.find(FindQuery(status="queued")))
    assert calls["hgetall"] == 3


def test_what_is_stored_is_text(url: str) -> None:
    """No value is a pickle or anything else that had to be trusted: every one is UTF-8 text."""
    engine = engine_on(url)
    for _ in range(4):
        submitted(engine, headers={"ü": [1.0, None]})
    [claim, other, *_] = engine.claim(3, ALICE, lambda head: head["jobType"])
    WorkerRecords(engine).renew(ALICE, 1)
    engine.datastore.mutate(claim.key, [Append("events", {"n": 1}, 10)], run=claim.run._replace(seq=1))
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
