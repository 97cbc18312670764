"""``zerog types``: list the job types of an app, and their parameters."""

from __future__ import annotations

import json
from typing import Any

import click

from zerog.cli.app_argument import app_command
from zerog.cli.output import print_json
from zerog.support.texts import clean, flat


@app_command()
@click.option("--schema", is_flag=True, help="Also the JSON Schema of each type's parameters.")
@click.option("--stored", is_eager=True, metavar="URL", help="Types whose schemas are stored there; without an app.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list, always with the schemas.")
def types(app: str, schema: bool, stored: str | None, as_json: bool) -> None:
    """List the job types of an app, and their versions.

    With --stored all types and versions whose schemas workers have stored, whether their code is here or not.

    \b
    Example: zerog types myapp:app
    Example: zerog types myapp:app --schema
    Example: zerog types --stored sqlite:///jobs.db
    """
    from zerog.loading import load_app

    if stored is not None:
        _print_stored(stored, schema, as_json)
        return
    known = load_app(app).types()
    if as_json:
        print_json(known)
    elif not known:
        click.echo("No job types: the app has registered none.")
    elif schema:
        _print_schemas(known)
    else:
        _print_table(known)


def _print_table(known: list[dict[str, Any]]) -> None:
    from zerog.cli.console import make_console, make_table

    table = make_table(gap=2)
    table.add_column("TYPE", no_wrap=True)
    table.add_column("VERSION", no_wrap=True)
    table.add_column("WHAT IT DOES")
    for entry in known:
        table.add_row(flat(entry["jobType"]), flat(entry["schemaVersion"]), flat(_description(entry)))
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
        described = one.described
        since = one.first_at[:16]
        cells = (described["jobType"], described["schemaVersion"], one.hash[:8], ", ".join(one.builds), since)
        table.add_row(*map(flat, cells))
        if schema:
            console.print(
                Text(f"{flat(described['jobType'])}, version {flat(described['schemaVersion'])}", style="bold")
            )
            parts = {name: described[name] for name in ("params", "state")}
            console.print(clean(json.dumps(parts, indent=4, ensure_ascii=False)), soft_wrap=True)
    if not schema:
        console.print(table)
