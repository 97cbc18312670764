"""``zerog jobs``: list jobs, show one; with the commands that change them."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING

import click

from zerog.cli import completions
from zerog.cli.app_argument import CommandGroup, app_command, load_shared
from zerog.cli.commands.jobs_bulk import cancel, move, remove, retry
from zerog.cli.commands.jobs_edit import edit
from zerog.cli.commands.jobs_errors import errors
from zerog.cli.commands.jobs_pause import pause, resume
from zerog.cli.options import Filters, filter_options
from zerog.cli.output import print_json, print_json_line
from zerog.exceptions import JobNotFound
from zerog.records.job import Document, make_key

if TYPE_CHECKING:
    from zerog.app import App


@click.group(cls=CommandGroup)
def jobs() -> None:
    """List, show, cancel, edit, move, retry and remove jobs."""


@app_command("ls", needs_code=False)
@filter_options
@click.option("--newest", is_flag=True, help="The newest first.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="List so many.")
@click.option("--all", "unlimited", is_flag=True, help="List all, however many.")
@click.option("--errors", is_flag=True, help="Show the last error of each, too.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines: an object a line, as App.progress gives it.")
def list_jobs(
    app: str, filters: Filters, newest: bool, limit: int, unlimited: bool, errors: bool, as_json: bool
) -> None:
    """List jobs by when they were submitted, the oldest first.

    Ages count from when a job was submitted. In a pipe the table is plain and its lines are as long as they get.

    \b
    Example: zerog jobs ls myapp:app --status failed --since 1d
    Example: zerog jobs ls myapp:app --newest --limit 10
    Example: zerog jobs ls myapp:app --type word_count --all --json
    Example: zerog jobs ls myapp:app --status failed --errors --error FileNotFoundError
    Example: zerog jobs ls myapp:app --stalled
    """
    from zerog.cli.job_table import counted, print_table

    the_app = load_shared(app)
    found = filters.jobs(the_app, newest=newest)
    first = next(found, None)
    if first is None:
        filters.print_hint(the_app)
    else:
        found = chain([first], found)
    listed = counted(found if unlimited else islice(found, limit))
    if as_json:
        for progress in listed:
            print_json_line(progress)
    else:
        print_table(listed, the_app.clock.now(), errors)
    if not unlimited and next(found, None) is not None:
        click.echo(f"There are more than these {limit}; --limit or --all shows them.", err=True)


@app_command(needs_code=False)
@click.argument("uuid", shell_complete=completions.jobs)
@click.option("--no-history", is_flag=True, help="Leave out events, warnings and errors.")
@click.option(
    "--json", "as_json", is_flag=True, help="The document as it is stored, one JSON object. Secret fields are hidden."
)
def show(app: str, uuid: str, no_history: bool, as_json: bool) -> None:
    """Show a job: all of its fields, and what happened to it.

    \b
    Example: zerog jobs show myapp:app 0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f
    Example: zerog jobs show myapp:app 0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f --no-history --json
    """
    from zerog.cli.job_view import print_sheet

    the_app = load_shared(app)
    document = the_app.datastore.read_with_cas(make_key(uuid), head=no_history)[0]
    if document is None:
        raise JobNotFound(f"there is no job {uuid}")
    registry = the_app.registry
    public, words = _explained(the_app, document)
    shown = registry.shown(document, public)
    if as_json:
        print_json(shown)
    else:
        print_sheet(shown, the_app.clock.now(), registry.undeclared(document), words)


def _explained(app: App, document: Document) -> tuple[frozenset[str], dict[str, str]]:
    """Return, of a type without a class here, its fields that are no secret and what each is, by the stored schema."""
    from zerog.schemas.stored import StoredSchemas, explained, public
    from zerog.schemas.wording import in_words

    job_type = document.get("jobType")
    if type(job_type) is not str or job_type in app.registry.get_registered_classes():
        return frozenset(), {}
    stored = StoredSchemas(app.engine).of_type(job_type)
    fields = explained(stored, document.get("schemaVersion"))
    return public(stored), {key: in_words(field) for key, field in fields.items()}


for _command in (cancel, edit, errors, list_jobs, move, pause, remove, resume, retry, show):
    jobs.add_command(_command)
