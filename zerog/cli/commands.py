"""What the command line can do.

Exit codes: 0 done; 1 it went wrong (a job that failed, a datastore out of reach); 2 it was asked for wrongly.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console

import zerog
from zerog import values
from zerog.cli.bars import Bars
from zerog.cli.doctor import doctor
from zerog.cli.loading import load_app
from zerog.cli.spoken import spoken
from zerog.cli.worker import worker
from zerog.document import SUCCEEDED, TERMINAL

LOOK = 0.2
"""Seconds between two looks of ``--follow``."""


@click.group()
@click.version_option(zerog.__version__, prog_name="zerog")
def cli() -> None:
    """Long background jobs as objects with documents."""


@cli.command()
@click.argument("app", metavar="MODULE:APP")
@click.argument("job_type", metavar="TYPE")
@click.argument("parameters", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--json", "source", metavar="FILE", help="Read the parameters from a JSON file, - for standard input.")
@click.option("--delay", type=float, default=0.0, help="Seconds until it may start.")
@click.option("--priority", type=int, default=0, help="Higher goes first.")
@click.option("--queue", default="default", show_default=True)
@spoken
def submit(
    app: str, job_type: str, parameters: tuple[str, ...], source: str | None, delay: float, priority: int, queue: str
) -> None:
    """Submit a job and print its uuid; a JSON list of objects submits several.

    Example: zerog submit myapp:app word_count path=war-and-peace.txt
    """
    if source is not None and parameters:
        raise zerog.ConfigurationError("give the parameters either as KEY=VALUE or with --json, not both")
    given = _read_json(source) if source is not None else dict(map(_pair, parameters))
    many = given if isinstance(given, list) else [given]
    for uuid in load_app(app).submit_many(job_type, many, delay=delay, priority=priority, queue=queue):
        click.echo(uuid)


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise zerog.ConfigurationError(f"{text!r} is no parameter; expected KEY=VALUE")
    return name, value


def _read_json(source: str) -> Any:
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
        return values.decode(text)
    except OSError as error:
        raise zerog.ConfigurationError(f"{source} can't be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise zerog.InvalidValue(f"{source} holds no JSON: {error}; nothing was stored") from None


@cli.command()
@click.argument("app", metavar="MODULE:APP")
@click.argument("uuid")
@click.option("--follow", is_flag=True, help="Draw a live bar until the job has ended.")
@spoken
def progress(app: str, uuid: str, follow: bool) -> None:
    """Show how far a job is, as JSON or as a live bar; exits with 1 if the job failed or was cancelled.

    Example: zerog progress myapp:app 0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f --follow
    """
    the_app = load_app(app)
    state = the_app.progress(uuid)
    if not follow:
        click.echo(json.dumps(state, indent=4))
    else:
        with Bars(Console()) as bars:
            bars.add(uuid, state["jobType"])
            bars.update(state)
            while state["status"] not in TERMINAL:
                time.sleep(LOOK)
                state = the_app.progress(uuid)
                bars.update(state)
    if state["status"] in TERMINAL and state["status"] != SUCCEEDED:
        sys.exit(1)


@cli.command()
@click.option("--path", type=click.Path(path_type=Path), help="Count the text files below this folder.")
@spoken
def demo(path: Path | None) -> None:
    """Count words in several jobs, kill a worker in the middle, and check the totals. Needs no server.

    Without --path it counts the source files of the running Python's standard library.
    """
    from zerog.demo.show import Show

    if not Show(Console(), path).play():
        sys.exit(1)


cli.add_command(worker)
cli.add_command(doctor)
