"""Entries lost from RQ's lists: which jobs are put again."""

from __future__ import annotations

import pytest

from tests.backends.rq.queues import fake_queue, fakeredis, raw_client, real_url
from tests.maintenance.lost_entries import submit, take
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.redis.commands import stored
from zerog.backends.redis.datastore import RedisDatastore
from zerog.backends.rq.queue import RqQueue
from zerog.engine.engine import Engine
from zerog.maintenance import redelivery
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import make_key, new_document, new_uuid
from zerog.support.clock import to_text
from zerog.testing.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def fill(engine: Engine, url: str, count: int, entries: bool = True) -> list[str]:
    """Jobs as their ``submit`` leaves them, a thousand in one call."""
    assert isinstance(engine.datastore, RedisDatastore)
    now = to_text(engine.clock.now())
    uuids = [new_uuid() for _ in range(count)]
    for start in range(0, count, 1_000):
        commands = []
        pipeline = raw_client(url).pipeline(transaction=False)
        for uuid in uuids[start : start + 1_000]:
            document = new_document("test", 1.0, now, uuid)
            entry = f"{uuid}_0123456789ab"
            document |= {"status": "queued", "queueState": "queued", "queuedAt": now, "queueJobId": entry}
            commands.append({"command": "store", "token": "*", **stored(make_key(uuid), document)})
            if entries:
                pipeline.hset(f"rq:job:{entry}", "status", "queued")
                pipeline.rpush("rq:queue:default", entry)
        engine.datastore.server.call(commands, "a test")
        pipeline.execute()
    return uuids


@pytest.mark.parametrize(
    ("count", "looked_at"),
    [(600, 200), pytest.param(500_000, redelivery.LOOKED_AT, marks=[pytest.mark.long, pytest.mark.timeout(3600)])],
)
@pytest.mark.wide
def test_an_hour_of_many_waiting_jobs_on_rq(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch, count: int, looked_at: int
) -> None:
    """No job is put twice unless its entry is gone, and those that are gone are restored."""
    monkeypatch.setattr(redelivery, "LOOKED_AT", looked_at)
    url = real_url()
    engine = Engine(RedisDatastore(url, clock), RqQueue(url, clock=clock), clock)
    submitted = submit(engine, 10)
    fill(engine, url, count)
    gone = fill(engine, url, 20, entries=False)
    reconciler = Reconciler(engine, "first", clock)
    put: list[str] = []
    for _ in range(360):
        put += reconciler.sweep().put_again
        clock.advance(10)
    assert put == gone
    assert engine.queue.size() == len(submitted) + count + len(gone)
    engine.close()


def test_rq_empty_and_a_deleted_list(clock: ManualClock) -> None:
    """Jobs without entries, as after `rq empty` and DEL of RQ's list, are put again."""
    queue = fake_queue(fakeredis.FakeServer(), clock)
    engine = Engine(MemoryDatastore(), queue, clock)
    reconciler = Reconciler(engine, "first", clock)
    emptied = submit(engine, 3)
    queue._rq_queue().empty()
    assert reconciler.sweep().put_again == emptied
    queue._client().delete("rq:queue:default")
    later = submit(engine, 2)
    assert reconciler.sweep().put_again == emptied
    assert sorted(take(engine)) == sorted([*emptied, *later])
    queue.close()
