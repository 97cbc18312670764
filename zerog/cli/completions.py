"""What a shell offers of an app: its types, parameters, jobs, queues, workers and more; nothing if it can't be loaded.

A shell shows what a command prints while it completes, so nothing may be printed and no error raised.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from zerog.records.job import TERMINAL, WAITING

if TYPE_CHECKING:
    from zerog.app import App

LOOKED_AT = 1_000
"""Jobs whose uuids are compared with what was typed, the newest ones."""

OFFERED = 100
"""Jobs that are offered, at most."""

Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
Found = Iterable[tuple[str, str]]
"""Words, each with a remark that some shells show."""


def _from_app(find: Callable[[App, click.Context, str], Found]) -> Completion:
    def complete(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from zerog.loading import load_app

        found: list[tuple[str, str]] = []
        quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
        with contextlib.suppress(Exception), quiet[0], quiet[1]:
            app = load_app(ctx.params["app"])
            matching = ((word, remark) for word, remark in find(app, ctx, incomplete) if word.startswith(incomplete))
            found = list(islice(matching, OFFERED))
        return [CompletionItem(word, help=remark or None) for word, remark in found]

    return complete


def _types(app: App, _ctx: click.Context, _incomplete: str) -> Found:
    return [(name, "") for name in sorted(app.registry.get_registered_classes())]


def _parameters(app: App, ctx: click.Context, _incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield the parameters of the type that were not given yet, as KEY=."""
    from zerog.jobs.declaration import declaration_of

    given = {word.partition("=")[0] for word in ctx.params.get("parameters") or ()}
    declaration = declaration_of(app.job_class(ctx.params["job_type"]))
    for schema in declaration.client_schemas:
        for name, field in schema.load_fields.items():
            key = field.data_key or name
            if key not in given and key != declaration.rest:
                yield f"{key}=", str(field.metadata.get("description") or "")


def _jobs(statuses: tuple[str, ...]) -> Callable[[App, click.Context, str], Found]:
    def find(app: App, ctx: click.Context, _incomplete: str) -> Iterator[tuple[str, str]]:
        given = ctx.params.get("uuids") or ()
        for job in islice(app.jobs(order="newest"), LOOKED_AT):
            if job["uuid"] not in given and (not statuses or job["status"] in statuses):
                yield str(job["uuid"]), f"{job['jobType']} {job['status']}"

    return find


def _queues(app: App, _ctx: click.Context, _incomplete: str) -> Found:
    return [(queue["name"], "paused" if queue["paused"] else "") for queue in app.fleet.queues()]


def _schedules(app: App, _ctx: click.Context, _incomplete: str) -> Found:
    return [(schedule["name"], schedule["state"]) for schedule in app.schedules.all()]


def _workers(app: App, ctx: click.Context, _incomplete: str) -> Found:
    given = ctx.params.get("names") or ()
    return [(worker["name"], worker["state"]) for worker in app.workers() if worker["name"] not in given]


def _notified(app: App, _ctx: click.Context, _incomplete: str) -> Found:
    return [(base, "") for base in app.targets.bases()]


types = _from_app(_types)
notified = _from_app(_notified)
parameters = _from_app(_parameters)
jobs = _from_app(_jobs(()))
ended_jobs = _from_app(_jobs(TERMINAL))
waiting_jobs = _from_app(_jobs(WAITING))
unfinished_jobs = _from_app(_jobs(("queued", "scheduled", "paused", "running")))
paused_jobs = _from_app(_jobs(("paused",)))
queues = _from_app(_queues)
schedules = _from_app(_schedules)
workers = _from_app(_workers)
