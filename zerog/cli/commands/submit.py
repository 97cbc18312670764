"""``zerog submit``: submit jobs with parameters from a shell or a file, print their uuids."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import click

import zerog
from zerog.cli import completions
from zerog.cli.app_argument import app_command, load_shared
from zerog.cli.options import pair, read_json


class Time(click.ParamType[datetime]):
    """A time, in UTC unless it has a zone."""

    name = "time"
    expected = "no time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the time; one without a zone is in UTC."""
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is {self.expected} such as 2027-01-04T08:00+01:00; nothing was stored", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class SecondsOrTime(Time):
    """Seconds from now, or a time."""

    name = "seconds or time"
    expected = "neither seconds nor a time"

    def convert(  # type: ignore[override]
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | datetime:
        """Return the seconds, or the time."""
        try:
            return float(value)
        except ValueError:
            return super().convert(value, param, ctx)


@app_command()
@click.argument("job_type", metavar="TYPE", shell_complete=completions.types)
@click.argument("parameters", metavar="[KEY=VALUE]...", nargs=-1, shell_complete=completions.parameters)
@click.option("--json", "source", metavar="FILE", help="Read the parameters from a JSON file, - for standard input.")
@click.option("--delay", type=float, default=0.0, metavar="SECONDS", help="Seconds until it may start.")
@click.option(
    "--at",
    type=Time(),
    metavar="TIME",
    help="When it may start: 2027-01-04T08:00+01:00; in UTC if no zone is given.",
)
@click.option(
    "--expires",
    type=SecondsOrTime(),
    metavar="SECONDS|TIME",
    help="End it as cancelled (408) if no run has begun by then.",
)
@click.option("--priority", type=int, help="Higher goes first; the type's own unless given.")
@click.option(
    "--queue",
    metavar="NAME",
    help="The queue it goes to; the type's own unless given.",
    shell_complete=completions.queues,
)
@click.option("--max-errors", type=int, metavar="N", help="Errors after which it ends; the type's own unless given.")
@click.option("--timeout", type=float, metavar="SECONDS", help="End a run after that; the type's own unless given.")
@click.option("--soft-timeout", type=float, metavar="SECONDS", help="Raise SoftTimeout in a run after that.")
@click.option(
    "--unique",
    metavar="TEXT",
    multiple=True,
    help="The key of which there is one job at a time, or a part of it; may be repeated. The type's own unless given.",
)
@click.option(
    "--notify",
    metavar="URL",
    multiple=True,
    help="Notify this URL of its ends by a web hook; may be repeated. The type's own unless given.",
    shell_complete=completions.notified,
)
@click.option("--schema-version", metavar="NUMBER", help="The earlier version of the type that --json was made for.")
@click.option("--wait", is_flag=True, help="Draw a live bar on standard error until the job has ended.")
@click.option(
    "--wait-timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Stop waiting then; the job continues.",
)
def submit(
    app: str,
    job_type: str,
    parameters: tuple[str, ...],
    source: str | None,
    unique: tuple[str, ...],
    notify: tuple[str, ...],
    wait: bool,
    wait_timeout: float | None,
    **options: Any,
) -> None:
    """Submit a job and print its uuid.

    A JSON list of objects submits several. If another job has the key of a unique one, its uuid is printed.

    With --wait, uuid, parameters, and output or reason of each job are printed when it has ended. The exit code is
    0 if all succeeded, 1 if one failed or was cancelled, 4 if --wait-timeout was over first.

    \b
    Example: zerog submit myapp:app word_count path=war-and-peace.txt
    Example: zerog submit myapp:app word_count path=war-and-peace.txt --at 2027-01-04T08:00+01:00 --priority 5
    Example: zerog submit myapp:app word_count path=war-and-peace.txt --timeout 600 --max-errors 1
    Example: zerog submit myapp:app word_count path=war-and-peace.txt --wait --wait-timeout 60
    """
    if source is not None and parameters:
        raise zerog.ConfigurationError("give the parameters either as KEY=VALUE or with --json, not both")
    if wait_timeout is not None and not wait:
        raise zerog.ConfigurationError("--wait-timeout limits --wait; give both")
    given = read_json(source) if source is not None else dict(map(pair, parameters))
    the_app = load_shared(app)
    options["notify"] = notify or None
    if isinstance(given, list):
        if unique:
            raise zerog.ConfigurationError("--unique gives one job a key; a list of several takes that of its type")
        uuids = the_app.submit_many(job_type, given, **options)
    else:
        job = the_app.submit(job_type, given, unique=unique or None, **options)
        uuids = [job.uuid]
        if not job.is_new:
            click.echo(f"joined job {job.uuid}, which is {job.status}: it has this key already", err=True)
    for uuid in uuids:
        click.echo(uuid)
    if wait:
        from zerog.cli.console import make_console
        from zerog.cli.follow import follow

        sys.exit(follow(the_app, uuids, make_console(stderr=True), wait_timeout))
