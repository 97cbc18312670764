"""Held job types: no worker takes their jobs, nothing is lost or counted, and a release lets them go on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zerog
from tests.backends.postgres import servers as postgres
from tests.backends.redis import servers as valkey
from tests.marks import wide
from tests.processes import until
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.memory.queue import MemoryQueue
from zerog.exceptions import InvalidValue
from zerog.maintenance.doctor import Doctor
from zerog.records.job import make_key
from zerog.records.keys import TYPES, stored_keys


class Invoice(zerog.BaseJob):
    JOB_TYPE = "invoice"

    def run(self) -> Any:
        return 200


class Letter(zerog.BaseJob):
    JOB_TYPE = "letter"

    def run(self) -> Any:
        return 200


def opened(name: str, folder: Path) -> zerog.App:
    if name == "generic":
        return zerog.App(datastore=MemoryDatastore(), queue=MemoryQueue())
    made = {
        "sqlite": lambda: f"sqlite:///{folder}/jobs.db",
        "redis": lambda: valkey.shared("valkey").url(),
        "postgres": lambda: postgres.shared().url(),
    }
    return zerog.App(made[name]())


@pytest.fixture(params=["sqlite", *wide("generic", "redis", "postgres")])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[zerog.App]:
    with opened(request.param, tmp_path) as made:
        made.register(Invoice, Letter)
        yield made


def status(app: zerog.App, uuid: str) -> str:
    return str(app.progress(uuid)["status"])


def stored(app: zerog.App, uuid: str) -> dict[str, Any]:
    document: dict[str, Any] = app.datastore.read(make_key(uuid))
    return document


def test_a_held_type_waits_and_others_go_on(app: zerog.App) -> None:
    """Under a worker that was there before, within seconds; the release is followed, too."""
    types = app.fleet.types
    with zerog.Worker(app):
        until(lambda: [worker["heldTypes"] for worker in app.workers()] == [[]], 20, "the worker is there")
        assert types.hold("invoice", "it fails", "me") is True
        until(lambda: [worker["heldTypes"] for worker in app.workers()] == [["invoice"]], 20, "the worker follows")
        held = [app.submit("invoice").uuid for _ in range(3)]
        for _ in range(3):
            app.wait(app.submit("letter").uuid, 20)
        assert [status(app, uuid) for uuid in held] == ["queued"] * 3
        assert types.release("invoice") is True
        for uuid in held:
            app.wait(uuid, 20)
    for document in (stored(app, uuid) for uuid in held):
        assert (document["status"], document["attempts"]) == ("succeeded", 1)
        assert (document["errorCount"], document["crashes"], document["lost"], document["errors"]) == (0, 0, 0, [])


def test_a_worker_that_is_started_later_follows_at_once(app: zerog.App) -> None:
    """Its first claim leaves them, and so does that of one whose types are all held."""
    uuids = [app.submit(name).uuid for name in ("invoice", "letter")]
    app.fleet.types.hold("invoice")
    zerog.Worker(app).run(burst=True)
    assert [status(app, uuid) for uuid in uuids] == ["queued", "succeeded"]
    app.fleet.types.hold("letter")
    uuids.append(app.submit("letter").uuid)
    zerog.Worker(app).run(burst=True)
    assert [status(app, uuid) for uuid in uuids] == ["queued", "succeeded", "queued"]
    app.fleet.types.release("invoice")
    app.fleet.types.release("letter")
    with zerog.Worker(app):
        for uuid in uuids:
            app.wait(uuid, 20)


def test_a_held_job_can_be_cancelled(app: zerog.App) -> None:
    app.fleet.types.hold("invoice")
    uuid = app.submit("invoice").uuid
    zerog.Worker(app).run(burst=True)
    assert app.cancel(uuid) == "cancelled"


def test_doctor_names_holds_and_no_other_fault(app: zerog.App) -> None:
    """With the command that ends it; neither an untaken type nor a missing entry."""
    app.fleet.types.hold("invoice", "build 42", "me")
    app.submit("invoice")
    zerog.Worker(app).run(burst=True)
    with zerog.Worker(app):
        until(lambda: len(app.workers()) == 1, 20, "a worker is there")
        findings = Doctor(app.engine, app.registry, app.fleet, "myapp:app").examine(0.0).findings
    [finding] = [each for each in findings if "held" in each.what]
    assert finding.what.startswith("the job type invoice is held since ")
    assert finding.what.endswith(" by me: build 42; 1 job waits")
    assert (finding.command, finding.needs_person) == ("zerog types release myapp:app invoice", False)
    assert [each.what for each in findings if each is not finding and each.needs_person] == []


def test_holds_are_kept_until_they_are_released() -> None:
    app = opened("generic", Path())
    types = app.fleet.types
    assert (types.hold("invoice", "first", "me"), types.hold("invoice", "second", "you")) == (True, False)
    assert types.held()["invoice"]["reason"] == "first"
    assert (types.release("invoice"), types.release("invoice"), types.held()) == (True, False, {})
    assert TYPES in set(stored_keys(app.datastore.read))
    for wrong in ({"job_type": ""}, {"job_type": "a", "reason": 5}, {"job_type": "a", "by": "x" * 501}):
        with pytest.raises(InvalidValue):
            types.hold(**wrong)


@pytest.mark.parametrize("damage", [{"held": ["invoice"]}, {"held": 5}])
def test_a_damaged_document_is_named_and_made_anew(damage: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """Workers go on by what they read last."""
    app = opened("generic", Path())
    app.register(Invoice, Letter)
    app.datastore.create(TYPES, damage)
    uuid = app.submit("letter").uuid
    zerog.Worker(app).run(burst=True)
    assert (status(app, uuid), app.fleet.types.held()) == ("succeeded", {})
    findings = Doctor(app.engine, app.registry, app.fleet, "myapp:app").examine(0.0).findings
    assert [each.command for each in findings if "types are held can't be read" in each.what] == [
        "zerog types release myapp:app none"
    ]
    with caplog.at_level(logging.WARNING):
        assert app.fleet.types.hold("invoice") is True
    assert "can't be read and are forgotten" in caplog.text
    assert list(app.fleet.types.held()) == ["invoice"]
