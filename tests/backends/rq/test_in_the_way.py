"""Obstacles to a reservation, and the cost of an idle consumer."""

from __future__ import annotations

import logging

import pytest
import rq
from rq.suspension import resume, suspend

from tests.backends.rq.queues import real_url
from zerog.backends.rq.queue import RqQueue
from zerog.backends.rq.scripts import WINDOW
from zerog.records.job import new_uuid


@pytest.fixture
def queue():
    queue = RqQueue(real_url())
    yield queue
    queue.close()


def calls(queue: RqQueue) -> int:
    """The number of commands that the server has had for scripts and pops."""
    stats = queue.server.client().info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "blmove"))


def foreign(queue: RqQueue, count: int) -> None:
    jobs = [rq.Queue.prepare_data("os.getpid") for _ in range(count)]
    rq.Queue("default", connection=queue.server.client()).enqueue_many(jobs)


def test_foreign_jobs_are_skipped(queue: RqQueue) -> None:
    foreign(queue, WINDOW - 1)
    uuids = [new_uuid() for _ in range(3)]
    for uuid in uuids[:2]:
        queue.put(uuid)
    reservations = [queue.reserve(), queue.reserve()]
    assert [reservation.uuid for reservation in reservations if reservation] == uuids[:2]
    foreign(queue, 2)
    queue.put(uuids[2])
    assert queue.reserve() is None, "farther back than reserve looks"
    assert queue.rejected == 0


def test_a_wait_for_an_empty_queue_costs_a_script_and_a_pop(queue: RqQueue) -> None:
    """The pop has seen all that was put, so nothing is looked for when it ends."""
    queue.reserve()
    before = calls(queue)
    assert queue.reserve(0.2) is None
    assert calls(queue) - before == 2


def test_a_wait_is_ended_by_what_becomes_due(queue: RqQueue) -> None:
    """Also in its last moment."""
    queue.reserve()
    uuid = new_uuid()
    queue.put(uuid, delay=0.3)
    reservation = queue.reserve(20)
    assert reservation is not None
    assert reservation.uuid == uuid


def test_waiting_behind_foreign_jobs_does_not_spin(queue: RqQueue, caplog: pytest.LogCaptureFixture) -> None:
    """It is polled a few times a second, and logged once."""
    foreign(queue, 1)
    with caplog.at_level(logging.WARNING, "zerog"):
        before = calls(queue)
        assert queue.reserve(1) is None
        assert calls(queue) - before < 12
        assert queue.reserve() is None
    assert [record.getMessage() for record in caplog.records] == [
        "queue default: there are RQ jobs of others, which are left to RQ's workers"
    ]


def test_an_idle_consumer_polls_twice_a_second(queue: RqQueue) -> None:
    queue.reserve()
    before = calls(queue)
    assert queue.reserve(2) is None
    assert calls(queue) - before <= 6


def test_suspension_is_logged_once(queue: RqQueue, caplog: pytest.LogCaptureFixture) -> None:
    uuid = new_uuid()
    queue.put(uuid)
    suspend(queue.server.client())
    with caplog.at_level(logging.WARNING, "zerog"):
        assert queue.reserve(0.5) is None and queue.reserve() is None
    assert [record.getMessage() for record in caplog.records] == [
        "queue default: RQ is suspended, nothing is taken until `rq resume`"
    ]
    resume(queue.server.client())
    assert queue.reserve().uuid == uuid
