"""What a comparison finds, and what follows from it: the safe order of a deploy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any


class Level(IntEnum):
    """How much a finding matters."""

    NOTE = 0
    """Nothing to do."""
    UNSURE = 1
    """The comparison can't see it: a person has to look."""
    LOOK = 2
    """Nothing fails, but something behaves differently."""
    ORDER = 3
    """Something fails unless the deploy has an order."""
    BREAKS = 4
    """Something fails in any order."""


WORDS = {
    Level.NOTE: "note",
    Level.UNSURE: "can't tell",
    Level.LOOK: "look",
    Level.ORDER: "order",
    Level.BREAKS: "breaks",
}

DOCUMENTS, WORKERS, OLD_CALLERS, NEW_CALLERS = "documents", "workers", "oldCallers", "newCallers"

ROLES = {
    DOCUMENTS: "New workers read old documents",
    WORKERS: "Old workers meet new documents",
    OLD_CALLERS: "Old callers submit to new code",
    NEW_CALLERS: "New callers submit to old code",
}

WORKERS_FIRST, CLIENTS_FIRST, TWO_DEPLOYS = "workers first", "clients first", "two deploys"

ORDERS = {
    WORKERS_FIRST: "Workers first: replace every worker and every program that validates parameters, then let callers "
    "send the new ones",
    CLIENTS_FIRST: "Clients first: change what callers send, then deploy the new code",
    TWO_DEPLOYS: "Two deploys: first code that takes both, then, when no old process is left, code that needs the new",
}


@dataclass(frozen=True)
class Finding:
    """One sentence about one field in one role."""

    job_type: str
    version: float
    """The old version."""
    role: str
    level: Level
    field: str | None
    what: str
    order: str | None = None
    example: dict[str, Any] | None = None
    """A document, or parameters, that show it."""

    def as_json(self) -> dict[str, Any]:
        """Return it as an object of JSON."""
        parts = asdict(self)
        names = {"job_type": "jobType", "version": "schemaVersion"}
        return {names.get(name, name): part for name, part in parts.items()} | {"level": WORDS[self.level]}


def safe_order(findings: Iterable[Finding]) -> str | None:
    """Return the order of a deploy that is safe for all findings; None if any is."""
    orders = {finding.order for finding in findings if finding.order}
    if TWO_DEPLOYS in orders or len(orders) > 1:
        return TWO_DEPLOYS
    return next(iter(orders), None)


def worst(findings: Iterable[Finding]) -> Level:
    """Return the gravest level, NOTE if there is no finding."""
    return max((finding.level for finding in findings), default=Level.NOTE)
