"""Results of ``zerog.maintenance.doctor``: findings, their remedies, and all that was read beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from shlex import join
from typing import Any

from zerog.records.job import is_uuid

LISTED = 100
"""Jobs listed in one finding, at most; all are counted."""

IN_COMMAND = 10
"""Jobs in one command, at most."""


@dataclass(frozen=True)
class Commands:
    """Makes commands for one app, to be pasted into a POSIX shell: each word is quoted, whatever a name contains."""

    target: str
    """The app's name on the command line."""

    def __call__(self, command: str, *options: str, operands: Sequence[str] = ()) -> str:
        """Return a command with its options, and operands none of which is taken for an option."""
        end = ["--"] if any(operand.startswith("-") for operand in operands) else []
        return join(["zerog", *command.split(), self.target, *options, *end, *operands])


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

    def command_for_jobs(self, zerog: Commands, command: str, *options: str) -> None:
        """Set a command that takes the jobs' uuids; none if a damaged document names no uuid."""
        uuids = [uuid for uuid in self.jobs if is_uuid(uuid)][:IN_COMMAND]
        self.command = zerog(command, *options, operands=uuids) if uuids else None


def unlistable(jobs: str, consequence: str, error: Exception, zerog: Commands) -> Finding:
    """Return the finding that a datastore can't list some jobs, for which its server lacks an index or a service."""
    what = f"{jobs} can't be listed, so {consequence}: {error}"
    return Finding(what, 1, "set up what the datastore lacks", False, command=zerog("setup"))


@dataclass
class Diagnosis:
    """All results of an examination."""

    versions: dict[str, str]
    """Of ``zerog``, ``python`` and ``datastore``, if known."""
    datastore: str
    durability: str | None
    durability_means: str
    jobs: dict[str, int] = field(default_factory=dict)
    """Unfinished jobs by status; of a status in ``capped`` no more than were counted."""
    capped: list[str] = field(default_factory=list)
    """Statuses of which there may be more jobs than were counted."""
    sampled: list[str] = field(default_factory=list)
    """Statuses of which only some jobs were examined; a finding says how many."""
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
