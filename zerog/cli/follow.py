"""Live bars for running jobs, one a line: status, completeness, rate, time left; wait for jobs with them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress_bar import ProgressBar
from rich.text import Text

from zerog.cli.console import BACK, print_wrapped
from zerog.cli.errors import FAILED, UNFINISHED, fail
from zerog.cli.output import STALLED, STYLES
from zerog.exceptions import UnknownJobType
from zerog.jobs.declaration import declaration_of
from zerog.query import readable, readable_heads
from zerog.records.job import EXPIRED, SUCCEEDED, TERMINAL
from zerog.support.texts import flat

if TYPE_CHECKING:
    from zerog.app import App


class _Rate(ProgressColumn):
    """Percent a second, from the latest samples; nothing of a job that has ended."""

    def render(self, task: Task) -> Text:
        if task.fields["status"] in TERMINAL:
            return Text(" " * 9)
        speed = task.finished_speed or task.speed
        return Text(f"{speed * 100:5.1f} %/s" if speed else "        ", style="dim")


class _Left(TimeRemainingColumn):
    """The time left; nothing of a job that has ended, whatever it had left to do."""

    max_refresh = 0.0  # a kept text would outlive the end

    def render(self, task: Task) -> Text:
        return Text(" " * 5) if task.fields["status"] in TERMINAL else super().render(task)


class _Status(ProgressColumn):
    def render(self, task: Task) -> Text:
        status = flat(task.fields["status"])
        return Text(f"{status:<9}", style=STYLES.get(status, ""))


class _Bar(BarColumn):
    """A bar in the colour of its job's status."""

    def render(self, task: Task) -> ProgressBar:
        bar = super().render(task)
        bar.complete_style = bar.finished_style = STYLES.get(str(task.fields["status"]), "")
        return bar


class Bars:
    """A bar for each job, redrawn by each ``update`` with what ``App.progress`` returned. Use as ``with``."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            _Status(),
            _Bar(bar_width=32, style=BACK),
            TextColumn("{task.percentage:5.1f} %"),
            _Rate(),
            _Left(compact=True),
            TextColumn("[dim]{task.fields[note]}"),
            console=console,
            refresh_per_second=10,
            speed_estimate_period=10,
        )

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._progress.stop()

    def add(self, uuid: str, name: str) -> None:
        """Add a bar, unless the job has one."""
        if uuid in self._tasks:
            return
        self._tasks[uuid] = self._progress.add_task(name, total=1.0, status="queued", note="")

    def update(self, progress: Mapping[str, Any], note: str = "") -> None:
        """Show a job's progress."""
        runs = progress["attempts"]
        if runs > 1 and not note:
            note = f"run {runs}"
        status = STALLED if progress.get("stalled") else progress["status"]
        self._progress.update(
            self._tasks[progress["uuid"]], completed=progress["completeness"], status=status, note=note
        )

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        self.console.print(line, highlight=False)


LOOK = 0.2
"""Seconds between two polls."""

SHOWN = 10
"""Jobs with a bar each; more share one."""

BELOW = "    "
"""What further lines about a job begin with."""

ALL = "all"
"""The name of the bar that many jobs share."""


def follow(app: App, uuids: Sequence[str], console: Console, timeout: float | None = None) -> int:
    """Draw until all jobs have ended and return the exit code: 1 if any of them failed or was cancelled.

    The end of each is printed above the bars: uuid, parameters, and output or reason; of many jobs those that didn't
    succeed. Exits with 4 if ``timeout`` seconds weren't enough. Raises JobNotFound.
    """
    deadline = None if timeout is None else app.clock.monotonic() + timeout
    with Bars(console) as bars:
        together = len(uuids) > SHOWN
        if together:
            bars.add(ALL, f"{len(uuids):,} jobs")
        ended: dict[str, str] = {}
        left = dict.fromkeys(uuids)
        while True:
            for uuid, head in readable_heads(app.datastore, list(left)).items():
                progress = app.registry.progress(head, app.clock.now())
                if not together:
                    bars.add(uuid, flat(progress["jobType"]))
                    bars.update(progress)
                if progress["status"] in TERMINAL:
                    ended[uuid] = progress["status"]
                    del left[uuid]
                    if not together or progress["status"] != SUCCEEDED:
                        print_wrapped(console, _end_of(app, uuid, progress), len(BELOW))
            if together:
                bars.update(_overall(len(ended), len(uuids)), f"{len(ended):,} ended")
            if not left or (deadline is not None and app.clock.monotonic() >= deadline):
                break
            app.clock.pause(LOOK)
    if left:
        which = f"job {next(iter(left))} continues" if len(left) == 1 else f"{len(left):,} jobs continue"
        fail(f"{which}; stopped waiting after {timeout:g} s", UNFINISHED)
    return 0 if all(status == SUCCEEDED for status in ended.values()) else FAILED


def _end_of(app: App, uuid: str, progress: Mapping[str, Any]) -> Text:
    """Describe a job that has ended: uuid, status, type and parameters, and in lines below its reason and output."""
    head = app.registry.shown(readable(app.datastore, uuid, head=True))
    status, last = str(progress["status"]), progress["lastError"]
    given = [f"{flat(key)}={_json(head[key])}" for key in _parameters_of(app, progress["jobType"]) if key in head]
    text = Text.assemble(flat(uuid), " ", (status, STYLES.get(status, "")), f" {flat(progress['jobType'])}")
    text.append("".join(f" {each}" for each in given))
    if status != SUCCEEDED and isinstance(last, dict):
        text.append(f"\n{BELOW}{flat(last.get('errorCode'))}: {flat(last.get('msg'))}", STYLES.get(status, ""))
    if progress["result"] == EXPIRED:
        text.append(f"\n{BELOW}{EXPIRED}: expired: no run had begun by {flat(progress['expiresAt'])}")
    if head.get("output") is not None:
        text.append(f"\n{BELOW}{_json(head['output'])}")
    return text


def _parameters_of(app: App, job_type: str) -> list[str]:
    """Return the names of a type's parameters; none if the app doesn't have the type."""
    try:
        schemas = declaration_of(app.job_class(job_type)).client_schemas
    except UnknownJobType:
        return []
    return [field.data_key or name for schema in schemas for name, field in schema.load_fields.items()]


def _json(value: Any) -> str:
    return flat(json.dumps(value, ensure_ascii=False))


def _overall(ended: int, total: int) -> dict[str, Any]:
    return {"uuid": ALL, "completeness": ended / total, "status": "running", "attempts": 1}
