"""``zerog schema freeze`` and ``check``: files, revisions of a repository, and what can't be built."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.hostile import TEXTS, forged, unsafe
from tests.schemas.called import call
from zerog.schemas.files import FrozenUnreadable, file_name, read_frozen
from zerog.schemas.findings import CLIENTS_FIRST, TWO_DEPLOYS, WORKERS, WORKERS_FIRST, Finding, Level, safe_order

SHOP = """
import os
import zerog
from marshmallow import Schema, fields

class Mail(zerog.BaseJob):
    JOB_TYPE = "mail"

    class Params(Schema):
        to = fields.String(required=True)
        password = fields.String(load_default="hunter2", metadata={"secret": True})

    def run(self):
        return 200

app = zerog.App("redis://nowhere.invalid/0")
app.register(Mail)
"""


def git(folder: Path, *arguments: str) -> str:
    person = ["-c", "user.name=n", "-c", "user.email=n@example.com"]
    command = ["git", "-C", str(folder), *person, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository with the app in a folder of it, tagged v1."""
    inner = tmp_path / "repository" / "service"
    inner.mkdir(parents=True)
    (inner / "shop.py").write_text(SHOP)
    git(inner.parent, "init", "-q")
    git(inner, "add", ".")
    git(inner, "commit", "-q", "-m", "first")
    git(inner, "tag", "v1")
    return inner


def change(folder: Path, old: str, new: str) -> None:
    source = (folder / "shop.py").read_text()
    assert old in source
    (folder / "shop.py").write_text(source.replace(old, new))


def test_frozen_files_are_stable_and_readable(folder: Path) -> None:
    first = call("schema", "freeze", "shop:app", "schemas", folder=folder)
    assert (first.exit_code, first.stdout) == (0, "new      schemas/mail-1.0.json\n")
    text = (folder / "schemas" / "mail-1.0.json").read_text()
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"
    assert "hunter2" not in text
    again = call("schema", "freeze", "shop:app", "schemas", "--json", folder=folder)
    assert json.loads(again.stdout) == [
        {"path": "schemas/mail-1.0.json", "done": "same", "jobType": "mail", "schemaVersion": 1.0}
    ]
    change(folder, "to = ", "cc = fields.String(); to = ")
    assert call("schema", "freeze", "shop:app", "schemas", folder=folder).stdout.startswith("changed")
    change(folder, 'JOB_TYPE = "mail"', 'JOB_TYPE = "mail"; SCHEMA_VERSION = "2.0"')
    assert call("schema", "freeze", "shop:app", "schemas", folder=folder).stdout.startswith("new ")
    assert [one["schemaVersion"] for one in read_frozen(folder / "schemas")] == [1.0, 2.0]


def test_a_revision_is_what_was_committed(folder: Path) -> None:
    """The app of then is built without connecting to anything, and the present one against it."""
    assert call("schema", "check", "shop:app", "--against", "v1", folder=folder).exit_code == 0
    change(folder, "to = ", "recipient = ")
    checked = call("schema", "check", "shop:app", "--against", "v1", folder=folder)
    assert checked.exit_code == 3
    assert "to isn't declared any more, and recipient is new" in checked.stdout
    assert git(folder, "status", "--porcelain").split() == ["M", "service/shop.py"]


SPY = """
import json, os, pathlib, sys
found = {name: value for name, value in os.environ.items() if "SECRET" in name or name.startswith("ZEROG")}
if found or os.environ["HOME"] == HOME:
    raise RuntimeError(f"seen: {found}")
"""


def test_the_code_of_a_revision_sees_no_secret(folder: Path) -> None:
    """Of the environment it has the path and the locale, and its own file is that of the revision."""
    (folder / "shop.py").write_text(
        SPY.replace("HOME:", repr(os.environ.get("HOME", "/root")) + ":", 1).replace(
            "== HOME", f"== {os.environ.get('HOME', '/root')!r}"
        )
        + SHOP
    )
    git(folder, "commit", "-qam", "spy")
    (folder / "shop.py").write_text(SHOP)
    checked = call(
        *("schema", "check", "shop:app", "--against", "HEAD"), folder=folder, MY_SECRET="x", ZEROG_URL="sqlite:///x.db"
    )
    assert (checked.exit_code, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("against", "code", "message"),
    [
        ("v2", 2, "v2 is neither a folder nor a revision of the repository"),
        ("--output=x", 2, "--output=x is neither a folder nor a revision of the repository"),
        ("empty", 4, "empty has no frozen schema: write them with zerog schema freeze"),
        ("damaged", 4, "damaged/x.json is no frozen schema (JSONDecodeError"),
        ("later", 4, "later/x.json has the layout 99; this version of ZeroG reads 1"),
        ("older", 4, "the app of older can't be built: shop can't be imported: KeyError: 'ADDRESS'"),
        ("before", 4, "the app of before can't be built: there is no module shop"),
    ],
)
def test_what_cannot_be_compared_is_named(folder: Path, against: str, code: int, message: str) -> None:
    for name, text in (("empty", None), ("damaged", "{"), ("later", '{"frozen": 99}')):
        (folder / name).mkdir()
        if text is not None:
            (folder / name / "x.json").write_text(text)
    (folder / "shop.py").write_text(SHOP.replace("app = ", 'os.environ["ADDRESS"]\napp = '))
    git(folder, "commit", "-qam", "needs more")
    git(folder, "tag", "older")
    git(folder, "mv", "shop.py", "old.py")
    git(folder, "commit", "-qm", "moved")
    git(folder, "tag", "before")
    (folder / "shop.py").write_text(SHOP)
    checked = call("schema", "check", "shop:app", f"--against={against}", folder=folder)
    assert (checked.exit_code, message in checked.stderr) == (code, True), checked.stderr


