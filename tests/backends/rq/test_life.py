"""Jobs and RQ's own books when consumers die, stop, deliver twice or can't do their work."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import rq

from tests.backends.rq.queues import raw_client, real_url
from zerog.backends.rq.queue import RqQueue
from zerog.records.job import new_uuid
from zerog.records.keys import SWEEPER

pytestmark = pytest.mark.wide

OWN = "zerog.rqworker.ZerogWorker"


def hold(site) -> str:
    """A job that runs until it is released; submitted, not begun."""
    return site.line(until=str(site.flag))


def age_executions(site) -> None:
    """Age executions past the time after which RQ gives them up without a heartbeat."""
    for entry, _ in site.redis.zrange("rq:wip:default", 0, -1, withscores=True):
        site.redis.zadd("rq:wip:default", {entry: time.time() - 1}, xx=True)


def kill_all(site, worker) -> None:
    """SIGKILL to one of RQ's workers and to the process that has its job."""
    [[_, pid, _]] = site.written()
    site.kill(worker)
    if int(pid) != worker.pid:
        os.kill(int(pid), 9)


@pytest.mark.parametrize("kind", ["rq.Worker", "rq.SimpleWorker", OWN])
def test_kill_of_rqs_worker(site, kind: str) -> None:
    """The job is resumed by reconcile, and RQ's registries are clean; there is no wait for RQ's ten minutes."""
    uuid = hold(site)
    worker = site.worker(kind)
    site.until(site.written)
    site.until(lambda: site.registries()["wip"] == 1)
    assert "1 executing" in site.rq_output("info", "--only-queues")
    kill_all(site, worker)
    age_executions(site)
    site.flag.touch()
    site.zerog_worker()
    assert site.until_ended(uuid) == ["succeeded"]
    site.until(site.is_clean)
    progress = site.app.info(uuid)
    assert (progress["attempts"], site.app.get_job(uuid).lost, len(site.written())) == (2, 1, 2)
    printed = site.rq_output("info", "--only-queues")
    assert "0, 0 executing, 0 finished, 0 failed" in printed


def test_rq_info_after_a_kill_calls_nothing_failed_for_long(site) -> None:
    """RQ's own cleaning may be first: what it calls failed is gone again after a minute."""
    hold(site)
    worker = site.worker("rq.SimpleWorker")
    site.until(site.written)
    site.until(lambda: site.redis.zrange("rq:wip:default", 0, 0, withscores=True)[0][1] < time.time() + 61)
    kill_all(site, worker)
    age_executions(site)
    assert "1 failed" in site.rq_output("info", "--only-queues")
    [(entry, until_when)] = site.redis.zrange("rq:failed:default", 0, -1, withscores=True)
    assert until_when <= time.time() + 60
    assert 0 < site.redis.ttl(f"rq:job:{entry.decode()}") <= 60


def test_kill_of_zerogs_worker(site) -> None:
    uuid = hold(site)
    worker = site.zerog_worker()
    site.until(site.written)
    assert site.is_clean()  # acknowledged as soon as it was claimed
    site.kill(worker)
    site.flag.touch()
    site.zerog_worker()
    assert site.until_ended(uuid) == ["succeeded"]
    assert site.app.get_job(uuid).lost == 1
    site.until(site.is_clean)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rq.Worker", "rq.worker.SpawnWorker", "rq.SimpleWorker", OWN])
def test_registries_after_kills_in_real_time(site, kind: str) -> None:
    """Within two minutes, in real time."""
    uuid = hold(site)
    worker = site.worker(kind)
    site.until(site.written)
    kill_all(site, worker)
    killed = time.monotonic()
    site.flag.touch()
    site.zerog_worker()
    assert site.until_ended(uuid) == ["succeeded"]
    site.until(site.is_clean, 120 - (time.monotonic() - killed))
    site.until(lambda: "0 workers" in site.rq_output("info", "--only-workers"), 120 - (time.monotonic() - killed))


def test_taken_and_not_begun(site) -> None:
    """An entry that one of RQ's workers took and never began is back after a minute."""
    uuid = site.line()
    site.redis.blmove("rq:queue:default", "rq:queue:default:intermediate", 1)
    queue = site.app.queue
    queue.tidy()
    assert queue.reserve() is None
    [key] = site.redis.keys("rq:queue:default:intermediate:first_seen:*")
    site.redis.set(key, time.time() - 61)
    queue.tidy()
    reservation = queue.reserve()
    assert reservation.uuid == uuid
    reservation.delete()
    assert site.is_clean() and not site.redis.keys("*first_seen*")


def test_popped_and_not_reserved() -> None:
    """An entry whose consumer died between a blocking pop and its reservation isn't lost."""
    url = real_url()
    queue, client = RqQueue(url), raw_client(url)
    uuid = new_uuid()
    queue.put(uuid, ttr=5)
    client.blmove("rq:queue:default", "rq:zerog:popped:default", 1)
    assert queue.reserve() is None
    queue.tidy()
    assert queue.size() == 1 and queue.reserve() is None
    client.zadd("rq:zerog:reserved:default", dict.fromkeys(client.zrange("rq:zerog:reserved:default", 0, -1), 1))
    assert queue.reserve().uuid == uuid
    queue.close()


