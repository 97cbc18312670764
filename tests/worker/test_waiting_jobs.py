"""``app.wait`` within a job, and under a clock that a test has frozen."""

from __future__ import annotations

import time

import pytest

import zerog
from tests.processes import until
from tests.worker.builders import Running


def test_a_job_that_waits_for_its_only_slot_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The job that it waits for can't begin before it ends; cancelled, it ends out of its wait, and the other runs."""
    monkeypatch.setattr("zerog.jobs.waiting.WITHOUT_SLOT", 0.1)
    app = zerog.App("memory://")

    @app.job
    def child(job: zerog.BaseJob) -> dict[str, bool]:
        return {"done": True}

    @app.job
    def parent(job: zerog.BaseJob) -> None:
        app.wait(app.submit("child").uuid)

    with Running(app, concurrency=1):
        uuid = app.submit("parent").uuid
        until(lambda: "waits for a slot on queue default" in caplog.text)
        [waiting] = [job["uuid"] for job in app.jobs(job_type="child")]
        [line] = [record.getMessage() for record in caplog.records if "waits for a slot" in record.getMessage()]
        assert waiting in line and app.get_job(uuid).logId in line
        app.cancel(uuid)
        assert app.wait(uuid, 20).status == "cancelled"
        assert app.wait(waiting, 20).status == "succeeded"


def test_a_wait_ends_though_the_time_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """As freezegun does it, by replacing the functions of ``time``."""
    app = zerog.App("memory://")
    app.job("never")(lambda job: None)
    uuid = app.submit("never", delay=3_600).uuid
    monkeypatch.setattr(time, "monotonic", lambda: 7.0)
    with pytest.raises(TimeoutError, match="still scheduled"):
        app.wait(uuid, timeout=0.05)
