"""Options that several commands share: filters for jobs, and parameters of jobs."""

from __future__ import annotations

import getpass
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import wraps
from heapq import merge
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

import zerog
from zerog.cli import completions
from zerog.records.job import RUNNING, STATUSES
from zerog.support import jsonvalues

if TYPE_CHECKING:
    from zerog.app import App
    from zerog.jobs.answers import Progress
    from zerog.query import Query

F = TypeVar("F", bound=Callable[..., Any])

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class Moment(click.ParamType[timedelta | datetime]):
    """An age (``90s 15m 6h 30d 2w``) or a time (``2026-11-01``, ``2026-11-01T12:00+01:00``; in UTC by default)."""

    name = "age or time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta | datetime:
        """Return the age as a timedelta, or the time."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", value)
        try:
            if match is not None:
                return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])
            moment = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is neither an age such as 90s, 15m, 6h, 30d or 2w nor a time such as 2026-11-01 or "
                "2026-11-01T12:00+01:00",
                param,
                ctx,
            )
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Filters:
    """Filters for jobs; without any all jobs match."""

    statuses: tuple[str, ...] = ()
    job_type: str | None = None
    queue: str | None = None
    since: timedelta | datetime | None = None
    older_than: timedelta | datetime | None = None
    error: str | None = None
    code: int | None = None
    stalled: bool = False
    build: str | None = None
    schema_version: float | None = None
    attrs: tuple[tuple[str, str], ...] = ()
    parked: str | None = None

    def __bool__(self) -> bool:
        return self != Filters()

    def jobs(self, app: App, statuses: tuple[str, ...] = (), newest: bool = False) -> Iterator[Progress]:
        """Return the progress of those jobs, read page by page, by their creation.

        ``statuses``: the default if no status was given; all if that is empty, too.
        """
        self.check(app)
        found = [
            query.jobs(app.datastore, app.clock, app.registry.progress)
            for query in self.queries(app.clock.now(), statuses, newest)
        ]
        return merge(*found, key=lambda progress: (progress["createdAt"], progress["uuid"]), reverse=newest)

    def check(self, app: App) -> None:
        """Raise InvalidValue for an attribute that no class of the app has."""
        app.registry.check_attributes(dict(self.attrs), self.job_type)

    def print_hint(self, app: App) -> None:
        """Print why nothing may have been found, if attributes could not be checked for want of classes."""
        if self.attrs and not app.registry.get_registered_classes():
            names = ", ".join(dict(self.attrs))
            click.echo(
                f"A URL has no classes, so whether there is an attribute {names} was not checked; MODULE:APP, in place "
                "of the URL, names those that there are.",
                err=True,
            )

    def queries(self, now: datetime, statuses: tuple[str, ...] = (), newest: bool = False) -> list[Query]:
        """Return the filters as questions to a datastore, one for each status; ages count back from ``now``."""
        from zerog.query import Query  # which takes half of the start-up time

        before = _cutoff(self.older_than, now)
        if self.stalled:
            statuses = (RUNNING,)
        return [
            Query(
                status=status,
                job_type=self.job_type,
                queue=self.queue,
                error=self.error,
                code=self.code,
                order="newest" if newest else "oldest",
                since=_cutoff(self.since, now),
                until=None if before is None else before - timedelta(microseconds=1),
                stalled=self.stalled,
                build=self.build,
                schema_version=self.schema_version,
                attrs=dict(self.attrs) or None,
                parked=self.parked,
            )
            for status in self.statuses or statuses or (None,)
        ]


def _user() -> str:
    try:
        return getpass.getuser()
    except OSError:  # a user without a name, as in some containers
        return f"user {os.getuid()}"


who_option = click.option(
    "--who", default=_user, show_default="the user of this shell", metavar="NAME", help="Who, for the jobs' events."
)


def filter_options(command: F) -> F:
    """Add the filter options to a command, as its parameter ``filters``."""

    @wraps(command)
    def run(
        *args: Any,
        status: tuple[str, ...],
        job_type: str | None,
        queue: str | None,
        since: timedelta | datetime | None,
        older_than: timedelta | datetime | None,
        error: str | None,
        code: int | None,
        stalled: bool,
        build: str | None,
        schema_version: float | None,
        attr: tuple[str, ...],
        parked: str | None,
        **kwargs: Any,
    ) -> Any:
        statuses = tuple(dict.fromkeys(status))
        more = (error, code, stalled, build, schema_version, tuple(map(_attribute, attr)), parked)
        filters = Filters(statuses, job_type, queue, since, older_than, *more)
        return command(*args, filters=filters, **kwargs)

    options = [
        click.option("--status", multiple=True, type=click.Choice(STATUSES), help="Of this status; may be repeated."),
        click.option("--type", "job_type", metavar="TYPE", help="Of this job type.", shell_complete=completions.types),
        click.option("--queue", metavar="NAME", help="Of this queue.", shell_complete=completions.queues),
        click.option("--since", type=Moment(), metavar="AGE", help="Made then or later: 15m, 6h, 30d or 2026-11-01."),
        click.option("--older-than", type=Moment(), metavar="AGE", help="Made before: 15m, 6h, 30d or 2026-11-01."),
        click.option("--error", metavar="TEXT", help="Whose last error has this type, fingerprint or text."),
        click.option("--attr", multiple=True, metavar="NAME=TEXT", help="With this attribute; may be repeated."),
        click.option("--code", type=int, metavar="CODE", help="Whose result or last error has this code."),
        click.option("--build", metavar="BUILD", help="Whose last error is of this build, or a range: A..B, A.."),
        click.option("--schema-version", type=float, metavar="NUMBER", help="Stored in this version of their class."),
        click.option("--parked", metavar="LIMIT", help="Parked at this limit, as it is shown, or at any."),
        click.option("--stalled", is_flag=True, help="Running ones that write nothing, as their STATUS shows."),
    ]
    for option in reversed(options):
        run = option(run)
    return run  # type: ignore[return-value]


def _attribute(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise zerog.ConfigurationError(f"--attr {text!r} is no attribute; expected NAME=TEXT, such as customer=42")
    return name, value


def _cutoff(given: timedelta | datetime | None, now: datetime) -> datetime | None:
    return now - given if isinstance(given, timedelta) else given


def pair(text: str) -> tuple[str, str]:
    """Split KEY=VALUE into a name and its value. Raises ConfigurationError."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise zerog.ConfigurationError(f"{text!r} is no parameter; expected KEY=VALUE")
    return name, value


def read_json(source: str) -> Any:
    """Read the JSON of a file, - for standard input. Raises ConfigurationError, InvalidValue."""
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
        return jsonvalues.decode(text)
    except OSError as error:
        raise zerog.ConfigurationError(f"{source} can't be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise zerog.InvalidValue(f"{source} holds no JSON: {error}; nothing was stored") from None
