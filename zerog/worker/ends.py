"""What a run leaves behind at its end, as JSON that fits into the job's document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zerog.exceptions import InvalidValue
from zerog.jobs.base import BaseJob
from zerog.jobs.document import document_of
from zerog.records.operations import Append, Operation, Set
from zerog.support import jsonvalues
from zerog.support.plainvalues import plain
from zerog.support.texts import LOGGED, shortened

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
