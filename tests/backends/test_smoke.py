"""Each backend as an application uses it, from submit to the end; ``-m wide`` runs the contracts on every server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.backends.beanstalkd.servers import url_for as beanstalkd_url_for
from tests.backends.couchbase.servers import url_for as couchbase_url_for
from tests.backends.mongo.servers import url_for as mongo_url_for
from tests.backends.postgres.servers import url_for as postgres_url_for
from tests.backends.redis.servers import url_for as redis_url_for
from tests.backends.rq.queues import url_for as rq_url_for
from zerog.engine.transitions import WorkerIdentity
from zerog.testing.clock import ManualClock

BACKENDS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "beanstalkd": lambda folder: {"datastore": f"sqlite:///{folder}/jobs.db", "queue": beanstalkd_url_for(folder)},
    "couchbase": lambda folder: {"datastore": couchbase_url_for(folder), "queue": "memory://"},
    "mongodb": lambda folder: {"datastore": mongo_url_for(folder), "queue": "memory://"},
    "postgres": lambda folder: {"url": postgres_url_for(folder)},
    "redis": lambda folder: {"url": redis_url_for(folder)},
    "rq": lambda folder: {"url": f"rq+{rq_url_for(folder)}"},
    "sqlite": lambda folder: {"url": f"sqlite:///{folder}/jobs.db"},
}


class Halve(zerog.BaseJob):
    """Fails in its first run, with what it did until then stored."""

    JOB_TYPE = "halve"

    def run(self) -> Any:
        self.record_event(f"run {self.attempts}")
        if self.attempts == 1:
            self.raise_error_finish(500, "not yet")
        return {"half": 21}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=BACKENDS)
def app(request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path) -> Iterator[zerog.App]:
    with zerog.App(**BACKENDS[request.param](tmp_path), clock=clock) as made:
        made.setup()
        made.register(Halve)
        yield made


def test_a_job_fails_is_retried_and_succeeds(app: zerog.App) -> None:
    """Beside it a cancelled one that never ran."""
    job, other = app.submit(Halve), app.submit(Halve, delay=60)
    assert app.cancel(other.uuid) == "cancelled"
    assert zerog.Worker(app).run(burst=True).failed == 1
    failed = app.get_job(job.uuid)
    assert (failed.status, failed.resultCode) == ("failed", 500)
    app.retry(job.uuid, "once more")
    assert zerog.Worker(app).run(burst=True).succeeded == 1
    ended = app.get_job(job.uuid)
    assert (ended.status, ended.attempts, ended.output) == ("succeeded", 2, {"half": 21})
    runs = [event["msg"] for event in app.info(job.uuid)["events"] if event["msg"].startswith("run ")]
    assert runs == ["run 1", "run 2"]
    assert app.progress(other.uuid)["attempts"] == 0


def test_the_job_of_a_dead_worker_runs_again(app: zerog.App, clock: ManualClock) -> None:
    """It claimed the job and was killed; another worker's sweep takes it over once its lease is over."""
    uuid = app.submit(Halve).uuid
    [claim] = app.engine.claim(1, WorkerIdentity("gone", 30.0), app.registry.load_head)
    assert claim.uuid == uuid
    for _ in range(2):
        app.reconcile()
        clock.advance(31)
    app.reconcile()
    assert app.get_job(uuid).lost == 1
    assert zerog.Worker(app).run(burst=True).ran == 1
    assert app.progress(uuid)["attempts"] == 2
