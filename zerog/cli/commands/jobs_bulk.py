"""``zerog jobs cancel``, ``retry``, ``move`` and ``rm``: for jobs by uuid, or for all that match filters."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from zerog.cli import completions
from zerog.cli.app_argument import app_command, load_shared
from zerog.cli.errors import FAILED
from zerog.cli.options import Filters, filter_options, who_option
from zerog.cli.output import plural, print_json_line
from zerog.exceptions import ConfigurationError
from zerog.records.job import FAILED as FAILED_STATUS
from zerog.records.job import PAUSED, RUNNING, TERMINAL, WAITING, make_key
from zerog.support.texts import flat

if TYPE_CHECKING:
    from rich.console import Console

    from zerog.app import App
    from zerog.jobs.answers import Progress
    from zerog.maintenance.receipts import Outcome

F = TypeVar("F", bound=Callable[..., Any])

STOPPING, THERE = "asked to stop", "there already"
"""What became of a job in the words of ``App.bulk``, where the summary counts it separately."""


@dataclass(frozen=True)
class Verb:
    """An action on jobs, and the words that report it."""

    name: str
    done: str
    statuses: tuple[str, ...]
    """Statuses that are searched by default."""
    options: dict[str, Any] = field(default_factory=dict)
    """Those of ``App.bulk`` for it."""
    deed: str = ""
    """What ``App.bulk`` calls it, if that isn't its name."""


@dataclass(frozen=True)
class Selection:
    """The jobs that were named, by uuid or by filters, and the form of the output."""

    uuids: tuple[str, ...]
    filters: Filters
    limit: int | None
    yes: bool
    as_json: bool
    receipt: str | None


def bulk_options(jobs: completions.Completion) -> Callable[[F], F]:
    """Add uuids, filters and the options of all bulk commands to a command, as its parameter ``selection``.

    ``jobs``: the completion of the uuids.
    """

    def decorate(command: F) -> F:
        @wraps(command)
        def run(
            *args: Any,
            uuids: tuple[str, ...],
            filters: Filters,
            limit: int | None,
            yes: bool,
            as_json: bool,
            receipt: str | None,
            **kwargs: Any,
        ) -> Any:
            selection = Selection(uuids, filters, limit, yes, as_json, receipt)
            return command(*args, selection=selection, **kwargs)

        run = click.option("--json", "as_json", is_flag=True, help="JSON Lines: an object for each job.")(run)
        most = click.IntRange(min=1)
        run = click.option("--limit", type=most, metavar="N", help="The N oldest that the filters find.")(run)
        note = "Note each job in this file; with the same file an interrupted command continues."
        run = click.option("--receipt", type=click.Path(dir_okay=False), metavar="FILE", help=note)(run)
        run = click.option("--yes", is_flag=True, help="Don't ask, for what the filters find.")(run)
        uuids = click.argument("uuids", metavar="[UUID]...", nargs=-1, shell_complete=jobs)
        return uuids(filter_options(run))  # type: ignore[return-value]

    return decorate


@app_command(needs_code=False)
@bulk_options(completions.unfinished_jobs)
def cancel(app: str, selection: Selection) -> None:
    """Cancel jobs by uuid, or all that match filters.

    Of those that match, all that haven't ended are cancelled. A waiting job never starts. A running one is notified
    within about a second, and has its class's CANCEL_GRACE to end; those that were notified already are left out.

    \b
    Example: zerog jobs cancel myapp:app 0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f
    Example: zerog jobs cancel myapp:app --type word_count --older-than 1d --yes
    """

    run_verb(load_shared(app), selection, Verb("cancel", "cancelled", (*WAITING, PAUSED, RUNNING)))


@app_command(needs_code=False)
@bulk_options(completions.ended_jobs)
@click.option("--reason", default="", metavar="TEXT", help="Why, for the jobs' events.")
@click.option("--keep-counters", is_flag=True, help="Errors count on: a job that used them up gets one more try.")
@who_option
def retry(app: str, selection: Selection, reason: str, keep_counters: bool, who: str) -> None:
    """Run ended jobs again, by uuid or all that match.

    Of those that match the filters, all failed ones run again. They keep their state; their error counters are
    reset to 0, unless --keep-counters is given. --status selects jobs that ended otherwise.

    \b
    Example: zerog jobs retry myapp:app 0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f --reason "the disk was full"
    Example: zerog jobs retry myapp:app --type word_count --since 6h --yes
    Example: zerog jobs retry myapp:app --error ConnectionError --reason "the network is back" --yes
    Example: zerog jobs retry myapp:app --error ConnectionError --limit 10 --yes
    """

    options = {"reason": reason, "who": who, "reset": not keep_counters}
    run_verb(load_shared(app), selection, Verb("retry", "queued again", (FAILED_STATUS,), options))


@app_command(needs_code=False)
@bulk_options(completions.waiting_jobs)
@click.option("--to", "target", metavar="NAME", help="The queue to move them to.", shell_complete=completions.queues)
@click.option("--priority", type=int, metavar="NUMBER", help="Their new priority: higher runs earlier, 0 by default.")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the jobs' events.")
@who_option
def move(app: str, selection: Selection, target: str | None, priority: int | None, reason: str, who: str) -> None:
    """Move waiting jobs to another queue or priority.

    By uuid, or all that match the filters. They start when they would have started, from the new place. A job that is
    there already stays as it is, and so does one for which the queue has no room by its max-waiting.

    \b
    Example: zerog jobs move myapp:app 0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f --priority 5
    Example: zerog jobs move myapp:app --queue default --type word_count --to slow --reason "the rest waits" --yes
    """

    if target is None and priority is None:
        raise ConfigurationError("give the new place with --to, --priority or both; nothing was changed")
    options = {"queue": target, "priority": priority, "reason": reason, "who": who}
    run_verb(load_shared(app), selection, Verb("move", "moved", WAITING, options))


