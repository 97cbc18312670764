"""Deliberate mistakes in a change of a job class: ``zerog schema check`` names each before a document changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result

from tests.schemas.called import call

OLD = """
import zerog
from marshmallow import Schema, fields, validate

class Invoice(zerog.BaseJob):
    JOB_TYPE = "invoice"
    SCHEMA_VERSION = "1.1"

    class Params(Schema):
        amount = fields.Float(required=True)
        year = fields.Integer(load_default=2026, validate=validate.Range(min=2000))
        note = fields.String()
        parts = fields.List(fields.Nested({"place": fields.String(), "number": fields.Integer()}))

    class State(Schema):
        lines = fields.List(fields.String(), load_default=list)

    @zerog.migration("1.0", "1.1")
    @staticmethod
    def to_1_1(document):
        document.setdefault("year", 2026)
        return document

    ATTRIBUTES = ("year",)

    def run(self):
        return 200

app = zerog.App("memory://")
app.register(Invoice)
"""

NOTHING = "def run(self)"
AMOUNT = "amount = fields.Float(required=True)"
STEP = '@zerog.migration("1.0", "1.1")'

MISTAKES: dict[str, tuple[dict[str, str], int, str]] = {
    "a renamed field": (
        {"note = fields.String()": "remark = fields.String()"},
        3,
        "note isn't declared any more, and remark is new: if it was renamed, what old documents hold in note is "
        "lost to the run. Raise SCHEMA_VERSION and migrate",
    ),
    "a renamed field of the state": (
        {"lines =": "pages ="},
        3,
        "lines isn't declared any more, and pages is new: if it was renamed, what old documents hold in lines is "
        "lost to the run. Raise SCHEMA_VERSION and migrate",
    ),
    "a renamed field of a nested schema": (
        {'"place":': '"town":'},
        3,
        "parts[].place isn't declared any more, and town is new: if it was renamed, what old documents hold in "
        "parts[].place is lost to the run. Raise SCHEMA_VERSION and migrate",
    ),
    "a narrowed type": (
        {AMOUNT: "amount = fields.Integer(required=True)"},
        3,
        "amount was Float and is Integer: 1.5 becomes 1",
    ),
    "a narrowed type inside a list": (
        {"fields.List(fields.String()": "fields.List(fields.Integer()"},
        3,
        "lines[] was String and is Integer: \"text\" can't be read (Not a valid integer.)",
    ),
    "a new required field": (
        {AMOUNT: f'{AMOUNT}; currency = fields.String(required=True)'},
        3,
        "currency is required, and old documents don't have it",
    ),
    "a field that is required now": (
        {"note = fields.String()": "note = fields.String(required=True)"},
        3,
        "note is required now, and documents may lack it: it was optional",
    ),
    "a tightened validator": (
        {"Range(min=2000)": "Range(min=2020)"},
        1,
        "year is Integer from 2000 here and Integer from 2020 there: 2000 is refused (Must be greater than or equal to "
        "2020.)",
    ),
    "a removed version": (
        {STEP: "", "    def to_1_1": "    def unused"},
        3,
        "no migration leads from version 1.0 to 1.1: its documents can't be read",
    ),
    "a version without its migration": (
        {'"1.1"\n\n    class': '"1.2"\n\n    class'},
        4,
        "invoice is at SCHEMA_VERSION 1.2, but migration 1.0 → 1.1 (Invoice.to_1_1) leads to 1.1, from which there is "
        "no migration",
    ),
    "a version that goes back": (
        {'"1.1"\n\n    class': '"1.0"\n\n    class', STEP: "", "    @staticmethod": ""},
        3,
        "the new code is at SCHEMA_VERSION 1.0: it leaves documents of version 1.1 alone, for ever",
    ),
    "a cyclic chain": (
        {STEP: '@zerog.migration("1.1", "1.0")'},
        4,
        "a migration from 1.1 to 1.0 leads backwards; expected a later version",
    ),
    "a forked chain": (
        {NOTHING: 'again = zerog.migration("1.0", "1.1")(lambda document: document)\n    def run(self)'},
        4,
        "invoice has two migrations from 1.0",
    ),
    "a changed default": (
        {"load_default=2026": "load_default=2027"},
        1,
        "the default of year was 2026 and is 2027; stored jobs keep the old one",
    ),
    "a migration that fails": (
        {'document.setdefault("year", 2026)': 'document["amount"] += document["cents"]'},
        3,
        "a document of version 1.0 fails: migration 1.0 → 1.1 (Invoice.to_1_1) failed: KeyError: 'cents'",
    ),
    "a removed parameter": (
        {"note = fields.String()": "pass"},
        1,
        "a submit with note is refused: it is no parameter there",
    ),
    "a new parameter": (
        {"note = fields.String()": "note = fields.String(); urgent = fields.Boolean()"},
        1,
        "urgent is a new parameter: old workers run such jobs without it",
    ),
    "a removed attribute": (
        {'ATTRIBUTES = ("year",)': "ATTRIBUTES = ()"},
        1,
        "year isn't one of ATTRIBUTES any more: new jobs aren't found by it, old ones are",
    ),
    "a removed type": (
        {"app.register(Invoice)": ""},
        1,
        "the type is gone: its jobs would wait for ever.",
    ),
    "a field of the user's own": (
        {"note = fields.String()": 'note = type("Own", (fields.String,), {"_deserialize": lambda *a, **k: "x"})()'},
        1,
        "whether stored values can be read isn't visible in the schemas",
    ),
}  # fmt: skip
"""What is replaced in the old code, the exit code, and the sentence."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, with schemas of both versions that the old code has had."""
    monkeypatch.chdir(tmp_path)
    first = OLD.replace('SCHEMA_VERSION = "1.1"', "").replace(STEP, "").replace("    @staticmethod", "")
    for source in (first, OLD):
        assert run(source, "freeze", "schemas").exit_code == 0
    return tmp_path


