"""``zerog types``: list the job types of an app, and their parameters; ``hold`` and ``release``."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from zerog.cli import completions
from zerog.cli.app_argument import app_command, load_shared
from zerog.cli.output import ListingGroup, described, operator, print_json
from zerog.exceptions import ZerogError
from zerog.support.texts import clean, flat

if TYPE_CHECKING:
    from zerog.app import App

HELD = "yellow"
"""The style of a hold."""


@click.group(cls=ListingGroup)
def types() -> None:
    """List job types; hold and release them.

    Without a command: zerog types myapp:app lists them.
    """


@app_command("ls")
@click.option("--schema", is_flag=True, help="Also the JSON Schema of each type's parameters.")
@click.option("--stored", is_eager=True, metavar="URL", help="Types whose schemas are stored there; without an app.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list, always with the schemas.")
def list_types(app: str, schema: bool, stored: str | None, as_json: bool) -> None:
    """List the job types of an app, and their versions.

    A type that an operator holds is marked; its jobs wait. With --stored all types and versions whose schemas workers
    have stored, whether their code is here or not.

    \b
    Example: zerog types ls myapp:app
    Example: zerog types ls myapp:app --schema
    Example: zerog types ls --stored sqlite:///jobs.db
    """
    from zerog.loading import load_app

    if stored is not None:
        _print_stored(stored, schema, as_json)
        return
    the_app = load_app(app)
    held = _held(the_app)
    known = [{**each, "held": held.get(each["jobType"])} for each in the_app.types()]
    if as_json:
        print_json(known)
    elif not known:
        click.echo("No job types: the app has registered none.")
    elif schema:
        _print_schemas(known)
    else:
        _print_table(known, the_app.clock.now())
    for name in sorted(held.keys() - {each["jobType"] for each in known}):
        click.echo(flat(f"{name}, which this app doesn't have, is held {described(held[name])}."), err=True)


def _held(app: App) -> dict[str, Any]:
    """Return the held types; none, with a note, if the datastore can't be read."""
    try:
        return app.fleet.types.held()
    except ZerogError as error:
        click.echo(flat(f"Which types are held is unknown: {error}"), err=True)
        return {}


def _print_table(known: list[dict[str, Any]], now: datetime) -> None:
    from rich.text import Text

    from zerog.cli.console import make_console, make_table

    table = make_table(gap=2)
    table.add_column("TYPE", no_wrap=True)
    table.add_column("VERSION", no_wrap=True)
    table.add_column("WHAT IT DOES")
    for entry in known:
        what = Text(flat(_description(entry)))
        if entry["held"] is not None:
            what = Text.assemble((f"held {flat(described(entry['held'], now))}", HELD), " " * bool(what), what)
        table.add_row(flat(entry["jobType"]), flat(entry["schemaVersion"]), what)
    make_console().print(table)


def _print_schemas(known: list[dict[str, Any]]) -> None:
    from rich.text import Text

    from zerog.cli.console import make_console

    console = make_console()
    for entry in known:
        console.print(Text(f"{flat(entry['jobType'])}, version {flat(entry['schemaVersion'])}", style="bold"))
        if _description(entry):
            console.print(clean(_description(entry)), soft_wrap=True)
        console.print(clean(json.dumps(entry["params"], indent=4, ensure_ascii=False)), soft_wrap=True)


def _description(entry: dict[str, Any]) -> str:
    return str(entry.get("summary") or entry.get("title") or "")


def _print_stored(url: str, schema: bool, as_json: bool) -> None:
    from rich.text import Text

    from zerog.cli.console import make_console, make_table
    from zerog.schemas.stored import stored_at

    found = [one for schemas in stored_at(url).values() for one in schemas]
    if as_json:
        print_json(
            [{**one.described, "hash": one.hash, "builds": one.builds, "firstAt": one.first_at} for one in found]
        )
        return
    if not found:
        click.echo("No stored schemas: no worker has written any, and zerog setup neither.")
        return
    console = make_console()
    table = make_table(gap=2)
    for column in ("TYPE", "VERSION", "HASH", "BUILDS", "SINCE"):
        table.add_column(column, no_wrap=column != "BUILDS")
    for one in found:
        shape = one.described
        since = one.first_at[:16]
        cells = (shape["jobType"], shape["schemaVersion"], one.hash[:8], ", ".join(one.builds), since)
        table.add_row(*map(flat, cells))
        if schema:
            console.print(Text(f"{flat(shape['jobType'])}, version {flat(shape['schemaVersion'])}", style="bold"))
            parts = {name: shape[name] for name in ("params", "state")}
            console.print(clean(json.dumps(parts, indent=4, ensure_ascii=False)), soft_wrap=True)
    if not schema:
        console.print(table)


@app_command()
@click.argument("name", shell_complete=completions.types)
@click.option("--reason", default="", metavar="TEXT", help="Why, for others to see.")
def hold(app: str, name: str, reason: str) -> None:
    """Stop all workers from taking jobs of a type, within seconds.

    Running jobs continue, and jobs are accepted. What waits stays as it is, and nothing counts against it.

    \b
    Example: zerog types hold myapp:app word_count --reason "build 42 fails"
    """
    the_app = load_shared(app)
    types = the_app.fleet.types
    if types.hold(name, reason, operator()):
        click.echo(flat(f"Jobs of type {name} wait until it is released."))
    else:
        click.echo(flat(f"{name} was held already {described(types.held().get(name))}."))
    known = sorted(each["jobType"] for each in the_app.types())
    if known and name not in known:
        click.echo(flat(f"This app has no type {name}; it knows {', '.join(known)}. Other workers may."), err=True)


@app_command()
@click.argument("name", shell_complete=completions.types)
def release(app: str, name: str) -> None:
    """Have workers take jobs of a held type again, within seconds.

    \b
    Example: zerog types release myapp:app word_count
    """
    was_held = load_shared(app).fleet.types.release(name)
    click.echo(flat(f"Jobs of type {name} are taken again." if was_held else f"{name} was not held."))


for _command in (list_types, hold, release):
    types.add_command(_command)
