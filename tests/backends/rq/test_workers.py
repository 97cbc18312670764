"""Both consumers, as processes on a real server."""

from __future__ import annotations

import pytest

from tests.marks import wide
from zerog.fleet.heartbeat import WorkerRecords
from zerog.records.job import new_uuid

KINDS = ["rq.Worker", "rq.worker.SpawnWorker", "rq.SimpleWorker"]
OWN = ["zerog.rqworker.ZerogWorker", "zerog.rqworker.ZerogSpawnWorker", "zerog.rqworker.ZerogSimpleWorker"]


@pytest.mark.parametrize("kind", ["rq.Worker", *wide(*KINDS[1:], *OWN)])
def test_workers_of_rq(site, kind: str) -> None:
    """Each kind of worker runs, requeues and settles jobs, and leaves nothing in RQ's registries."""
    uuids = [site.line(), site.app.submit("twice").uuid, site.app.submit("fails").uuid]
    worker = site.worker(kind)
    assert site.until_ended(*uuids) == ["succeeded", "succeeded", "failed"]
    site.until(site.is_clean)
    _, pid, parent = site.written()[0]
    assert (pid if "Simple" in kind else parent) == str(worker.pid)
    assert site.stop(worker) == 0
    assert site.app.progress(uuids[1])["attempts"] == 2
    assert not WorkerRecords(site.app.engine).directory()


@pytest.mark.parametrize("kind", [OWN[0], *wide(*OWN[1:])])
def test_max_jobs_of_rq_ends_zerogs_classes(site, kind: str) -> None:
    """With 0, after that many runs; the rest is there for the next worker."""
    uuids = [site.line() for _ in range(3)]
    assert site.worker(kind, "--max-jobs", "2").wait(40) == 0
    assert [site.app.progress(uuid)["status"] for uuid in uuids] == ["succeeded", "succeeded", "queued"]
    assert site.worker(kind, "--max-jobs", "1").wait(40) == 0
    assert site.until_ended(*uuids) == ["succeeded"] * 3


@pytest.mark.parametrize("kind", ["rq.Worker", *wide("rq.SimpleWorker", "zerog.rqworker.ZerogWorker")])
def test_a_resource_is_closed_with_the_job_that_opened_it(site, kind: str) -> None:
    """RQ's worker leaves its forks in a way in which nothing else would close it."""
    closed = site.folder / "closed"
    worker = site.worker(kind, ZEROG_TEST_CLOSED=str(closed))
    for count in (1, 2):
        uuid = site.app.submit("shares").uuid
        assert site.until_ended(uuid) == ["succeeded"]
        site.until(lambda count=count: closed.exists() and closed.read_text() == "closed\n" * count)
    assert site.stop(worker) == 0


def test_worker_of_zerog(site) -> None:
    uuids = [site.line(), site.app.submit("twice", {"delay": 0.5}).uuid, site.app.submit("fails").uuid]
    worker = site.zerog_worker()
    assert site.until_ended(*uuids) == ["succeeded", "succeeded", "failed"]
    site.until(site.is_clean)
    assert site.stop(worker) == 0


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.wide
def test_bad_entries_end_no_worker(site, kind: str) -> None:
    """Ids that are no text, keys that are no jobs, payloads of any form: the worker continues with what is behind."""
    key = "rq:queue:default"
    for entry in (b"\xff\x00", b"", b"x" * 100_000):
        site.redis.rpush(key, entry)
    for number, data in enumerate(
        (b"5", b"[]", b'"x"', b"null", b"{}", b"[1,2,3,4,5]", b"\xff", b'["a",null,null,null]')
    ):
        entry = f"{new_uuid()}_{number:012d}"
        site.redis.hset(
            f"rq:job:{entry}", mapping={"data": data, "status": "queued", "created_at": "2026-01-01T00:00:00Z"}
        )
        site.redis.rpush(key, entry)
    for field, value in (
        ("created_at", "soon"),
        ("timeout", "x"),
        ("meta", b"\xff"),
        ("result_ttl", "x"),
        ("status", "odd"),
    ):
        entry = f"{new_uuid()}_{'0' * 12}"
        site.redis.hset(f"rq:job:{entry}", mapping={"data": b"5", "created_at": "2026-01-01T00:00:00Z", field: value})
        site.redis.rpush(key, entry)
    entry = f"{new_uuid()}_{'1' * 12}"
    site.redis.set(f"rq:job:{entry}", "x")
    site.redis.rpush(key, entry)
    uuid = site.line()
    worker = site.worker(kind)
    assert site.until_ended(uuid) == ["succeeded"]
    assert worker.poll() is None
    assert site.redis.llen(key) == 0
    assert site.stop(worker) == 0
