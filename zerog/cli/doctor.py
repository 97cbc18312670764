"""``zerog doctor``: what waits, what is stuck and why, and what mends it."""

from __future__ import annotations

import json
import sys

import click

from zerog.cli.loading import load_app
from zerog.doctor import Diagnosis, Doctor, Finding
from zerog.exceptions import ConfigurationError, ZerogError

SHOWN = 5
"""Jobs named for each finding in the text."""


@click.command()
@click.argument("app", metavar="MODULE:APP")
@click.option("--watch", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS", help="Look again after that.")
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
def doctor(app: str, watch: float, as_json: bool) -> None:
    """Say what is wrong with jobs, queues and workers, and what mends it. Changes nothing.

    Exit codes: 0 nobody is needed, 1 a person is, 2 wrongly called. A worker is known to be silent after two looks a
    lease apart.

    Example: zerog doctor myapp:app --watch 35
    """
    try:
        the_app = load_app(app)
        diagnosis = Doctor(the_app).examine(watch)
    except ConfigurationError as error:
        click.echo(f"zerog: {error}", err=True)
        sys.exit(2)
    except ZerogError as error:
        click.echo(f"zerog: {error}", err=True)
        sys.exit(1)
    if as_json:
        click.echo(json.dumps(diagnosis.to_json(), indent=4))
    else:
        _print(diagnosis)
    if diagnosis.needs_person:
        sys.exit(1)


def _print(diagnosis: Diagnosis) -> None:
    durability = diagnosis.durability or "unknown"
    click.echo(f"Datastore  {diagnosis.datastore}, durability {durability}: {diagnosis.durability_means}.")
    jobs = ", ".join(f"{count} {status}" for status, count in diagnosis.jobs.items())
    click.echo(f"Jobs       {jobs or 'none unfinished'}.")
    for name, counts in diagnosis.queues.items():
        entries = "out of reach" if counts["entries"] is None else f"{counts['entries']} entries"
        click.echo(f"Queue      {name}: {entries}, {counts['documents']} jobs say they are on it.")
    for worker in diagnosis.workers:
        state = "silent" if worker["silent"] else f"beat {worker['beat']}"
        at = f" at {worker['beatAt']}" if worker["beatAt"] else ""
        click.echo(f"Worker     {worker['worker']}: {state}{at}, lease {worker['lease']:g} s.")
    if not diagnosis.workers:
        click.echo("Worker     none.")
    for finding in diagnosis.findings:
        _print_finding(finding)
    click.echo("A person is needed." if diagnosis.needs_person else "Nobody is needed.")


def _print_finding(finding: Finding) -> None:
    count = f"{finding.count} " if finding.jobs else ""
    click.echo(f"{'!' if finding.needs_person else '-'} {count}{finding.what}. To mend it: {finding.mend}.")
    for uuid, why in list(finding.jobs.items())[:SHOWN]:
        click.echo(f"    {uuid}: {why}")
    if finding.count > SHOWN and finding.jobs:
        click.echo(f"    and {finding.count - min(SHOWN, len(finding.jobs))} more")
