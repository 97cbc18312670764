"""How a run ended, told between the one who ran the job and the one who settles it. Crosses processes as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from zerog.engine.transitions import Claim, Settlement
from zerog.records import operations
from zerog.records.fields import NO_RESULT
from zerog.records.job import Document
from zerog.records.operations import Operation

FINISH, REQUEUE, RELEASE, LOST = "finish", "requeue", "release", "lost"

PLACE = ("queueName", "priority", "queueKwargs")
"""Fields that say where a job waits."""

_OPERATIONS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (operations.Set, operations.Add, operations.Max, operations.Append, operations.Remove)
}


@dataclass
class Outcome:
    """``branch`` names the way out: value, continue, finish, exception, cancelled, shutdown, claim lost."""

    branch: str
    kind: str
    result_code: int = NO_RESULT
    delay: float = 0.0
    status: str | None = None
    operations: list[Operation] = field(default_factory=list)
    seq: int = 0
    """The number of the write that settles the run."""
    at: str = ""
    """The time of the run's last write or record, as stored text."""

    place: Document = field(default_factory=dict)
    """Fields that say where the job is to wait, which the run may have changed after its head was read."""

    def settlement(self, claim: Claim) -> Settlement:
        """The write that ends the run."""
        claim.head.update(self.place)
        return Settlement(
            claim, self.kind, self.seq, self.result_code, self.delay, self.status, self.operations, self.at
        )

    def to_json(self) -> dict[str, Any]:
        """The outcome as JSON values."""
        named = [[type(operation).__name__, *operation] for operation in self.operations]
        return {**vars(self), "operations": named}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Outcome:
        """The outcome that ``to_json`` described."""
        named = [_OPERATIONS[name](*arguments) for name, *arguments in data["operations"]]
        return cls(**{**data, "operations": named})


def place_of(stored: Document, pending: list[Operation]) -> Document:
    """Where a job is to wait, by what is stored of it and what is about to be."""
    place = {name: stored[name] for name in PLACE if name in stored}
    return place | {o.field: o.value for o in pending if isinstance(o, operations.Set) and o.field in PLACE}


def not_begun(claim: Claim, delay: float = 0.0) -> Outcome:
    """The end of a claim whose run could not begin; it costs the job nothing. ``delay``: seconds until it may again."""
    return Outcome("shutdown", RELEASE, delay=delay, seq=claim.seq + 1)
