"""Find paused jobs, and name the one that has been paused for the longest time."""

from __future__ import annotations

from collections.abc import Iterator

from zerog.contracts.datastore import FindQuery
from zerog.contracts.find import Count
from zerog.engine.engine import Engine
from zerog.maintenance.findings import Commands, Finding
from zerog.records.fields import is_timestamp
from zerog.records.job import PAUSED
from zerog.support.clock import seconds_between, to_text

LONG = 7 * 86_400.0
"""Seconds after which a pause looks forgotten."""

EXAMINED = 1_000
"""Paused jobs that are read, at most."""


def paused_jobs(engine: Engine, zerog: Commands) -> Iterator[Finding]:
    """Report paused jobs with the longest pause; one of more than a week needs a person."""
    page = engine.datastore.find(FindQuery(PAUSED, limit=EXAMINED))
    pauses = [(head["paused"], head["uuid"]) for head in page.heads if isinstance(head.get("paused"), dict)]
    known = [(pause, uuid) for pause, uuid in pauses if is_timestamp(pause.get("at"))]
    if not known:
        return
    entry, uuid = min(known, key=lambda each: str(each[0]["at"]))
    count = Count(len(page.heads), page.after is not None)
    by = f" by {entry['by']}" if entry.get("by") else ""
    why = f": {entry['reason']}" if entry.get("reason") else ""
    one = str(count) == "1"
    what = f"{count} job{'' if one else 's'} {'is' if one else 'are'} paused"
    what += f", {'' if one else 'the longest '}since {entry['at']}{by}{why}"
    finding = Finding(
        what,
        0,
        "resume them in their time",
        paused_for_long(engine, entry["at"]),
        command=zerog("jobs resume", operands=[uuid]),
    )
    for each, other in known:
        finding.add(str(other), f"since {each['at']}")
    yield finding


def paused_for_long(engine: Engine, since: object) -> bool:
    """Return True if a pause since then looks forgotten."""
    return is_timestamp(since) and seconds_between(str(since), to_text(engine.now())) > LONG
