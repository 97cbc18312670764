"""A job that its class can't load: the worker's log names it, and a class that can load it runs it uncounted."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields

import zerog
from tests.backends.postgres import servers as postgres
from tests.backends.redis import servers as redis
from tests.marks import wide


def packing(**parameters: Any) -> type[zerog.BaseJob]:
    members = {"JOB_TYPE": "pack", "Params": Schema.from_dict(parameters), "run": lambda job: 200}
    return type("Pack", (zerog.BaseJob,), members)


URLS: dict[str, Any] = {
    "memory": lambda _: "memory://",
    "sqlite": lambda folder: f"sqlite:///{folder}/jobs.db",
    "two files": lambda folder: {"datastore": f"sqlite:///{folder}/jobs.db", "queue": f"sqlite:///{folder}/queue.db"},
    "redis": redis.url_for,
    "postgres": postgres.url_for,
}


@pytest.mark.parametrize("engine", ["memory", "sqlite", *wide("two files", "redis", "postgres")])
def test_the_worker_s_log_names_the_job_and_what_is_wrong(
    engine: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, as a warning, whatever the worker's other jobs do."""
    url = URLS[engine](tmp_path)
    caplog.set_level(logging.WARNING, "zerog")
    with zerog.App(url) if isinstance(url, str) else zerog.App(**url) as app:
        app.register(packing())
        uuid = app.submit("pack").uuid
        app.unregister("pack")
        app.register(packing(weight=fields.Float(required=True)))
        good = app.submit("pack", {"weight": 1}).uuid
        zerog.Worker(app).run(burst=True)
        [line] = [record.getMessage() for record in caplog.records if uuid in record.getMessage()]
        assert "of type pack has no weight, which is required" in line
        assert app.progress(good)["status"] == "succeeded"
        waiting = app.progress(uuid)
        assert (waiting["status"] in ("queued", "scheduled"), waiting["errorCount"], waiting["attempts"]) == (
            True,
            0,
            0,
        )
