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
@click.option("--json", "as_json", is_flag=True, help="A JSON list, always with the schemas.")
def types(app: str, schema: bool, as_json: bool) -> None:
    """List the job types of an app, and their versions.

    \b
    Example: zerog types myapp:app
    Example: zerog types myapp:app --schema
    """
    from zerog.loading import load_app

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