def test_suspend(site) -> None:
    """``rq suspend`` stops both consumers, ``rq resume`` resumes them."""
    site.rq_output("suspend")
    uuids = [site.line() for _ in range(3)]
    site.zerog_worker()
    assert site.app.queue.reserve(0.3) is None
    site.until(lambda: (site.app.datastore.read(SWEEPER) or {}).get("beat", 0) >= 5)
    assert site.registries()["waiting"] == 3, "what is withheld was taken for lost and put again"
    assert not site.written()
    site.rq_output("resume")
    assert set(site.until_ended(*uuids)) == {"succeeded"}


@pytest.mark.parametrize("kind", ["zerog", OWN])
def test_delays(site, kind: str) -> None:
    """Delayed jobs wait in RQ's scheduled registry; RQ's scheduler or ``zerog worker`` enqueues them when due."""
    started = time.time()
    uuid = site.app.submit("line", {"path": str(site.lines)}, delay=1.5).uuid
    assert site.registries()["scheduled"] == 1
    worker = site.zerog_worker() if kind == "zerog" else site.worker(kind, "--with-scheduler")
    assert site.until_ended(uuid) == ["succeeded"]
    assert site.lines.stat().st_mtime - started >= 1.5
    site.until(site.is_clean)
    assert site.app.engine.counters["released.early"] == 0
    site.stop(worker)


def test_both_schedulers_move_one_entry(site) -> None:
    """RQ's scheduler reads and moves in two steps; an id that it has moved once more is not delivered twice."""
    queue = site.app.queue
    identity = queue.put(new_uuid())
    site.redis.rpush("rq:queue:default", identity)
    reservation = queue.reserve()
    assert queue.reserve() is None
    reservation.delete()
    assert site.is_clean() and queue.size() == 0


@pytest.mark.parametrize("kind", ["zerog", "rq.SimpleWorker"])
def test_deliveries_that_are_none(site, kind: str) -> None:
    """Of a job that runs or has ended, or that is unknown: dropped. Too early: put back."""
    uuid = site.line()
    site.app.queue.put(uuid)
    site.app.queue.put(new_uuid())
    later = site.app.submit("line", {"path": str(site.lines)}, delay=2).uuid
    site.app.queue.put(later)
    site.zerog_worker() if kind == "zerog" else site.worker(kind, "--with-scheduler")
    assert site.until_ended(uuid, later) == ["succeeded"] * 2
    site.until(site.is_clean)
    assert [line[0] for line in site.written()] == [uuid, later]


@pytest.mark.parametrize(
    ("kind", "environment", "message"),
    [
        ("rq.Worker", {"ZEROG_APP": ""}, "ZEROG_APP is not set"),
        ("rq.SimpleWorker", {"ZEROG_APP": "no_such_module:app"}, "there is no module no_such_module"),
        ("rq.SimpleWorker", {"ZEROG_LEASE": "soon"}, "ZEROG_LEASE='soon'"),
        ("rq.SimpleWorker", {"ZEROG_TEST_QUEUE": "sqlite:///{folder}/other.db"}, "rq+redis:// only"),
    ],
)
def test_broken_environment(site, tmp_path: Path, kind: str, environment: dict[str, str], message: str) -> None:
    """The entry fails visibly in RQ, the job still waits, and reconcile puts it back for a worker that can."""
    uuid = site.line()
    worker = site.worker(kind, **{name: value.format(folder=tmp_path) for name, value in environment.items()})
    site.until(lambda: site.registries()["failed"] == 1)
    [(_, until_when)] = site.redis.zrange("rq:failed:default", 0, -1, withscores=True)
    assert until_when > time.time() + 3600
    [entry] = rq.Queue("default", connection=site.redis, serializer="json").failed_job_registry.get_job_ids()
    result = rq.job.Job.fetch(entry, connection=site.redis, serializer="json").latest_result()
    assert message in result.exc_string
    assert site.status(uuid) == "queued"
    site.app.queue.put(uuid)  # as reconcile will, again and again
    site.until(lambda: site.redis.zrange("rq:failed:default", 0, -1) not in ([], [entry.encode()]))
    site.until(lambda: site.registries()["wip"] == 0)
    assert (site.registries()["failed"], site.registries()["jobs"]) == (1, 1)
    site.stop(worker)


def test_own_workers_fail_at_their_start(site) -> None:
    site.line()
    worker = site.worker(OWN, ZEROG_APP="")
    assert worker.wait(20) == 1
    assert "ZEROG_APP is not set" in site.log.read_text()
    assert site.registries()["waiting"] == 1


