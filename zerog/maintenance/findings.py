"""Results of ``zerog.maintenance.doctor``: findings, their remedies, and all that was read beside them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from shlex import quote
from typing import Any

LISTED = 100
"""Jobs listed in one finding, at most; all are counted."""

IN_COMMAND = 10
"""Jobs in one command, at most."""


@dataclass
class Finding:
    """A fault that was found."""

    what: str
    count: int
    mend: str
    """The remedy, or the part that applies it automatically."""
    needs_person: bool
    jobs: dict[str, str] = field(default_factory=dict)
    """Some of the jobs concerned, and the reason for each."""
    command: str | None = None
    """The command that repairs it, in shell syntax; of many jobs it takes the first ones, so it has to be repeated."""

    def add(self, uuid: str, why: str) -> None:
        """Count one more job."""
        self.count += 1
        if len(self.jobs) < LISTED:
            self.jobs[uuid] = why

    def command_for_jobs(self, start: str) -> None:
        """Set a command that ends in the jobs' uuids."""
        self.command = " ".join([start, *map(quote, list(self.jobs)[:IN_COMMAND])])


@dataclass
class Diagnosis:
    """All results of an examination."""

    versions: dict[str, str]
    """Of ``zerog``, ``python`` and ``datastore``, if known."""
    datastore: str
    durability: str | None
    durability_means: str
    jobs: dict[str, int] = field(default_factory=dict)
    """Unfinished jobs by status."""
    queues: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By name: entries on the queue (None: unreachable), documents that are queued on it by their fields, and its
    pause: since when, by whom and why (None: not paused)."""
    workers: list[dict[str, Any]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def needs_person(self) -> bool:
        """Return True if a finding won't be repaired automatically."""
        return any(finding.needs_person for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the diagnosis as JSON values."""
        return {**asdict(self), "needs_person": self.needs_person}


def longer_than(seconds: float) -> int:
    """Return whole seconds that are surely enough to observe that ``seconds`` have passed."""
    return math.ceil(seconds * 1.1)
