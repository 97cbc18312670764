"""``zerog schema unused``: the migrations of an app, and the documents that need them."""

from __future__ import annotations

from collections import Counter

import click

from zerog.cli.app_argument import app_command, load_shared
from zerog.cli.output import print_json
from zerog.records.job import TERMINAL
from zerog.support.texts import flat


@app_command()
@click.option("--json", "as_json", is_flag=True, help="A JSON list: an object for each migration.")
def unused(app: str, as_json: bool) -> None:
    """List the migrations, and which of them no document needs.

    All documents of the types that have migrations are read. One that none needs may be removed, unless a program that
    is still deployed submits jobs of its version.

    \b
    Example: zerog schema unused myapp:app
    """
    from zerog.cli.console import make_console, make_table
    from zerog.jobs.declaration import declaration_of
    from zerog.maintenance.lifting import heads_of, uses_of

    shared = load_shared(app)
    registry = shared.registry
    classes = [each for name in registry.get_registered_classes() for each in registry.classes_of(name)]
    declarations = [each for each in map(declaration_of, classes) if each.chain.steps()]
    heads = {
        each.job_type: Counter(
            (head.get("schemaVersion"), head.get("status") in TERMINAL)
            for head in heads_of(shared.datastore, each.job_type)
        )
        for each in declarations
    }
    uses = list(uses_of(declarations, heads))
    if as_json:
        print_json([{**use._asdict(), "unused": not use.documents} for use in uses])
        return
    if not uses:
        click.echo("No migrations: no class of the app has one.")
        return
    table = make_table(gap=2)
    for name in ("TYPE", "MIGRATION", "NEEDED BY"):
        table.add_column(name, overflow="fold")
    for use in uses:
        needed = f"{use.documents:,}, {use.unfinished:,} unfinished" if use.documents else "none: it may be removed"
        table.add_row(flat(use.job_type), f"{use.start} → {use.end}", needed)
    make_console().print(table)
