"""The table of ``zerog jobs ls``: as wide as the terminal, coloured there, plain in a pipe, of any length."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import NamedTuple

import click
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.padding import Padding
from rich.progress import Progress, TextColumn
from rich.text import Text

from zerog.cli.console import drawn_bar, make_bar, make_console
from zerog.cli.output import PARKED, STALLED, STYLES, age, percent, until
from zerog.contracts.queue import DEFAULT
from zerog.jobs import answers
from zerog.records.job import FAILED, SCHEDULED
from zerog.support.texts import flat

CHUNK = 500
"""Rows of one table: as many jobs are in memory at a time."""

BAR = 12
"""Columns of a bar."""

NONE = "-"
"""In place of a value that a job doesn't have."""


class Column(NamedTuple):
    """A column of the table."""

    name: str
    is_number: bool = False
    least: int | None = None
    """The narrowest that a terminal may make it, by shortening its texts; None: it is never narrowed."""


COLUMNS = {
    column.name: column
    for column in (
        Column("UUID"),
        Column("TYPE", least=8),
        Column("STATUS"),
        Column("BAR"),
        Column("DONE", is_number=True),
        Column("RUNS", is_number=True),
        Column("ERRS", is_number=True),
        Column("AGE", is_number=True),
        Column("DUE", is_number=True),
        Column("QUEUE", least=8),
        Column("KEY", least=8),
        Column("LAST ERROR"),
    )
}

EXPENDABLE = ("BAR", "RUNS", "QUEUE", "ERRS", "KEY", "DUE")
"""Columns that a terminal drops if there is no room for them, the first one first."""

Cells = dict[str, str]
"""The texts of a row by column."""


def counted(listed: Iterable[answers.Progress]) -> Iterator[answers.Progress]:
    """Yield the same, with a bar on standard error while the list itself is written to a file."""
    console = make_console(stderr=True)
    hidden = not console.is_terminal or sys.stdout.isatty()
    columns = (TextColumn("listed"), make_bar(), TextColumn("{task.completed:,.0f}"))
    with Progress(*columns, console=console, disable=hidden) as shown:
        task = shown.add_task("", total=None)
        for row in listed:
            shown.advance(task)
            yield row


def print_table(listed: Iterable[answers.Progress], now: datetime, errors: bool) -> None:
    """Print the jobs chunk by chunk; ``errors``: with the last error of each, on a terminal below it."""
    console = make_console()
    listed = iter(listed)
    rows = list(islice(listed, CHUNK))
    if not rows:
        click.echo("No jobs.")
    cells = [_cells(row, now) for row in rows]
    if console.is_terminal:
        widths = _fitted(cells, console.width)
        console.print(_line({name: name for name in widths if name != "BAR"}, widths), style="bold", no_wrap=True)
    else:
        left_out = {"BAR", *([] if errors else ["LAST ERROR"]), *([] if _have_keys(cells) else ["KEY"])}
        widths = {name: len(name) for name in COLUMNS if name not in left_out}
        cells.insert(0, {name: name for name in widths})
    while rows:
        if console.is_terminal:
            for row, texts in zip(rows, cells, strict=True):
                _print_row(console, row["completeness"], texts, widths, errors)
        else:  # as plain text, which is a hundred times faster
            widths = {name: max(width, *(len(texts[name]) for texts in cells)) for name, width in widths.items()}
            click.echo("\n".join(_line(texts, widths) for texts in cells))
        rows = list(islice(listed, CHUNK))
        cells = [_cells(row, now) for row in rows]


def _have_keys(cells: list[Cells]) -> bool:
    """Return True if one of the first jobs is unique: otherwise there is no column of keys."""
    return any(texts["KEY"] != NONE for texts in cells)


def _cells(row: answers.Progress, now: datetime) -> Cells:
    last = row["lastError"]
    return {
        "UUID": flat(row["uuid"]),
        "TYPE": flat(row["jobType"]),
        "STATUS": flat(STALLED if row["stalled"] else PARKED if row["parked"] else row["status"]),
        "DONE": percent(row["completeness"]),
        "RUNS": flat(row["attempts"]),
        "ERRS": flat(row["errorCount"]),
        "AGE": age(row["createdAt"], now),
        "DUE": until(row["notBefore"], now) if row["status"] == SCHEDULED else NONE,
        "QUEUE": flat(row["queueName"]),
        "KEY": NONE if row["uniqueKey"] is None else flat(row["uniqueKey"]),
        "LAST ERROR": flat(f"[{last.get('errorCode')}] {last.get('msg')}") if isinstance(last, dict) else "",
    }


def _line(texts: Cells, widths: dict[str, int]) -> str:
    """Return a row; texts that are too long for their columns are shortened."""
    parts = []
    for name, width in widths.items():
        text = texts.get(name, "")
        if cell_len(text) > width:
            text = f"{set_cell_size(text, width - 1)}…"
        padding = " " * (width - cell_len(text))
        parts.append(padding + text if COLUMNS[name].is_number else text + padding)
    return " ".join(parts).rstrip()


def _fitted(cells: list[Cells], columns: int) -> dict[str, int]:
    """Return the columns of a terminal's table and their widths, made narrower or dropped for want of room.

    Queues are shown if one isn't the default, due times if a job is scheduled, keys if a job has one.
    """
    widths = {name: max([len(name), *(cell_len(texts.get(name, "")) for texts in cells)]) for name in COLUMNS}
    widths["BAR"] = BAR
    dropped = ["LAST ERROR"]
    if all(texts["QUEUE"] == DEFAULT for texts in cells):
        dropped.append("QUEUE")
    if all(texts["DUE"] == NONE for texts in cells):
        dropped.append("DUE")
    if not _have_keys(cells):
        dropped.append("KEY")
    for name in (*dropped, *EXPENDABLE):
        least = {each: min(width, COLUMNS[each].least or width) for each, width in widths.items()}
        if name not in dropped and sum(least.values()) + len(least) - 1 <= columns:
            break
        widths.pop(name, None)
    for name, width in reversed(widths.items()):
        excess = sum(widths.values()) + len(widths) - 1 - columns
        widths[name] = max(min(width, COLUMNS[name].least or width), width - max(0, excess))
    return widths


def _print_row(console: Console, completeness: object, texts: Cells, widths: dict[str, int], errors: bool) -> None:
    style = STYLES.get(texts["STATUS"], "")
    line = Text(_line(texts, widths))
    start = 0
    for name, width in widths.items():
        if name == "STATUS":
            line.stylize(style, start, start + width)
        if name == "BAR":
            line = Text.assemble(line[:start], drawn_bar(console, completeness, style, BAR), line[start + width :])
        start += width + 1
    console.print(line, no_wrap=True)
    if errors and texts["LAST ERROR"]:
        console.print(Padding(Text(texts["LAST ERROR"], style=STYLES[FAILED]), (0, 0, 0, 4)))
