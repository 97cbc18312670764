"""The datastore contract on Redis: one in this process, and real servers."""

from __future__ import annotations

import fakeredis
import pytest

from tests.backends.redis.servers import NAMES, FakeServer, shared
from tests.contracts.test_datastore_machine import explore
from zerog.backends.redis.datastore import RedisDatastore
from zerog.backends.redis.server import RedisServer
from zerog.contracts.datastore import Datastore, FindQuery, RunGuard
from zerog.records.operations import Set
from zerog.testing.contracts.datastore import DatastoreContract


class RedisRules(DatastoreContract):
    """The contract, and how to break a document."""

    @pytest.fixture
    def datastore(self, server: RedisServer):
        datastore = RedisDatastore(server)
        yield datastore
        datastore.close()

    def corrupt(self, datastore: Datastore, key: str) -> None:
        assert isinstance(datastore, RedisDatastore)
        server = datastore.server
        name = f"{server.prefix}d:{key}"
        body = server.ask(key, "HGET", name, "body")
        server.ask(key, "HSET", name, "body", body[:5])


@pytest.mark.wide
class TestFake(RedisRules):
    @pytest.fixture
    def fake(self) -> fakeredis.FakeServer:
        return fakeredis.FakeServer()

    @pytest.fixture
    def server(self, fake):
        return FakeServer(fake)

    @pytest.fixture
    def another(self, fake):
        return RedisDatastore(FakeServer(fake))


@pytest.mark.parametrize("name", NAMES)
class TestReal(RedisRules):
    @pytest.fixture
    def url(self, name):
        return shared(name).url()

    @pytest.fixture
    def server(self, url):
        return RedisServer(url)

    @pytest.fixture
    def another(self, url):
        another = RedisDatastore(url)
        yield another
        another.close()


def test_a_deletion_under_a_token() -> None:
    """It removes that state of the document and no other."""
    datastore = RedisDatastore(shared("valkey").url())
    token = datastore.create("key", {"status": "failed", "events": [1]})
    with pytest.raises(datastore.casException):
        datastore.delete("key", token + 1)
    assert datastore.read_with_cas("key") == ({"status": "failed", "events": [1]}, token)
    assert datastore.delete("key", token) is True
    assert datastore.delete("key", token) is False
    assert datastore.server.ask("a test", "KEYS", f"{datastore.server.prefix}*") == []


@pytest.mark.parametrize("name", NAMES)
def test_setup_lists_the_jobs_that_older_code_has_ended(name: str) -> None:
    """Such code kept no index by the end and left the type in the body; its later ends and removals are noticed."""
    datastore = RedisDatastore(shared(name).url())
    server, prefix = datastore.server, datastore.server.prefix
    query = {"status": "failed", "job_type": "x", "until": "9"}
    a, b, c, d = (f"zerog_job_{number}" for number in range(4))
    for key in (a, b, c):
        datastore.create(key, {"status": "failed", "jobType": "x", "finishedAt": "1", "key": key, "events": []})
    datastore.create(d, {"status": "failed", "key": d})
    body, finished = (server.ask(a, "HGET", f"{prefix}d:{a}", field) for field in ("body", ',"finishedAt":'))
    server.ask(a, "HSET", f"{prefix}d:{a}", "body", b'%b,"jobType":"x","finishedAt":%b' % (body, finished))
    server.ask(a, "HDEL", f"{prefix}d:{a}", ',"jobType":', ',"finishedAt":')
    server.ask(a, "DEL", f"{prefix}ended")
    assert datastore.find(FindQuery(**query)).heads == []
    assert datastore.setup() == [f"3 entries of the index {prefix}ended"]
    assert [head["key"] for head in datastore.find(FindQuery(**query)).heads] == [a, b, c]
    server.ask(b, "DEL", f"{prefix}d:{b}")
    server.ask(c, "HSET", f"{prefix}d:{c}", ',"finishedAt":', '"2"')
    assert [head["key"] for head in datastore.find(FindQuery(**query)).heads] == [a]
    assert server.ask("a test", "ZCARD", f"{prefix}ended") == 2
    assert [head["key"] for head in datastore.find(FindQuery(**query)).heads] == [a, c]
    datastore.close()


@pytest.mark.parametrize("name", NAMES)
def test_setup_lists_the_jobs_of_older_code_by_creation(name: str) -> None:
    """Such code keeps no index by creation and leaves the time in the body; what it has moved or removed is noticed."""
    datastore = RedisDatastore(shared(name).url())
    server, prefix = datastore.server, datastore.server.prefix
    a, b, c = (f"zerog_job_{number}" for number in range(3))
    for key in (a, b, c):
        datastore.create(key, {"status": "queued", "createdAt": "1", "key": key})
    server.ask(a, "HSET", f"{prefix}d:{a}", "body", b',"createdAt":"1","key":"%b"' % a.encode())
    server.ask(a, "HDEL", f"{prefix}d:{a}", ',"createdAt":')
    server.ask(a, "ZREM", f"{prefix}created", f"open\0001\0{a}")

    def listed(status: str | None = None) -> list[str]:
        return [head["key"] for head in datastore.find(FindQuery(status, order="oldest")).heads]

    assert listed() == [b, c]
    assert datastore.setup() == [f"1 entries of the index {prefix}created"]
    assert (listed(), datastore.setup()) == ([a, b, c], [])
    server.ask(b, "HSET", f"{prefix}d:{b}", ',"status":', '"failed"')
    server.ask(b, "ZREM", f"{prefix}index", f"queued\0{b}")
    server.ask(b, "ZADD", f"{prefix}index", 0, f"failed\0{b}")
    server.ask(c, "DEL", f"{prefix}d:{c}")
    assert (listed("failed"), listed("queued")) == ([], [a])
    assert listed() == [a, b], "it is noticed where it was"
    assert server.ask("a test", "ZCARD", f"{prefix}created") == 2
    assert listed("failed") == [b]
    datastore.close()


