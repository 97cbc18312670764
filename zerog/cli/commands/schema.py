"""``zerog schema``: freeze the schemas of an app's types, and check a change before it is deployed."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from zerog.cli.app_argument import CommandGroup, app_command, load_shared
from zerog.cli.commands.schema_unused import unused
from zerog.cli.errors import BREAKS, FAILED, UNBUILDABLE, WRONG, fail
from zerog.cli.output import print_json, print_json_line
from zerog.exceptions import ConfigurationError, ZerogError
from zerog.support.texts import INDENT, clean, counted, flat, indented
from zerog.support.urls import without_secrets

if TYPE_CHECKING:
    from zerog.app import App
    from zerog.schemas.compare import Comparison
    from zerog.schemas.findings import Finding

STYLES = {
    "breaks": "bold red",
    "order": "yellow",
    "look": "yellow",
    "can't tell": "yellow",
    "note": "dim",
    "fits": "green",
}
"""The style of each level."""

LABEL = 12
"""Columns of a level before its sentence."""


@click.group(cls=CommandGroup)
def schema() -> None:
    """Freeze, compare and sample schemas of job types."""


@app_command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="A JSON list: an object for each file.")
def freeze(app: str, folder: Path, as_json: bool) -> None:
    """Write the schema of each type into DIR, for the repository.

    One file a type and version, sorted and stable. Files of earlier versions stay: documents of them may still exist.
    Remove one once no document has its version.

    \b
    Example: zerog schema freeze myapp:app schemas
    """
    from zerog.schemas.describe import described
    from zerog.schemas.files import freeze as write

    classes = _built(app).registry.client_classes()
    try:
        written = write([described(job_class) for job_class in classes], folder)
    except OSError as error:
        fail(flat(f"{folder}: {error.strerror or error}"), FAILED)
    if as_json:
        print_json(
            [
                {"path": str(one.path), "done": one.done, "jobType": one.described["jobType"]}
                | {"schemaVersion": one.described["schemaVersion"]}
                for one in written
            ]
        )
        return
    for one in written:
        click.echo(flat(f"{one.done:<8} {one.path}"))
    if not written:
        click.echo("No job types: the app has registered none.")


@app_command()
@click.option(
    "--against",
    metavar="DIR|REV|URL",
    required=True,
    help="What runs now: frozen or stored schemas, or a git revision.",
)
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
def check(app: str, against: str, as_json: bool) -> None:
    """Report what breaks if the app as it is here replaces what runs now.

    Compares by role and field: new workers read old documents, old workers meet new ones, callers of either side
    submit to code of the other. Prints the safe order of the deploy, and the migration that is missing. Reads no job.

    Exit code 0 if everything fits, 1 if the deploy needs an order or a look, 3 if something breaks, 4 if an app can't
    be built.

    \b
    Example: zerog schema check myapp:app --against schemas
    Example: zerog schema check myapp:app --against v1.2
    Example: zerog schema check myapp:app --against sqlite:///jobs.db
    """
    from zerog.schemas.compare import compare
    from zerog.schemas.describe import described
    from zerog.schemas.findings import Level
    from zerog.schemas.lift import lift_of

    classes = _built(app).registry.client_classes()
    lifts = {job_class.JOB_TYPE: lift_of(job_class) for job_class in classes if job_class.JOB_TYPE}
    found = compare(_old(app, against), [described(job_class) for job_class in classes], lifts)
    if as_json:
        print_json([_as_json(one) for one in found])
    else:
        _print(found)
    level = max((one.level for one in found), default=Level.NOTE)
    sys.exit(BREAKS if level == Level.BREAKS else FAILED if level > Level.NOTE else 0)


def _built(app: str) -> App:
    from zerog.loading import load_app

    try:
        return load_app(app)
    except ZerogError as error:
        _fail_to_build(error)


def _fail_to_build(error: ZerogError) -> NoReturn:
    notes = (INDENT + indented(note) for note in getattr(error, "__notes__", ()))
    fail("\n".join([flat(error), *notes]), UNBUILDABLE)


def _old(app: str, against: str) -> list[dict[str, Any]]:
    from zerog.cli.revision import described_at
    from zerog.schemas.files import read_frozen
    from zerog.schemas.stored import latest_of_each, stored_at

    try:
        if "://" in against:
            stored = latest_of_each(stored_at(against))
            if not stored:
                fail(f"no schemas are stored at {without_secrets(against)}: workers and zerog setup store them", WRONG)
            return stored
        return read_frozen(Path(against)) if Path(against).is_dir() else described_at(app, against)
    except ConfigurationError as error:
        fail(flat(error), WRONG)
    except ZerogError as error:
        _fail_to_build(error)


def _as_json(one: Comparison) -> dict[str, Any]:
    from zerog.schemas.findings import WORDS

    return {
        "jobType": one.job_type,
        "old": one.old,
        "new": one.new,
        "level": "fits" if not one.level else WORDS[one.level],
        "order": one.order,
        "findings": [finding.as_json() for finding in one.findings],
        "migration": one.stub,
    }


def _print(found: list[Comparison]) -> None:
    from rich.text import Text

    from zerog.cli.console import make_console, print_wrapped
    from zerog.schemas.findings import ORDERS, ROLES, WORDS, safe_order

    console = make_console()
    for one in found:
        level = WORDS[one.level] if one.level else "fits"
        versions = " → ".join(str(version) for version in (one.old, one.new) if version is not None)
        console.print(Text.assemble((f"{flat(one.job_type)} ", "bold"), (f"{versions}: "), (level, STYLES[level])))
        for role, title in ROLES.items():
            of_role = [finding for finding in one.findings if finding.role == role]
            if of_role:
                console.print(f"  {title}")
            for finding in sorted(of_role, key=lambda finding: -finding.level):
                _print_finding(console, finding)
        if one.stub:
            console.print("  The migration that is missing:")
            console.print(f"\n{textwrap.indent(clean(one.stub), ' ' * 6)}\n", soft_wrap=True)
    order = safe_order(finding for one in found for finding in one.findings)
    counts = {level: sum(finding.level == level for one in found for finding in one.findings) for level in WORDS}
    parts = [f"{counts[level]} {WORDS[level]}" for level in sorted(WORDS, reverse=True) if counts[level] and level]
    print_wrapped(console, Text(f"{counted(len(found), 'type', 'types')}: {', '.join(parts) or 'everything fits'}."))
    if counts[max(WORDS)]:
        console.print(Text("Don't deploy this.", style=STYLES["breaks"]))
    elif order:
        print_wrapped(console, Text(f"{ORDERS[order]}."))


def _print_finding(console: Any, finding: Finding) -> None:
    from rich.text import Text

    from zerog.cli.console import print_wrapped
    from zerog.schemas.findings import WORDS
    from zerog.schemas.wording import shown

    word = WORDS[finding.level]
    label = f"    {word:<{LABEL}}"
    print_wrapped(console, Text.assemble((label, STYLES[word]), flat(finding.what)), len(label))
    if finding.example is not None:
        print_wrapped(console, Text(" " * len(label) + flat(f"Example: {shown(finding.example)}")), len(label))


@app_command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only jobs of this type; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines: an object for each document.")
def sample(app: str, folder: Path, types: tuple[str, ...], as_json: bool) -> None:
    """Write masked documents into DIR, for tests.

    One of each type, version and status. Texts of clients become letters x, secrets are made up; numbers, dates and
    choices stay. The fixture zerog_golden reads such documents by the present classes. Of each type and status the
    1,000 newest jobs are examined.

    \b
    Example: zerog schema sample myapp:app golden
    """
    from zerog.schemas import golden

    the_app = load_shared(app)
    classes = [the_app.registry.get_class(name) for name in types] or the_app.registry.client_classes()
    count = 0
    for found in (one for job_class in classes for one in golden.sample(the_app.datastore, job_class)):
        count += 1
        try:
            path = str(golden.write(found, folder)) if found.document is not None else None
        except OSError as error:
            fail(flat(f"{folder}: {error.strerror or error}"), FAILED)
        if as_json:
            names = {"jobType": found.job_type, "schemaVersion": found.version, "status": found.status}
            print_json_line({**names, "path": path, "problem": found.problem})
        elif path is None:
            where = f"{found.job_type} {found.version} {found.status}"
            click.echo(flat(f"zerog: {where}: left out: {found.problem}"), err=True)
        else:
            click.echo(flat(path))
    if not count and not as_json:
        click.echo("No jobs of these types.")


for _command in (check, freeze, sample, unused):
    schema.add_command(_command)
