"""``zerog doctor``: jobs that wait, jobs that are stuck and why, and commands that repair it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from zerog.cli.app_argument import app_command, load_shared
from zerog.cli.errors import FAILED
from zerog.cli.output import described, print_json
from zerog.support.texts import flat

if TYPE_CHECKING:
    from zerog.maintenance.findings import Diagnosis, Finding

SHOWN = 5
"""Jobs named for each finding in the text."""


@app_command()
@click.option("--watch", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS", help="Look again after that.")
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
def doctor(app: str, watch: float, as_json: bool) -> None:
    """Report what is wrong with jobs, queues and workers, and the command that mends it. Changes nothing.

    A finding that begins with ! has to be mended by hand; with one the exit code is 1. Below it is the command that
    mends it, if there is one. A worker is known to be silent after two looks a lease apart: --watch 35 for the default
    lease of 30 s.

    \b
    Example: zerog doctor myapp:app
    Example: zerog doctor myapp:app --watch 35
    """
    from zerog.maintenance.doctor import Doctor

    shared = load_shared(app)
    diagnosis = Doctor(shared.engine, shared.registry, shared.fleet, app).examine(watch)
    if as_json:
        print_json(diagnosis.to_json())
    else:
        for line in _lines(diagnosis):
            click.echo(flat(line))
    if diagnosis.needs_person:
        sys.exit(FAILED)


def _lines(diagnosis: Diagnosis) -> Iterator[str]:
    versions = diagnosis.versions
    yield f"Versions   zerog {versions['zerog']}, Python {versions['python']}{_engine(versions)}."
    durability = diagnosis.durability or "unknown"
    yield f"Datastore  {diagnosis.datastore}, durability {durability}: {diagnosis.durability_means}."
    jobs = ", ".join(f"{count} {status}" for status, count in diagnosis.jobs.items())
    yield f"Jobs       {jobs or 'none unfinished'}."
    for name, counts in diagnosis.queues.items():
        entries = "out of reach" if counts["entries"] is None else f"{counts['entries']} entries"
        paused = f" Paused {described(counts['paused'])}." if counts["paused"] else ""
        yield f"Queue      {name}: {entries}, {counts['documents']} jobs are recorded as on it.{paused}"
    for worker in diagnosis.workers:
        state = "silent" if worker["silent"] else f"beat {worker['beat']}"
        state += ", drained" if worker["drain"] else ""
        state += "" if worker["alive"] is not None else ", alive or not: unknown after one look"
        at = f" at {worker['renewedAt']}" if worker["renewedAt"] else ""
        yield f"Worker     {worker['worker']}: {state}{at}, lease {worker['lease']:g} s{_serves(worker['queues'])}."
    if not diagnosis.workers:
        yield "Worker     none."
    for finding in diagnosis.findings:
        yield from _finding(finding)
    yield _verdict(diagnosis)


def _verdict(diagnosis: Diagnosis) -> str:
    if diagnosis.needs_person:
        return "A person is needed."
    if any(worker["alive"] is None for worker in diagnosis.workers) and diagnosis.jobs:
        return "Nothing to do by hand, if a worker is alive; --watch checks that."
    return "Nothing to do by hand."


def _engine(versions: dict[str, str]) -> str:
    return f", {versions['datastore']}" if "datastore" in versions else ""


def _serves(queues: object) -> str:
    return f", serves {', '.join(map(str, queues))}" if isinstance(queues, list) else ""


def _finding(finding: Finding) -> Iterator[str]:
    count = f"{finding.count} " if finding.jobs else ""
    yield f"{'!' if finding.needs_person else '-'} {count}{finding.what}. To mend it: {finding.mend}."
    if finding.command is not None:
        yield f"    $ {finding.command}"
    for uuid, why in list(finding.jobs.items())[:SHOWN]:
        yield f"    {uuid}: {why}"
    if finding.count > SHOWN and finding.jobs:
        yield f"    and {finding.count - min(SHOWN, len(finding.jobs))} more"
