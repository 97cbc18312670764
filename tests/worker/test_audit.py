"""The audit under stress: lost answers, claims that outlast many heartbeats, many held runs."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.backends.postgres.servers import url_for as postgres_url_for
from tests.backends.redis.servers import url_for
from tests.marks import wide
from tests.processes import until
from tests.worker.builders import Running
from zerog.exceptions import AmbiguousWrite
from zerog.records.keys import worker_key

pytestmark = pytest.mark.wide

LEASE = 3.0


class Brief(zerog.BaseJob):
    JOB_TYPE = "brief"

    def run(self) -> int:
        time.sleep(0.01)  # the work of the job
        return 200


class Lasting(zerog.BaseJob):
    """Runs for many heartbeats of its worker."""

    JOB_TYPE = "lasting"
    go = threading.Event()

    def run(self) -> int:
        assert Lasting.go.wait(120)
        return 200


@pytest.fixture(params=["sqlite", *wide("postgres", "redis", "two files")])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[zerog.App]:
    if request.param == "sqlite":
        made = zerog.App(f"sqlite:///{tmp_path}/jobs.db?synchronous=normal")
    elif request.param == "postgres":
        made = zerog.App(postgres_url_for(tmp_path))
    elif request.param == "redis":
        made = zerog.App(url_for(tmp_path))
    else:
        url = f"sqlite:///{tmp_path}/{{}}.db?synchronous=normal"
        made = zerog.App(datastore=url.format("documents"), queue=url.format("queue"))
    made.register(Brief, Lasting)
    Lasting.go.clear()
    yield made
    made.close()


def books(app: zerog.App, uuids: list[str]) -> set[tuple[Any, ...]]:
    heads = [app.engine.read(uuid)[0] for uuid in uuids]
    return {(head["status"], head["lost"], head["crashes"], head["errorCount"]) for head in heads}


def test_jobs_of_lost_answers_run_and_nothing_that_is_held_is_given_back(
    app: zerog.App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every fifth call that settles and claims is done and not answered. Each job ends once, uncharged."""
    step, numbers = app.engine.step, random.Random(3)
    is_over = threading.Event()

    def unanswered(*args: Any, **kwargs: Any) -> Any:
        answer = step(*args, **kwargs)
        if numbers.random() < 0.2 and not is_over.is_set():
            raise AmbiguousWrite("made up: the answer was lost")
        return answer

    monkeypatch.setattr(app.engine, "step", unanswered)
    with Running(app, lease=LEASE, concurrency=8), Running(app, lease=LEASE, concurrency=8):
        lasting = app.submit_many("lasting", [{}] * 4)
        brief = app.submit_many("brief", [{}] * 150)
        until(lambda: all(app.progress(uuid)["status"] == "succeeded" for uuid in brief), 90)
        is_over.set()
        until(lambda: all(app.progress(uuid)["status"] == "running" for uuid in lasting), 30)
        Lasting.go.set()
        until(lambda: all(app.progress(uuid)["status"] == "succeeded" for uuid in lasting), 30)
    assert books(app, [*brief, *lasting]) == {("succeeded", 0, 0, 0)}


@pytest.mark.wide
def test_a_claim_that_outlasts_many_beats_is_not_given_back(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call that claims is done at once and answered only after the record was renewed many times."""
    step, slow = app.engine.step, threading.Event()

    def late(*args: Any, **kwargs: Any) -> Any:
        answer = step(*args, **kwargs)
        if answer.claims and not slow.is_set():
            slow.set()
            name = answer.claims[0].head.get("owner", {}).get("worker") or running.worker.name
            first = (app.datastore.read(worker_key(name)) or {})["beat"]
            until(lambda: (app.datastore.read(worker_key(name)) or {})["beat"] > first + 4, 60)
        return answer

    monkeypatch.setattr(app.engine, "step", late)
    with Running(app, lease=LEASE, concurrency=4) as running:
        uuids = app.submit_many("brief", [{}] * 4)
        until(lambda: all(app.progress(uuid)["status"] == "succeeded" for uuid in uuids), 60)
    assert slow.is_set()
    assert books(app, uuids) == {("succeeded", 0, 0, 0)}
    assert app.engine.counters["released.unheld"] == 0


@pytest.mark.wide
def test_many_held_runs_stay_where_they_are(app: zerog.App) -> None:
    """A worker with 300 runs renews one record, and sweeps find each of them in it."""
    with Running(app, lease=6.0, concurrency=300) as running:
        uuids = app.submit_many("lasting", [{}] * 300)
        until(lambda: all(app.progress(uuid)["status"] == "running" for uuid in uuids), 60)

        def record() -> dict[str, Any]:
            return app.datastore.read(worker_key(running.worker.name)) or {}

        until(lambda: len(record()["held"]) == 300)
        seen = record()["beat"]
        until(lambda: record()["beat"] > seen + 3, 60)
        Lasting.go.set()
        until(lambda: all(app.progress(uuid)["status"] == "succeeded" for uuid in uuids), 60)
    assert books(app, uuids) == {("succeeded", 0, 0, 0)}
    assert {app.get_job(uuid).attempts for uuid in uuids[:20]} == {1}
    assert app.engine.counters["released.unheld"] == 0
