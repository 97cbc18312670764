"""The document of a job: its fields, the values of a new one, and the checks of a stored one.

A document is its *head* (every field but the three history lists) and its *history*. Field names are camelCase
because they are the contract between programs; timestamps are ISO 8601 texts in UTC.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from zerog.exceptions import CorruptDocument, InvalidUuid, SchemaTooNew
from zerog.records.operations import Document as Document
from zerog.records.operations import dropped_field
from zerog.support.jsonvalues import short_repr

FORMAT = 1
"""Layout of the engine's fields. A document with a higher ``format`` is left alone."""

DOCUMENT_TYPE = "zerog_job"
NO_RESULT = -1
INTERNAL_ERROR = 500
SUCCESS = 200
CANCELLED = 410

NEW, QUEUED, SCHEDULED, RUNNING = "new", "queued", "scheduled", "running"
SUCCEEDED, FAILED, CANCELLED_STATUS = TERMINAL = "succeeded", "failed", "cancelled"
WAITING = (QUEUED, SCHEDULED)
STATUSES = (NEW, *WAITING, RUNNING, *TERMINAL)

NOT_QUEUED, PENDING, IN_QUEUE = QUEUE_STATES = ("none", "pending", "queued")
"""``queueState``: not to be put on a queue; to be put; put, and not known to be lost."""

HISTORY = ("events", "errors", "warnings")
"""The lists that only grow. A head is a document without them."""

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
        "maxEvents",
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

NO_ATTRIBUTES = frozenset(["run", "maxEvents"])
"""Engine fields that a job object doesn't have: ``run`` names the last run, and is the job's own method there;
``maxEvents`` is an attribute of its class."""


def entries_kept(head: Document, default: int) -> int:
    """Return how many entries each history list of a job keeps: ``default``, unless its class has another bound."""
    kept = head.get("maxEvents")
    return kept if type(kept) is int and kept > 0 else default


def make_key(uuid: str) -> str:
    """Return the datastore key of a job. Raises InvalidUuid for anything that is no uuid in its usual form."""
    return f"{DOCUMENT_TYPE}_{check_uuid(uuid)}"


def new_uuid() -> str:
    """Return a version 7 uuid: its texts sort by their creation time, to a quarter of a microsecond.

    RFC 9562, section 5.7, with the 12 bits after the millisecond as its fraction (section 6.2, method 3).
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = rest * 4096 // 1_000_000
    random = int.from_bytes(os.urandom(8)) & (2**62 - 1)
    number = (milliseconds & (2**48 - 1)) << 80 | 0x7 << 76 | fraction << 64 | 0x2 << 62 | random
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_document(job_type: str, schema_version: float, now: str, uuid: str | None = None) -> Document:
    """Return the document of a job that is not submitted yet."""
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


LARGEST_COUNT = 2**53
"""Bound of a counter, a version or a share: beyond it neighbouring numbers are equal to many JSON readers."""

LONGEST_NAME = 200
"""Characters of the name of a queue or of a worker."""

COUNTS = ("format", "epoch", "seq", "attempts", "errorCount", "crashes", "lost", "continues")
STAMPS = ("createdAt", "updatedAt", "queuedAt", "notBefore", "due", "startedAt", "finishedAt", "cancelRequested")


def is_count(value: object) -> bool:
    """Return True for a counter's value that leaves room to count on."""
    return type(value) is int and 0 <= value <= LARGEST_COUNT


def is_amount(value: object) -> bool:
    """Return True for a number that can be added up."""
    return type(value) in (int, float) and -LARGEST_COUNT <= value <= LARGEST_COUNT  # type: ignore[operator]


def is_name(value: object) -> bool:
    """Return True for a possible name of a queue or of a worker."""
    return type(value) is str and 0 < len(value) <= LONGEST_NAME and value.isprintable()


def is_timestamp(value: object) -> bool:
    """Return True for the text of a moment."""
    try:
        datetime.fromisoformat(value)  # type: ignore[arg-type]
        return True
    except (TypeError, ValueError):
        return False


def is_owner(value: object) -> bool:
    """Return True if this names the run of a worker. ``lease_of`` reads its lease and takes any value."""
    return type(value) is dict and is_name(value.get("worker")) and type(value.get("nonce")) is str


def _is_code(value: object) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _is_priority(value: object) -> bool:
    return type(value) is int and -(2**31) <= value < 2**31


