"""``zerog jobs errors``: failed jobs, grouped by the place in the code at which they failed."""

from __future__ import annotations

from dataclasses import asdict
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING

import click

from zerog.cli.app_argument import app_command, load_shared
from zerog.cli.options import Filters, filter_options
from zerog.cli.output import age, plural, print_json_line
from zerog.records.job import FAILED
from zerog.support.texts import flat

if TYPE_CHECKING:
    from datetime import datetime

    from zerog.maintenance.failures import Failures


@app_command("errors", needs_code=False)
@filter_options
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Show so many groups.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines: an object for each group.")
def errors(app: str, filters: Filters, limit: int, as_json: bool) -> None:
    """Group failed jobs by where they failed.

    Of each group its number of jobs, when the first and the last one failed, the builds that ran them, one job as an
    example, and the line of the job's own code. The newest 10,000 jobs that match are grouped. --status selects jobs
    that wait for another try, or were cancelled after an error.

    \b
    Example: zerog jobs errors myapp:app --since 1d
    Example: zerog jobs errors myapp:app --type word_count --build 1f2e3d --json
    """
    from zerog.maintenance.failures import LOOKED_AT, grouped, locate

    the_app = load_shared(app)
    now = the_app.clock.now()
    filters.check(the_app)
    queries = filters.queries(now, (FAILED,), newest=True)
    heads = merge(
        *(query.heads(the_app.datastore, the_app.clock) for query in queries),
        key=lambda head: (str(head.get("createdAt")), str(head.get("uuid"))),
        reverse=True,
    )
    found = grouped(islice(heads, LOOKED_AT))
    shown = found[:limit]
    locate(the_app.datastore, shown)
    for group in shown:
        if as_json:
            print_json_line(asdict(group))
        else:
            _print(group, now)
    if not found:
        filters.print_hint(the_app)
        if not as_json:
            click.echo("No failures.")
    if len(found) > limit:
        click.echo(f"There are more groups than these {limit}; --limit shows them.", err=True)
    if next(heads, None) is not None:
        click.echo(f"Only the newest {LOOKED_AT:,} jobs that match were grouped; --since or --type selects.", err=True)


def _print(group: Failures, now: datetime) -> None:
    """Print a group: a line of figures, and below it the place, the builds and the example."""
    from rich.text import Text

    from zerog.cli.console import make_console, print_wrapped

    console = make_console()
    first, last = age(group.first, now), age(group.last, now)
    times = f"{last} ago" if group.last else "at an unknown time"
    if first != last:
        times = f"{first} to {times}"
    title = f"{plural(group.count, 'job')} of {flat(group.job_type)}: {flat(group.error or 'error')}"
    print_wrapped(console, Text.assemble((title, "bold"), f", {times}"), 2)
    if group.where:
        print_wrapped(console, Text(f"  at      {flat(group.where)}"), 10)
    print_wrapped(console, Text(f"  example {flat(group.example)}"), 10)
    print_wrapped(console, Text(f"          {flat(group.msg)}"), 10)
    if group.builds:
        builds = ", ".join(f"{flat(build)} ({number:,})" for build, number in group.builds.items())
        print_wrapped(console, Text(f"  builds  {builds}"), 10)
    if group.fingerprint:
        click.echo(f"  all     --error {flat(group.fingerprint)}")
