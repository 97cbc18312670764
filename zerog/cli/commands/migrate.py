"""``zerog migrate``: store documents in the present version of their class, ahead of their next run."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from zerog.cli import completions
from zerog.cli.app_argument import app_command, load_shared
from zerog.cli.errors import FAILED, fail
from zerog.cli.output import plural, print_json
from zerog.records.job import RUNNING, WAITING, make_key

if TYPE_CHECKING:
    from zerog.app import App

QUEUE = "zerog-migrate"
"""The queue of the command's own job, which its own worker serves."""

LEASE = 5.0
"""Seconds after which another call continues the job of one that was killed."""


@app_command()
@click.option("--type", "job_type", metavar="TYPE", help="Of this type alone.", shell_complete=completions.types)
@click.option("--rate", type=click.FloatRange(min=0.01), metavar="N", help="At most N documents a second.")
@click.option("--dry-run", is_flag=True, help="Write nothing; show what would be done.")
@click.option("--beside-older", is_flag=True, help="Even if a living worker couldn't run such jobs any more.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, at the end.")
def migrate(
    app: str, job_type: str | None, rate: float | None, dry_run: bool, beside_older: bool, as_json: bool
) -> None:
    """Store waiting and ended jobs in the version of their class.

    A job is migrated when it is read, and stored so by its next write. This does it for those that nothing writes to,
    so that the migration can be removed. Running jobs are left to their own next write. It is a job itself, which runs
    here; called again after an interruption it continues. Refused while a worker lives whose code is older.

    \b
    Example: zerog migrate myapp:app --dry-run
    Example: zerog migrate myapp:app --type word_count --rate 200
    """
    shared = load_shared(app)
    types = _chosen(shared, job_type)
    _refuse_older(shared, types, beside_older)
    result = _tried(shared, types) if dry_run else _migrated(shared, types, rate, beside_older)
    if as_json:
        print_json(result)
    elif dry_run:
        click.echo(f"Nothing was written. {_sentence(result, 'would be migrated')}")
    else:
        click.echo(_sentence(result, "migrated"))
    if result["notReadable"]:
        sys.exit(FAILED)


def _chosen(app: App, job_type: str | None) -> list[str]:
    """Return the types with migrations. Raises UnknownJobType."""
    from zerog.jobs.declaration import declaration_of

    if job_type:
        app.job_class(job_type)
    names = [job_type] if job_type else sorted(app.registry.get_registered_classes())
    return [n for n in names if any(declaration_of(each).chain.steps() for each in app.registry.classes_of(n))]


def _refuse_older(app: App, types: list[str], is_meant: bool) -> None:
    from zerog.maintenance.lifting import older_workers
    from zerog.maintenance.migrate import refusal

    older = older_workers(app.engine, {name: version for name, version in app.registry.versions() if name in types})
    if older and not is_meant:
        fail(f"{refusal(older)} Or give --beside-older. Nothing was changed.", FAILED)


def _tried(app: App, types: list[str]) -> dict[str, Any]:
    from zerog.jobs.declaration import declaration_of
    from zerog.maintenance.lifting import FAILS, LIFTED, RUNS, heads_of, lift

    found, read = Counter[str](), 0
    for job_type in types:
        for head in heads_of(app.datastore, job_type):
            read += 1
            declaration = declaration_of(app.registry.class_for(head))
            found[lift(app.datastore, declaration, str(head.get("uuid")), app.clock, is_trial=True).outcome] += 1
    return {"read": read, "lifted": found[LIFTED], "leftRunning": found[RUNS], "notReadable": found[FAILS]}


def _migrated(app: App, types: list[str], rate: float | None, beside_older: bool) -> dict[str, Any]:
    """Run the job, or continue one that was interrupted. Exits if it failed."""
    from zerog.cli.console import make_console
    from zerog.cli.follow import follow
    from zerog.maintenance.migrate import Migrate
    from zerog.worker.worker import Worker

    app.register(Migrate)
    if not types:
        return {"read": 0, "lifted": 0, "leftRunning": 0, "notReadable": 0}
    uuid = _interrupted(app, types)
    if uuid is None:
        params = {"types": types, "rate": rate, "besideOlder": beside_older}
        uuid = app.submit(Migrate, params, queue=QUEUE).uuid
    with Worker(app, queues=[QUEUE], lease=LEASE, signals=()):
        code = follow(app, [uuid], make_console(stderr=True))
    if code:
        sys.exit(code)
    output: dict[str, Any] = app.datastore.read(make_key(uuid))["output"]
    return output


def _interrupted(app: App, types: list[str]) -> str | None:
    """Return the uuid of a job for the same types that hasn't ended."""
    for status in (RUNNING, *WAITING):
        for each in app.jobs(status=status, job_type="zerog.migrate", queue=QUEUE):
            document = app.datastore.read(make_key(str(each["uuid"]))) or {}
            if document.get("types") == types:
                return str(each["uuid"])
    return None


def _sentence(result: dict[str, Any], done: str) -> str:
    text = f"{plural(result['read'], 'document')} read, {result['lifted']:,} {done}"
    if result["leftRunning"]:
        text += f", {result['leftRunning']:,} left to their run's next write"
    if result["notReadable"]:
        text += f", {result['notReadable']:,} can't be read: zerog rehearse names the reason"
    return f"{text}."
