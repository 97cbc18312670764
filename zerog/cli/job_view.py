"""One job on a page: its state, its fields, its history."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from zerog.cli.console import make_console, print_wrapped
from zerog.cli.output import STALLED, STYLES, age, described, percent
from zerog.jobs.discarding import failures_of
from zerog.jobs.progress import is_stalled
from zerog.records.attrs import shown_attrs
from zerog.records.fields import ENGINE_FIELDS, HISTORY, NO_RESULT, PENDING
from zerog.records.job import EXPIRED, PAUSED, RUNNING, Document
from zerog.records.limits import shown_limit
from zerog.records.operations import dropped_field
from zerog.records.unique import shown_key
from zerog.support.texts import flat, indented

LABEL = 13
"""Columns of the names on the left."""

COUNTERS = {
    "attempts": "runs",
    "errorCount": "errors",
    "crashes": "crashes",
    "lost": "lost workers",
    "continues": "continues",
}

NAMED = ("timestamp", "msg", "traceback", "edit")
"""Fields of an entry that aren't listed with the others: an edit's mark is for the engine alone."""

LIMITS = {"maxErrors": "max_errors", "hardTimeout": "timeout", "softTimeout": "soft_timeout"}
"""Limits of the job's own; its class's aren't in the document."""


def print_sheet(
    document: Document, now: datetime, undeclared: Collection[str] = (), explained: Mapping[str, str] | None = None
) -> None:
    """Print a document, or a head, for a person. Each line names what it shows, whatever the document holds.

    ``undeclared``: fields to be marked, since the class doesn't declare them. ``explained``: what fields are, by the
    schema that is stored of a type without a class here.
    """
    console = make_console()
    for label, value in _standing(document, now):
        print_wrapped(console, Text.assemble((f"{label:<{LABEL}}", "bold"), value), LABEL)
    counts = {dropped_field(field) for field in HISTORY}
    own = {field: value for field, value in document.items() if field not in ENGINE_FIELDS and field not in counts}
    if own:
        console.print(Text("\nFields", style="bold"))
        for field, value in own.items():
            mark = Text("  (not declared by its class)", style="yellow") if field in undeclared else Text()
            if explained and field in explained:
                mark = Text(f"  ({flat(explained[field])})", style="dim")
            print_wrapped(console, Text.assemble(f"  {flat(field)}: {shown(value, '  ')}", mark), 2)
    for field in HISTORY:
        entries = document.get(field)
        if isinstance(entries, list) and entries:
            _print_entries(console, field, entries, document)


def _standing(document: Document, now: datetime) -> Iterator[tuple[str, Text | str]]:
    status = STALLED if is_stalled(document, now) else flat(document.get("status"))
    yield "Job", flat(document.get("uuid"))
    yield "Type", f"{flat(document.get('jobType'))}, version {flat(document.get('schemaVersion'))}"
    yield "Status", Text(status, style=STYLES.get(status, ""))
    yield "Done", percent(document.get("completeness"))
    if document.get("resultCode") != NO_RESULT:
        yield "Result", flat(document.get("resultCode"))
    if document.get("output") is not None:
        yield "Output", shown(document["output"], "")
    counted = ", ".join(
        f"{word} {flat(document.get(field))}" for field, word in COUNTERS.items() if document.get(field)
    )
    last = document.get("lastError")
    if isinstance(last, dict):
        yield "Last error", f"[{flat(last.get('errorCode'))}] {flat(last.get('msg'))}"
    yield "Counted", counted or "nothing yet"
    limits = ", ".join(f"{word} {flat(document[field])}" for field, word in LIMITS.items() if field in document)
    if limits:
        yield "Limits", limits
    yield "Queue", _queue(document)
    for label, field in (("Submitted", "createdAt"), ("Started", "startedAt"), ("Changed", "updatedAt")):
        if document.get(field):
            yield label, f"{flat(document[field])} ({age(document[field], now)} ago)"
    if document.get("finishedAt"):
        yield "Finished", f"{flat(document['finishedAt'])} ({age(document['finishedAt'], now)} ago)"
    if document.get("notBefore"):
        yield "Not before", flat(document["notBefore"])
    if document.get("expiresAt"):
        has_expired = document.get("resultCode") == EXPIRED
        more = "no run had begun" if has_expired else "unless a run has begun by then"
        yield "Expired" if has_expired else "Expires", f"{flat(document['expiresAt'])}, {more}"
    if failures := failures_of(document):
        note, times = document["onDiscard"], "once" if failures == 1 else f"{failures} times"
        yield "Discard", f"on_discard failed {times}, at {flat(note.get('at'))}: {flat(note.get('error'))}"
    yield from _stop(document)
    if (key := shown_key(document)) is not None:
        yield "Unique", f"{flat(key)}, until {flat(document['uniqueLock'].get('until'))}"
    if document.get("owner"):
        owner = document["owner"]
        yield "Owner", flat(owner.get("worker") if isinstance(owner, dict) else owner)
    if document.get("parent"):
        yield "Parent", flat(document["parent"])
    if attrs := shown_attrs(document):
        yield "Attributes", flat(", ".join(f"{name}={text}" for name, text in attrs.items()))
    if document.get("headers"):
        yield "Headers", shown(document["headers"], "")


def _stop(document: Document) -> Iterator[tuple[str, str]]:
    """Yield the pause of a job, or when it was cancelled."""
    pause = document.get("paused")
    if document.get("status") in (PAUSED, RUNNING) and isinstance(pause, dict):
        label = "Paused" if document["status"] == PAUSED else "Pausing"
        yield label, flat(described({**pause, "since": pause.get("at")}))
    elif document.get("cancelRequested"):
        yield "Cancelled", f"asked for at {flat(document['cancelRequested'])}"


def _queue(document: Document) -> str:
    queue = f"{flat(document.get('queueName'))}, priority {flat(document.get('priority'))}"
    if (limit := shown_limit(document)) is not None:
        return f"{queue}; parked, waits for a slot of {flat(limit)}"
    return f"{queue}; not put there yet" if document.get("queueState") == PENDING else queue


def _print_entries(console: Console, field: str, entries: list[Any], document: Document) -> None:
    dropped = document.get(dropped_field(field))
    gone = f", and {flat(dropped)} older ones that are gone" if dropped else ""
    console.print(Text(f"\n{field.capitalize()} ({len(entries):,}{gone})", style="bold"))
    for entry in entries:
        if not isinstance(entry, dict):
            print_wrapped(console, Text(f"  {shown(entry, '  ')}"), 2)
            continue
        rest = {name: value for name, value in entry.items() if name not in NAMED and not _has(entry, value)}
        more = "".join(f", {flat(name)} {shown(value, '    ')}" for name, value in rest.items() if value is not None)
        when, message = flat(entry.get("timestamp")), indented(entry.get("msg"))
        print_wrapped(console, Text(f"  {when}  {message}{more}"), 4)
        if entry.get("traceback"):
            print_wrapped(console, Text(f"    {indented(str(entry['traceback']).rstrip())}"), 4)


def _has(entry: Document, value: Any) -> bool:
    """Return True if an entry's message names a text already: who edited a job and why, an error's type."""
    return isinstance(value, str) and bool(value) and value in str(entry.get("msg"))


def shown(value: Any, indent: str) -> str:
    """Return a value as JSON in one line if it is short, over several if it isn't."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) > 100:
        text = json.dumps(value, ensure_ascii=False, indent=2)
    return indented(text, indent)
