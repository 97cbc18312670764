"""``zerog demo``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from zerog.cli.errors import FAILED, spoken


@click.command()
@click.option("--path", type=click.Path(path_type=Path), help="Count the text files below this folder.")
@spoken
def demo(path: Path | None) -> None:
    """Show jobs that survive the kill of their worker. Needs no server.

    Counts words in several jobs, kills a worker in the middle, and checks the totals. Without --path it counts the
    source files of the running Python's standard library.

    \b
    Example: zerog demo
    """
    from rich.console import Console

    from zerog.cli.demo.show import Show

    if not Show(Console(), path).play():
        sys.exit(FAILED)
