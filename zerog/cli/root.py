"""The command ``zerog`` and all commands below it."""

from __future__ import annotations

import click

import zerog
from zerog.cli.app_argument import CommandGroup
from zerog.cli.commands.changes import CHANGES
from zerog.cli.commands.completion import completion
from zerog.cli.commands.copy import copy
from zerog.cli.commands.demo import demo
from zerog.cli.commands.doctor import doctor
from zerog.cli.commands.jobs import jobs
from zerog.cli.commands.progress import show_progress
from zerog.cli.commands.queues import queues
from zerog.cli.commands.reconcile import reconcile
from zerog.cli.commands.roles import roles
from zerog.cli.commands.schedules import schedules
from zerog.cli.commands.setup import setup
from zerog.cli.commands.submit import submit
from zerog.cli.commands.top import top
from zerog.cli.commands.types import types
from zerog.cli.commands.web import web
from zerog.cli.commands.worker import worker
from zerog.cli.commands.workers import workers
from zerog.cli.errors import EXIT_CODES

_EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())


@click.group(cls=CommandGroup, epilog=_EPILOG)
@click.version_option(zerog.__version__, prog_name="zerog")
def cli() -> None:
    """Long background jobs as objects with documents.

    Most commands take an app first, as MODULE:APP (names joined by dots, a colon, a name), found in the current folder
    or on Python's path. A first argument that doesn't look like that leaves it to the environment variable ZEROG_APP.
    """


for _command in (
    *CHANGES,
    completion,
    copy,
    demo,
    doctor,
    jobs,
    queues,
    roles,
    reconcile,
    schedules,
    setup,
    show_progress,
    submit,
    top,
    types,
    web,
    worker,
    workers,
):
    cli.add_command(_command)
