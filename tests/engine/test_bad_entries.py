"""Entries that lead to no job, before the claims of each engine that has its own queues."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from tests.backends.rq.queues import raw_client, real_url
from tests.contracts.bad_entries import bad_entries
from tests.engine.engines import KINDS
from tests.engine.faulty_datastore import ALICE, submit
from tests.marks import wide
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.rq.queue import RqQueue
from zerog.engine.engine import Engine
from zerog.exceptions import QueueError
from zerog.maintenance.reconcile import Reconciler
from zerog.records.job import new_uuid
from zerog.testing.clock import ManualClock

OWN = ("memory", "sqlite", "two-files", "redis", "redis-looking", "rq")


@pytest.mark.parametrize("kind", [*OWN, *wide("beanstalkd")])
def test_bad_entries_block_no_job(kind: str, tmp_path: Path) -> None:
    """Whatever is written among the entries, jobs before and behind it are claimed, and the sweep continues."""
    clock = ManualClock()
    engine = KINDS[kind].open(tmp_path, clock)
    reconciler = Reconciler(engine, "sweeper", clock)
    for name, write in bad_entries(engine.queue).items():
        before = submit(engine)
        write()
        behind = submit(engine)
        claimed = [claim.uuid for claim in engine.claim(10, ALICE, lambda head: None)]
        assert sorted(claimed) == sorted([before, behind]), name
        assert engine.claim(10, ALICE, lambda head: None) == [], name
        assert reconciler.sweep().put_again == [], name
        assert engine.queue.size() == 0, name
    engine.close()


@pytest.mark.parametrize("kind", ["redis", "redis-looking"])
@pytest.mark.parametrize("place", ["ready", "later", "held", "seq"])
def test_a_key_that_is_no_queue_s_ends_no_worker(kind: str, place: str, tmp_path: Path) -> None:
    """It is reported as an outage, and over once the key is gone."""
    clock = ManualClock()
    engine = KINDS[kind].open(tmp_path, clock)
    server = engine.queue.server  # type: ignore[attr-defined]
    key = f"{server.prefix}q:default:{place}"
    server.ask("a test", "SET", key, "x")
    for _ in range(2):
        with suppress(QueueError):
            assert engine.claim(1, ALICE, lambda head: None) == []
    server.ask("a test", "DEL", key)
    uuid = submit(engine)
    assert [claim.uuid for claim in engine.claim(1, ALICE, lambda head: None)] == [uuid]
    engine.close()


@pytest.mark.parametrize("field", ["zerog_ttr", "status", "enqueue_at_front", None])
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "x", "9" * 400, b"\xff"], ids=lambda value: str(value[:4]))
def test_what_a_job_of_rq_holds_blocks_no_job(field: str | None, value: str) -> None:
    """Its fields may be anything, and so may its key: the entry is delivered all the same, and can be judged."""
    clock = ManualClock()
    url = real_url()
    engine = Engine(MemoryDatastore(), RqQueue(url, clock=clock), clock)
    uuids = [submit(engine), submit(engine)]
    job = f"rq:job:{engine.read(uuids[0])[0]['queueJobId']}"
    client = raw_client(url)
    if field is None:
        client.set(job, value)
    else:
        client.hset(job, field, value)
    reconciler = Reconciler(engine, "sweeper", clock)
    for _ in range(3):
        reservation = engine.queue.reserve()
        assert reservation is not None
        reservation.release(1)
        clock.advance(2)
        assert uuids[1] not in reconciler.sweep().put_again
    engine.queue.tidy()  # type: ignore[attr-defined]
    assert sorted(claim.uuid for claim in engine.claim(5, ALICE, lambda head: None)) == sorted(uuids)
    assert engine.claim(5, ALICE, lambda head: None) == []
    engine.close()


def test_an_entry_that_was_set_aside_is_put_again(tmp_path: Path) -> None:
    """Its job waits, and its queue doesn't hold it any more."""
    clock = ManualClock()
    engine = KINDS["sqlite"].open(tmp_path, clock)
    uuid = submit(engine)
    with engine.queue.file.writing() as sqlite:  # type: ignore[attr-defined]
        sqlite.execute("UPDATE zerog_queue SET ttr = 'long'")
    engine.queue.put(new_uuid())
    assert engine.claim(1, ALICE, lambda head: None) == []
    assert Reconciler(engine, "sweeper", clock).sweep().put_again == [uuid]
    assert [claim.uuid for claim in engine.claim(1, ALICE, lambda head: None)] == [uuid]
    engine.close()
