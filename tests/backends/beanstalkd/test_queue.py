"""The queue contract over beanstalkd, on a real server whose time is the test's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.backends.beanstalkd.servers import clocked_queue, fresh_url
from tests.contracts.bad_entries import Writers, bad_entries
from zerog.backends.beanstalkd.queue import BeanstalkdQueue
from zerog.contracts.queue import Queue
from zerog.exceptions import ReservationLost
from zerog.testing.clock import ManualClock
from zerog.testing.contracts.queue import QueueContract
from zerog.testing.contracts.queue.machine import queue_machine


class TestContract(QueueContract):
    knows_lowest = False

    @pytest.fixture
    def url(self) -> str:
        return fresh_url()

    @pytest.fixture
    def queue(self, url: str, clock: ManualClock) -> Iterator[Queue]:
        queue = clocked_queue(url, clock)
        yield queue
        queue.close()

    @pytest.fixture
    def another(self, url: str, queue: Queue, clock: ManualClock) -> Iterator[Queue]:
        another = clocked_queue(url, clock)
        yield another
        another.close()

    def put_raw(self, queue: Queue, body: Any) -> None:
        assert isinstance(queue, BeanstalkdQueue)
        with queue.server.connection(queue.tube, "a test") as connection:
            connection.client.put(body.encode())

    def bad_entries(self, queue: Queue) -> Writers:
        return bad_entries(queue)


def test_model() -> None:
    """It can't find its lowest priority, and only the next entry's, so that only the weaker rules hold."""
    machine = queue_machine(lambda clock: clocked_queue(fresh_url(), clock), lossy=True)

    class Machine(machine):  # type: ignore[valid-type, misc]
        def teardown(self) -> None:
            for reservation in self.held:
                with suppress(ReservationLost):
                    reservation.delete()
            super().teardown()

    run_state_machine_as_test(Machine, settings=settings(max_examples=20, stateful_step_count=30, deadline=None))
