"""The command ``zerog`` and all commands below it."""

from __future__ import annotations

import click

import zerog
from zerog.cli.bulk import cancel, remove, retry
from zerog.cli.completion import completion
from zerog.cli.demo import demo
from zerog.cli.doctor import doctor
from zerog.cli.edit import edit
from zerog.cli.jobs import jobs
from zerog.cli.progress import show_progress
from zerog.cli.queues import queues
from zerog.cli.reconcile import reconcile
from zerog.cli.setup import setup
from zerog.cli.spoken import EXIT_CODES
from zerog.cli.submit import submit
from zerog.cli.types import types
from zerog.cli.worker import worker
from zerog.cli.workers import workers

_EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())


@click.group(epilog=_EPILOG)
@click.version_option(zerog.__version__, prog_name="zerog")
def cli() -> None:
    """Long background jobs as objects with documents.

    Most commands take an app first, as MODULE:APP (names joined by dots, a colon, a name), found in the current folder
    or on Python's path. A first argument that doesn't look like that leaves it to the environment variable ZEROG_APP.
    """


for _command in (cancel, edit, remove, retry):
    jobs.add_command(_command)
for _command in (
    completion,
    demo,
    doctor,
    jobs,
    queues,
    reconcile,
    setup,
    show_progress,
    submit,
    types,
    worker,
    workers,
):
    cli.add_command(_command)
