"""``zerog setup``: make what datastore and queue need, before the first worker starts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from zerog.cli.app_argument import app_command, load_shared
from zerog.cli.errors import FAILED
from zerog.cli.output import print_json
from zerog.exceptions import ZerogError
from zerog.support.texts import flat

if TYPE_CHECKING:
    from zerog.app import App


@app_command(needs_code=False)
@click.option("--json", "as_json", is_flag=True, help="A JSON list: an object for each part.")
def setup(app: str, as_json: bool) -> None:
    """Make what datastore and queue lack: tables, indexes.

    Stores the schemas of the app's types, too, so that jobs can be explained without their code.
    Safe to repeat. Prints what it made and which part can't be reached; exits with 1 if one can't.

    \b
    Example: zerog setup myapp:app
    """
    from zerog.records.keys import WORKERS

    the_app = load_shared(app)
    datastore, queue = the_app.datastore, the_app.queue
    results = [
        _set_up("datastore", datastore, lambda: datastore.read(WORKERS)),
        _set_up("queue", queue, queue.size),
    ]
    clashes = [] if results[0]["error"] else _record_schemas(the_app)
    if as_json:
        print_json(results)
    for part in [] if as_json else results:
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


def _set_up(name: str, part: Any, look: Callable[[], object]) -> dict[str, Any]:
    result: dict[str, Any] = {"part": name, "adapter": type(part).__name__, "made": [], "error": None}
    try:
        result["made"] = part.setup()
        look()  # a part that needs no setup has not been contacted yet
    except ZerogError as error:
        result["error"] = str(error)
    return result
