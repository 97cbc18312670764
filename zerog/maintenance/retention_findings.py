"""Findings about ended jobs that are kept for longer than their class requires."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from zerog.maintenance.discards import failed
from zerog.maintenance.findings import Commands, Finding
from zerog.maintenance.kept import named
from zerog.maintenance.retention import left_over, why_not

if TYPE_CHECKING:
    from zerog.engine.engine import Engine
    from zerog.maintenance.kept import Kept

DISCARD = "mend its cause: a sweep tries again, at least once an hour; or remove them without calling it"
"""The remedy for jobs whose ``on_discard`` fails."""


def retention_findings(engine: Engine, kept: Kept, zerog: Commands) -> Iterator[Finding]:
    """Find ended jobs that stay although their class doesn't keep them any longer. ``kept``: the times by status."""
    types = sorted({job_type for each in kept.values() for job_type in each})
    why = why_not(engine.datastore, kept) if types else None
    if why is not None:
        what = f"RETAIN is without effect for {', '.join(types)}: {why}"
        yield Finding(what, len(types), "use a datastore that can, or remove the jobs with its own tools", True)
        return
    discards = Finding("jobs are kept because their on_discard failed", 0, DISCARD, True)
    for head, times in failed(engine, named(kept, with_hook=True)):
        discards.add(head["uuid"], f"{head['jobType']}, {times} times: {head['onDiscard'].get('error')}")
    discards.command_for_jobs(zerog, "jobs rm", "--no-on-discard")
    if discards.count:
        yield discards
    for status, job_type, page in left_over(engine, kept, engine.now()):
        oldest = min(str(head["finishedAt"]) for head in page.heads)
        what = f"{status} jobs of type {job_type} are not removed, the oldest since {oldest}, as their class requires"
        mend = "sweep more often, or keep them longer"
        yield Finding(what, len(page.heads), mend, True, command=zerog("reconcile"))
