"""Stored schemas: written by workers and ``setup``, read where the code isn't."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields

import zerog
from tests.schemas.called import call
from zerog.exceptions import DatastoreError
from zerog.maintenance.doctor import Doctor
from zerog.records.keys import SCHEMAS, Role, schema_key, stored_keys
from zerog.schemas import stored as module
from zerog.schemas.describe import Described, described, hash_of
from zerog.schemas.stored import MOST_BUILDS, MOST_SCHEMAS, StoredSchemas


def mail(version: str = "1.0", **params: fields.Field[Any]) -> type[zerog.BaseJob]:
    """A class of the type mail with these parameters."""
    own = {"JOB_TYPE": "mail", "SCHEMA_VERSION": version, "Params": Schema.from_dict({**params})}
    return type("Mail", (zerog.BaseJob,), {**own, "run": lambda self: 200, "__module__": __name__})


@pytest.fixture
def app(tmp_path: Path) -> Iterator[zerog.App]:
    made = zerog.App(f"sqlite:///{tmp_path}/jobs.db")
    yield made
    made.close()


def work(app: zerog.App, job_class: type[zerog.BaseJob], build: str) -> None:
    """Let a worker of another build start and end."""
    for job_type in app.registry.get_registered_classes():
        app.unregister(job_type)
    app.register(job_class)
    zerog.Worker(app, build_id=build).run(burst=True)


def test_a_worker_stores_each_schema_once(app: zerog.App) -> None:
    """With the builds that have it; one that is there already costs no write."""
    for build in ("b1", "b2"):
        work(app, mail(to=fields.String()), build)
    [entry] = StoredSchemas(app.engine).of_type("mail")
    assert (entry.builds, entry.hash) == (["b1", "b2"], hash_of(entry.described))
    assert entry.described == described(mail(to=fields.String()))
    _, token = app.datastore.read_with_cas(next(key for key in stored_keys(app.datastore.read) if "schema_" in key))
    work(app, mail(to=fields.String()), "b2")
    assert app.datastore.read_with_cas(schema_key(module._name("mail")))[1] == token


def test_another_schema_under_one_version_is_warned_of(app: zerog.App, caplog: pytest.LogCaptureFixture) -> None:
    """By the worker and by the doctor, until the version is raised."""
    work(app, mail(to=fields.String()), "b1")
    with caplog.at_level(logging.WARNING, "zerog"):
        work(app, mail(to=fields.Integer()), "b2")
    what = "type mail has two schemas under version 1.0, of build b1 and of build b2: to was String and is Integer: "
    assert [what in message for message in caplog.messages] == [True]
    [finding] = [one for one in Doctor(app.engine, app.registry, app.fleet).examine().findings if what in one.what]
    assert finding.needs_person
    migrated = mail("2.0", to=fields.Integer())
    migrated.step = staticmethod(zerog.migration("1.0", "2.0")(lambda document: document))  # type: ignore[attr-defined]
    work(app, migrated, "b3")
    assert not any("two schemas" in one.what for one in Doctor(app.engine, app.registry, app.fleet).examine().findings)


def test_a_compatible_change_is_no_finding(app: zerog.App, caplog: pytest.LogCaptureFixture) -> None:
    work(app, mail(to=fields.String()), "b1")
    with caplog.at_level(logging.WARNING, "zerog"):
        work(app, mail(to=fields.String(), cc=fields.String(load_default="")), "b2")
    assert caplog.messages == []
    assert not any("two schemas" in one.what for one in Doctor(app.engine, app.registry, app.fleet).examine().findings)


@pytest.mark.parametrize("error", [DatastoreError("gone"), ValueError("odd")])
def test_a_worker_starts_without_them(
    app: zerog.App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """Its jobs run; that they couldn't be stored is logged."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(StoredSchemas, "record", fail)
    app.register(mail(to=fields.String()))
    job = app.submit("mail", {"to": "x"})
    zerog.Worker(app).run(burst=True)
    assert app.progress(job.uuid)["status"] == "succeeded"
    assert any("schemas can't be stored" in message for message in caplog.messages)


def test_what_is_stored_is_bounded(app: zerog.App, monkeypatch: pytest.MonkeyPatch) -> None:
    """In schemas of a type, builds of a schema, types, and length; the latest stay."""
    store = StoredSchemas(app.engine)
    for number in range(MOST_SCHEMAS + 3):
        store.record([described(mail(f"{number + 1}.0", to=fields.String()))], "b")
    kept = [one.described["schemaVersion"] for one in store.of_type("mail")]
    assert kept == [float(number) for number in range(4, MOST_SCHEMAS + 4)]
    for number in range(MOST_BUILDS + 3):
        store.record([described(mail("99.0"))], f"b{number}")
    assert store.of_type("mail")[-1].builds == [f"b{number}" for number in range(3, MOST_BUILDS + 3)]
    monkeypatch.setattr(module, "MOST_TYPES", 2)
    for name in ("fax", "post"):
        store.record([{**described(mail()), "jobType": name}], None)
    assert sorted(store.all()) == ["fax", "mail"]
    monkeypatch.setattr(module, "LONGEST", 10)
    store.record([{**described(mail("100.0"))}], None)
    assert store.of_type("mail")[-1].described["schemaVersion"] == 99.0