@pytest.mark.parametrize("name", NAMES)
def test_setup_moves_scheduled_jobs_of_older_code(name: str) -> None:
    """Such code keeps them beside those that wait and run, in the index by creation."""
    datastore = RedisDatastore(shared(name).url())
    server, prefix = datastore.server, datastore.server.prefix
    a, b = "zerog_job_a", "zerog_job_b"
    datastore.create(a, {"status": "scheduled", "createdAt": "1", "key": a})
    datastore.create(b, {"status": "queued", "createdAt": "2", "key": b})
    server.ask(a, "ZREM", f"{prefix}created", f"scheduled\0001\0{a}")
    server.ask(a, "ZADD", f"{prefix}created", 0, f"open\0001\0{a}")
    assert datastore.setup() == [f"1 entries of the index {prefix}created"]
    assert server.ask("a test", "ZRANGE", f"{prefix}created", 0, -1) == [
        f"open\0002\0{b}".encode(),
        f"scheduled\0001\0{a}".encode(),
    ]
    assert datastore.setup() == []
    datastore.close()


def test_scheduled_jobs_cost_the_list_of_queued_ones_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are scheduled and newer, and however many are queued."""
    datastore = RedisDatastore(shared("valkey").url())
    for number in range(90):
        status = "queued" if number < 30 else "scheduled"
        datastore.create(f"zerog_job_{number:02}", {"status": status, "createdAt": f"{number:02}", "n": number})
    read: list[str] = []
    heads_with_cas = datastore.heads_with_cas
    monkeypatch.setattr(datastore, "heads_with_cas", lambda keys: (read.extend(keys), heads_with_cas(keys))[1])
    page = datastore.find(FindQuery("queued", order="newest", limit=3))
    assert [head["n"] for head in page.heads] == [29, 28, 27]
    assert len(read) == 4
    assert [head["n"] for head in datastore.find(FindQuery("scheduled", order="newest", limit=2)).heads] == [89, 88]
    datastore.mutate("zerog_job_00", [Set("status", "running")])
    read.clear()
    assert [head["n"] for head in datastore.find(FindQuery("running", order="newest", limit=2)).heads] == [0]
    assert read == ["zerog_job_00"], "one that runs is not searched for among those that wait"
    datastore.mutate("zerog_job_89", [Set("status", "queued")])
    assert datastore.find(FindQuery("queued", order="newest", limit=1)).heads[0]["n"] == 89
    datastore.close()


def test_ended_jobs_of_a_type_are_counted_by_their_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without comparing any of them, and exactly; what has no end in the index makes them be compared after all."""
    datastore = RedisDatastore(shared("valkey").url())
    for number in range(40):
        kind, status = ("x", "y")[number % 2], ("succeeded", "failed", "queued", "running")[number // 10]
        end = {"finishedAt": "1"} if number < 20 else {}
        datastore.create(f"zerog_job_{number:02}", {"status": status, "jobType": kind, "createdAt": "1", **end})
    compared: list[str] = []
    tally = datastore._tally
    monkeypatch.setattr(datastore, "_tally", lambda keys, query: (compared.extend(keys), tally(keys, query))[1])
    assert datastore.count(FindQuery(job_type="x", status="failed")) == (5, False)
    assert datastore.count(FindQuery(job_type="x"), cap=9) == (9, True)
    assert compared == []
    assert datastore.count(FindQuery(job_type="x")) == (20, False)
    assert len(compared) == 20
    datastore.create("zerog_job_odd", {"status": "failed", "jobType": "x", "createdAt": "1"})
    assert datastore.count(FindQuery(job_type="x", status="failed")) == (6, False)
    datastore.create("zerog_job_other", {"status": "other", "jobType": "x", "createdAt": "1"})
    assert datastore.count(FindQuery(job_type="x")) == (22, False)
    datastore.close()


def test_a_job_of_older_code_is_listed_when_it_ends() -> None:
    """Its type is in the body, where the script doesn't look."""
    datastore = RedisDatastore(shared("valkey").url())
    server = datastore.server
    datastore.create("a", {"status": "running", "finishedAt": None, "epoch": 1, "owner": {"nonce": "n"}, "seq": 0})
    name = f"{server.prefix}d:a"
    server.ask("a", "HSET", name, "body", server.ask("a", "HGET", name, "body") + b',"jobType":"x"')
    end = [Set("status", "failed"), Set("finishedAt", "1"), Set("owner", None)]
    datastore.mutate("a", end, run=RunGuard(1, "n", 1))
    datastore.mutate("a", end, run=RunGuard(1, "n", 1))
    [head] = datastore.find(FindQuery(status="failed", job_type="x", until="1")).heads
    assert head["jobType"] == "x"
    datastore.close()


@pytest.mark.parametrize("name", NAMES)
def test_model(name: str) -> None:
    """Random sequences of calls, each answer compared with a model's."""
    explore(lambda: RedisDatastore(shared(name).url()), 60)
