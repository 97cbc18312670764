"""What ``zerog.maintenance.doctor`` says: findings, what mends each, and everything that was seen beside them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from shlex import quote
from typing import Any

LISTED = 100
"""Jobs named in one finding, at most; all are counted."""

IN_COMMAND = 10
"""Jobs named in one command, at most."""


@dataclass
class Finding:
    """Something that isn't as it should be."""

    what: str
    count: int
    mend: str
    """The act that mends it, or who does so by itself."""
    needs_person: bool
    jobs: dict[str, str] = field(default_factory=dict)
    """Some of the jobs it is about, and why for each."""
    command: str | None = None
    """The command that mends it, as a shell takes it; of many jobs the first ones, so it has to be repeated."""

    def add(self, uuid: str, why: str) -> None:
        """Count one more job."""
        self.count += 1
        if len(self.jobs) < LISTED:
            self.jobs[uuid] = why

    def command_for_jobs(self, start: str) -> None:
        """Have a command that ends in the jobs' uuids."""
        self.command = " ".join([start, *map(quote, list(self.jobs)[:IN_COMMAND])])


@dataclass
class Diagnosis:
    """All there is to say."""

    versions: dict[str, str]
    """Of ``zerog``, ``python`` and ``datastore``, as far as they are known."""
    datastore: str
    durability: str | None
    durability_means: str
    jobs: dict[str, int] = field(default_factory=dict)
    """Unfinished jobs by status."""
    queues: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By name: entries on the queue (None: out of reach), documents that say that they are on it, and since when, by
    whom and why it is paused (None: it isn't)."""
    workers: list[dict[str, Any]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def needs_person(self) -> bool:
        """Whether anything here won't mend by itself."""
        return any(finding.needs_person for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The diagnosis as JSON values."""
        return {**asdict(self), "needs_person": self.needs_person}


def longer_than(seconds: float) -> int:
    """Whole seconds that are surely enough to see that ``seconds`` have passed."""
    return math.ceil(seconds * 1.1)
