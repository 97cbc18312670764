"""The document of a job: its fields, what a new one holds, and what makes sense in a stored one.

A document is its *head* (every field but the three history lists) and its *history*. Field names are camelCase
because they are the contract between programs; timestamps are ISO 8601 texts in UTC.
"""

from __future__ import annotations

import os
import time
from typing import Any

from zerog.datastores.base import ENDED
from zerog.exceptions import CorruptDocument, SchemaTooNew
from zerog.queues.base import check_uuid

Document = dict[str, Any]

FORMAT = 1
"""Layout of the engine's fields. A document with a higher ``format`` is left alone."""

DOCUMENT_TYPE = "zerog_job"
NO_RESULT = -1
INTERNAL_ERROR = 500
SUCCESS = 200
CANCELLED = 410

NEW, QUEUED, SCHEDULED, RUNNING = "new", "queued", "scheduled", "running"
SUCCEEDED, FAILED, CANCELLED_STATUS = TERMINAL = ENDED
WAITING = (QUEUED, SCHEDULED)
STATUSES = (NEW, *WAITING, RUNNING, *TERMINAL)

NOT_QUEUED, PENDING, IN_QUEUE = "none", "pending", "queued"
"""``queueState``: not to be on a queue; to be put on one; put, as far as anybody knows."""

PROTECTED = frozenset(
    [
        "documentType",
        "jobType",
        "schemaVersion",
        "format",
        "uuid",
        "createdAt",
        "updatedAt",
        "cas",
        "status",
        "epoch",
        "seq",
        "owner",
        "run",
        "queueState",
        "queuedAt",
        "notBefore",
        "due",
        "startedAt",
        "finishedAt",
        "cancelRequested",
        "attempts",
        "crashes",
        "lost",
        "continues",
        "lastError",
    ]
)
"""Fields that only the lifecycle writes."""

DOCUMENTED = frozenset(
    [
        "logId",
        "queueName",
        "queueKwargs",
        "queueJobId",
        "events",
        "errors",
        "warnings",
        "running",
        "errorCount",
        "completeness",
        "tickcount",
        "tickval",
        "resultCode",
        "priority",
        "output",
        "headers",
    ]
)
"""The engine's other fields, which a job may set through ``update_attrs``."""

ENGINE_FIELDS = PROTECTED | DOCUMENTED

NO_ATTRIBUTES = frozenset(["run"])
"""Engine fields that a job object doesn't have: ``run`` names the last run, and is the job's own method there."""


def make_key(uuid: str) -> str:
    """The datastore key of a job. Raises InvalidUuid for anything that is no uuid in its usual form."""
    return f"{DOCUMENT_TYPE}_{check_uuid(uuid)}"


def new_uuid() -> str:
    """A version 7 uuid: its texts sort by the time they were made at, to a quarter of a microsecond.

    RFC 9562, section 5.7, with the 12 bits after the millisecond as its fraction (section 6.2, method 3).
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = rest * 4096 // 1_000_000
    random = int.from_bytes(os.urandom(8)) & (2**62 - 1)
    number = (milliseconds & (2**48 - 1)) << 80 | 0x7 << 76 | fraction << 64 | 0x2 << 62 | random
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_document(job_type: str, schema_version: float, now: str, uuid: str | None = None) -> Document:
    """The document of a job that nobody has submitted yet."""
    uuid = check_uuid(uuid) if uuid is not None else new_uuid()
    return {
        "documentType": DOCUMENT_TYPE,
        "format": FORMAT,
        "jobType": job_type,
        "schemaVersion": schema_version,
        "uuid": uuid,
        "logId": uuid[-8:],
        "createdAt": now,
        "updatedAt": now,
        "status": NEW,
        "epoch": 0,
        "seq": 0,
        "owner": None,
        "running": False,
        "attempts": 0,
        "errorCount": 0,
        "lastError": None,
        "crashes": 0,
        "lost": 0,
        "continues": 0,
        "queueName": "default",
        "queueKwargs": {},
        "queueJobId": NO_RESULT,
        "queueState": NOT_QUEUED,
        "queuedAt": None,
        "notBefore": None,
        "due": None,
        "priority": 0,
        "startedAt": None,
        "finishedAt": None,
        "cancelRequested": None,
        "completeness": 0.0,
        "tickcount": 0.0,
        "tickval": 0.001,
        "resultCode": NO_RESULT,
        "output": None,
        "headers": {},
        "events": [],
        "errors": [],
        "warnings": [],
    }


_KINDS: dict[str, type | tuple[type, ...]] = {
    "jobType": str,
    "schemaVersion": (int, float),
    "format": int,
    "epoch": int,
    "seq": int,
    "resultCode": int,
    "queueName": str,
    "queueKwargs": dict,
    "priority": int,
    "createdAt": str,
    "updatedAt": str,
    "attempts": int,
    "errorCount": int,
    "crashes": int,
    "lost": int,
    "continues": int,
    "completeness": (int, float),
}


def check_layout(head: Document) -> None:
    """Refuse a document whose layout is newer than this code. Raises SchemaTooNew."""
    layout = head.get("format")
    if isinstance(layout, int) and layout > FORMAT:
        raise SchemaTooNew(
            f"job {head.get('uuid')} has format {layout}; this ZeroG knows up to {FORMAT}. It was left as it is."
        )


def check_head(key: str, head: Document) -> None:
    """Refuse a head that can't be a job's under this key, and leave it as it is.

    Raises CorruptDocument; SchemaTooNew if its layout is newer, so that this code can't judge it.
    """
    wrong = _what_is_wrong(key, head)
    if wrong:
        if head.get("documentType") == DOCUMENT_TYPE:
            check_layout(head)
        raise CorruptDocument(f"the document {key} {wrong}; it was left as it is")


def _what_is_wrong(key: str, head: Document) -> str | None:
    if head.get("documentType") != DOCUMENT_TYPE:
        return f"is of the type {head.get('documentType')!r}, not {DOCUMENT_TYPE!r}"
    if f"{DOCUMENT_TYPE}_{head.get('uuid')}" != key:
        return f"names itself {head.get('uuid')!r}"
    if head.get("status") not in STATUSES:
        return f"has the status {head.get('status')!r}, expected one of {', '.join(STATUSES)}"
    for field, kind in _KINDS.items():
        value = head.get(field)
        if not isinstance(value, kind) or isinstance(value, bool):
            return f"has {field} {value!r}"
    if (head["status"] == RUNNING) != (head.get("owner") is not None):
        return f"has the status {head['status']!r} and the owner {head.get('owner')!r}"
    return None
