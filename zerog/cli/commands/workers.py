"""``zerog workers``: list the workers and their states; ``drain`` and ``undrain``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any, TypeVar

import click

from zerog.cli import completions
from zerog.cli.app_argument import app_command, load_shared
from zerog.cli.output import ListingGroup, age, operator, plural, print_json_line, span
from zerog.records.commands import DRAINED, DRAINING, RUNNING, SILENT, STOPPING
from zerog.support.texts import flat

F = TypeVar("F", bound=Callable[..., Any])

STYLES = {RUNNING: "green", DRAINING: "yellow", DRAINED: "dim", STOPPING: "yellow", SILENT: "red"}
"""The style of each state."""

COLUMNS = ("NAME", "STATE", "HOST", "PID", "BUILD", "EXECUTOR", "QUEUES", "JOBS", "MEMORY", "UP", "BEAT")
NUMBERS = ("PID", "JOBS", "MEMORY", "UP", "BEAT")
NONE = "-"
"""In place of a value that a worker's record lacks."""


@click.group(cls=ListingGroup)
def workers() -> None:
    """List workers; drain them, and let them claim again.

    Without a command: zerog workers myapp:app lists them.
    """


@app_command("ls", needs_code=False)
@click.option("--json", "as_json", is_flag=True, help="JSON Lines: an object a worker, as App.workers gives it.")
def list_workers(app: str, as_json: bool) -> None:
    """List the workers that have a record, by name.

    A worker is running, draining (it claims nothing more), drained (and runs nothing), stopping, or silent: no
    heartbeat for its lease. BEAT is how long ago the last one was; one is due every third of the lease.

    \b
    Example: zerog workers ls myapp:app
    Example: zerog workers ls myapp:app --json
    """
    the_app = load_shared(app)
    found = the_app.workers()
    if as_json:
        for worker in found:
            print_json_line(worker)
        return
    if not found:
        click.echo("No workers.")
        return
    now = the_app.clock.now()
    _print_table([_cells(worker, now) for worker in found])
    for name in sorted({str(name) for worker in found for name in worker["heldTypes"] or ()}):
        leaving = sum(name in (worker["heldTypes"] or ()) for worker in found)
        click.echo(flat(f"{name} is held; its jobs are left by {leaving:,} of {plural(len(found), 'worker')}."))


def _print_table(rows: list[dict[str, str]]) -> None:
    """Print the workers; on a terminal that is too narrow without BUILD if all lack it, and broken between queues."""
    from rich.text import Text

    from zerog.cli.console import make_console, make_table

    console = make_console()
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in COLUMNS}
    if _total(widths) > console.width:
        rows = [{**row, "QUEUES": row["QUEUES"].replace(",", ", ")} for row in rows]
        widths["QUEUES"] = max(len(word) for row in rows for word in ("QUEUES", *row["QUEUES"].split()))
        if all(row["BUILD"] == NONE for row in rows):
            del widths["BUILD"]
    table, fits = make_table(), _total(widths) <= console.width
    for name in widths:
        is_whole = fits and name != "QUEUES"
        table.add_column(name, justify="right" if name in NUMBERS else "left", overflow="fold", no_wrap=is_whole)
    for row in rows:
        state = Text(row["STATE"], style=STYLES.get(row["STATE"], ""))
        table.add_row(*(state if name == "STATE" else row[name] for name in widths))
    console.print(table)


def _total(widths: dict[str, int]) -> int:
    return sum(widths.values()) + len(widths) - 1


def _cells(worker: dict[str, Any], now: datetime) -> dict[str, str]:
    """Return the texts of a row by column."""
    memory = worker["memory"]
    queues = worker["queues"]
    cells = {
        "NAME": worker["name"],
        "STATE": worker["state"],
        "HOST": worker["host"],
        "PID": worker["pid"],
        "BUILD": worker["build"],
        "EXECUTOR": worker["executor"],
        "QUEUES": ",".join(map(str, queues)) if isinstance(queues, list) else None,
        "JOBS": worker["jobs"],
        "MEMORY": f"{memory >> 20}M" if type(memory) is int else None,
        "UP": None if worker["startedAt"] is None else age(worker["startedAt"], now),
        "BEAT": None if worker["age"] is None else span(worker["age"]),
    }
    return {name: NONE if cell is None else flat(cell) for name, cell in cells.items()}


def choice_options(command: F) -> F:
    """Add the options that choose workers to a command, as its parameter ``chosen`` for ``Fleet``."""

    @wraps(command)
    def run(*args: Any, names: tuple[str, ...], host: str | None, everyone: bool, **kwargs: Any) -> Any:
        return command(*args, names=names, chosen={"host": host, "everyone": everyone}, **kwargs)

    run = click.option("--json", "as_json", is_flag=True, help="JSON Lines: an object for each worker.")(run)
    run = click.option("--all", "everyone", is_flag=True, help="All workers.")(run)
    run = click.option("--host", metavar="HOST", help="All workers on this host.")(run)
    argument = click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=completions.workers)
    return argument(run)  # type: ignore[return-value]


@app_command(needs_code=False)
@choice_options
@click.option("--for-good", is_flag=True, help="They end once their jobs have, and are not replaced.")
def drain(app: str, names: tuple[str, ...], chosen: dict[str, Any], for_good: bool, as_json: bool) -> None:
    """Stop workers from claiming jobs. Running jobs continue, for as long as they take.

    NAME is a worker's name, or what it got by --name. The order takes effect within seconds. Drained workers stay idle
    until undrain; with --for-good they end with exit code 0 once their jobs have ended. A worker that is started later,
    or in place of one that died, claims as usual.

    \b
    Example: zerog workers drain myapp:app web1-4711-a1b2c3
    Example: zerog workers drain myapp:app --host web1
    Example: zerog workers drain myapp:app --all --for-good
    """
    ordered = load_shared(app).fleet.drain(*names, **chosen, for_good=for_good, by=operator())
    _report(ordered, "drains for good" if for_good else "drains", as_json)


@app_command(needs_code=False)
@choice_options
def undrain(app: str, names: tuple[str, ...], chosen: dict[str, Any], as_json: bool) -> None:
    """Have drained workers claim again, within seconds.

    \b
    Example: zerog workers undrain myapp:app --host web1
    """
    _report(load_shared(app).fleet.undrain(*names, **chosen), "claims again", as_json)


def _report(ordered: list[dict[str, Any]], does: str, as_json: bool) -> None:
    for worker in ordered:
        if as_json:
            print_json_line(worker)
        elif worker["state"] == SILENT:
            click.echo(
                flat(f"{worker['name']} is silent for {span(worker['age'])}; it will apply this if it comes back.")
            )
        else:
            click.echo(flat(f"{worker['name']} {does}; it runs {plural(worker['jobs'] or 0, 'job')}."))
    if not ordered and not as_json:
        click.echo("No workers.")


for _command in (list_workers, drain, undrain):
    workers.add_command(_command)
