"""RQ queues while their server is away, hangs, refuses, or restarts empty."""

from __future__ import annotations

import signal
import time

import pytest

import zerog
from tests.backends.redis.servers import started
from tests.backends.rq.queues import real_url
from tests.processes import stretched
from zerog.backends.rq.queue import RqQueue
from zerog.exceptions import ConfigurationError, QueueUnavailable, ReservationLost
from zerog.records.job import new_uuid


@pytest.fixture
def server():
    server = started("valkey", "--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.kill()


def test_restart(server) -> None:
    """While the server is gone every verb reports it; afterwards the same objects work again."""
    queue = RqQueue(server.url())
    uuid, other = new_uuid(), new_uuid()
    queue.put(uuid)
    queue.put(other)
    reservation = queue.reserve()
    server.kill()
    for call in (lambda: queue.put(new_uuid()), queue.reserve, queue.size, reservation.delete, queue.tidy):
        with pytest.raises(QueueUnavailable, match=str(server.port)):
            call()
    server.start()
    assert queue.size() == 2
    reservation.delete()
    assert queue.reserve(1).uuid == other
    queue.close()


def test_a_hung_server(server) -> None:
    """No call waits longer than the URL's timeout, beside the second of a blocking pop."""
    queue = RqQueue(server.url(timeout=0.3))
    queue.put(new_uuid())
    server.signal(signal.SIGSTOP)
    began = time.monotonic()
    for call in (lambda: queue.put(new_uuid()), queue.reserve):
        with pytest.raises(QueueUnavailable, match="Timeout"):
            call()
    server.signal(signal.SIGCONT)
    assert time.monotonic() - began < stretched(5)
    assert queue.reserve(2) is not None
    queue.close()


def test_a_put_whose_answer_is_lost_can_be_repeated(server) -> None:
    """It may then be there twice, which the document distinguishes from a second job."""
    queue = RqQueue(server.url(timeout=0.3))
    uuid = new_uuid()
    queue.size()
    server.signal(signal.SIGSTOP)
    with pytest.raises(QueueUnavailable):
        queue.put(uuid)
    server.signal(signal.SIGCONT)
    queue.put(uuid)
    reservations = [queue.reserve(1), queue.reserve()]
    assert {reservation.uuid for reservation in reservations if reservation} == {uuid}
    queue.close()


def test_a_full_server(server) -> None:
    queue = RqQueue(server.url())
    queue.server.client().config_set("maxmemory", 1)
    with pytest.raises(QueueUnavailable, match="maxmemory"):
        queue.put(new_uuid())
    queue.server.client().config_set("maxmemory", 0)
    assert queue.put(new_uuid())
    queue.close()


def test_a_wrong_password(server) -> None:
    queue = RqQueue(server.url())
    queue.server.client().config_set("requirepass", "s3cret-of-the-server")
    queue.close()
    wrong = RqQueue(server.url().replace("redis://", "redis://:s3cret-of-mine@"))
    with pytest.raises(ConfigurationError) as caught:
        wrong.put(new_uuid())
    assert "s3cret" not in str(caught.value) and "s3cret" not in repr(wrong)
    right = RqQueue(server.url().replace("redis://", "redis://:s3cret-of-the-server@"))
    assert right.put(new_uuid())
    right.close()


def test_a_flushed_database() -> None:
    """An earlier reservation is another consumer's then, and the queue works on."""
    queue = RqQueue(real_url())
    queue.put(new_uuid())
    reservation = queue.reserve()
    queue.server.client().flushdb()
    with pytest.raises(ReservationLost):
        reservation.delete()
    assert queue.size() == 0 and queue.put(new_uuid())
    queue.close()


def test_submit_while_the_queue_is_away(server, tmp_path) -> None:
    """The job is accepted, and delivered later."""
    app = zerog.App(datastore=f"sqlite:///{tmp_path}/jobs.db", queue=f"rq+{server.url()}")

    class Small(zerog.BaseJob):
        JOB_TYPE = "small"

        def run(self):
            return 200

    app.register(Small)
    server.kill()
    job = app.submit("small")
    assert (job.queueState, job.queueJobId) == ("pending", -1)
    server.start()
    app.engine.put_again_all([job.uuid], "the queue is back")
    assert zerog.Worker(app).run(burst=True).succeeded == 1
    app.close()


def test_urls(tmp_path) -> None:
    """One URL configures both parts on one server; with two, each part has its own."""
    url = real_url()
    app = zerog.App(f"rq+{url}")
    assert [type(part).__name__ for part in (app.datastore, app.queue)] == ["RedisDatastore", "RqQueue"]
    app.close()
    apart = zerog.App(datastore=url, queue=f"rq+{url}")
    assert [type(part).__name__ for part in (apart.datastore, apart.queue)] == ["RedisDatastore", "RqQueue"]
    apart.close()
    for wrong in ("rq+redis://h:port/0", "rq+redis://h/0?no=1", "rq+http://h/"):
        with pytest.raises(ConfigurationError):
            zerog.App(datastore=f"sqlite:///{tmp_path}/jobs.db", queue=wrong)
    with pytest.raises(ConfigurationError, match="names no datastore"):
        zerog.App(datastore=f"rq+{url}", queue=f"rq+{real_url()}")


def test_a_socket_in_the_file_system(tmp_path) -> None:
    server = started("valkey", "--unixsocket", "s")
    app = zerog.App(f"rq+unix://{server.folder}/s?db=1")
    uuid = new_uuid()
    app.queue.put(uuid)
    assert app.queue.reserve().uuid == uuid
    app.close()
    server.kill()
