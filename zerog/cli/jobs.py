"""``zerog jobs ls`` and ``zerog jobs show``: looking at many jobs, and at one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import Any

import click
from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from zerog.cli.filters import Filters, filter_options
from zerog.cli.loading import load_app
from zerog.cli.output import STYLES, age, clean, make_console, percent, print_json, print_json_line
from zerog.cli.sheet import print_sheet
from zerog.cli.target import app_command
from zerog.document import make_key
from zerog.exceptions import JobNotFound

CHUNK = 500
"""Rows of one table: as many jobs are in memory at a time."""

WIDE = 110
"""Columns from which a terminal has room for bars."""


@click.group()
def jobs() -> None:
    """List, show, cancel, retry and remove jobs."""


@app_command("ls")
@filter_options
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="List so many.")
@click.option("--all", "unlimited", is_flag=True, help="List all, however many.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines: an object a line, as App.progress gives it.")
def list_jobs(app: str, filters: Filters, limit: int, unlimited: bool, as_json: bool) -> None:
    """List jobs, by status if one was asked for, oldest first.

    Ages count from when a job was submitted. In a pipe the table is plain and its lines are as long as they get.

    \b
    Example: zerog jobs ls myapp:app --status failed --since 1d
    Example: zerog jobs ls myapp:app --type word_count --all --json
    """
    the_app = load_app(app)
    found = filters.jobs(the_app)
    listed = found if unlimited else islice(found, limit)
    if as_json:
        for progress in listed:
            print_json_line(progress)
    else:
        _print_table(listed, the_app.clock.now())
    if not unlimited and next(found, None) is not None:
        click.echo(f"There are more than these {limit}; --limit or --all shows them.", err=True)


def _print_table(listed: Iterable[dict[str, Any]], now: datetime) -> None:
    console = make_console()
    listed = iter(listed)
    rows = list(islice(listed, CHUNK))
    if not rows:
        click.echo("No jobs.")
    is_first = True
    while rows:
        console.print(_table(rows, now, console, is_first))
        rows, is_first = list(islice(listed, CHUNK)), False


def _table(rows: list[dict[str, Any]], now: datetime, console: Console, with_header: bool) -> Table:
    """A terminal of 80 columns has room for whole uuids if the queue is left out where it says nothing."""
    is_narrow = console.is_terminal and console.width < WIDE
    with_bars = console.is_terminal and not is_narrow
    with_queue = not is_narrow or any(row["queueName"] != "default" for row in rows)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=with_header, header_style="bold")
    table.add_column("UUID", min_width=36, no_wrap=True)
    table.add_column("TYPE", no_wrap=True, overflow="ellipsis", min_width=4)
    table.add_column("STATUS", min_width=9, no_wrap=True)
    if with_bars:
        table.add_column("", width=12)
    for name in ("DONE", "RUNS", "ERRS", "AGE"):
        table.add_column(name, justify="right", min_width=4, no_wrap=True)
    if with_queue:
        table.add_column("QUEUE", no_wrap=True, overflow="ellipsis", min_width=5)
    for row in rows:
        table.add_row(*_cells(row, now, with_bars, with_queue))
    return table


def _cells(row: dict[str, Any], now: datetime, with_bars: bool, with_queue: bool) -> list[RenderableType]:
    status = clean(row["status"])
    cells: list[RenderableType] = [
        clean(row["uuid"]),
        clean(row["jobType"]),
        Text(status, style=STYLES.get(status, "")),
    ]
    if with_bars:
        completeness = row["completeness"]
        done = completeness if isinstance(completeness, (int, float)) else 0.0
        cells.append(ProgressBar(total=1.0, completed=done, width=12))
    cells += [percent(row["completeness"]), clean(row["attempts"]), clean(row["errorCount"])]
    cells.append(age(row["createdAt"], now))
    return [*cells, clean(row["queueName"])] if with_queue else cells


@app_command()
@click.argument("uuid")
@click.option("--no-history", is_flag=True, help="Leave out events, warnings and errors.")
@click.option("--json", "as_json", is_flag=True, help="The document as it is stored, one JSON object.")
def show(app: str, uuid: str, no_history: bool, as_json: bool) -> None:
    """Show a job: all of its fields, and what happened to it.

    \b
    Example: zerog jobs show myapp:app 0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f
    Example: zerog jobs show myapp:app 0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f --no-history --json
    """
    the_app = load_app(app)
    document = the_app.datastore.read_with_cas(make_key(uuid), head=no_history)[0]
    if document is None:
        raise JobNotFound(f"there is no job {uuid}")
    if as_json:
        print_json(document)
    else:
        print_sheet(document, the_app.clock.now())


jobs.add_command(list_jobs)
jobs.add_command(show)
