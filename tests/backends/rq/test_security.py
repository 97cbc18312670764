"""No writer to Redis can make either of ZeroG's consumers import, call or unpickle anything."""

from __future__ import annotations

import json
import os
import pickle
import pickletools
import zlib
from pathlib import Path
from typing import Any

import pytest
import redis
import rq
from rq.job import Callback
from rq.serializers import JSONSerializer

import zerog
from tests.backends.rq.queues import raw_client
from zerog.records.job import new_uuid
from zerog.rqworker import ZerogSpawnWorker

pytestmark = pytest.mark.wide

TRAP = "tests.backends.rq.trap.sprung"
OWN = ["zerog.rqworker.ZerogWorker", "zerog.rqworker.ZerogSpawnWorker", "zerog.rqworker.ZerogSimpleWorker"]


class Touch:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._command = f"touch {path}"

    def __reduce__(self) -> Any:
        return os.system, (self._command,)


@pytest.fixture
def trap(site, monkeypatch) -> Path:
    path = site.folder / "sprung"
    site._environment["ZEROG_TEST_TRAP"] = str(path)
    return path


def hostile(site, trap: Path) -> list[str]:
    """Ids of RQ jobs that would each touch the trap if anything that they name were used."""
    queue = rq.Queue("default", connection=site.redis, serializer=JSONSerializer)
    callbacks = {name: Callback(TRAP) for name in ("on_success", "on_failure", "on_stopped")}
    jobs = [
        queue.enqueue("os.system", f"touch {trap}"),
        queue.enqueue("os.system", f"touch {trap}", job_id=f"{new_uuid()}_{'0' * 12}"),
        queue.enqueue(TRAP),
        queue.enqueue("zerog.rqworker.no_such_function", **callbacks),
        queue.enqueue("zerog.rqworker.perform", new_uuid(), "more", **callbacks),
        queue.enqueue("zerog.rqworker.perform", new_uuid(), result_ttl=0, **callbacks),
    ]
    pickled = queue.enqueue("zerog.rqworker.perform", new_uuid())
    site.redis.hset(pickled.key, "data", zlib.compress(pickle.dumps(Touch(trap))))
    meta = queue.enqueue("zerog.rqworker.perform", new_uuid(), result_ttl=0)
    site.redis.hset(meta.key, "meta", pickle.dumps(Touch(trap)))
    odd = queue.enqueue("zerog.rqworker.perform", new_uuid(), retry=rq.Retry(max=1_000))
    site.redis.hset(odd.key, "data", json.dumps([TRAP, None, 5, {}]))
    return [job.id for job in [*jobs, pickled, meta, odd]]


def test_the_spawning_worker_refuses_a_password(site) -> None:
    """RQ would write it into a command line, which every user of the machine sees; nothing is taken."""
    secured = redis.Redis.from_url(site.url.replace("://", "://:hunter2@"))
    with pytest.raises(zerog.ConfigurationError, match="RQ's spawning worker shows the password") as caught:
        ZerogSpawnWorker(["default"], connection=secured)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("kind", OWN)
def test_own_workers_of_rq_refuse(site, trap: Path, kind: str) -> None:
    ids = hostile(site, trap)
    uuid = site.line()
    site.worker(kind)
    assert site.until_ended(uuid) == ["succeeded"]
    site.until(lambda: site.registries()["waiting"] + site.registries()["wip"] == 0)
    failed = set(map(bytes.decode, site.redis.zrange("rq:failed:default", 0, -1)))
    assert failed == {ids[0], ids[1], ids[2], ids[3], ids[4], ids[6], ids[8]}
    assert not trap.exists()
    result = rq.job.Job.fetch(ids[0], connection=site.redis, serializer=JSONSerializer).latest_result()
    assert "refused" in result.exc_string


def test_the_trap_works(site, trap: Path) -> None:
    """A stock worker runs what is refused elsewhere; otherwise the tests beside this one would show nothing."""
    rq.Queue("default", connection=site.redis, serializer=JSONSerializer).enqueue(TRAP)
    site.worker("rq.SimpleWorker", "--burst").wait(30)
    assert trap.exists()


