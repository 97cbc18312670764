"""Draws what each command prints, to be looked at: ``python -m tests.cli.pictures FOLDER``.

The commands run on terminals of 80 and 120 columns, beside real workers; each is drawn on a light and a dark one.
"""

from __future__ import annotations

import importlib
import io
import itertools
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, cast

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME, TerminalTheme
from rich.text import Text

import zerog
from tests.cli.builders import without_app
from tests.cli.terminal import watched
from tests.examples.servers import chromium
from tests.processes import until

APP = '''
import os
import time

import zerog
from marshmallow import Schema, fields, validate


class ImportOrders(zerog.BaseJob):
    """Import a file of orders, row by row."""

    JOB_TYPE = "import_orders"
    SCHEMA_VERSION = "2.0"
    MAX_ERRORS = 1

    class Params(Schema):
        path = fields.String(required=True, metadata={"description": "the file to import"})
        rows = fields.Integer(load_default=100, validate=validate.Range(min=1))
        pace = fields.Float(load_default=0)
        fail = fields.String(load_default="")

    class State(Schema):
        line = fields.Integer(load_default=0)

    @zerog.migration("1.0", "2.0")
    @staticmethod
    def renamed(document):
        return document

    def run(self):
        for line in range(self.line, self.rows):
            time.sleep(self.pace)
            self.update_attrs(line=line + 1, completeness=(line + 1) / self.rows)
            if line == self.rows // 2 and self.fail:
                self.record_warning("row 51 has no price; it was left out")
                raise ConnectionError(self.fail)
            if self.stopping:
                return zerog.NO_RESULT
        self.record_event(f"{self.rows} rows of {self.path} imported")
        return {"rows": self.rows, "total": "1,204.50"}


app = zerog.App("sqlite:///jobs.db?synchronous=normal")
app.register(ImportOrders)


@app.job("send_newsletter_to_subscribers")
def newsletter(job: zerog.BaseJob, subject: str, seconds: float = 0) -> int:
    """Send one mail to each subscriber."""
    time.sleep(seconds)
    return 200


@app.job
def hang(job: zerog.BaseJob) -> None:
    time.sleep(3600)
'''

LONG = (
    "could not connect to server: Connection refused. Is the server running on host db-replica-3.internal.example.org "
    "(10.20.30.40) and accepting TCP/IP connections on port 5432? SSL SYSCALL error: EOF detected"
)
THEMES = {"light": DEFAULT_TERMINAL_THEME, "dark": SVG_EXPORT_THEME}
COLUMNS = (80, 120)


class Scene(NamedTuple):
    """A command, and how long it is watched if it is drawn before its end."""

    name: str
    arguments: str
    seconds: float | None = None


SCENES = (
    Scene("help", "--help"),
    *(Scene(f"help-{name.replace(' ', '-')}", f"{name} --help") for name in ("jobs", "jobs ls", "submit", "worker")),
    Scene("types", "types shop:app"),
    Scene("setup", "setup shop:app"),
    Scene("jobs-ls", "jobs ls shop:app"),
    Scene("jobs-ls-errors", "jobs ls shop:app --errors --status failed"),
    Scene("jobs-show-failed", "jobs show shop:app {failed}"),
    Scene("jobs-show-running", "jobs show shop:app {running}"),
    Scene("jobs-show-scheduled", "jobs show shop:app {scheduled}"),
    Scene("jobs-edit", "jobs edit shop:app {failed} --set rows=abc --reason typo"),
    Scene("jobs-retry", "jobs retry shop:app {done}"),
    Scene("progress", "progress shop:app {running}"),
    Scene("progress-watch", "progress shop:app {running} --follow", 3),
    Scene("submit", "submit shop:app import_orders path=orders.csv"),
    Scene("submit-wait-ok", "submit shop:app import_orders path=orders.csv rows=5 --wait"),
    Scene("submit-wait-running", "submit shop:app import_orders path=orders.csv rows=90 pace=0.1 --wait", 5),
    Scene(
        "submit-wait-failed",
        "submit shop:app import_orders path=orders.csv --wait 'fail=the disk of db-replica-3 is full'",
    ),
    Scene("submit-invalid", "submit shop:app import_orders path=orders.csv rows=0 --wait"),
    Scene("queues", "queues shop:app"),
    Scene("workers", "workers shop:app"),
    Scene("top", "top shop:app --once"),
    Scene("doctor", "doctor shop:app --watch 1"),
    Scene("reconcile", "reconcile shop:app"),
    Scene("drain", "workers drain shop:app --all"),
    Scene("undrain", "workers undrain shop:app --all"),
    Scene("pause", "queues pause shop:app mails --reason 'the mail server is down'"),
    Scene("wrong-command", "job ls shop:app"),
    Scene("wrong-type", "submit shop:app import_order path=a"),
    Scene("wrong-parameter", "submit shop:app import_orders pth=a"),
    Scene("wrong-app", "jobs ls shop:application"),
    Scene("wrong-uuid", "jobs show shop:app 1234"),
)


