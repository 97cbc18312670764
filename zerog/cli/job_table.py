"""The table of ``zerog jobs ls``: coloured on a terminal, plain in a pipe, of any length."""

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

from zerog.cli.console import make_console, make_table
from zerog.cli.output import STALLED, STYLES, age, percent
from zerog.contracts.queue import DEFAULT
from zerog.support.texts import flat

CHUNK = 500
"""Rows of one table: as many jobs are in memory at a time."""

WIDE = 110
"""Columns from which a terminal has room for bars."""

BAR = 12
"""Columns of a bar."""

NUMBERS = ("DONE", "RUNS", "ERRS", "AGE")
HEADER = ["UUID", "TYPE", "STATUS", *NUMBERS, "QUEUE"]
ERROR = "LAST ERROR"


def counted(listed: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the same, with a bar on standard error while the list itself is written to a file."""
    console = make_console(stderr=True)
    hidden = not console.is_terminal or sys.stdout.isatty()
    columns = (TextColumn("listed"), BarColumn(), TextColumn("{task.completed:,.0f}"))
    with Progress(*columns, console=console, disable=hidden) as shown:
        task = shown.add_task("", total=None)
        for row in listed:
            shown.advance(task)
            yield row


def print_table(listed: Iterable[dict[str, Any]], now: datetime, errors: bool) -> None:
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
    table = make_table(with_header=with_header)
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
