"""Output by rich, for terminals: imported only where a command draws, since that costs as much as all the rest."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn
from rich.table import Table
from rich.text import Text

from zerog.cli.output import STYLES
from zerog.records.job import RUNNING, SUCCEEDED

ENDLESS = 100_000
"""Columns of what is no terminal: lines are never cut or broken there."""


BACK = "dim"
"""The style of a bar's rest. Rich's own, a dark grey, is on a light terminal stronger than any colour."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # reported like all other errors


def make_console(stderr: bool = False) -> Console:
    """Return a console without markup; output is not wrapped unless it is a terminal."""
    console = _Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = ENDLESS
    return console


def make_table(gap: int = 1, with_header: bool = True) -> Table:
    """Return a table without lines, with ``gap`` spaces between its columns."""
    return Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, show_header=with_header, header_style="bold")


def make_bar(width: int | None = 40) -> BarColumn:
    """Return the bar of a progress: its colour is that of running, then that of success, never that of failure."""
    return BarColumn(
        width,
        style=BACK,
        complete_style=STYLES[RUNNING],
        finished_style=STYLES[SUCCEEDED],
        pulse_style=STYLES[RUNNING],
    )


def drawn_bar(console: Console, completeness: object, style: str, width: int) -> Text:
    """Return the bar of a completeness as text, in plain characters where the terminal has no others."""
    done = min(max(completeness, 0.0), 1.0) if isinstance(completeness, (int, float)) else 0.0
    full = int(done * width)
    line, rest = ("=", "-") if console.options.ascii_only else ("━", "─")
    return Text.assemble((line * full, style), (rest * (width - full), "dim"))


def print_wrapped(console: Console, text: Text, hang: int = 0) -> None:
    """Print a text, on a terminal wrapped at words; what doesn't fit into a line continues below its beginning.

    ``hang``: width of the label that the first line begins with. Other lines continue below their first character.
    """
    if not console.is_terminal:
        console.print(text, soft_wrap=True)
        return
    for number, line in enumerate(text.split("\n", allow_blank=True)):
        indent = hang if number == 0 else len(line.plain) - len(line.plain.lstrip(" "))
        parts = line[indent:].wrap(console, max(20, console.width - indent)) or [Text()]
        for n, part in enumerate(parts):
            part.rstrip()
            console.print(Text.assemble(line[:indent] if n == 0 else " " * indent, part), soft_wrap=True)
