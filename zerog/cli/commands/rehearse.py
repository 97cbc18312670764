"""``zerog rehearse``: try the code of a deploy on the documents that are stored, before it runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from zerog.cli.app_argument import app_command
from zerog.cli.errors import FAILED
from zerog.cli.options import Filters, filter_options
from zerog.cli.output import plural, print_json
from zerog.support.texts import flat

if TYPE_CHECKING:
    from zerog.cli.rehearsal.report import Report

COLUMNS = ("VERSION", "DOCUMENTS", "FITS", "MIGRATES", "FAILS")
"""Columns beside TYPE; but for the first they are named as the counts of a group."""

STYLES = {"! ": "bold red"}


@app_command()
@filter_options
@click.option("--sample", type=click.IntRange(min=1), metavar="N", help="Try N of each type and version, the oldest.")
@click.option("--from", "source", metavar="URL|FILE", help="Read them from this datastore, or a file of JSON Lines.")
@click.option("--dropped", multiple=True, metavar="FIELD", help="May lose its value; FIELD or TYPE.FIELD, repeatable.")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=10.0, show_default=True, help="Seconds a document.")
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
def rehearse(
    app: str,
    filters: Filters,
    sample: int | None,
    source: str | None,
    dropped: tuple[str, ...],
    timeout: float,
    as_json: bool,
) -> None:
    """Try new code on stored jobs; change nothing.

    Each document that hasn't ended, or that the filters select, is migrated, loaded, dumped and loaded again by the
    code of the app, twice and under two clocks, in a process of its own. Reports by type and version what fits, what
    migrates and what can't be read, which values are lost, and what differs from one read to the next. Writes nothing.
    The exit code is 1 if there is a finding.

    \b
    Example: zerog rehearse myapp:app
    Example: zerog rehearse myapp:app --type word_count --sample 1000 --json
    Example: zerog rehearse myapp:app --from sqlite:///jobs.db --status failed
    """
    from zerog.cli.rehearsal.run import run
    from zerog.cli.rehearsal.source import documents_of

    with documents_of(app, source, filters) as (documents, total):
        report = run(app, documents, total, sample, dropped, timeout)
    if as_json:
        print_json(report.to_json())
    else:
        _print(report)
    if not report.is_clean:
        sys.exit(FAILED)


def _print(report: Report) -> None:
    from rich.text import Text

    from zerog.cli.console import make_console, make_table, print_wrapped

    console = make_console()
    if report.groups:
        table = make_table(gap=2)
        table.add_column("TYPE", overflow="fold")
        for name in COLUMNS:
            table.add_column(name, justify="right", no_wrap=True)
        for (job_type, version), counts in sorted(report.groups.items()):
            table.add_row(flat(job_type), flat(version), *(f"{counts[name.lower()]:,}" for name in COLUMNS[1:]))
        console.print(table)
    for is_below, line in report.lines():
        label = "    " if is_below else "! "
        print_wrapped(console, Text.assemble((label, STYLES.get(label, "")), flat(line)), len(label))
    verdict = f"{plural(report.documents, 'document')} tried, nothing written: "
    verdict += "all well." if report.is_clean else "needs attention."
    print_wrapped(console, Text(verdict, style="bold green" if report.is_clean else STYLES["! "]))
