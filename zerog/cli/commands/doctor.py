"""``zerog doctor``: jobs that wait, jobs that are stuck and why, and commands that repair it."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import click

from zerog.cli.app_argument import app_command, load_shared
from zerog.cli.errors import FAILED
from zerog.cli.output import age, described, print_json
from zerog.contracts.find import Count
from zerog.support.texts import counted, flat

if TYPE_CHECKING:
    from zerog.maintenance.findings import Diagnosis

SHOWN = 5
"""Jobs named for each finding in the text."""

BAD, MINOR, COMMAND = "! ", "- ", "    $ "
"""Labels of a finding that has to be mended by hand, of another one, and of the command that mends it."""

STYLES = {BAD: "bold red", MINOR: "yellow", COMMAND: "dim", "    ": ""}


@app_command()
@click.option("--watch", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS", help="Look again after that.")
@click.option("--all", "everything", is_flag=True, help="Examine all jobs, however many wait.")
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
def doctor(app: str, watch: float, everything: bool, as_json: bool) -> None:
    """Report what is wrong, and the command that mends it.

    Looks at jobs, queues and workers, and changes nothing. A finding that begins with ! has to be mended by hand;
    with one the exit code is 1. Below it is the command that mends it, if there is one. A worker is known to be
    silent after two looks a lease apart: --watch 35 for the default lease of 30 s. Of many waiting jobs the oldest 500
    are examined, those that should be on their queue by now, and what workers have refused; then a finding names how
    many there are. --all examines all.

    \b
    Example: zerog doctor myapp:app
    Example: zerog doctor myapp:app --watch 35
    """
    from zerog.maintenance.doctor import SAMPLE, Doctor

    shared = load_shared(app)
    doctor = Doctor(shared.engine, shared.registry, shared.fleet, app)
    diagnosis = doctor.examine(watch, math.inf if everything else SAMPLE)
    if as_json:
        print_json(diagnosis.to_json())
    else:
        _print(diagnosis, shared.clock.now())
    if diagnosis.needs_person:
        sys.exit(FAILED)


def _print(diagnosis: Diagnosis, now: datetime) -> None:
    from rich.text import Text

    from zerog.cli.console import make_console, print_wrapped

    console = make_console()
    for label, text in (*_state(diagnosis, now), *_findings(diagnosis)):
        line = Text.assemble((label, STYLES.get(label, "bold")), flat(text))
        if label == COMMAND:  # to be copied: never broken
            console.print(line, soft_wrap=True)
        else:
            print_wrapped(console, line, len(label))
    verdict, style = _verdict(diagnosis)
    console.print(Text(verdict, style=style))


def _state(diagnosis: Diagnosis, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield what there is, as labels and texts."""
    versions = diagnosis.versions
    yield "Versions   ", f"zerog {versions['zerog']}, Python {versions['python']}{_engine(versions)}."
    durability = diagnosis.durability or "unknown"
    yield "Datastore  ", f"{diagnosis.datastore}, durability {durability}: {diagnosis.durability_means}."
    counts = {status: Count(number, status in diagnosis.capped) for status, number in diagnosis.jobs.items()}
    jobs = ", ".join(f"{count} {status}" for status, count in counts.items())
    yield "Jobs       ", f"{jobs or 'none unfinished'}."
    for name, queue in diagnosis.queues.items():
        entries = "out of reach" if queue["entries"] is None else counted(queue["entries"], "entry", "entries")
        paused = f" Paused {described(queue['paused'], now)}." if queue["paused"] else ""
        on_it = Count(queue["documents"], bool(diagnosis.sampled))
        are = "job is" if str(on_it) == "1" else "jobs are"
        yield "Queue      ", f"{name}: {entries}, {on_it} {are} recorded as on it.{paused}"
    for worker in diagnosis.workers:
        state = "silent" if worker["silent"] else f"beat {worker['beat']}"
        state += f", renewed {age(worker['renewedAt'], now)} ago" if worker["renewedAt"] else ""
        state += ", drained" if worker["drain"] else ""
        state += "" if worker["alive"] is not None else ", alive or not: unknown after one look"
        yield "Worker     ", f"{worker['worker']}: {state}, lease {worker['lease']:g} s{_serves(worker['queues'])}."
    if not diagnosis.workers:
        yield "Worker     ", "none."


def _findings(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    """Yield what is wrong, each with the command that mends it and some of its jobs."""
    for finding in diagnosis.findings:
        count = f": {finding.count:,}" if finding.jobs else ""  # after the words, which are the same for any number
        yield BAD if finding.needs_person else MINOR, f"{finding.what}{count}. To mend it: {finding.mend}."
        if finding.command is not None:
            yield COMMAND, finding.command
        for uuid, why in list(finding.jobs.items())[:SHOWN]:
            yield "    ", f"{uuid}: {why}"
        if finding.count > SHOWN and finding.jobs:
            yield "    ", f"and {finding.count - min(SHOWN, len(finding.jobs))} more"


def _verdict(diagnosis: Diagnosis) -> tuple[str, str]:
    """Return the last line, and its style."""
    if diagnosis.needs_person:
        return "Needs attention.", STYLES[BAD]
    if any(worker["alive"] is None for worker in diagnosis.workers) and diagnosis.jobs:
        return "All well, if a worker is alive; --watch checks that.", STYLES[MINOR]
    return "All well.", "bold green"


def _engine(versions: dict[str, str]) -> str:
    return f", {versions['datastore']}" if "datastore" in versions else ""


def _serves(queues: object) -> str:
    return f", serves {', '.join(map(str, queues))}" if isinstance(queues, list) else ""