def test_a_class_from_elsewhere_is_refused(folder: Path, tmp_path: Path) -> None:
    """An installed copy of the application would be compared with itself."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mails.py").write_text(SHOP)
    outside = f"import sys\nsys.path.append({str(tmp_path / 'elsewhere')!r})\nfrom mails import app\n"
    (folder / "shop.py").write_text(outside)
    git(folder, "commit", "-qam", "installed")
    checked = call("schema", "check", "shop:app", "--against", "HEAD", folder=folder)
    assert checked.exit_code == 4
    assert "mails.Mail was imported from" in checked.stderr
    assert "not from the files of the revision" in checked.stderr


def test_an_app_that_cannot_be_built_exits_with_4(folder: Path) -> None:
    change(folder, "app.register(Mail)", "raise ValueError('no')")
    checked = call("schema", "check", "shop:app", "--against", "v1", folder=folder)
    assert checked.exit_code == 4
    assert "shop can't be imported: ValueError: no" in checked.stderr


def test_without_git_the_error_says_so(folder: Path) -> None:
    checked = call("schema", "check", "shop:app", "--against", "v1", folder=folder, PATH="/nowhere")
    assert (checked.exit_code, "needs git, which isn't installed" in checked.stderr) == (2, True)


def test_frozen_texts_are_text(folder: Path) -> None:
    """A file from elsewhere moves no cursor and forges no line."""
    (folder / "schemas").mkdir()
    call("schema", "freeze", "shop:app", "frozen", folder=folder)
    whole = json.loads((folder / "frozen" / "mail-1.0.json").read_text())
    for number, text in enumerate(TEXTS.values()):
        field = {"type": "string", "x-field": {"class": "String", "required": True, "load_default": text}}
        params = {**whole["params"], "properties": {text or "x": field}, "required": [text or "x"]}
        one = {**whole, "jobType": text if number % 2 else "mail", "schemaVersion": float(number), "params": params}
        (folder / "schemas" / f"{number}.json").write_text(json.dumps(one))
    for arguments in ([], ["--json"]):
        checked = call("schema", "check", "shop:app", "--against", "schemas", *arguments, folder=folder)
        assert checked.exit_code == 3, checked.stderr
        assert (unsafe(checked.stdout), forged(checked.stdout)) == ("", [])


@pytest.mark.parametrize(
    ("job_type", "name"),
    [
        ("mail", "mail-1.0.json"),
        ("shop/mail ü..", "shop%2Fmail %C3%BC..-1.0.json"),
        ("x" * 200, "x" * 120 + "-34fd6e52-1.0.json"),
    ],
)
def test_a_file_is_named_by_its_type(job_type: str, name: str) -> None:
    made = file_name({"jobType": job_type, "schemaVersion": 1.0})
    assert made.rpartition("-")[0].partition("x-")[0] == name.rpartition("-")[0].partition("x-")[0]
    assert len(made) < 200
    assert "/" not in made


def test_a_folder_without_files_is_no_folder_of_schemas(tmp_path: Path) -> None:
    with pytest.raises(FrozenUnreadable, match="has no frozen schema"):
        read_frozen(tmp_path)


@pytest.mark.parametrize(
    ("orders", "safe"),
    [
        ([None], None),
        ([WORKERS_FIRST, None, WORKERS_FIRST], WORKERS_FIRST),
        ([CLIENTS_FIRST], CLIENTS_FIRST),
        ([WORKERS_FIRST, CLIENTS_FIRST], TWO_DEPLOYS),
        ([TWO_DEPLOYS, CLIENTS_FIRST], TWO_DEPLOYS),
    ],
)
def test_two_orders_are_two_deploys(orders: list[str | None], safe: str | None) -> None:
    assert safe_order([Finding("x", 1.0, WORKERS, Level.ORDER, None, "", order) for order in orders]) == safe
