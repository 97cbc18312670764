"""Adapters on a redis client of the caller's: where it connects to is used, and its other options don't matter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

import zerog
from tests.backends.redis.servers import url_for
from zerog.backends.redis.datastore import RedisDatastore
from zerog.backends.redis.engine import RedisEngine
from zerog.backends.redis.queue import RedisQueue
from zerog.backends.redis.url import parse


def client_for(folder: Path, **options: Any) -> tuple[redis.Redis, str]:
    """A client, and the prefix of the test's keys."""
    address = parse(url_for(folder))
    return redis.Redis.from_url(address.client_url, **options), address.prefix


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("executor", ["thread", "async", "process"])
def test_jobs_run_with_it(tmp_path: Path, executor: str) -> None:
    """On the engine of one server, in children, too; the client itself stays the caller's, and open."""
    client, prefix = client_for(tmp_path, decode_responses=True, protocol=3, max_connections=1, socket_timeout=None)
    app = zerog.App(datastore=RedisDatastore(client=client, prefix=prefix))
    app.register(type("Made", (zerog.BaseJob,), {"JOB_TYPE": "made", "run": lambda job: {"é": 1}, "TIMEOUT": 60}))
    uuid = app.submit("made").uuid
    zerog.Worker(app, executor=executor).run(burst=True)
    assert app.get_job(uuid).output == {"é": 1}
    assert isinstance(app.engine, RedisEngine)
    same = zerog.App(url_for(tmp_path))
    assert same.progress(uuid)["status"] == "succeeded"
    same.close()
    app.close()
    assert client.ping()
    client.close()
    assert app.progress(uuid)["status"] == "succeeded"  # by connections of its own
    app.close()


def test_datastore_and_queue_may_take_it_apart(tmp_path: Path) -> None:
    """Over one server object they are one engine, otherwise the generic one."""
    client, prefix = client_for(tmp_path)
    datastore = RedisDatastore(client=client, prefix=prefix)
    queues = RedisQueue(datastore.server), RedisQueue(client=client, prefix=prefix)
    apps = [zerog.App(datastore=datastore, queue=queue) for queue in queues]
    assert [isinstance(app.engine, RedisEngine) for app in apps] == [True, False]
    for app in apps:
        app.register(type("Made", (zerog.BaseJob,), {"JOB_TYPE": "made", "run": lambda job: None}))
        uuid = app.submit("made").uuid
        zerog.Worker(app).run(burst=True)
        assert app.progress(uuid)["status"] == "succeeded"
        app.close()
    client.close()


def test_what_can_be_used_is_taken_from_it() -> None:
    secret = redis.Redis(host="db.example", port=7000, db=3, username="u", password="secret", socket_timeout=2.5)
    server = RedisDatastore(client=secret).server
    assert (server.name, server.timeout, server.prefix) == ("redis://db.example:7000/3", 2.5, "{zerog}:")
    kwargs = server._open(1.0).connection_kwargs
    assert (kwargs["username"], kwargs["password"], kwargs["port"]) == ("u", "secret", 7000)
    tls = RedisDatastore(client=redis.Redis.from_url("rediss://h:1/2?ssl_cert_reqs=none")).server
    assert (tls.name, tls._open(1.0).connection_kwargs["ssl_cert_reqs"]) == ("rediss://h:1/2", "none")
    assert RedisDatastore(client=redis.Redis(unix_socket_path="/run/r.sock")).server.name == "unix:///run/r.sock/0"


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (redis.asyncio.Redis(), "expected redis.Redis"),
        ("redis://localhost", "expected redis.Redis"),
        (redis.sentinel.Sentinel([("localhost", 1)]).master_for("mymaster"), "without Sentinel"),
    ],
)
def test_what_is_no_plain_client_is_refused(client: Any, expected: str) -> None:
    for adapter in (RedisDatastore, RedisQueue):
        with pytest.raises(zerog.ConfigurationError, match=expected):
            adapter(client=client)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(zerog.ConfigurationError, match="either a URL or client=…, and not both"):
        RedisDatastore("redis://localhost", client=redis.Redis())
    with pytest.raises(zerog.ConfigurationError, match="either a URL or client"):
        RedisQueue()
    with pytest.raises(zerog.ConfigurationError, match="prefix 'a b'; expected a text without spaces"):
        RedisDatastore(client=redis.Redis(), prefix="a b")
