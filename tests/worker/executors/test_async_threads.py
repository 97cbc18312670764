"""Jobs that are tasks of an event loop, and write from other threads."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import zerog
from tests.worker.blocking_job import Gate, add, burst, document
from tests.worker.builders import Running
from zerog.backends.memory.queue import MemoryQueue
from zerog.exceptions import Cancelled, ClaimLost
from zerog.jobs.document import document_of


@pytest.fixture
def store() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


@pytest.fixture
def app(store: Gate) -> zerog.App:
    return zerog.App(datastore=store, queue=MemoryQueue())


def test_a_slow_write_in_a_thread_does_not_hold_up_the_loop(app: zerog.App, store: Gate) -> None:
    """``await asyncio.to_thread(self.update_attrs, …)``: the neighbour runs while the write hangs."""
    neighbour = threading.Event()

    async def slow(job: Any) -> Any:
        await asyncio.to_thread(job.update_attrs, completeness=0.5)
        return 200

    async def quick(job: Any) -> Any:
        neighbour.set()
        while not store.open.is_set():
            await asyncio.sleep(0.001)
        return 200

    uuid = add(app, slow, "slow")
    store.open.clear()
    with Running(app, executor="async", concurrency=2):
        assert store.waiting.wait(20)
        other = add(app, quick, "quick")
        assert neighbour.wait(20)
        store.open.set()
        assert app.wait(uuid, 20).status == app.wait(other, 20).status == "succeeded"


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Let Python switch threads as often as it can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("hasty_threads")
def test_writes_of_one_run_from_many_threads_are_all_stored(app: zerog.App) -> None:
    """Including saves, which are refused if their token is older than the run's own last write."""

    async def run(job: Any) -> Any:
        def save(number: int) -> None:
            job.headers = {**job.headers, str(number): "x"}
            job.save()

        writes = [asyncio.to_thread(job.record_event, f"event {n}") for n in range(200)]
        saves = [asyncio.to_thread(save, n) for n in range(50)]
        adds = [asyncio.to_thread(job.add_to_completeness, 1 / 200) for n in range(100)]
        await asyncio.gather(*writes, *saves, *adds)
        return 418

    uuid = add(app, run)
    burst(app)
    head = document(app, uuid)
    assert (head["resultCode"], head["errors"]) == (418, [])
    assert sorted(event["msg"] for event in head["events"]) == sorted(f"event {n}" for n in range(200))
    assert head["completeness"] == pytest.approx(0.5)


@pytest.mark.parametrize("what", ["cancelled", "claim lost"])
def test_what_a_write_in_a_thread_raises_reaches_the_run(app: zerog.App, what: str) -> None:
    seen: list[type[BaseException]] = []

    async def run(job: Any) -> Any:
        if job.attempts > 1:
            return 200
        if what == "cancelled":
            app.cancel(job.uuid)
        else:
            document_of(job).run.revoke("taken")
        try:
            await asyncio.to_thread(job.record_event, "x")
        except BaseException as error:
            seen.append(type(error))
            raise

    uuid = add(app, run)
    burst(app)
    expected = ([Cancelled], "cancelled", 0) if what == "cancelled" else ([ClaimLost], "succeeded", 1)
    head = document(app, uuid)
    assert (seen, head["status"], head["lost"]) == expected
