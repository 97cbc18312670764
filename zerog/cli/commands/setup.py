"""``zerog setup``: make what datastore and queue need, before the first worker starts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from zerog.cli.app_argument import app_command, load_shared
from zerog.cli.errors import FAILED
from zerog.cli.output import plural, print_json
from zerog.exceptions import ConfigurationError, ZerogError
from zerog.support.texts import flat

if TYPE_CHECKING:
    from zerog.app import App

MOST = 10_000_000
"""Jobs that are counted for the bar."""


@app_command(needs_code=False)
@click.option("--reindex", is_flag=True, help="Fill attributes and the index of errors for jobs stored before, too.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list: an object for each part.")
def setup(app: str, reindex: bool, as_json: bool) -> None:
    """Make what datastore and queue lack: tables, indexes.

    Stores the schemas of the app's types, too, so that jobs can be explained without their code.
    Safe to repeat. Prints what it made and which part can't be reached; exits with 1 if one can't. With --reindex
    all jobs are read, beside running workers: those of classes that got ATTRIBUTES later are found by them then, and
    errors of an earlier version by their type. It goes on where an earlier call was broken off, and needs the classes.

    \b
    Example: zerog setup myapp:app
    Example: zerog setup myapp:app --reindex
    """
    from zerog.records.keys import WORKERS

    the_app = load_shared(app)
    datastore, queue = the_app.datastore, the_app.queue
    results = [
        _set_up("datastore", datastore, lambda: datastore.read(WORKERS)),
        _set_up("queue", queue, queue.size),
    ]
    clashes = [] if results[0]["error"] else _record_schemas(the_app)
    if reindex and not any(part["error"] for part in results):
        results.append(_reindexed(the_app))
    if as_json:
        print_json(results)
    for part in [] if as_json else results:
        if part["part"] == "reindex" and not part["error"]:
            click.echo(flat(_sentence(part)))
            continue
        made = f"made {', '.join(part['made'])}" if part["made"] else "all is there"
        line = f"{part['part']} {part['adapter']}:"
        if part["error"]:
            click.echo(flat(f"zerog: {line} can't be used: {part['error']}"), err=True)
        else:
            click.echo(flat(f"{line} {made}."))
    for clash in clashes:
        click.echo(flat(f"zerog: {clash}. Raise SCHEMA_VERSION and add a migration."), err=True)
    if any(part["error"] for part in results):
        sys.exit(FAILED)


def _record_schemas(app: App) -> list[object]:
    """Store the schemas of the app's types. What can't be stored is left to the workers, which do it, too."""
    from zerog.schemas.describe import described
    from zerog.schemas.stored import StoredSchemas

    try:
        return [*StoredSchemas(app.engine).record(map(described, app.registry.client_classes()), app.build_id)]
    except ZerogError:
        return []


def _reindexed(app: App) -> dict[str, Any]:
    """Fill the attributes of all jobs, with a bar on a terminal. Raises ConfigurationError without classes."""
    from rich.progress import MofNCompleteColumn, Progress, TextColumn

    from zerog.cli.console import make_bar, make_console
    from zerog.contracts.find import FindQuery
    from zerog.maintenance.reindex import reindex

    if not app.registry.get_registered_classes():
        raise ConfigurationError("--reindex needs the job classes, whose ATTRIBUTES it fills; give MODULE:APP")
    result: dict[str, Any] = {"part": "reindex", "adapter": type(app.datastore).__name__, "made": [], "error": None}
    console = make_console(stderr=True)
    columns = (TextColumn("reindexed"), make_bar(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        try:
            there = app.datastore.count(FindQuery(), MOST)
            task = shown.add_task("", total=None if there.is_capped else there.number)
            done = reindex(app.datastore, app.registry.attributes_of, lambda number: shown.advance(task, number))
        except ZerogError as error:
            return {**result, "error": str(error)}
    return {**result, **asdict(done)}


def _sentence(part: dict[str, Any]) -> str:
    text = f"reindex: {plural(part['looked_at'], 'job')} read, {part['changed']:,} changed"
    if part["running"]:
        text += f"; {part['running']:,} run and were left alone, repeat it once they have ended"
    if part["unknown"]:
        types = ", ".join(f"{name} ({number:,})" for name, number in part["unknown"].items())
        text += f"; left as they are, for the app has no class of their type: {types}"
    return f"{text}; {part['unreadable']:,} can't be read." if part["unreadable"] else f"{text}."


def _set_up(name: str, part: Any, look: Callable[[], object]) -> dict[str, Any]:
    result: dict[str, Any] = {"part": name, "adapter": type(part).__name__, "made": [], "error": None}
    try:
        result["made"] = part.setup()
        look()  # a part that needs no setup has not been contacted yet
    except ZerogError as error:
        result["error"] = str(error)
    return result
