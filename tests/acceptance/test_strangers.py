"""Workers with different job types on one store: what the unknown jobs cost the worker that knows its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.backends.postgres.servers import url_for as postgres_url_for
from tests.backends.redis.servers import url_for
from tests.marks import wide
from tests.processes import until
from zerog.records.job import new_document
from zerog.support.clock import to_text


def app_on(kind: str, folder: Path, version: float, job_type: str) -> zerog.App:
    """An app whose only type has this version."""
    if kind == "sqlite":
        app = zerog.App(f"sqlite:///{folder}/jobs.db?synchronous=normal")
    elif kind == "postgres":
        app = zerog.App(postgres_url_for(folder))
    elif kind == "redis":
        app = zerog.App(url_for(folder))
    else:
        url = f"sqlite:///{folder}/{{}}.db?synchronous=normal"
        app = zerog.App(datastore=url.format("documents"), queue=url.format("queue"))

    class Quick(zerog.BaseJob):
        JOB_TYPE = job_type
        SCHEMA_VERSION = version

        def run(self) -> int:
            return 200

    app.register(Quick)
    return app


@contextmanager
def working(app: zerog.App) -> Iterator[zerog.Worker]:
    worker = zerog.Worker(app, concurrency=4)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(30)
        assert not thread.is_alive()
        app.close()


def submit(app: zerog.App, count: int, job_type: str = "known", version: float = 2.0) -> list[str]:
    now = to_text(app.clock.now())
    documents = [new_document(job_type, version, now) for _ in range(count)]
    return [document["uuid"] for document, _ in app.engine.submit(documents)]


def seconds_for(app: zerog.App, uuids: list[str], limit: float) -> float:
    """Seconds until all have ended."""
    began = time.monotonic()
    left = set(uuids)
    while left:
        assert time.monotonic() - began < limit, f"{len(left)} of {len(uuids)} have not ended within {limit} s"
        some = list(left)[:200]
        left -= {uuid for uuid in some if app.progress(uuid)["status"] == "succeeded"}
        time.sleep(0.02)  # the pace of polling
    return time.monotonic() - began


@pytest.mark.parametrize("kind", ["sqlite", *wide("postgres", "redis", "generic")])
@pytest.mark.parametrize(("job_type", "version"), [("other", 1.0), ("known", 1.0)], ids=["stranger", "older"])
def test_a_worker_that_can_t_take_jobs_costs_the_other_little(
    kind: str, job_type: str, version: float, tmp_path: Path
) -> None:
    """Beside it every job runs, as soon as it does alone but for a poll or two."""
    capable = app_on(kind, tmp_path, 2.0, "known")
    with working(app_on(kind, tmp_path, version, job_type)), working(capable):
        for _ in range(5):
            seconds_for(capable, submit(capable, 40), 30)


@pytest.mark.long
@pytest.mark.parametrize(("kind", "limit"), [("sqlite", 5.0), ("postgres", 5.0), ("redis", 5.0), ("generic", 60.0)])
def test_one_that_fits_behind_ten_thousand_that_don_t(kind: str, limit: float, tmp_path: Path, capsys: Any) -> None:
    """They are set aside at the first poll."""
    app = app_on(kind, tmp_path, 2.0, "known")
    for _ in range(10):
        submit(app, 1_000, "unknown")
    fits = submit(app, 1)
    with working(app):
        taken = seconds_for(app, fits, 4 * limit)
    with capsys.disabled():
        print(f"\n{kind}: {taken:.1f} s")
    assert taken < limit


def test_a_job_that_becomes_known_runs(tmp_path: Path) -> None:
    """Set aside by one worker, it is taken by the next one that knows its type."""
    app = app_on("sqlite", tmp_path, 2.0, "known")
    uuids = submit(app, 3)
    with working(app_on("sqlite", tmp_path, 1.0, "other")):
        until(lambda: app.engine.datastore.read("zerog_queues"))
    with working(app):
        seconds_for(app, uuids, 30)
