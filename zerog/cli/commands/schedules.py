"""``zerog schedules``: list, show, add, pause, resume, run and remove schedules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from zerog.cli import completions
from zerog.cli.app_argument import app_command, is_url, load_shared, shown
from zerog.cli.options import pair, read_json
from zerog.cli.output import STYLES, ListingGroup, age, described, operator, print_json, print_json_line, until
from zerog.exceptions import ConfigurationError, UnknownJobType
from zerog.support.texts import flat

if TYPE_CHECKING:
    from datetime import datetime

    from zerog.app import App
    from zerog.schedules.definition import Definition

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
REMOVED = "removed"
_STYLES = {"paused": "yellow", REMOVED: "dim", "damaged": "red"}
_NAME = click.argument("name", shell_complete=completions.schedules)


class Interval(click.ParamType[timedelta]):
    """An interval: 30s, 5m, 6h, 1d."""

    name = "interval"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the interval."""
        match = re.fullmatch(r"(\d{1,8})([smhd])", value)
        if match is None:
            self.fail(f"{value!r} is no interval such as 30s, 5m, 6h or 1d; nothing was stored", param, ctx)
        return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


@click.group(cls=ListingGroup)
def schedules() -> None:
    """List schedules; add, pause, run, remove them.

    Without a command: zerog schedules myapp:app lists them. A datastore's URL in place of the app needs no code; it
    shows no parameters of a job type, since which of them are secret isn't known then.
    """


@app_command("ls", needs_code=False)
@click.option("--all", "removed", is_flag=True, help="Removed ones, too.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines: an object a schedule, as App.schedules gives it.")
def list_schedules(app: str, removed: bool, as_json: bool) -> None:
    """List the schedules: what they submit, when, and the latest job.

    NEXT is the time until the next tick, LAST the status of the latest job, STATE whether it is paused, and whether it
    was changed by hand.

    \b
    Example: zerog schedules ls myapp:app
    """
    the_app = load_shared(app)
    stored = the_app.schedules.all(removed=True)
    found = [schedule for schedule in stored if removed or schedule["state"] != REMOVED]
    if as_json:
        for schedule in found:
            print_json_line(schedule)
        return
    from rich.text import Text

    from zerog.cli.console import make_console, make_table

    table, now = make_table(), the_app.clock.now()
    for column in ("NAME", "TYPE", "TIMES", "NEXT", "LAST", "STATE"):
        table.add_column(column, overflow="fold")
    for schedule in found:
        state = schedule["state"]
        texts = [schedule["name"], schedule.get("jobType") or "-", schedule.get("words") or schedule["problem"] or "-"]
        following = schedule.get("next") or []
        last = schedule.get("lastStatus") or "-"
        table.add_row(
            *map(flat, texts),
            until(following[0], now) if following else "-",
            Text(flat(last), style=STYLES.get(last, "")),
            Text(state + (", by hand" if schedule.get("byHand") else ""), style=_STYLES.get(state, "")),
        )
    make_console().print(table)
    for name in sorted(the_app.schedules.declared.keys() - {schedule["name"] for schedule in stored}):
        click.echo(f"{name} is declared in code and not stored yet; a worker does so when it starts.", err=True)


@app_command(needs_code=False)
@_NAME
@click.option("--json", "as_json", is_flag=True, help="One JSON document, as App.schedules.get gives it.")
def show(app: str, name: str, as_json: bool) -> None:
    """Show a schedule: its times, the next five runs, rules and changes.

    \b
    Example: zerog schedules show myapp:app nightly
    """
    the_app = load_shared(app)
    schedule = the_app.schedules.get(name)
    if as_json:
        print_json(schedule)
        return
    for label, text in _lines(schedule, the_app.clock.now()):
        click.echo(flat(f"{label:<12}{text}"))


