"""Listing the jobs that are shown as stalled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import zerog
from zerog.engine.transitions import WorkerIdentity
from zerog.records.job import make_key
from zerog.records.operations import Set
from zerog.support.clock import from_text, to_text


def stalled_ones(app: zerog.App) -> list[str]:
    """Bring two jobs of each of two types to where they stall; return their uuids, oldest first. Others don't stall."""
    for name in ("one", "two", "patient"):
        after = None if name == "patient" else 900
        made = {"JOB_TYPE": name, "run": lambda job: None, "STALLED_AFTER": after}
        app.register(type("Made", (zerog.BaseJob,), made))
    running = [app.submit(name).uuid for name in ("one", "two", "one", "two", "patient", "one")]
    claims = app.engine.claim(6, WorkerIdentity("w", 3600.0), app.registry.load_head)
    assert len(claims) == 6
    app.submit("one")  # which waits
    long_ago = to_text(app.clock.now() - timedelta(minutes=20))
    for uuid in running[:5]:
        app.datastore.mutate(make_key(uuid), [Set("updatedAt", long_ago)])
    return running[:4]


def test_they_are_found_among_the_rest(adapter_app: zerog.App) -> None:
    """In the order of their creation, with all other filters, on every adapter."""
    app = adapter_app
    stalled = stalled_ones(app)

    def found(**filters: Any) -> list[str]:
        jobs = list(app.jobs(stalled=True, **filters))
        assert all(job["stalled"] and job["status"] == "running" for job in jobs)
        return [job["uuid"] for job in jobs]

    assert found() == found(status="running") == found(queue="default") == stalled
    assert found(order="newest") == stalled[::-1]
    assert found(limit=3) == stalled[:3]
    assert found(order="newest", limit=1) == stalled[3:]
    assert found(job_type="one") == [stalled[0], stalled[2]]
    assert found(queue="other") == found(error="ValueError") == found(limit=0) == []
    second = from_text(app.progress(stalled[1])["createdAt"])
    assert found(since=second) == stalled[1:]
    assert found(until=second) == stalled[:2]
    assert found(until=datetime(2000, 1, 1, tzinfo=UTC)) == []


def test_they_are_read_page_by_page(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zerog.query.PAGE", 2)
    assert [job["uuid"] for job in app.jobs(stalled=True)] == []
    stalled = stalled_ones(app)
    assert [job["uuid"] for job in app.jobs(stalled=True, limit=3)] == stalled[:3]


@pytest.mark.parametrize("status", ["queued", "failed"])
def test_no_other_status_can_be_stalled(app: zerog.App, status: str) -> None:
    with pytest.raises(zerog.InvalidValue, match=f"status='{status}' and stalled=True; expected 'running'"):
        app.jobs(status=status, stalled=True)
