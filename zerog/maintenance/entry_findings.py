"""Find waiting jobs whose entries their queue has lost or doesn't deliver, or that workers have refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zerog.engine.engine import Engine
from zerog.engine.recovery import PUT_AGAIN
from zerog.engine.transitions import ready_since
from zerog.exceptions import ConfigurationError, CorruptDocument, QueueError
from zerog.fleet.crew import Crew
from zerog.maintenance.findings import LISTED, Commands, Finding
from zerog.maintenance.redelivery import entry_of
from zerog.records.job import Document, make_key
from zerog.support.clock import seconds_between, to_text
from zerog.support.jsonvalues import short_repr
from zerog.support.texts import counted

OVERDUE = 60.0
"""Seconds for which a job could be taken, after which sweeps that run would have put it again if its entry was lost."""

PUTS = 3
"""Puts of a job that no worker took, after which its queue is considered not to deliver it: sweeps make so many in 140
seconds."""

READ = 20
"""Jobs of one queue whose events are read, at most: those that wait longest."""


def missing_entries(
    engine: Engine, name: str, documents: int, size: int, heads: Sequence[Document], zerog: Commands
) -> Iterator[Finding]:
    """Find jobs that are on a queue by their fields and not by its answers, or by its size if it can't look them up.

    ``documents``: number of such jobs; ``heads``: some of them; ``size``: entries on the queue, counted after the jobs
    were read. Raises QueueUnavailable and the datastore's errors.
    """
    answers = engine.queue_named(name).holds_all([entry_of(head) for head in heads])
    gone = _still_waiting(engine, [head for head, is_held in zip(heads, answers, strict=True) if is_held is False])
    if gone:
        what = f"{len(gone)} of {documents} jobs that wait on queue {name} are not on it"
        finding = Finding(what, 0, "a sweep puts them again", True, command=zerog("reconcile"))
        for head in gone:
            finding.add(head["uuid"], f"since {head['queuedAt']}")
        yield finding
    if None in answers or not answers:
        unknown = [head for head, is_held in zip(heads, answers, strict=True) if is_held is None]
        overdue = [head for head in unknown if _is_overdue(engine, head)]
        if documents > size:
            yield _too_few(engine, name, documents, size, overdue, zerog)
        yield from _undelivered(engine, name, overdue, zerog)


def _still_waiting(engine: Engine, heads: Sequence[Document]) -> list[Document]:
    """Return the jobs that were neither claimed nor put again since they were read."""
    present = engine.datastore.read_heads([make_key(head["uuid"]) for head in heads]).found
    fields = ("status", "queueState", "queueJobId")
    return [h for h in heads if all(present.get(make_key(h["uuid"]), {}).get(field) == h[field] for field in fields)]


def _is_overdue(engine: Engine, head: Document) -> bool:
    try:
        return seconds_between(ready_since(head), to_text(engine.now())) > OVERDUE
    except ValueError:  # the times of the document make no sense
        return False


def _too_few(
    engine: Engine, name: str, documents: int, size: int, overdue: Sequence[Document], zerog: Commands
) -> Finding:
    """Return the finding of a queue with fewer entries than jobs; it is sure if the overdue ones alone are more."""
    what = f"{documents - size} of {documents} jobs that wait on queue {name} are not on it"
    mend = "a sweep puts them again once the queue has nothing to give, or gives what was put later"
    waiting = _still_waiting(engine, overdue) if len(overdue) > size else []
    if len(waiting) <= size:  # jobs that were claimed or put meanwhile may be all that is missing
        again = None if size else zerog("reconcile", "--watch", "1")
        return Finding(what, documents - size, mend, False, command=again)
    found = Finding(what, documents - size, mend, True, command=zerog("reconcile"))
    which = "" if size == 0 else f", if it is none of the {size} that are on it"
    found.jobs = {head["uuid"]: f"since {head['queuedAt']}{which}" for head in waiting[:LISTED]}
    return found


def _undelivered(engine: Engine, name: str, overdue: Sequence[Document], zerog: Commands) -> Iterator[Finding]:
    """Find jobs that were put again and again since their last run, and not taken."""
    what = f"jobs were put on queue {name} again at least {PUTS} times, and no worker got them from it"
    mend = "mend the queue, which takes entries and does not deliver them; then sweep"
    finding = Finding(what, 0, mend, True, command=zerog("reconcile"))
    for head in sorted(overdue, key=ready_since)[:READ]:
        puts = _puts(engine, head)
        if puts >= PUTS:
            finding.add(head["uuid"], f"{puts} times, the last at {head['queuedAt']}")
    if finding.count:
        yield finding


def _puts(engine: Engine, head: Document) -> int:
    """Return how often a job was put again since it last began to run."""
    try:
        events = (engine.datastore.read(make_key(head["uuid"])) or {}).get("events")
    except CorruptDocument:
        return 0  # it is found as such elsewhere
    began = str(head.get("startedAt") or "")
    listed = [event for event in events if isinstance(event, dict)] if isinstance(events, list) else []
    return sum(str(e.get("msg")).startswith(PUT_AGAIN) and str(e.get("timestamp")) > began for e in listed)


def refused_kinds(engine: Engine, crew: Crew, zerog: Commands) -> Iterator[Finding]:
    """Find kinds of jobs whose entries were set aside and that no living worker takes, from the list of these kinds."""
    for name, kinds in engine.refused_kinds().items():
        for aside, kind in kinds.items():
            head = {"jobType": kind.job_type, "schemaVersion": kind.version, "queueName": name}
            size = 0 if crew.takes(head) else _size(engine, aside)
            if size:
                entries = counted(size, "entry", "entries")
                what = (
                    f"{entries} of {short_repr(kind.job_type)} in version {kind.version:g} on queue {name} were "
                    "refused, and no living worker takes them"
                )
                command = zerog("worker", "--queues", name)
                yield Finding(what, size, "start workers with code that does", True, command=command)


def _size(engine: Engine, queue: str) -> int:
    try:
        return engine.queue_named(queue).size()
    except (QueueError, ConfigurationError):  # found elsewhere
        return 0
