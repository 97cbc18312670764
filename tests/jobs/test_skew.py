"""Clients whose code is older or newer than that of the program that submits for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields, validate

import zerog
from tests.cli.builders import zerog_command
from tests.cli.rehearsal.builders import AFTER
from zerog.exceptions import InvalidValue, SchemaTooNew
from zerog.records.job import make_key


class Invoice(zerog.BaseJob):
    JOB_TYPE = "invoice"
    SCHEMA_VERSION = "3.0"

    class Params(Schema):
        cents = fields.Integer(required=True, validate=validate.Range(min=1))

    class State(Schema):
        moved = fields.Boolean(load_default=False)

    @zerog.migration("1.0", "2.0")
    @staticmethod
    def to_cents(document: dict[str, Any]) -> dict[str, Any]:
        document["cents"] = round(document.pop("amount") * 100)
        return document

    @zerog.migration("2.0", "3.0")
    @staticmethod
    def note(document: dict[str, Any]) -> dict[str, Any]:
        document["moved"] = True
        return document

    def run(self) -> Any:
        return {"cents": self.cents, "moved": self.moved}  # type: ignore[attr-defined]


@pytest.fixture
def app() -> zerog.App:
    made = zerog.App("memory://")
    made.register(Invoice)
    return made


@pytest.mark.parametrize("version", ["1.0", 1.0, 1])
def test_an_older_clients_parameters_are_lifted(version: Any, app: zerog.App) -> None:
    """The job is stored in the present version, with what each migration makes."""
    job = app.submit("invoice", {"amount": 2.5}, schema_version=version)
    document = app.datastore.read(make_key(job.uuid))
    assert (document["schemaVersion"], document["cents"], document["moved"]) == (3.0, 250, True)
    assert "amount" not in document
    zerog.Worker(app).run(burst=True)
    assert app.get_job(job.uuid).output == {"cents": 250, "moved": True}


def test_parameters_of_the_present_version_are_taken_as_they_are(app: zerog.App) -> None:
    assert app.submit("invoice", {"cents": 5}, schema_version="3.0").moved is False  # type: ignore[attr-defined]
    assert app.submit("invoice", {"cents": 5}).moved is False  # type: ignore[attr-defined]


def test_many_are_lifted_too(app: zerog.App) -> None:
    uuids = app.submit_many("invoice", [{"amount": 1}, {"amount": 2}], schema_version="1.0")
    assert [app.datastore.read(make_key(uuid))["cents"] for uuid in uuids] == [100, 200]


def test_a_newer_clients_parameters_are_refused_naming_both_versions(app: zerog.App) -> None:
    with pytest.raises(SchemaTooNew, match=r"schema version 4\.0, and its class here has 3\.0\. Nothing was stored"):
        app.submit("invoice", {"euros": 1}, schema_version="4.0")
    assert list(app.jobs()) == []


@pytest.mark.parametrize(
    ("params", "version", "words"),
    [
        ({"amount": 1}, "0.5", r"from where no migration leads to 3\.0"),
        ({}, "1.0", r"version 1\.0 can't be migrated to 3\.0: KeyError|'amount'"),
        ({"amount": "much"}, "1.0", "can't be migrated"),
        ({"amount": 1}, "1.10", "schema_version='1.10'"),
        ({"amount": 1}, "one", "schema_version='one'"),
        ({"amount": {1, 2}}, "1.0", "amount"),
    ],
)
def test_what_cant_be_lifted_is_refused(params: Any, version: str, words: str, app: zerog.App) -> None:
    with pytest.raises(InvalidValue, match=words):
        app.submit("invoice", params, schema_version=version)
    assert list(app.jobs()) == []


@pytest.mark.parametrize("params", [{"amount": -1}, {"amount": 1, "colour": "red"}, {"amount": 1, "uuid": "x"}, [1]])
def test_the_result_is_validated_as_any(params: Any, app: zerog.App) -> None:
    with pytest.raises(ValidationError):
        app.submit("invoice", params, schema_version="1.0")
    with pytest.raises(ValidationError):
        app.submit_many("invoice", [params], schema_version="1.0")
    assert list(app.jobs()) == []


def test_a_repeated_submit_of_an_older_client_returns_the_job(app: zerog.App) -> None:
    uuid = "0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f"
    first = app.submit("invoice", {"amount": 2.5}, schema_version="1.0", uuid=uuid)
    assert app.submit("invoice", {"amount": 2.5}, schema_version="1.0", uuid=uuid).uuid == first.uuid


def test_a_shell_submits_in_an_earlier_version(tmp_path: Path) -> None:
    (tmp_path / "after.py").write_text(AFTER.format(url="sqlite:///jobs.db", step=""))
    text = json.dumps({"amount": 2.5})
    done = zerog_command(
        "submit", "after:app", "invoice", "--json", "-", "--schema-version", "1.0", folder=tmp_path, text=text
    )
    assert done.returncode == 0, done.stderr
    refused = zerog_command(
        "submit", "after:app", "invoice", "--json", "-", "--schema-version", "9.0", folder=tmp_path, text=text
    )
    assert (refused.returncode, "schema version 9.0, and its class here has 2.0" in refused.stderr) == (1, True)
