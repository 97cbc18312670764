"""``zerog jobs edit``: change the parameters of a job that waits or has ended."""

from __future__ import annotations

from typing import Any

import click

import zerog
from zerog.cli import completions
from zerog.cli.app_argument import app_command, load_shared
from zerog.cli.options import pair, read_json, who_option
from zerog.cli.output import print_json
from zerog.support.texts import flat


@app_command()
@click.argument("uuid", shell_complete=completions.jobs)
@click.option("--set", "pairs", metavar="KEY=VALUE", multiple=True, help="A parameter's new value; may be repeated.")
@click.option("--params", "source", metavar="FILE", help="New values from a JSON file, - for standard input.")
@click.option("--reason", required=True, metavar="TEXT", help="Why, for the job's events.")
@who_option
@click.option("--retry", is_flag=True, help="Let a job that has ended run again.")
@click.option("--cas", metavar="TOKEN", help="Only if the job still has this token, as a dry run showed it.")
@click.option("--dry-run", is_flag=True, help="Show what would change; nothing is written.")
@click.option("--json", "as_json", is_flag=True, help="The difference as one JSON object.")
def edit(
    app: str, uuid: str, pairs: tuple[str, ...], source: str | None, as_json: bool, dry_run: bool, **options: Any
) -> None:
    """Change parameters of a job that waits or has ended.

    Those not named stay. They are validated as at a submit, and written only if the job does not change meanwhile.
    An event on the job records who, why and what. Give secrets with --params rather than in a command line, which
    other users may see.

    \b
    Example: zerog jobs edit myapp:app 0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f --set path=b.txt --reason typo --dry-run
    Example: zerog jobs edit myapp:app 0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f --set path=b.txt --reason typo --retry
    """
    from zerog.cli.job_view import shown

    if bool(pairs) == (source is not None):
        raise zerog.ConfigurationError("give new values with --set or with --params, one of both; nothing was changed")
    given = dict(map(pair, pairs)) if source is None else read_json(source)
    if not isinstance(given, dict):
        raise zerog.InvalidValue(f"{source} holds no JSON object of parameters; nothing was changed")
    the_app = load_shared(app)
    token = the_app.engine.read(uuid)[1] if options["cas"] is None else options["cas"]
    changed = the_app.edit(uuid, given, **{**options, "cas": token}, dry_run=dry_run)
    if as_json:
        print_json({"uuid": uuid, "cas": str(token), "written": not dry_run, "changed": changed})
        return
    for name, values in changed.items():
        click.echo(f"{flat(name)}: {shown(values['old'], '')} -> {shown(values['new'], '')}")
    if dry_run:
        click.echo(f"Nothing was written. --cas {token} does it only if the job is as it was now.")
    elif changed or options["retry"]:
        click.echo("The job was changed." if changed else "Nothing differs; the job may run again.")
    else:
        click.echo("Nothing differs, so nothing was written.")
