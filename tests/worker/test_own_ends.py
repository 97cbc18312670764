"""What a run decides itself: its own exception, the queue where the job waits next, a delay at a shutdown."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.worker.builders import Started
from tests.worker.worker_fixtures import EXECUTORS, Bed
from zerog.records.job import new_uuid
from zerog.testing.inline import run_inline


@pytest.fixture
def bed_of(tmp_path: Path) -> Iterator[Callable[[str], Bed]]:
    """Makes an app whose jobs run by this executor."""
    made: list[Bed] = []

    def make(executor: str) -> Bed:
        made.append(Bed(tmp_path, executor))
        return made[-1]

    yield make
    for bed in made:
        bed.app.close()


@pytest.mark.parametrize("executor", EXECUTORS)
def test_claim_lost_that_a_job_raises_itself_is_its_own_error(executor: str, bed_of: Any) -> None:
    """It still owns its job: nothing is lost, and MAX_ERRORS ends it."""

    def run(self: Any) -> None:
        raise zerog.ClaimLost("I made this up")

    info = bed_of(executor).run(run, MAX_ERRORS=2, BACKOFF=lambda *_: 0.0)
    assert (info["status"], info["attempts"]) == ("failed", 2)
    assert [error["msg"] for error in info["errors"]] == ["ClaimLost: I made this up"] * 2


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("flush", [True, False])
def test_a_run_moves_its_job_to_another_queue(executor: str, flush: bool, bed_of: Any) -> None:
    """It waits there, with its new priority, from the end of this run on."""

    def run(self: Any) -> Any:
        self.update_attrs(queueName="elsewhere", priority=7, flush=flush)
        return zerog.NO_RESULT

    bed = bed_of(executor)
    uuid = bed.submit(run)
    bed.work()
    head = bed.app.datastore.read(f"zerog_job_{uuid}")
    assert (head["status"], head["queueName"], head["priority"], head["attempts"]) == ("queued", "elsewhere", 7, 1)
    elsewhere = bed.app.engine.queue_named("elsewhere")
    elsewhere.put(new_uuid(), priority=6)
    reservation = elsewhere.reserve(0)
    assert reservation is not None and reservation.uuid == uuid
    assert bed.app.engine.queue_named("default").reserve(0) is None


@pytest.mark.parametrize(("value", "delay"), [((zerog.NO_RESULT, 3600), 3600.0), (zerog.NO_RESULT, 0.0)])
def test_a_delay_that_a_run_requests_holds_at_a_shutdown_too(value: Any, delay: float) -> None:
    """A deploy doesn't start what was to wait for an hour, and costs nothing either."""
    started = Started(lambda self: value)
    started.stopping.set()
    outcome = started.go()
    assert (outcome.kind, outcome.delay) == ("release", delay)
    job = started.settle(outcome)
    assert (job.notBefore is not None, job.continues, job.attempts) == (delay > 0, 0, 0)


def test_no_tick_of_several_threads_is_lost() -> None:
    interval = sys.getswitchinterval()

    class Ticks(zerog.BaseJob):
        JOB_TYPE = "ticks"

        def run(self) -> dict[str, float]:
            self.set_tick_value(0.0001)
            threads = [threading.Thread(target=lambda: [self.tick() for _ in range(500)]) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return {"sum": self.completeness + self.tickcount}

    app = zerog.App("memory://")
    app.register(Ticks)
    sys.setswitchinterval(1e-5)
    try:
        sums = [run_inline(app, app.submit(Ticks).uuid).output["sum"] for _ in range(5)]
    finally:
        sys.setswitchinterval(interval)
    assert sums == [pytest.approx(0.2)] * 5
