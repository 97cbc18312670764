"""The outcome of a run, and what it leaves in the document: passed to the fetcher, between processes as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from zerog.engine.transitions import Claim, Settlement
from zerog.exceptions import InvalidValue
from zerog.jobs.base import BaseJob
from zerog.jobs.document import document_of
from zerog.records import operations
from zerog.records.fields import NO_RESULT
from zerog.records.job import Document
from zerog.records.operations import Append, Operation, Set
from zerog.support import jsonvalues
from zerog.support.plainvalues import plain
from zerog.support.texts import LOGGED, shortened

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


COMFORTABLE_BYTES = 64 * 1024
"""Characters that the end of a run may take without a check that they fit into the document."""

NAMED_LOSSES = 5
"""Paths in the warning about an output that JSON can't hold."""

_SMALL = (int, float, bool, type(None))
"""Types whose values take next to nothing, and were checked when they were recorded."""


def keep_output(job: BaseJob, value: dict[Any, Any]) -> None:
    """Record what ``run()`` returned as the job's output, its parts as JSON values.

    The work is done, so only an output that is too large is refused (InvalidValue): a part that JSON can't hold is
    kept as text, and a warning of the job names it.
    """
    losses: list[str] = []
    try:
        output = dict(value)  # an OrderedDict or defaultdict is no JSON, what it holds may be
        jsonvalues.encode(output, "output")
    except InvalidValue:
        output, losses = plain(value, "output")
        jsonvalues.encode(output, "output")
    document_of(job).gathered(job.update_attrs, output=output)
    if losses:
        named = ", ".join(losses[:NAMED_LOSSES])
        more = f" and {len(losses) - NAMED_LOSSES:,} more" if len(losses) > NAMED_LOSSES else ""
        warning = f"run() returned a dict of which JSON can't hold {named}{more}: kept as text, or as null for NaN"
        document_of(job).gathered(job.record_warning, shortened(warning, LOGGED))


def check_end(job: BaseJob, operations: Sequence[Operation]) -> None:
    """Refuse here what the datastore would refuse when the run is settled, together with other jobs' ends.

    Raises InvalidValue.
    """
    written = [o for o in operations if isinstance(o, (Set, Append)) and type(o.value) not in _SMALL]
    if sum(len(jsonvalues.encode(o.value, o.field)) for o in written) < COMFORTABLE_BYTES:
        return
    stored = {**(document_of(job).stored or {}), **{o.field: o.value for o in operations if isinstance(o, Set)}}
    what = f"the document of job {job.uuid}"
    jsonvalues.check(stored, what)
    jsonvalues.encode_checked(stored, what, jsonvalues.JOB_BYTES)