def test_a_worker_of_zerog_leaves_foreign_jobs_alone(site, trap: Path) -> None:
    """They stay where they are, for a worker that understands them, and block no other job."""
    ids = hostile(site, trap)
    before = {id: site.redis.hgetall(f"rq:job:{id}") for id in ids}
    uuid = site.line()
    site.zerog_worker()
    assert site.until_ended(uuid) == ["succeeded"]
    site.until(lambda: site.registries()["waiting"] == len(ids) - 1)
    left = [id.decode() for id in site.redis.lrange("rq:queue:default", 0, -1)]
    assert left == [id for id in ids if id != ids[1]]  # that one has an id of ours, and names a job that isn't there
    assert all(site.redis.hgetall(f"rq:job:{id}") == before[id] for id in left)
    assert not trap.exists()


def test_worker_of_zerog_reads_no_payload(site, trap: Path) -> None:
    """Not even that of an entry of ZeroG's own: the id is enough."""
    uuid = site.line()
    [key] = site.redis.keys("rq:job:*")
    site.redis.hset(key, "data", zlib.compress(pickle.dumps(Touch(trap))))
    site.zerog_worker()
    assert site.until_ended(uuid) == ["succeeded"]
    site.until(site.is_clean)
    assert not trap.exists()


@pytest.mark.parametrize("kind", ["zerog", *OWN[::2]])
def test_rubbish_ends_no_worker(site, kind: str) -> None:
    """Bodies that are no RQ job at all, and hashes that RQ can't read."""
    for body in (b"", b"\xff\xfe", b"x" * 1_000_000, b"os.system", b"a:b"):
        site.redis.rpush("rq:queue:default", body)
    broken = f"{new_uuid()}_{'0' * 12}"
    site.redis.hset(f"rq:job:{broken}", mapping={"data": b"\x80", "status": "no such status", "created_at": "never"})
    site.redis.rpush("rq:queue:default", broken)
    uuid = site.line()
    worker = site.zerog_worker() if kind == "zerog" else site.worker(kind)
    assert site.until_ended(uuid) == ["succeeded"]
    site.until(lambda: site.registries()["waiting"] == 0)
    assert worker.poll() is None


def test_no_value_in_redis_is_a_pickle(site) -> None:
    """What ZeroG writes, waiting, delayed, reserved and failed, is read back byte by byte."""
    site.line()
    site.app.submit("twice", delay=60)
    site.app.submit("twice", priority=1)
    site.app.queue.put(new_uuid(), ttr=5)
    reservation = site.app.queue.reserve()
    site.redis.rpush("rq:queue:default", "rubbish")
    site.worker("rq.SimpleWorker", "--burst", ZEROG_APP="no_such_module:app").wait(30)
    values = list(every_value(raw_client(site.url)))
    assert len(values) > 60
    assert not [value for value in values if is_pickle(value)]
    reservation.delete()


def every_value(client: Any) -> Any:
    for key in client.scan_iter():
        kind = client.type(key).decode()
        if kind == "hash":
            yield from client.hgetall(key).values()
        elif kind == "list":
            yield from client.lrange(key, 0, -1)
        elif kind == "set":
            yield from client.smembers(key)
        elif kind == "zset":
            yield from client.zrange(key, 0, -1)
        elif kind == "stream":
            yield from (value for _, fields in client.xrange(key) for value in fields.values())
        else:
            yield client.get(key)


def is_pickle(value: bytes) -> bool:
    try:
        value = zlib.decompress(value)
    except zlib.error:
        pass
    if not value.startswith(b"\x80"):  # protocol 2 and above; older ones are not in use
        return False
    try:
        return bool(list(pickletools.genops(value)))
    except Exception:
        return False


def test_a_pickle_would_be_found() -> None:
    assert is_pickle(pickle.dumps(("f", None, (), {}))) and is_pickle(zlib.compress(pickle.dumps({})))
