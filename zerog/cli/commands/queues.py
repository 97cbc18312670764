"""``zerog queues``: list the queues and what waits on them; ``pause``, ``resume`` and ``set``."""

from __future__ import annotations

import math
from shlex import join
from typing import Any

import click

from zerog.cli import completions
from zerog.cli.app_argument import app_command, load_shared, shown
from zerog.cli.output import ListingGroup, described, operator, print_json_line
from zerog.contracts.find import Count
from zerog.records.commands import ALL
from zerog.support.texts import flat

PAUSED = "yellow"
"""The style of a pause."""

NONE = "none"
"""The text that removes a limit."""


@click.group(cls=ListingGroup)
def queues() -> None:
    """List queues; pause and resume them; set their limits.

    Without a command: zerog queues myapp:app lists them.
    """


@app_command("ls", needs_code=False)
@click.option("--all", "everything", is_flag=True, help="Count all jobs, however many are scheduled.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines: an object a queue, as App.fleet.queues gives it.")
def list_queues(app: str, everything: bool, as_json: bool) -> None:
    """List the queues, and what waits there.

    These are all that are known from workers, waiting jobs, pauses and limits. WAITING counts the jobs on the queue
    that may start, SCHEDULED those that may not yet, WORKERS the workers that claim from it now. Of more than 500
    scheduled jobs the oldest are counted, and the numbers have a plus; --all counts all of them. PARKED is shown if any
    jobs wait for a slot of a limit, LIMITS if any are set.

    \b
    Example: zerog queues ls myapp:app
    """
    from zerog.fleet.fleet import COUNTED

    the_app = load_shared(app)
    found = the_app.fleet.queues(math.inf if everything else COUNTED)
    if as_json:
        for queue in found:
            print_json_line(queue)
        return
    from rich.text import Text

    from zerog.cli.console import make_console, make_table

    table, is_limited = make_table(), any(queue["limits"] for queue in found)
    has_parked = any(queue["parked"] for queue in found)
    columns = ("QUEUE", "WAITING", "SCHEDULED", *["PARKED"] * has_parked, "WORKERS", "PAUSED")
    for column in (*columns, *["LIMITS"] * is_limited):
        is_text = column in ("QUEUE", "PAUSED", "LIMITS")
        table.add_column(column, justify="left" if is_text else "right", overflow="fold")
    now = the_app.clock.now()
    for queue in found:
        paused = "" if queue["paused"] is None else described(queue["paused"], now)
        jobs = (
            "-" if queue[each] is None else str(Count(queue[each], queue["capped"]))
            for each in ("waiting", "scheduled")
        )
        limits = [_limits(queue["limits"])] * is_limited
        parked = [f"{queue['parked']:,}{'+' * (queue['parked'] >= COUNTED)}"] if has_parked else []
        table.add_row(
            flat(queue["name"]), *jobs, *parked, f"{queue['workers']:,}", Text(flat(paused), style=PAUSED), *limits
        )
    make_console().print(table)
    if any(queue["capped"] for queue in found):
        command = join(["zerog", "queues", "ls", shown(app), "--all"])
        click.echo(f"Only the {COUNTED} oldest scheduled jobs were counted; {command} counts all.", err=True)


@app_command(needs_code=False)
@click.argument("name", shell_complete=completions.queues)
@click.option("--reason", default="", metavar="TEXT", help="Why, for others to see.")
def pause(app: str, name: str, reason: str) -> None:
    """Stop all workers from claiming from a queue, within seconds. Running jobs continue, and jobs are accepted.

    "*" stands for all queues, those of names that come up later, too.

    \b
    Example: zerog queues pause myapp:app slow --reason "the disk is full"
    """
    fleet = load_shared(app).fleet
    if fleet.pause(name, reason, operator()):
        if name == ALL:
            click.echo("All queues are paused.")
            return
        [queue] = [queue for queue in fleet.queues() if queue["name"] == name]
        is_idle = queue["waiting"] == 0 and not queue["workers"]
        click.echo(flat(f"Queue {name} is paused{'; nothing waits on it and no worker serves it' * is_idle}."))
    else:
        click.echo(flat(f"{_named(name)} paused already {described(fleet.paused().get(name))}."))


@app_command(needs_code=False)
@click.argument("name", shell_complete=completions.queues)
def resume(app: str, name: str) -> None:
    """Have workers claim from a paused queue again, within seconds.

    "*" ends the pause of all queues; those paused by name stay so.

    \b
    Example: zerog queues resume myapp:app slow
    """
    fleet = load_shared(app).fleet
    was_paused = fleet.resume(name)
    if name == ALL and was_paused:
        left = ", ".join(flat(str(queue)) for queue in fleet.paused())
        click.echo(f"All queues are served again{f', but for {left}' * bool(left)}.")
        return
    click.echo(flat(f"Queue {name} is served again." if was_paused else f"{_named(name)} not paused."))


class Number(click.ParamType[Any]):
    """A whole number, or ``none``."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, or the text."""
        if value != NONE and not (value.isascii() and value.isdecimal()):
            self.fail(f"{value!r} is neither a whole number nor {NONE}; nothing was changed", param, ctx)
        return value if value == NONE else int(value)


@app_command("set", needs_code=False)
@click.argument("name", shell_complete=completions.queues)
@click.option("--max-running", type=Number(), help="Jobs of the queue that run at once.")
@click.option("--rate", metavar="RATE", help="Starts, such as 100/hour.")
@click.option("--max-waiting", type=Number(), help="Jobs that wait; others are refused.")
def set_limits(app: str, name: str, **limits: Any) -> None:
    """Set limits of a queue, which all follow within seconds.

    What isn't given stays as it is; "none" removes a limit, so that the one in the code holds again.

    \b
    Example: zerog queues set myapp:app reports --max-running 5 --max-waiting 10000
    """
    given = {limit: None if value == NONE else value for limit, value in limits.items() if value is not None}
    held = load_shared(app).fleet.settings.set_queue(name, **given, by=operator())
    click.echo(flat(f"Queue {name}: {_limits(held) or 'no limits'}."))


def _limits(limits: Any) -> str:
    """Return the limits of a queue in words."""
    words = (("maxRunning", "{:,} at once"), ("rate", "{}"), ("maxWaiting", "{:,} waiting"))
    return ", ".join(text.format(limits[field]) for field, text in words if limits and field in limits)


def _named(name: str) -> str:
    return "All queues were" if name == ALL else f"Queue {name} was"


for _command in (list_queues, pause, resume, set_limits):
    queues.add_command(_command)