def _lines(schedule: dict[str, Any], now: datetime) -> Iterator[tuple[str, object]]:
    """Yield the labels and texts of a schedule."""
    yield "Name", schedule["name"]
    yield "State", schedule["state"] + (f" {described(schedule['paused'], now)}" if schedule["paused"] else "")
    yield "Type", schedule["jobType"]
    yield from ((f"  {name}", value) for name, value in schedule["params"].items())
    yield "Times", schedule["words"] or schedule["problem"]
    if schedule["cron"]:
        yield "Cron", f"{schedule['cron']} in {schedule['timezone']}"
    for tick in schedule["next"]:
        yield "Next", f"{_local(tick, schedule)}, in {until(tick, now)}"
    for label, field in (("Overlap", "overlap"), ("Catch up", "catchUp"), ("Queue", "queue"), ("Priority", "priority")):
        if schedule[field] is not None:
            yield label, schedule[field]
    yield "Ticks", f"{schedule['submitted']:,} submitted, {schedule['skipped']:,} skipped"
    if schedule["lastJob"]:
        yield "Latest job", f"{schedule['lastJob']} {schedule['lastStatus'] or 'removed'}"
        yield "  for", _local(schedule["lastTick"], schedule)
    for tick in schedule["waiting"]:
        yield "Waiting", _local(tick, schedule)
    skipped = schedule["lastSkipped"]
    if skipped:
        yield "  skipped", f"{_local(skipped.get('tick'), schedule)}: {skipped.get('why')}"
    yield "By hand", "yes" if schedule["byHand"] else "no"
    declared = (schedule["code"] or {}).get("definition", {})
    yield from (("  in code", f"{key}: {value}") for key, value in declared.items() if schedule.get(key) != value)
    for event in schedule["events"]:
        build = f" of build {event['build']}" if event.get("build") else ""
        by = f"{event.get('by') or '?'}{build}"
        yield "Event", f"{age(event.get('at'), now)} ago, {by}: {event.get('what')}"


def _local(tick: object, schedule: dict[str, Any]) -> str:
    """Return a tick as the time in the schedule's timezone."""
    from zerog.exceptions import InvalidValue
    from zerog.schedules.timing import moment_of, zone_of

    try:
        return moment_of(str(tick)).astimezone(zone_of(schedule["timezone"])).isoformat(" ", "seconds")
    except (InvalidValue, ValueError):
        return str(tick)


@app_command(needs_code=False)
@click.argument("name")
@click.argument("job_type", metavar="[TYPE]", required=False, shell_complete=completions.types)
@click.argument("parameters", metavar="[KEY=VALUE]...", nargs=-1, shell_complete=completions.parameters)
@click.option("--cron", metavar="FIELDS", help="Minute, hour, day, month, day of the week: '0 3 * * *'.")
@click.option("--every", type=Interval(), metavar="INTERVAL", help="30s, 5m, 6h or 1d, in place of --cron.")
@click.option("--timezone", default="UTC", metavar="NAME", help="Of --cron: Europe/Berlin; UTC unless given.")
@click.option(
    "--overlap",
    type=click.Choice(["skip", "queue", "cancel"]),
    default="skip",
    show_default=True,
    help="A tick while the previous job hasn't ended.",
)
@click.option(
    "--catch-up",
    type=click.Choice(["one", "none"]),
    default="one",
    show_default=True,
    help="Ticks that were missed while no worker lived.",
)
@click.option("--queue", metavar="NAME", help="The type's own unless given.", shell_complete=completions.queues)
@click.option("--priority", type=int, help="Higher goes first; the type's own unless given.")
@click.option("--json", "source", metavar="FILE", help="Read the parameters from a JSON file, - for standard input.")
def add(
    app: str,
    name: str,
    job_type: str | None,
    parameters: tuple[str, ...],
    source: str | None,
    **options: Any,
) -> None:
    """Add a schedule, or change one; print its next runs.

    What is given by hand stays when the code's definition changes. With NAME alone the schedule becomes what the code
    declares, in place of what was changed or removed by hand.

    With a URL the parameters are checked by the schema of the type that a worker has stored.

    \b
    Example: zerog schedules add myapp:app nightly word_count path=war-and-peace.txt --cron "0 3 * * *"
    Example: zerog schedules add myapp:app poll word_count path=war-and-peace.txt --every 5m --overlap queue
    """
    the_app = load_shared(app)
    if job_type is None:
        if is_url(app):
            raise ConfigurationError(
                f"{shown(app)} doesn't say what the code declares; give MODULE:APP, or NAME TYPE [KEY=VALUE]... and "
                "its times. Nothing was stored."
            )
        if options["cron"] or options["every"] or source is not None:
            raise ConfigurationError("name the job type: NAME TYPE [KEY=VALUE]...; nothing was stored")
        schedule = the_app.schedules.restore(name, operator())
    else:
        if source is not None and parameters:
            raise ConfigurationError("give the parameters either as KEY=VALUE or with --json, not both")
        given = read_json(source) if source is not None else dict(map(pair, parameters))
        cron = options.pop("cron")
        if is_url(app):
            definition = _definition_by_schema(the_app, cron, job_type, given, **options)
        else:
            definition = the_app.schedule_definition(cron, job_type, given, **options)
        schedule = the_app.schedules.add(name, definition, operator())
    click.echo(flat(f"Schedule {name}: {schedule['words']}, next at"))
    for tick in schedule["next"]:
        click.echo(flat(f"  {_local(tick, schedule)}"))
    if is_url(app):
        click.echo(flat(f"Only a sweeping worker that has the class of {job_type} submits its jobs."), err=True)


