#!/usr/bin/env python3
"""Documents a minute that ``zerog rehearse`` tries on SQLite.

Half of them have the version of the code, half an earlier one that a migration lifts, which drops a field and adds
another. Prints a Markdown table with wall time, and with the processor time of the command and its child; ends with 1
if a core tries fewer than LEAST a minute. Run it in an environment that has zerog, on a machine without other work.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import zerog
from zerog.loading import load_app

DOCUMENTS = 10_000

LEAST = 10_000
"""Documents a minute, by processor time."""

OLD = """
import zerog
from marshmallow import Schema, fields

class Invoice(zerog.BaseJob):
    JOB_TYPE = "invoice"

    class Params(Schema):
        amount = fields.Float(required=True)
        customer = fields.String(required=True)
        until = fields.Date(load_default=None)
        options = fields.Dict(load_default=dict)

    def run(self):
        return 200

app = zerog.App("{url}")
app.register(Invoice)
"""

NEW = OLD.replace("amount = fields.Float(required=True)", "cents = fields.Integer(required=True)").replace(
    "    def run",
    """    SCHEMA_VERSION = "2.0"

    @zerog.migration("1.0", "2.0")
    @staticmethod
    def to_cents(document):
        document["cents"] = round(document.pop("amount") * 100)
        return document

    def run""",
)


def _fill(folder: Path, number: int) -> None:
    """Write both versions of the code, and submit half of the jobs by each."""
    url, options = f"sqlite:///{folder}/jobs.db", {"lines": [{"a": 1, "b": "text"}] * 5}
    sys.path.insert(0, str(folder))
    for name, code, params in (("before", OLD, {"amount": 2.5}), ("after", NEW, {"cents": 250})):
        (folder / f"{name}.py").write_text(code.format(url=url))
        with load_app(f"{name}:app") as app:
            _submit(app, [{"customer": str(each), "options": options, **params} for each in range(number // 2)])


def _submit(app: zerog.App, params: list[dict[str, object]]) -> None:
    app.submit_many("invoice", params)


def main() -> int:
    """Fill a file and rehearse it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _fill(folder, DOCUMENTS)
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "zerog", "rehearse", "after:app"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
        return done.returncode
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print("| documents | seconds | of a core | a minute | a minute and core |\n| ---: | ---: | ---: | ---: | ---: |")
    rates = [DOCUMENTS * 60 / seconds for seconds in (wall, processor)]
    print(f"| {DOCUMENTS:,} | {wall:.1f} | {processor:.1f} | {rates[0]:,.0f} | {rates[1]:,.0f} |")
    return 0 if rates[1] >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
