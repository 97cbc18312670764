"""``zerog copy``: move an installation to another datastore."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from zerog.cli.errors import FAILED, spoken
from zerog.cli.output import plural, print_json
from zerog.exceptions import ConfigurationError
from zerog.records.job import KEY_PREFIX
from zerog.support.texts import flat

if TYPE_CHECKING:
    from rich.progress import TaskID

    from zerog.contracts.datastore import Datastore
    from zerog.maintenance.copied import Report

FROM_VARIABLE, TO_VARIABLE = "ZEROG_COPY_FROM", "ZEROG_COPY_TO"

RESULTS = {
    "shortened": "copied without the oldest history",
    "ahead": "gone on there since they were copied, left as they are",
    "removed": "removed there since they were copied, left out",
    "differs": "not copied: changed at both places",
    "begun": "not copied: running",
    "unreadable": "not copied: unreadable",
    "refused": "not copied: refused there",
}
"""What is printed of jobs that are not simply copied, by result."""

NAMED = 20
"""Jobs that are named of each result; all of them with --json."""


@click.command("copy")
@click.option("--from", "source", metavar="URL", envvar=FROM_VARIABLE, required=True, help="Datastore to copy.")
@click.option("--to", "target", metavar="URL", envvar=TO_VARIABLE, required=True, help="Datastore to copy it to.")
@click.option("--dry-run", is_flag=True, help="Only print what would be copied, or why that is refused.")
@click.option("--without-unreadable", is_flag=True, help="Finish although documents can't be read; they are named.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@spoken
def copy(source: str, target: str, dry_run: bool, without_unreadable: bool, as_json: bool) -> None:
    """Move all jobs from one datastore to another, of any two kinds.

    Copies all jobs with their history and the engine's own documents, and compares them. Stop or drain the workers
    first, and what submits jobs. Safe to break off and to repeat: it goes on. At the source all queues are paused
    and stay so; the waiting jobs start once a worker runs at the target.

    URLs with passwords are better given in the environment, as ZEROG_COPY_FROM and ZEROG_COPY_TO.

    \b
    Example: zerog copy --from sqlite:///jobs.db --to sqlite:///new.db --dry-run
    Example: zerog copy --from sqlite:///jobs.db --to sqlite:///new.db
    """
    from rich.text import Text

    from zerog.backends.urls import open_datastore
    from zerog.cli.console import make_console, print_wrapped
    from zerog.maintenance.copying import Copy
    from zerog.support.urls import without_secrets

    here, there = without_secrets(source), without_secrets(target)
    with _bars(is_shown=not as_json) as noted:
        stores = _shared(open_datastore(source), here), _shared(open_datastore(target), there)
        try:
            process = Copy(*stores, here, there, without_unreadable=without_unreadable, noted=noted)
            report = process.check() if dry_run else process.run()
        finally:
            for store in stores:
                store.close()
    is_done = dry_run or report.finished
    if as_json:
        print_json({"from": here, "to": there, "dryRun": dry_run, **vars(report)})
    else:
        for line in _lines(report, here, there, dry_run):
            print_wrapped(make_console(), Text(line))
    sys.exit(0 if is_done and not report.undone(["unreadable"]) else FAILED)


def _shared(store: Datastore, name: str) -> Datastore:
    """Return a datastore that other processes can see. Raises ConfigurationError for another one."""
    if not store.shared:
        raise ConfigurationError(f"{name} is in the memory of one process; nothing can be copied from or to it")
    return store


@contextmanager
def _bars(is_shown: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Draw a bar for each thing that is done, on a terminal; yield what is called with the progress."""
    from rich.progress import MofNCompleteColumn, Progress, TextColumn

    from zerog.cli.console import make_bar, make_console

    console = make_console(stderr=True)
    columns = (TextColumn("{task.description:<8}"), make_bar(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not (is_shown and console.is_terminal)) as shown:
        tasks: dict[str, TaskID] = {}

        def noted(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=total)
            shown.update(tasks[what], completed=done, total=total)

        yield noted


def _lines(report: Report, here: str, there: str, dry_run: bool) -> Iterator[str]:
    by_status = ", ".join(f"{number:,} {status}" for status, number in report.jobs.items())
    total = plural(sum(report.jobs.values()), "job")
    if dry_run:
        yield f"{total} would be copied from {here} to {there}{f': {by_status}' * bool(by_status)}."
        return
    new, replaced, same = (report.results[result] for result in ("copied", "replaced", "same"))
    yield f"{total} at {here}{f': {by_status}' * bool(by_status)}."
    more = [f", {number:,} {what}" for number, what in ((replaced, "replaced"), (same, "there already")) if number]
    yield f"{plural(new, 'job')} copied{''.join(more)}."
    for result, what in RESULTS.items():
        named = report.named.get(result, {})
        if number := max(report.results[result], len(named)):
            yield f"{plural(number, 'job')} {what}{':' * bool(named)}"
            yield from (f"  {flat(key.removeprefix(KEY_PREFIX))}: {flat(why)}" for key, why in [*named.items()][:NAMED])
            if len(named) > NAMED:
                yield f"  and {len(named) - NAMED:,} more; --json names all"
    yield f"Verified: {plural(report.verified, 'job')} the same at both places, SHA-256 {report.digest[:16]}."
    if report.finished:
        yield f"Done. No worker claims at {here} any more; start those at {there}."
    else:
        yield f"Not finished: {there} stays paused. See to what is named above, then copy again."