def damaged(whole: dict[str, Any]) -> list[object]:
    """Values that a stored entry might have after an accident."""
    params = {**whole, "schema": json.dumps({"jobType": "mail", "schemaVersion": 1.0, "migrations": [], "params": 5})}
    return [5, None, {}, {**whole, "schema": "{"}, {**whole, "schema": 5}, {**whole, "builds": 5}, params]


def test_damage_counts_as_absent(app: zerog.App) -> None:
    store = StoredSchemas(app.engine)
    one: Described = described(mail(to=fields.String()))
    store.record([one], "b")
    key = schema_key(module._name("mail"))
    document = app.datastore.read(key)
    for entry in damaged(document["schemas"][0]):
        app.datastore.set(key, {**document, "schemas": [entry, document["schemas"][0]]})
        assert [found.described for found in store.of_type("mail")] == [one]
    for schemas in (5, None, [5]):
        app.datastore.set(key, {**document, "schemas": schemas})
        assert (store.of_type("mail"), store.all()) == ([], {})
    for types in (5, None, {"x": 5}):
        app.datastore.set(SCHEMAS, {"types": types})
        assert store.all() == {}
    store.record([one], "b")
    assert list(store.all()) == ["mail"]


def test_they_move_along_with_the_settings(app: zerog.App) -> None:
    """To another datastore, as the list of all keys has them."""
    StoredSchemas(app.engine).record([described(mail())], "b")
    assert {SCHEMAS, schema_key(module._name("mail"))} <= {*stored_keys(app.datastore.read, (Role.SETTING,))}


SHOP = """
import zerog
from marshmallow import Schema, fields

app = zerog.App("sqlite:///jobs.db")

class Mail(zerog.BaseJob):
    JOB_TYPE = "mail"

    class Params(Schema):
        to = fields.String(required=True)
        password = fields.String(load_default="hunter2", metadata={"secret": True})

    def run(self):
        return 200

app.register(Mail)
"""


def test_jobs_are_explained_without_their_code(tmp_path: Path) -> None:
    """By ``types --stored`` and ``jobs show``; a secret stays one, and nothing is shown of what isn't known."""
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "empty.py").write_text('import zerog\napp = zerog.App("sqlite:///jobs.db")\n')
    uuid = call("submit", "shop:app", "mail", "to=ann", folder=tmp_path).stdout.strip()
    hidden = call("jobs", "show", "empty:app", uuid, folder=tmp_path).stdout
    assert "ann" not in hidden
    assert call("types", "--stored", "sqlite:///jobs.db", folder=tmp_path).stdout.startswith("No stored schemas")
    assert call("setup", "shop:app", folder=tmp_path).exit_code == 0
    listed = call("types", "--stored", "sqlite:///jobs.db", folder=tmp_path).stdout
    assert listed.splitlines()[1].split()[:2] == ["mail", "1.0"]
    [as_json] = json.loads(call("types", "--stored", "sqlite:///jobs.db", "--json", folder=tmp_path).stdout)
    assert (as_json["jobType"], sorted(as_json["params"]["properties"])) == ("mail", ["password", "to"])
    assert '"required"' in call("types", "--stored", "sqlite:///jobs.db", "--schema", folder=tmp_path).stdout
    shown = call("jobs", "show", "empty:app", uuid, folder=tmp_path).stdout
    assert 'to: "ann"  (String)' in shown
    assert 'password: "[secret]"  (String)' in shown
    assert "hunter2" not in shown + hidden + listed + json.dumps(as_json)


def test_a_check_takes_what_is_stored(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    missing = call("schema", "check", "shop:app", "--against", "sqlite:///jobs.db", folder=tmp_path)
    assert (missing.exit_code, "no schemas are stored at" in missing.stderr) == (2, True)
    assert call("setup", "shop:app", folder=tmp_path).exit_code == 0
    checked = ("schema", "check", "shop:app", "--against", "sqlite:///jobs.db")
    assert call(*checked, folder=tmp_path).exit_code == 0
    (tmp_path / "shop.py").write_text(SHOP.replace("to = fields.String", "to = fields.Integer"))
    assert call(*checked, folder=tmp_path).exit_code == 3
    warned = call("setup", "shop:app", folder=tmp_path)
    assert (warned.exit_code, "type mail has two schemas under version 1.0" in warned.stderr) == (0, True)


@pytest.mark.parametrize(
    ("url", "code", "message"),
    [("memory://", 2, "the memory of one process"), ("redis://127.0.0.1:1", 1, "127.0.0.1:1"), ("x://", 2, "x")],
)
def test_a_url_that_has_none_is_named(url: str, code: int, message: str, tmp_path: Path) -> None:
    failed = call("types", "--stored", url, folder=tmp_path)
    assert (failed.exit_code, message in failed.stderr) == (code, True), failed.output
