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
    """Count words in several jobs, kill a worker in the middle, and check the totals. Needs no server.

    Without --path it counts the source files of the running Python's standard library.

    \b
    Example: zerog demo
    """
    from rich.console import Console

    from zerog.cli.demo.show import Show

    if not Show(Console(), path).play():
        sys.exit(FAILED)