def _definition_by_schema(
    app: App, cron: str | None, job_type: str, params: Any, *, every: timedelta | None, timezone: str, **rules: Any
) -> Definition:
    """Return the definition of a schedule whose class isn't at hand, checked by the stored schema of its type."""
    from zerog.schedules.definition import definition_of
    from zerog.schedules.timing import timing_of
    from zerog.schemas.accepting import check_params

    timing = timing_of(cron, every, timezone)
    if not isinstance(params, dict):
        raise ConfigurationError(f"params={params!r:.80}; expected an object of parameters. Nothing was stored.")
    check_params(app.engine, job_type, params)
    return definition_of(job_type, params, timing, **rules)


@app_command(needs_code=False)
@_NAME
@click.option("--reason", default="", metavar="TEXT", help="Why, for others to see.")
def pause(app: str, name: str, reason: str) -> None:
    """Let a schedule submit nothing until it is resumed.

    \b
    Example: zerog schedules pause myapp:app nightly --reason "the disk is full"
    """
    the_schedules = load_shared(app).schedules
    if the_schedules.pause(name, reason, operator()):
        click.echo(flat(f"Schedule {name} is paused."))
    else:
        click.echo(flat(f"Schedule {name} was paused already {described(the_schedules.get(name)['paused'])}."))


@app_command(needs_code=False)
@_NAME
def resume(app: str, name: str) -> None:
    """Let a paused schedule go on with its next tick.

    Ticks that were missed meanwhile are not made up for.

    \b
    Example: zerog schedules resume myapp:app nightly
    """
    was_paused = load_shared(app).schedules.resume(name, operator())
    click.echo(flat(f"Schedule {name} goes on." if was_paused else f"Schedule {name} was not paused."))


@app_command(needs_code=False)
@_NAME
def run(app: str, name: str) -> None:
    """Submit a job of a schedule now, and print its uuid.

    Its times and its overlap rule play no part, and it may be paused. With a URL the job is made as the program made it
    that declared the schedule.

    \b
    Example: zerog schedules run myapp:app nightly
    """
    try:
        click.echo(load_shared(app).schedules.run(name, operator()))
    except UnknownJobType as error:
        if not is_url(app):
            raise
        raise ConfigurationError(
            f"schedule {name} was added by hand, and only a program that has the class of its type makes its jobs; "
            "give MODULE:APP. No job was submitted."
        ) from error


@app_command("rm", needs_code=False)
@_NAME
def remove(app: str, name: str) -> None:
    """Remove a schedule; its jobs stay.

    If the code declares it, no worker brings it back; add does.

    \b
    Example: zerog schedules rm myapp:app nightly
    """
    load_shared(app).schedules.remove(name, operator())
    click.echo(flat(f"Schedule {name} is removed; its jobs stay."))


for _command in (list_schedules, show, add, pause, resume, run, remove):
    schedules.add_command(_command)
