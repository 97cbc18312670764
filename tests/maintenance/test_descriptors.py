"""Workers that run out of file descriptors are named before nothing can be opened any more."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.maintenance.doctors import doctor_of
from zerog.records.job import make_key
from zerog.records.keys import worker_key
from zerog.records.operations import Set

WHAT = "workers have few file descriptors left"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[zerog.App]:
    made = zerog.App(f"sqlite:///{tmp_path}/jobs.db")
    yield made
    made.close()


def test_a_worker_records_what_is_open_and_its_limit(app: zerog.App) -> None:
    seen: dict[str, Any] = {}

    @app.job
    def look(job: zerog.BaseJob) -> None:
        worker = app.datastore.read(make_key(job.uuid))["owner"]["worker"]  # type: ignore[index]
        seen.update(app.datastore.read(worker_key(worker)) or {})

    app.submit(look)
    zerog.Worker(app).run(burst=True)
    assert seen["descriptors"]["limit"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert 3 <= seen["descriptors"]["open"] <= len(os.listdir("/dev/fd")) + 50


@pytest.mark.parametrize(
    ("counts", "found"),
    [
        ({"open": 79, "limit": 100}, {}),
        ({"open": 80, "limit": 100}, {"worker full": "80 of 100 are open"}),
        ({"open": "80", "limit": 100}, {}),
        ({}, {}),
        (None, {}),
    ],
    ids=repr,
)
def test_the_doctor_names_a_worker_that_has_few_left(app: zerog.App, counts: Any, found: dict[str, str]) -> None:
    record = app.datastore
    record.set("zerog_workers", {"documentType": "zerog_workers", "workers": {"full": {"lease": 30.0}}})
    record.set(worker_key("full"), {"documentType": "zerog_worker", "worker": "full", "beat": 1, "lease": 30.0})
    record.mutate(worker_key("full"), [Set("descriptors", counts)])
    findings = {each.what: each for each in doctor_of(app).examine().findings}
    assert (findings[WHAT].jobs if WHAT in findings else {}) == found
    if found:
        assert findings[WHAT].needs_person
