"""Workers beside invalid documents: none ends, no slot is held, and each of those documents is named."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.backends.postgres.servers import url_for as postgres_url_for
from tests.backends.redis.servers import shared
from tests.processes import until
from tests.worker.builders import Running
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.records.job import make_key, new_document

PAST = "2026-01-01T00:00:00.000000+00:00"
WAITS = {"status": "queued", "queueState": "queued", "queuedAt": PAST, "queueJobId": 7}
RUNS = {"status": "running", "running": True, "epoch": 1, "owner": {"worker": "gone", "lease": 0.5, "nonce": "x"}}

DAMAGED: list[dict[str, Any]] = [
    {**WAITS, "attempts": 2**63 - 1},
    {**WAITS, "epoch": 2**63 - 1},
    {**WAITS, "errors": {"a": 1}},
    {**WAITS, "events": "x"},
    {**WAITS, "warnings": 7},
    {**WAITS, "eventsDropped": "x"},
    {**WAITS, "priority": 2**40},
    {**WAITS, "queueKwargs": {"ttr": "x"}},
    {**WAITS, "updatedAt": "x"},
    {**WAITS, "notBefore": "x"},
    {**RUNS, "epoch": "x"},
    {**RUNS, "queueName": {}},
    {**RUNS, "queueKwargs": []},
    {**RUNS, "crashes": []},
    {**RUNS, "owner": [1]},
]


@pytest.fixture(params=["memory", "sqlite", "postgres", "redis", "two parts"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> zerog.App:
    urls = {
        "memory": lambda: {"url": "memory://"},
        "sqlite": lambda: {"url": f"sqlite:///{tmp_path}/jobs.db"},
        "postgres": lambda: {"url": postgres_url_for(tmp_path)},
        "redis": lambda: {"url": shared("valkey").url()},
        "two parts": lambda: {"datastore": f"sqlite:///{tmp_path}/jobs.db", "queue": f"sqlite:///{tmp_path}/queue.db"},
    }
    made = zerog.App(**urls[request.param]())

    @made.job
    def good(job: zerog.BaseJob) -> dict[str, bool]:
        return {"fine": True}

    return made


def plant(app: zerog.App, **fields: Any) -> str:
    """Store a document as it is, and an entry for it."""
    document = new_document("good", 1.0, PAST) | fields
    app.datastore.create(make_key(document["uuid"]), document)
    app.queue.put(document["uuid"])
    return str(document["uuid"])


@pytest.mark.parametrize("executor", ["thread", "async"])
def test_good_jobs_run_before_and_behind_damaged_ones(
    app: zerog.App, executor: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = app.submit("good").uuid
    planted = [plant(app, **fields) for fields in DAMAGED]
    dead = plant(app, **RUNS)
    last = app.submit("good").uuid
    caplog.set_level(logging.WARNING, "zerog")
    with Running(app, executor=executor, concurrency=2, lease=1.0) as running:
        until(lambda: all(app.progress(uuid)["status"] == "succeeded" for uuid in (first, last)))
        running.worker._session._sweeping._reconciler.interval = 0.2  # type: ignore[union-attr]
        until(lambda: app.progress(dead)["status"] == "succeeded", 30)
        until(lambda: all(uuid in caplog.text for uuid in planted), 30)
    assert running.stats is not None and running.stats.ran == 3
    lines = [record.getMessage() for record in caplog.records if "is set aside" in record.getMessage()]
    assert len(lines) == len(set(lines)) == len(planted)
    app.close()


@pytest.mark.wide
def test_damaged_cells_of_waiting_jobs_end_no_worker(tmp_path: Path) -> None:
    """Broken JSON and blobs in the file itself, in each column that a claim reads."""
    app = zerog.App(f"sqlite:///{tmp_path}/jobs.db")

    @app.job
    def good(job: zerog.BaseJob) -> None:
        pass

    store = app.datastore
    assert isinstance(store, SqliteDatastore)
    columns = ("body", "changes", "lists", "cas", "status", "epoch", "owner", "attempts", "updatedAt", "jobType")
    for column in columns:
        for cell in (b"\xff", b"{", "{", -1):
            uuid = app.submit(good).uuid
            with store.file.writing() as sqlite:
                sqlite.execute(f"UPDATE zerog_documents SET {column} = ? WHERE key = ?", (cell, make_key(uuid)))
    behind = app.submit(good).uuid
    with Running(app) as running:
        until(lambda: app.progress(behind)["status"] == "succeeded")
    assert running.stats is not None
    app.close()


def test_a_damaged_record_of_pauses_keeps_no_worker_from_starting(caplog: pytest.LogCaptureFixture) -> None:
    """What can't be read pauses nothing; it is logged once."""
    app = zerog.App("memory://")

    @app.job
    def good(job: zerog.BaseJob) -> None:
        pass

    app.datastore.create("zerog_queues", {"paused": ["default"]})
    uuid = app.submit(good).uuid
    with Running(app):
        until(lambda: app.progress(uuid)["status"] == "succeeded")
    assert caplog.text.count("can't read its orders") == 1
    app.close()
