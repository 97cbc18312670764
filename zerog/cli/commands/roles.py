"""``zerog roles``: list, set and remove the queues of roles."""

from __future__ import annotations

import click

from zerog.cli.app_argument import app_command, load_shared
from zerog.cli.output import ListingGroup, described, operator, print_json_line
from zerog.support.texts import flat


@click.group(cls=ListingGroup)
def roles() -> None:
    """List, set and remove the queues of workers' roles.

    Without a command: zerog roles myapp:app lists them.
    """


@app_command("ls", needs_code=False)
@click.option("--json", "as_json", is_flag=True, help="JSON Lines: an object a role.")
def list_roles(app: str, as_json: bool) -> None:
    """List the roles, their queues, and how many workers have each.

    \b
    Example: zerog roles ls myapp:app
    """
    the_app = load_shared(app)
    stored = the_app.fleet.settings.roles()
    having = [(worker["config"] or {}).get("role") for worker in the_app.workers() if worker["state"] != "silent"]
    names = sorted({*stored, *(role for role in having if role)})
    if as_json:
        for name in names:
            print_json_line({"name": name, "workers": having.count(name), **stored.get(name, {"queues": None})})
        return
    from zerog.cli.console import make_console, make_table

    table, now = make_table(), the_app.clock.now()
    for column in ("ROLE", "QUEUES", "WORKERS", "SET"):
        table.add_column(column, justify="right" if column == "WORKERS" else "left", overflow="fold")
    for name in names:
        entry = stored.get(name)
        queues = "-" if entry is None else ", ".join(map(str, entry["queues"]))
        table.add_row(*map(flat, (name, queues, having.count(name), "" if entry is None else described(entry, now))))
    make_console().print(table)


@app_command("set", needs_code=False)
@click.argument("name")
@click.argument("queues", metavar="A,B")
def set_role(app: str, name: str, queues: str) -> None:
    """Set the queues of a role, in order of priority.

    Workers that were started with --role follow within seconds, without a restart. A worker ends what it runs of a
    queue that it leaves.

    \b
    Example: zerog roles set myapp:app heavy reports,exports
    """
    names = [queue.strip() for queue in queues.split(",")]
    load_shared(app).fleet.settings.set_role(name, names, operator())
    click.echo(flat(f"Workers of the role {name} serve {', '.join(names)}."))


@app_command("rm", needs_code=False)
@click.argument("name")
def remove(app: str, name: str) -> None:
    """Remove a role. Workers that have it keep their queues until they end.

    \b
    Example: zerog roles rm myapp:app heavy
    """
    was_there = load_shared(app).fleet.settings.remove_role(name)
    click.echo(flat(f"The role {name} is gone." if was_there else f"There was no role {name}."))


for _command in (list_roles, set_role, remove):
    roles.add_command(_command)
