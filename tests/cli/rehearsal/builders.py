"""An application before and after a change, in files, and its command."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

import zerog
from zerog.cli.root import cli

BEFORE = """
import zerog
from marshmallow import Schema, fields

class Invoice(zerog.BaseJob):
    JOB_TYPE = "invoice"

    class Params(Schema):
        amount = fields.Float(required=True)
        colour = fields.String(load_default="red")
        options = fields.Dict(load_default=dict)

    def run(self):
        return 200

app = zerog.App("{url}")
app.register(Invoice)
"""

AFTER = """
import datetime, itertools, os, signal, sys, time
import zerog
from marshmallow import Schema, fields

NUMBERS = itertools.count()
SHARED = []

class Invoice(zerog.BaseJob):
    JOB_TYPE = "invoice"
    SCHEMA_VERSION = "2.0"

    class Params(Schema):
        cents = fields.Integer(required=True)
        colour = fields.String(load_default="red")
        options = fields.Dict(load_default=dict)
        extra = fields.Raw(load_default=None)

    @zerog.migration("1.0", "2.0")
    @staticmethod
    def to_cents(document):
        document["cents"] = round(document.pop("amount") * 100)
{step}
        return document

    def run(self):
        return 200

app = zerog.App("{url}")
app.register(Invoice)
"""


class Deploy:
    """A folder with both versions of the code, and jobs of the old one."""

    def __init__(self, folder: Path, url: str = "sqlite:///jobs.db") -> None:
        self.folder = folder
        self.url = url
        (folder / "before.py").write_text(BEFORE.format(url=url))
        self.change("")

    def change(self, step: str, name: str = "after") -> None:
        """Write the new code, with more statements in its migration."""
        (self.folder / f"{name}.py").write_text(AFTER.format(url=self.url, step=textwrap.indent(step, " " * 8)))

    def submitted(self, app: zerog.App, **params: Any) -> str:
        return app.submit("invoice", {"amount": 2.5, **params}).uuid


def rehearse(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["rehearse", *arguments], catch_exceptions=False)


def rehearsed(*arguments: str) -> dict[str, Any]:
    result = rehearse(*arguments, "--json")
    report: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (1 if report["findings"] or any(each["untried"] for each in report["types"]) else 0)
    return report
