"""Live bars for running jobs, one a line: status, how much is done, how fast, how long still."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from zerog.cli.output import STALLED, STYLES


class _Rate(ProgressColumn):
    """Percent a second, from the latest samples."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed * 100:5.1f} %/s" if speed else "        ", style="progress.data.speed")


class _Status(ProgressColumn):
    def render(self, task: Task) -> Text:
        status = str(task.fields["status"])
        return Text(f"{status:<9}", style=STYLES.get(status, ""))


class Bars:
    """A bar for each job, drawn anew as ``update`` is told what ``App.progress`` answered. Use as ``with``."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            _Status(),
            BarColumn(bar_width=32),
            TextColumn("{task.percentage:5.1f} %"),
            _Rate(),
            TimeRemainingColumn(compact=True),
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
        """Begin a bar, unless the job has one."""
        if uuid in self._tasks:
            return
        self._tasks[uuid] = self._progress.add_task(name, total=1.0, status="queued", note="")

    def update(self, progress: dict[str, Any], note: str = "") -> None:
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