def _is_queue_options(value: object) -> bool:
    if type(value) is not dict:
        return False
    ttr = value.get("ttr")
    return ttr is None or (is_amount(ttr) and ttr > 0)


def _is_list_or_null(value: object) -> bool:
    return value is None or type(value) is list


_REQUIRED: dict[str, Callable[[Any], bool]] = {
    "jobType": lambda value: type(value) is str,
    "schemaVersion": is_amount,
    "resultCode": _is_code,
    "queueName": is_name,
    "queueKwargs": _is_queue_options,
    "priority": _is_priority,
    "completeness": is_amount,
}
_OPTIONAL: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("tickcount", "tickval"), is_amount),
    **dict.fromkeys(HISTORY, _is_list_or_null),
    **dict.fromkeys(map(dropped_field, HISTORY), lambda value: value is None or is_count(value)),
    **dict.fromkeys(("lastError", "headers"), lambda value: value is None or type(value) is dict),
    "queueState": lambda value: value in QUEUE_STATES,
}
"""Beside COUNTS and STAMPS, the fields that transitions compute with or pass on to the queue."""


def is_sound(field: str, value: object) -> bool:
    """Return True if the engine can work with a value of one of its fields; True for fields it doesn't compute with."""
    check = is_count if field in COUNTS else _REQUIRED.get(field) or _OPTIONAL.get(field)
    return check is None or check(value)


def check_layout(head: Document) -> None:
    """Refuse a document whose layout is newer than this code. Raises SchemaTooNew."""
    layout = head.get("format")
    if isinstance(layout, int) and layout > FORMAT:
        raise SchemaTooNew(
            f"job {head.get('uuid')} has format {short_repr(layout)}; this ZeroG knows up to {FORMAT}. "
            "It was left as it is."
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


def check_shown(key: str, head: Document) -> None:
    """Refuse a document that is no job's under this key or has no progress, and leave it as it is.

    For display only, which needs less of it than the engine. Raises CorruptDocument.
    """
    wrong = _who_is_wrong(key, head)
    for field in ("completeness", "resultCode"):
        if not wrong and not is_sound(field, head.get(field)):
            wrong = f"has {field} {short_repr(head.get(field))}"
    if wrong:
        raise CorruptDocument(f"the document {key} {wrong}; it was left as it is")


def _who_is_wrong(key: str, head: Document) -> str | None:
    if head.get("documentType") != DOCUMENT_TYPE:
        return f"is of the type {short_repr(head.get('documentType'))}, not {DOCUMENT_TYPE!r}"
    if f"{DOCUMENT_TYPE}_{head.get('uuid')}" != key:
        return f"names itself {short_repr(head.get('uuid'))}"
    if head.get("status") not in STATUSES:
        return f"has the status {short_repr(head.get('status'))}, expected one of {', '.join(STATUSES)}"
    return None


def _what_is_wrong(key: str, head: Document) -> str | None:
    wrong = _who_is_wrong(key, head)
    if wrong:
        return wrong
    field = _unsound_field(head)
    if field is not None:
        return f"has {field} {short_repr(head.get(field))}"
    owner = head.get("owner")
    if (head["status"] == RUNNING) != (owner is not None) or (owner is not None and not is_owner(owner)):
        return f"has the status {head['status']!r} and the owner {short_repr(owner)}"
    return None


def _unsound_field(head: Document) -> str | None:
    """Return the first field that the engine can't work with. Runs at each claim, so it makes few calls."""
    get = head.get
    for field in COUNTS:
        value = get(field)
        if type(value) is not int or not 0 <= value <= LARGEST_COUNT:
            return field
    for field, is_right in _REQUIRED.items():
        if not is_right(get(field)):
            return field
    for field, is_right in _OPTIONAL.items():
        if field in head and not is_right(head[field]):
            return field
    for field in STAMPS:
        value = get(field)
        if value is not None or field in ("createdAt", "updatedAt"):
            try:
                datetime.fromisoformat(value)  # type: ignore[arg-type]
            except (TypeError, ValueError):
                return field
    return None


_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


def check_uuid(uuid: object) -> str:
    """Return a uuid in its usual text form. Raises InvalidUuid for anything else."""
    if isinstance(uuid, UUID):
        return str(uuid)
    if type(uuid) is not str or not _CANONICAL(uuid):
        shown = repr(uuid)
        raise InvalidUuid(
            f"{shown[:80]} is no job uuid; expected the form 0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f. Nothing was changed."
        )
    return uuid
