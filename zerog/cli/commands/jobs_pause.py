"""``zerog jobs pause`` and ``resume``: keep jobs from running for a while."""

from __future__ import annotations

import click

from zerog.cli import completions
from zerog.cli.app_argument import app_command, load_shared
from zerog.cli.commands.jobs_bulk import Selection, Verb, bulk_options, run_verb
from zerog.cli.options import who_option
from zerog.records.job import PAUSED, RUNNING, WAITING


@app_command(needs_code=False)
@bulk_options(completions.unfinished_jobs)
@click.option("--reason", default="", metavar="TEXT", help="Why, for others to see.")
@who_option
def pause(app: str, selection: Selection, reason: str, who: str) -> None:
    """Pause jobs by uuid, or all that match filters.

    A waiting job doesn't start and keeps its place. A running one stops at its next write or tick, has its class's
    CANCEL_GRACE for that, and goes on from its stored state once it is resumed. Submits are accepted.

    \b
    Example: zerog jobs pause myapp:app 0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f --reason "the disk is full"
    """

    run_verb(load_shared(app), selection, Verb("pause", "paused", (*WAITING, RUNNING), {"reason": reason, "who": who}))


@app_command(needs_code=False)
@bulk_options(completions.paused_jobs)
@who_option
def resume(app: str, selection: Selection, who: str) -> None:
    """Let paused jobs go on, by uuid or all that match filters.

    \b
    Example: zerog jobs resume myapp:app 0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f
    """

    run_verb(load_shared(app), selection, Verb("resume", "resumed", (PAUSED,), {"who": who}))
