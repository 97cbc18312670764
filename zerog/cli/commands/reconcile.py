"""``zerog reconcile``: repair what a crash left, once or continuously, without a worker."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from zerog.cli.app_argument import app_command, load_shared
from zerog.cli.errors import FAILED
from zerog.cli.output import plural, print_json_line
from zerog.exceptions import ConfigurationError, ZerogError
from zerog.support.texts import flat

if TYPE_CHECKING:
    from zerog.app import App
    from zerog.maintenance.reconcile import Report


@app_command()
@click.option("--watch", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS", help="Sweep again after that.")
@click.option("--every", type=click.FloatRange(min=0.1), metavar="SECONDS", help="Sweep for ever, so often.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines: an object for each sweep.")
def reconcile(app: str, watch: float, every: float | None, as_json: bool) -> None:
    """Repair what a crash left, without a worker.

    That is jobs that never reached their queue, or whose worker is gone. Workers do so, too. One sweep knows only
    the documents. That a worker is silent, or a queue came back empty, takes two: use --watch with more than the
    workers' lease (default: 30 s), or --every, which ends with exit code 0 on SIGTERM, SIGHUP or Ctrl-C. Exit code
    1: something was left alone and has to be looked at.

    \b
    Example: zerog reconcile myapp:app
    Example: zerog reconcile myapp:app --watch 35
    Example: zerog reconcile myapp:app --every 30
    """
    if watch and every is not None:
        raise ConfigurationError("give either --watch or --every, not both")
    the_app = load_shared(app)
    if every is not None:
        _sweep_for_ever(the_app, every, as_json)
        return
    reports = [_sweep(the_app, as_json)]
    if watch:
        the_app.clock.wait(threading.Event(), watch)
        reports.append(_sweep(the_app, as_json))
    if not as_json and not any(map(_lines, reports)):
        click.echo("Nothing to repair.")
    if reports[-1].stuck:
        sys.exit(FAILED)


def _sweep_for_ever(app: App, pause: float, as_json: bool) -> None:
    from zerog.worker.settings import SIGNALS
    from zerog.worker.signal_thread import SignalThread

    end = threading.Event()
    with SignalThread(SIGNALS, lambda _number: end.set()):
        while not end.is_set():
            try:
                _sweep(app, as_json)
            except ZerogError as error:  # the next sweep may find the server back
                click.echo(f"zerog: {flat(error)}; trying again in {pause:g} s", err=True)
            app.clock.wait(end, pause)


def _sweep(app: App, as_json: bool) -> Report:
    report = app.reconcile()
    if as_json:
        print_json_line(asdict(report))
    else:
        for line in _lines(report):
            click.echo(line)
    return report


def _lines(report: Report) -> list[str]:
    return [flat(line) for line in _sentences(report)]


def _sentences(report: Report) -> Iterator[str]:
    yield from (f"{uuid}: put on its queue again" for uuid in report.put_again)
    yield from (f"{uuid}: taken from its worker, runs again" for uuid in report.rescued)
    yield from (f"{uuid}: given back, its worker did not hold it" for uuid in report.given_back)
    yield from (f"{uuid}: cancelled, its worker did not stop it" for uuid in report.cancelled)
    yield from (f"{uuid}: left alone: {why}" for uuid, why in report.stuck.items())
    if report.removed:
        yield f"{plural(len(report.removed), 'ended job')} removed, which their classes keep no longer"
    yield from (f"worker {worker} is gone, its record was removed" for worker in report.forgotten)
