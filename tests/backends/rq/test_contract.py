"""The queue contract over RQ queues, in this process and on a real server."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import fakeredis
import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from packaging.requirements import Requirement

import zerog
from tests.backends.rq.queues import fake_queue, real_url
from tests.contracts.bad_entries import Writers, bad_entries
from zerog.backends.rq.queue import RqQueue
from zerog.contracts.queue import Queue
from zerog.testing.contracts.queue import QueueContract
from zerog.testing.contracts.queue.machine import queue_machine


class RqContract(QueueContract):
    has_priorities = False

    def put_raw(self, queue: Queue, body: Any) -> None:
        assert isinstance(queue, RqQueue)
        queue.server.client().rpush("rq:queue:default", body)

    def bad_entries(self, queue: Queue) -> Writers:
        return bad_entries(queue)


@pytest.mark.wide
class TestFake(RqContract):
    @pytest.fixture
    def fake(self) -> fakeredis.FakeServer:
        return fakeredis.FakeServer()

    @pytest.fixture
    def queue(self, fake, clock) -> Queue:
        return fake_queue(fake, clock)

    @pytest.fixture
    def another(self, fake, queue, clock) -> Queue:
        return fake_queue(fake, clock)


class TestReal(RqContract):
    @pytest.fixture
    def url(self) -> str:
        return real_url()

    @pytest.fixture
    def queue(self, url, clock):
        queue = RqQueue(url, clock=clock)
        yield queue
        queue.close()

    @pytest.fixture
    def another(self, url, queue, clock):
        another = RqQueue(url, clock=clock)
        yield another
        another.close()


def test_model() -> None:
    """An RQ list keeps no place for what several consumers return, so that only the weaker rules hold."""
    machine = queue_machine(lambda clock: fake_queue(fakeredis.FakeServer(), clock), lossy=True)
    run_state_machine_as_test(machine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None))


def test_a_list_of_rqs_own_is_no_queue() -> None:
    """Its jobs would be mixed with those that RQ's workers have just taken from another queue; nothing is stored."""
    app = zerog.App(datastore="memory://", queue=fake_queue(fakeredis.FakeServer()))
    app.register(Plain)
    with pytest.raises(zerog.InvalidValue, match="names a list that RQ keeps"):
        app.submit(Plain, queue="default:intermediate")
    assert list(app.jobs()) == []


def test_only_releases_whose_internals_are_known_are_installed() -> None:
    """Its worker's classes are overridden in places that RQ doesn't promise to keep."""
    wanted = [Requirement(each) for each in importlib.metadata.requires("zerog") or ()]
    found = [each.specifier for each in wanted if each.name == "rq"]
    assert found
    for specifier in found:
        assert specifier.contains(importlib.metadata.version("rq"))
        assert not any(specifier.contains(version) for version in ("2.9", "3.1", "4.0"))


class Plain(zerog.BaseJob):
    JOB_TYPE = "plain"

    def run(self) -> None:
        raise NotImplementedError
