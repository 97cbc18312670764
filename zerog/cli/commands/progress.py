"""``zerog progress``: the progress of one job."""

from __future__ import annotations

import sys

import click

from zerog.cli import completions
from zerog.cli.app_argument import app_command, load_shared
from zerog.cli.errors import FAILED
from zerog.cli.output import print_json
from zerog.records.job import SUCCEEDED, TERMINAL


@app_command("progress", needs_code=False)
@click.argument("uuid", shell_complete=completions.jobs)
@click.option("--follow", "is_followed", is_flag=True, help="Draw a live bar until the job has ended.")
def show_progress(app: str, uuid: str, is_followed: bool) -> None:
    """Show how far a job is, as JSON or as a live bar.

    The exit code is 1 if the job failed or was cancelled.

    \b
    Example: zerog progress myapp:app 0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f
    Example: zerog progress myapp:app 0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f --follow
    """
    the_app = load_shared(app)
    if is_followed:
        from zerog.cli.console import make_console
        from zerog.cli.follow import follow

        sys.exit(follow(the_app, [uuid], make_console()))
    state = the_app.progress(uuid)
    print_json(state)
    if state["status"] in TERMINAL and state["status"] != SUCCEEDED:
        sys.exit(FAILED)