def run(source: str, command: str, *arguments: str) -> Result:
    """Run a command in this process with an app of this source."""
    Path("shop.py").write_text(source)
    return call("schema", command, "shop:app", *arguments, folder=Path.cwd())


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named(name: str, folder: Path) -> None:
    changes, code, sentence = MISTAKES[name]
    source = OLD
    for old, new in changes.items():
        assert old in source
        source = source.replace(old, new)
    checked = run(source, "check", "--against", "schemas")
    assert sentence in checked.output
    assert checked.exit_code == code
    if code == 3:
        assert "Don't deploy this." in checked.output
        assert "The migration that is missing:" in checked.output or "goes back" in name
        as_json = json.loads(run(source, "check", "--against", "schemas", "--json").output)
        assert [one["level"] for one in as_json] == ["breaks"]
        assert all(finding["example"] for one in as_json for finding in one["findings"] if finding["level"] == "breaks")


def test_callers_that_may_no_longer_send_anything_are_named(folder: Path) -> None:
    """Meta.unknown of the old Params let them."""
    body = "class Params(Schema):"
    lax = OLD.replace(body, f"{body}\n        class Meta:\n            unknown = 'exclude'\n")
    assert run(lax, "freeze", "lax").exit_code == 0
    checked = run(OLD, "check", "--against", "lax")
    assert "a submit with further parameters is refused: here Meta.unknown lets callers send any" in checked.output
    assert "Clients first" in checked.output
    assert checked.exit_code == 1
    assert run(lax, "check", "--against", "lax").exit_code == 0


def test_no_change_fits(folder: Path) -> None:
    """With a hint at what was tried."""
    checked = run(OLD, "check", "--against", "schemas")
    assert checked.exit_code == 0
    assert "example documents of version 1.0 were migrated to 1.1 and read" in checked.output
    assert checked.output.endswith("1 type: everything fits.\n")


def test_an_optional_state_field_fits(folder: Path) -> None:
    source = OLD.replace("lines =", "step = fields.Integer(load_default=0); lines =")
    assert run(source, "check", "--against", "schemas").exit_code == 0


def test_a_raised_version_with_its_migration_fits(folder: Path) -> None:
    step = """
    @zerog.migration("1.1", "2.0")
    @staticmethod
    def to_2(document):
        document["pages"] = document.pop("lines", [])
        return document

    def run(self)"""
    source = OLD.replace('"1.1"\n\n    class', '"2.0"\n\n    class').replace("    " + NOTHING, step)
    checked = run(source.replace("lines =", "pages ="), "check", "--against", "schemas")
    assert checked.exit_code == 0
    assert "old workers leave documents of version 2.0 alone; they wait for new workers" in checked.output


@pytest.mark.parametrize(
    ("change", "order"),
    [
        ({"note =": "urgent = fields.Boolean(); note ="}, "\nWorkers first: "),
        ({"Range(min=2000)": "Range(min=2020)"}, "\nClients first: "),
        ({"note = fields.String()": "pass", AMOUNT: f"{AMOUNT}; urgent = fields.Boolean()"}, "\nTwo deploys: "),
    ],
)
def test_the_order_of_the_deploy_is_named(change: dict[str, str], order: str, folder: Path) -> None:
    source = OLD
    for old, new in change.items():
        source = source.replace(old, new)
    checked = run(source, "check", "--against", "schemas")
    assert (checked.exit_code, order in checked.output) == (1, True), checked.output
