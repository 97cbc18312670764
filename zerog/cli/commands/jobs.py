"""``zerog jobs ls`` and ``zerog jobs show``: list jobs, show one."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any

import click
from rich.progress import BarColumn, Progress, TextColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from zerog.cli.app_argument import app_command, load_shared
from zerog.cli.job_view import print_sheet
from zerog.cli.options import Filters, filter_options
from zerog.cli.output import STALLED, STYLES, age, flat, make_console, percent, print_json, print_json_line
from zerog.contracts.queue import DEFAULT
from zerog.exceptions import JobNotFound
from zerog.records.job import make_key

CHUNK = 500
"""Rows of one table: as many jobs are in memory at a time."""

WIDE = 110
"""Columns from which a terminal has room for bars."""

BAR = 12
"""Columns of a bar."""

NUMBERS = ("DONE", "RUNS", "ERRS", "AGE")
HEADER = ["UUID", "TYPE", "STATUS", *NUMBERS, "QUEUE"]
ERROR = "LAST ERROR"


@click.group()
def jobs() -> None:
    """List, show, cancel, edit, retry and remove jobs."""


@app_command("ls")
@filter_options
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="List so many.")
@click.option("--all", "unlimited", is_flag=True, help="List all, however many.")
@click.option("--errors", is_flag=True, help="Show the last error of each, too.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines: an object a line, as App.progress gives it.")
def list_jobs(app: str, filters: Filters, limit: int, unlimited: bool, errors: bool, as_json: bool) -> None:
    """List jobs, by status if one was asked for, oldest first.

    Ages count from when a job was submitted. In a pipe the table is plain and its lines are as long as they get.

    \b
    Example: zerog jobs ls myapp:app --status failed --since 1d
    Example: zerog jobs ls myapp:app --type word_count --all --json
    Example: zerog jobs ls myapp:app --status failed --errors --error FileNotFoundError
    """
    the_app = load_shared(app)
    found = filters.jobs(the_app)
    listed = _counted(found if unlimited else islice(found, limit))
    if as_json:
        for progress in listed:
            print_json_line(progress)
    else:
        _print_table(listed, the_app.clock.now(), errors)
    if not unlimited and next(found, None) is not None:
        click.echo(f"There are more than these {limit}; --limit or --all shows them.", err=True)


def _counted(listed: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the same, with a bar on standard error while the list itself is written to a file."""
    console = make_console(stderr=True)
    hidden = not console.is_terminal or sys.stdout.isatty()
    columns = (TextColumn("listed"), BarColumn(), TextColumn("{task.completed:,.0f}"))
    with Progress(*columns, console=console, disable=hidden) as shown:
        task = shown.add_task("", total=None)
        for row in listed:
            shown.advance(task)
            yield row


def _print_table(listed: Iterable[dict[str, Any]], now: datetime, errors: bool) -> None:
    """Print chunk by chunk: by rich for a terminal, otherwise as plain text, which is a hundred times faster."""
    console = make_console()
    listed = iter(listed)
    widths = [36, 4, 9, 4, 4, 4, 4, 5, *([0] if errors else [])]
    rows = list(islice(listed, CHUNK))
    if not rows:
        click.echo("No jobs.")
    header = [[*HEADER, ERROR] if errors else HEADER]
    while rows:
        cells = [[*_cells(row, now), *([_last_error(row)] if errors else [])] for row in rows]
        if console.is_terminal:
            console.print(_table(cells, rows, console.width, with_header=bool(header)))
        else:
            widths = [
                max(width, *map(len, column)) for width, column in zip(widths, zip(*cells, strict=True), strict=True)
            ]
            click.echo("\n".join(_plain(line, widths) for line in [*header, *cells]))
        rows, header = list(islice(listed, CHUNK)), []


def _cells(row: dict[str, Any], now: datetime) -> list[str]:
    return [
        flat(row["uuid"]),
        flat(row["jobType"]),
        flat(STALLED if row["stalled"] else row["status"]),
        percent(row["completeness"]),
        flat(row["attempts"]),
        flat(row["errorCount"]),
        age(row["createdAt"], now),
        flat(row["queueName"]),
    ]


def _last_error(row: dict[str, Any]) -> str:
    last = row["lastError"]
    return flat(f"[{last.get('errorCode')}] {last.get('msg')}") if isinstance(last, dict) else ""


def _plain(cells: list[str], widths: list[int]) -> str:
    aligned = [
        cell.rjust(width) if name in NUMBERS else cell.ljust(width)
        for name, cell, width in zip([*HEADER, ERROR], cells, widths, strict=False)
    ]
    return " ".join(aligned).rstrip()


def _table(cells: list[list[str]], rows: list[dict[str, Any]], columns: int, with_header: bool) -> Table:
    """Make a table, without the queue if it is always the default one: so 80 columns have room for whole uuids."""
    is_wide = columns >= WIDE
    with_queue = is_wide or any(row["queueName"] != DEFAULT for row in rows)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=with_header, header_style="bold")
    table.add_column("UUID", min_width=36, no_wrap=True)
    table.add_column("TYPE", min_width=4, no_wrap=True, overflow="ellipsis")
    table.add_column("STATUS", min_width=9, no_wrap=True)
    if is_wide:
        table.add_column("", width=BAR)
    for name in NUMBERS:
        table.add_column(name, justify="right", min_width=4, no_wrap=True)
    if with_queue:
        table.add_column("QUEUE", min_width=5, no_wrap=True, overflow="ellipsis")
    if len(cells[0]) > len(HEADER):
        table.add_column(ERROR, min_width=5, no_wrap=True, overflow="ellipsis", ratio=1)
    for (uuid, job_type, status, *rest), row in zip(cells, rows, strict=True):
        numbers, queue, last = rest[: len(NUMBERS)], rest[len(NUMBERS)], rest[len(NUMBERS) + 1 :]
        bar = [_bar(row["completeness"])] if is_wide else []
        status_text = Text(status, style=STYLES.get(status, ""))
        table.add_row(uuid, job_type, status_text, *bar, *numbers, *([queue] if with_queue else []), *last)
    return table


def _bar(completeness: object) -> ProgressBar:
    done = completeness if isinstance(completeness, (int, float)) else 0.0
    return ProgressBar(total=1.0, completed=done, width=BAR)


@app_command()
@click.argument("uuid")
@click.option("--no-history", is_flag=True, help="Leave out events, warnings and errors.")
@click.option(
    "--json", "as_json", is_flag=True, help="The document as it is stored, one JSON object. Secret fields are hidden."
)
def show(app: str, uuid: str, no_history: bool, as_json: bool) -> None:
    """Show a job: all of its fields, and what happened to it.

    \b
    Example: zerog jobs show myapp:app 0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f
    Example: zerog jobs show myapp:app 0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f --no-history --json
    """
    the_app = load_shared(app)
    document = the_app.datastore.read_with_cas(make_key(uuid), head=no_history)[0]
    if document is None:
        raise JobNotFound(f"there is no job {uuid}")
    document = the_app.registry.shown(document)
    if as_json:
        print_json(document)
    else:
        print_sheet(document, the_app.clock.now())


jobs.add_command(list_jobs)
jobs.add_command(show)
