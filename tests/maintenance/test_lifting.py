"""Documents are stored in the present version of their class: each once, no run disturbed, no write lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields

import zerog
from tests.backends.postgres import servers as postgres
from tests.backends.redis import servers as valkey
from tests.marks import wide
from zerog.engine.transitions import WorkerIdentity
from zerog.fleet.heartbeat import WorkerRecords
from zerog.jobs.declaration import declaration_of
from zerog.maintenance.lifting import CURRENT, FAILS, LIFTED, RUNS, lift, older_workers
from zerog.maintenance.migrate import Migrate
from zerog.records.job import make_key
from zerog.records.operations import Append, Set


class Old(zerog.BaseJob):
    JOB_TYPE = "invoice"

    class Params(Schema):
        amount = fields.Float(required=True)

    def run(self) -> Any:
        return 200


class New(zerog.BaseJob):
    JOB_TYPE = "invoice"
    SCHEMA_VERSION = "3.0"

    class Params(Schema):
        cents = fields.Integer(required=True)

    @zerog.migration("1.0", "2.0")
    @staticmethod
    def to_cents(document: dict[str, Any]) -> dict[str, Any]:
        document["cents"] = round(document.pop("amount") * 100)
        return document

    @zerog.migration("2.0", "3.0")
    @staticmethod
    def same(document: dict[str, Any]) -> dict[str, Any]:
        return document

    def run(self) -> Any:
        return {"cents": self.cents}  # type: ignore[attr-defined]


ALICE = WorkerIdentity("alice", 3600.0)
DECLARATION = declaration_of(New)


def url_of(name: str, folder: Path) -> str:
    made = {
        "sqlite": lambda: f"sqlite:///{folder}/jobs.db",
        "redis": lambda: valkey.shared("valkey").url(),
        "postgres": lambda: postgres.shared().url(),
    }
    return made[name]()


@pytest.fixture(params=["sqlite", *wide("redis", "postgres")])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[zerog.App]:
    """The app before the deploy."""
    with zerog.App(url_of(request.param, tmp_path)) as app:
        app.register(Old)
        yield app


def deployed(app: zerog.App) -> zerog.App:
    app.unregister("invoice")
    app.register(New)
    return app


def submitted(app: zerog.App, **options: Any) -> str:
    return app.submit("invoice", {"amount": 2.5}, **options).uuid


def stored(app: zerog.App, uuid: str) -> dict[str, Any]:
    document: dict[str, Any] = app.datastore.read(make_key(uuid))
    return document


def tried(app: zerog.App, uuid: str) -> str:
    return lift(app.datastore, DECLARATION, uuid, app.clock).outcome


def test_a_waiting_job_is_lifted_and_runs(old: zerog.App) -> None:
    """Its entry, its history and its place stay; a second call has nothing to do."""
    uuid = submitted(old, headers={"a": "b"})
    old.datastore.mutate(make_key(uuid), [Append("events", {"timestamp": "2026-01-01T00:00:00+00:00", "msg": "x"})])
    before = stored(old, uuid)
    new = deployed(old)
    assert (tried(new, uuid), tried(new, uuid)) == (LIFTED, CURRENT)
    after = stored(new, uuid)
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert changed == {"amount", "cents", "schemaVersion"}
    zerog.Worker(new).run(burst=True)
    assert (stored(new, uuid)["output"], stored(new, uuid)["attempts"]) == ({"cents": 250}, 1)


def test_an_ended_job_is_lifted(old: zerog.App) -> None:
    """So that its migration can be removed, and a retry still works."""
    uuid = submitted(old)
    old.cancel(uuid)
    new = deployed(old)
    assert tried(new, uuid) == LIFTED
    assert (stored(new, uuid)["status"], stored(new, uuid)["schemaVersion"]) == ("cancelled", 3.0)


def test_a_running_job_is_left_to_its_run(old: zerog.App) -> None:
    """Not one byte changes under a run."""
    uuid = submitted(old)
    [claim] = old.engine.claim(1, ALICE, old.registry.load_head)
    assert claim.uuid == uuid
    before = old.datastore.read_with_cas(make_key(uuid))
    assert tried(deployed(old), uuid) == RUNS
    assert old.datastore.read_with_cas(make_key(uuid)) == before


def test_a_concurrent_write_is_kept(old: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes between read and write: the token refuses, and the second try has both."""
    uuid = submitted(old)
    new, mutate, writes = deployed(old), old.datastore.mutate, []

    def later(key: str, operations: Any, cas: int | None = None, **rest: Any) -> Any:
        if not writes:
            writes.append(mutate(key, [Set("amount", 4.0)]))
        return mutate(key, operations, cas=cas, **rest)

    monkeypatch.setattr(new.datastore, "mutate", later)
    assert tried(new, uuid) == LIFTED
    assert stored(new, uuid)["cents"] == 400


@pytest.mark.parametrize(("field", "value"), [("amount", None), ("priority", "high")])
def test_a_document_that_its_class_cant_read_stays(field: str, value: object, old: zerog.App) -> None:
    uuid = submitted(old)
    old.datastore.mutate(make_key(uuid), [Set(field, value)])
    before = old.datastore.read_with_cas(make_key(uuid))
    new = deployed(old)
    outcome, reason = lift(new.datastore, DECLARATION, uuid, new.clock)
    assert (outcome, bool(reason)) == (FAILS, True)
    assert new.datastore.read_with_cas(make_key(uuid)) == before


def test_a_trial_writes_nothing_and_a_missing_job_is_no_error(old: zerog.App) -> None:
    uuid = submitted(old)
    new = deployed(old)
    assert lift(new.datastore, DECLARATION, uuid, new.clock, is_trial=True).outcome == LIFTED
    assert stored(new, uuid)["schemaVersion"] == 1.0
    assert tried(new, "0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f") == CURRENT


def test_living_workers_with_older_code_are_found(old: zerog.App) -> None:
    """Not those that are silent, of another type, or as new."""
    records, now = WorkerRecords(old.engine), old.datastore.now() or old.clock.now()
    for name, renewed, knows in (
        ("older", now.isoformat(), [["invoice", 1.0]]),
        ("silent", "2020-01-01T00:00:00+00:00", [["invoice", 1.0]]),
        ("other", now.isoformat(), [["parcel", 1.0]]),
        ("present", now.isoformat(), [["invoice", 3.0]]),
    ):
        details = {"renewedAt": renewed, "knows": knows}
        records.renew(WorkerIdentity(name, 30.0), 1, lambda details=details: details)
    assert older_workers(old.engine, {"invoice": 3.0}) == {"older": "invoice 1.0"}


def test_the_job_reports_what_it_did(old: zerog.App) -> None:
    """A document that can't be read is a warning of the job."""
    for _ in range(3):
        submitted(old)
    bad = submitted(old)
    old.datastore.mutate(make_key(bad), [Set("amount", "much")])
    new = deployed(old)
    new.register(Migrate)
    job = new.submit(Migrate, {"types": ["invoice"]}, queue="lift")
    zerog.Worker(new, queues=["lift"]).run(burst=True)
    done = new.get_job(job.uuid)
    assert done.output == {"read": 4, "lifted": 3, "leftRunning": 0, "notReadable": 1}
    assert [bad in warning["msg"] for warning in done.dump()["warnings"]] == [True]
    assert json.loads(done.dumps())["completeness"] == 1.0
