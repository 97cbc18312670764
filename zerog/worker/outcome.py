"""The outcome of a run, passed from the executor to the fetcher, between processes as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from zerog.engine.transitions import Claim, Settlement
from zerog.records import operations
from zerog.records.fields import NO_RESULT
from zerog.records.job import Document
from zerog.records.operations import Operation

FINISH, REQUEUE, RELEASE, LOST = "finish", "requeue", "release", "lost"

PLACE = ("queueName", "priority", "queueKwargs", "expiresAt")
"""Fields that determine where a job waits, and how long."""

_OPERATIONS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (operations.Set, operations.Add, operations.Max, operations.Append, operations.Remove)
}


@dataclass
class Outcome:
    """The outcome of a run.

    ``branch``: value, continue, finish, exception, expired, cancelled, paused, shutdown or claim lost.
    """

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
    """Fields that determine where the job is to wait, which the run may have changed after its head was read."""

    def settlement(self, claim: Claim) -> Settlement:
        """Return the write that ends the run."""
        claim.head.update(self.place)
        return Settlement(
            claim, self.kind, self.seq, self.result_code, self.delay, self.status, self.operations, self.at
        )

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as JSON values."""
        named = [[type(operation).__name__, *operation] for operation in self.operations]
        return {**vars(self), "operations": named}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Outcome:
        """Return the outcome that ``to_json`` described."""
        named = [_OPERATIONS[name](*arguments) for name, *arguments in data["operations"]]
        return cls(**{**data, "operations": named})


def place_of(stored: Document, pending: list[Operation]) -> Document:
    """Return where a job is to wait, by its stored fields and its pending operations."""
    place = {name: stored[name] for name in PLACE if name in stored}
    return place | {o.field: o.value for o in pending if isinstance(o, operations.Set) and o.field in PLACE}


def not_begun(claim: Claim, delay: float = 0.0) -> Outcome:
    """Return the outcome of a claim whose run could not begin, which counts as no run. ``delay``: seconds to wait."""
    return Outcome("shutdown", RELEASE, delay=delay, seq=claim.seq + 1)