@app_command("rm", needs_code=False)
@bulk_options(completions.ended_jobs)
@click.option("--damaged", is_flag=True, help="Remove the jobs named, whose documents make no sense.")
@click.option("--no-on-discard", is_flag=True, help="Don't call on_discard of their classes.")
def remove(app: str, selection: Selection, damaged: bool, no_on_discard: bool) -> None:
    """Remove ended jobs, by uuid or all that match filters.

    Their history is removed, too. What waits or runs is never removed: cancel it first. What was saved and never
    enqueued is found by --status new. With --damaged jobs are removed that zerog doctor names as making no sense,
    whatever their status, and no others. A job whose on_discard fails, or whose class isn't there, is kept;
    --no-on-discard removes it all the same.

    \b
    Example: zerog jobs rm myapp:app 0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f
    Example: zerog jobs rm myapp:app --status succeeded --older-than 30d --yes
    """

    if damaged and not selection.uuids:
        raise ConfigurationError("--damaged takes jobs by uuid, no filters; nothing was changed")
    options = {"damaged": damaged, "on_discard": not no_on_discard}
    run_verb(load_shared(app), selection, Verb("remove", "removed", TERMINAL, options, "discard"))


def run_verb(app: App, selection: Selection, verb: Verb) -> None:
    """Do it and exit with 1 if it could not be done to all."""
    if bool(selection.uuids) == bool(selection.filters):
        raise ConfigurationError("name jobs by uuid or give filters, one of both; nothing was changed")
    if selection.uuids and selection.limit is not None:
        raise ConfigurationError("--limit bounds what filters find, not jobs named by uuid; nothing was changed")
    from zerog.cli.console import make_console

    console = make_console(stderr=True)
    for uuid in selection.uuids:
        make_key(uuid)  # a wrong one is reported before anything is done
    bulk = app.bulk(verb.deed or verb.name, limit=selection.limit, receipt=selection.receipt, **verb.options)
    with closing(bulk):
        total: int | None = None
        if not selection.uuids and (console.is_terminal or not selection.yes):
            total = bulk.count(_found(app, selection, verb))
        if not selection.uuids and not selection.yes and not _is_wanted(total or 0, verb):
            return
        found = dict.fromkeys(selection.uuids) if selection.uuids else _found(app, selection, verb)
        round = _Round(verb, selection.as_json, console)
        try:
            round.go(bulk.run(found), total)
        finally:
            if not selection.as_json:
                round.sum_up()
    if round.undone:
        sys.exit(FAILED)


def _found(app: App, selection: Selection, verb: Verb) -> Iterable[Progress]:
    found = selection.filters.jobs(app, verb.statuses)
    if verb.name == "cancel":
        found = (each for each in found if not each["cancelRequested"] or each["paused"] or each["status"] in TERMINAL)
    return found


def _is_wanted(total: int, verb: Verb) -> bool:
    """Ask for confirmation. Raises ConfigurationError without a terminal, and exits if it is refused."""
    if not total:
        return True
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"this would {verb.name} {plural(total, 'job')}; give --yes to do it without confirmation"
        )
    if not click.confirm(f"{verb.name.capitalize()} {plural(total, 'job')}?", err=True):
        click.echo("Nothing was changed.", err=True)
        sys.exit(FAILED)
    return True


class _Round:
    """One pass over the jobs."""

    def __init__(self, verb: Verb, as_json: bool, console: Console) -> None:
        self.verb = verb
        self.as_json = as_json
        self.console = console
        self.done: Counter[str] = Counter()
        """Numbers of jobs, by result."""
        self.undone = 0

    def go(self, outcomes: Iterable[Outcome], total: int | None) -> None:
        """Report what becomes of each job. Raises what ``Bulk.run`` raises."""
        from rich.progress import MofNCompleteColumn, Progress, TextColumn

        from zerog.cli.console import make_bar

        columns = (TextColumn("{task.description}"), make_bar(), MofNCompleteColumn())
        shown = Progress(*columns, console=self.console, disable=total is None or not self.console.is_terminal)
        with shown:
            task = shown.add_task(self.verb.name, total=total)
            for outcome in outcomes:
                self._report(outcome)
                shown.advance(task)

    def _report(self, outcome: Outcome) -> None:
        if outcome.became is None:
            self.undone += 1
        else:
            self.done[outcome.became] += 1
        if self.as_json:
            print_json_line(outcome.to_json())
        elif outcome.became is None:
            named = "" if outcome.uuid in str(outcome.why) else f"{outcome.uuid}: "
            self.console.print(flat(f"{named}{outcome.why}"), soft_wrap=True)

    def sum_up(self) -> None:
        """Print what was done, and to how many it could not be done."""
        stopping, there = self.done.pop(STOPPING, 0), self.done.pop(THERE, 0)
        count = sum(self.done.values())
        parts = [f"{plural(count, 'job')} {self.verb.done}"] if count or not (stopping or there or self.undone) else []
        if stopping:
            parts.append(f"{plural(stopping, 'job')} {STOPPING} at the next write")
        if there:
            parts.append(f"{plural(there, 'job')} {'was' if there == 1 else 'were'} there already")
        if self.undone:
            parts.append(f"{plural(self.undone, 'job')} could not be {self.verb.done}, see above")
        click.echo(f"{'; '.join(parts)}.")