def test_queues_in_order_of_priority(site) -> None:
    low = [site.app.submit("line", {"path": str(site.lines)}, queue="low").uuid for _ in range(3)]
    high = [site.app.submit("line", {"path": str(site.lines)}, queue="high").uuid for _ in range(3)]
    urgent = site.app.submit("line", {"path": str(site.lines)}, queue="high", priority=1).uuid
    assert "high" in site.rq_output("info") and "low" in site.rq_output("info")
    site.zerog_worker("--queues", "high,low")
    site.until_ended(*low, *high)
    assert [line[0] for line in site.written()] == [urgent, *high, *low]


def test_stopped_job_runs_again(site) -> None:
    """A run whose RQ worker is ordered to stop at once is released, uncounted."""
    uuid = hold(site)
    worker = site.worker("rq.SimpleWorker")
    site.until(site.written)
    # The first signal has RQ wait for the job; it takes two within a second for one.
    site.until(lambda: worker.terminate() or worker.poll() is not None)
    site.until(lambda: site.status(uuid) == "queued")
    job = site.app.get_job(uuid)
    assert (job.lost, job.crashes, job.attempts) == (0, 0, 0)


@pytest.mark.parametrize("kind", [OWN, "zerog.rqworker.ZerogSpawnWorker", "zerog.rqworker.ZerogSimpleWorker"])
def test_a_job_is_notified_of_a_shutdown(site, kind: str) -> None:
    """A job that checks ``stopping`` leaves in time, and costs nothing."""
    uuid = site.app.submit("patient", {"path": str(site.lines)}).uuid
    worker = site.worker(kind)
    site.until(site.written)
    assert site.stop(worker) == 0
    job = site.app.get_job(uuid)
    assert (job.status, job.attempts, job.lost, job.errorCount) == ("queued", 0, 0, 0)
    assert site.registries() == {**dict.fromkeys(site.registries(), 0), "waiting": 1, "jobs": 1}


@pytest.mark.parametrize("kind", [OWN, "zerog.rqworker.ZerogSimpleWorker", "rq.Worker"])
def test_a_soft_limit_and_a_cancellation_reach_the_job(site, kind: str) -> None:
    """Both at its next tick, also of a job that writes nothing."""
    limited = site.app.submit("limited", {"path": str(site.lines)}).uuid
    ticking = site.app.submit("ticking", {"path": str(site.lines)}).uuid
    site.worker(kind)
    site.until(lambda: len(site.written()) == 2)
    assert site.app.cancel(ticking) == "running"
    assert site.until_ended(limited, ticking) == ["failed", "cancelled"]
    assert [error.type for error in site.app.get_job(limited).errors] == ["SoftTimeout"]


@pytest.mark.parametrize("kind", [OWN, "zerog.rqworker.ZerogSimpleWorker"])
def test_a_shutdown_stops_what_it_is_to_stop(site, kind: str) -> None:
    uuid = site.app.submit("stopped", {"path": str(site.lines)}).uuid
    worker = site.worker(kind)
    site.until(site.written)
    assert site.stop(worker) == 0
    job = site.app.get_job(uuid)
    assert (job.status, job.resultCode) == ("cancelled", 410)
    assert "stopped by the shutdown" in job.events[0]["msg"]


def test_a_fork_opens_its_own_connections() -> None:
    queue = RqQueue(real_url())
    uuid = new_uuid()
    queue.put(uuid)
    mine = queue._client().client_id()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, f"{queue._client().client_id()} {queue.reserve().uuid}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    theirs, reserved = os.read(reader, 200).decode().split()
    os.close(reader)
    os.close(writer)
    assert (int(theirs) != mine, reserved) == (True, uuid)
    assert queue._client().client_id() == mine
    queue.close()


def test_a_long_patience_of_rqs_is_cut(site) -> None:
    """An entry whose worker died before its first heartbeat doesn't stay executing for RQ's seven minutes."""
    uuid = site.line()
    queue = site.app.queue
    [identity] = site.redis.lrange("rq:queue:default", 0, -1)
    site.redis.delete("rq:queue:default")
    site.redis.zadd("rq:wip:default", {identity + b":e": time.time() + 420, b"of-others:e": time.time() + 420})
    queue.tidy()
    scores = dict(site.redis.zrange("rq:wip:default", 0, -1, withscores=True))
    assert scores[identity + b":e"] <= time.time() + 75
    assert scores[b"of-others:e"] > time.time() + 400
    age_executions(site)
    queue.tidy()
    assert queue.reserve().uuid == uuid
    assert site.redis.zrange("rq:wip:default", 0, -1) == [b"of-others:e"]


@pytest.mark.parametrize(("limit", "error"), [("timeout", "Timeout"), ("soft_timeout", "SoftTimeout")])
def test_the_limits_of_one_job_hold(site, limit: str, error: str) -> None:
    """A hard one takes the job from its run, which its next tick ends; the worker runs the next job."""
    limited = site.app.submit("ticking", {"path": str(site.folder / "lines")}, **{limit: 0.5}).uuid
    worker = site.worker("rq.Worker")
    assert site.until_ended(limited) == ["failed"]
    assert [each.type for each in site.app.get_job(limited).errors] == [error]
    assert site.until_ended(site.line()) == ["succeeded"]
    assert site.stop(worker) == 0