def shown(printed: str, columns: int) -> list[Text]:
    """Return the lines that a terminal of that width shows; a live bar is drawn as it was last."""
    lines: list[str] = []
    for part in printed.replace("\r\n", "\n").split("\n"):
        for _ in range(part.count("\x1b[1A")):  # rich draws its bars anew over the lines before
            lines.pop()
        lines.append(re.sub(r"\x1b\[(?:\?25[lh]|1A)|\r", "", part.rpartition("\x1b[2K")[2]))
    cut = [Text.from_ansi(line) for line in lines]
    if cut and cut[-1].plain:
        cut.append(Text())  # the cursor's line, below a bar that is still drawn
    return [part for line in cut for part in line.divide(range(columns, len(line.plain), columns))]


def draw(title: str, lines: list[Text], columns: int, theme: TerminalTheme) -> str:
    """Return a picture of the lines, as SVG."""
    console = Console(file=io.StringIO(), width=columns, force_terminal=True, color_system="truecolor", record=True)
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)
    return console.export_svg(title=title, theme=theme)


@contextmanager
def worker(folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker in a process of its own; killed at the end."""
    command = [sys.executable, "-m", "zerog", "worker", "shop:app", *options]
    with subprocess.Popen(command, cwd=folder, env=without_app(), stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def status_of(app: zerog.App, uuid: str) -> str:
    return app.progress(uuid)["status"]


@contextmanager
def busy_shop(folder: Path) -> Iterator[dict[str, str]]:
    """An application with jobs of every kind, served by two workers; a third one is dead."""
    (folder / "shop.py").write_text(APP)
    app = import_app(folder)
    with ExitStack() as workers:
        names = {}
        for number in range(6):
            names["done"] = app.submit("import_orders", {"path": f"orders-{number}.csv"}).uuid
        names["failed"] = app.submit("import_orders", {"path": "bestellungen-größe.csv", "fail": LONG}).uuid
        names["short"] = app.submit("import_orders", {"path": "x.csv", "fail": "timed out"}).uuid
        zerog.Worker(app).run(burst=True)
        for uuid in (names["failed"], names["short"]):
            app.edit(uuid, {"rows": 120}, who="ann@web1", reason="the file was longer")
        workers.enter_context(worker(folder, "--name", "web1-a", "--concurrency", "3", "--queues", "default,mails"))
        dying = workers.enter_context(worker(folder, "--name", "web2-b", "--executor", "process", "--queues", "slow"))
        names["running"] = app.submit("import_orders", {"path": "a.csv", "rows": 2000, "pace": 0.2}).uuid
        names["mail"] = app.submit(
            "send_newsletter_to_subscribers", {"subject": "5 % off", "seconds": 900}, queue="mails"
        ).uuid
        names["lost"] = app.submit("hang", queue="slow").uuid
        until(lambda: all(status_of(app, names[name]) == "running" for name in ("running", "mail", "lost")), 60)
        dying.kill()
        names["scheduled"] = app.submit("import_orders", {"path": "b.csv"}, delay=7200).uuid
        for number in range(3):
            app.submit("import_orders", {"path": f"later-{number}.csv"}, queue="archive")
        app.fleet.pause("archive", "the disk of the archive is full, ask ops before resuming", "ann@web1")
        app.cancel(app.submit("hang", queue="archive").uuid)
        until(lambda: app.progress(names["running"])["completeness"] > 0.01, 60)
        yield names


def import_app(folder: Path) -> zerog.App:
    """Return the app of the folder, opened in this process."""
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    return cast("zerog.App", importlib.import_module("shop").app)


def main(target: Path) -> None:
    """Draw every scene into the folder."""
    target = target.absolute()
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, busy_shop(Path(scratch)) as names, chromium() as browser:
        for scene, columns in itertools.product(SCENES, COLUMNS):
            arguments = scene.arguments.format(**names)
            printed = watched(Path(scratch), columns, scene.seconds, *shlex.split(arguments))
            for name, theme in THEMES.items():
                page = browser.new_page(viewport={"width": 13 * columns, "height": 400})
                page.set_content(draw(f"zerog {arguments}", shown(printed, columns), columns, theme))
                page.locator("svg").first.screenshot(path=target / f"{scene.name}-{columns}-{name}.png")
                page.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
