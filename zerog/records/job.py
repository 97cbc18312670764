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
from zerog.records.fields import (
    CHECKS,
    COUNTS,
    DOCUMENT_TYPE,
    FIELDS,
    FORMAT,
    GIVEN,
    HISTORY,
    LARGEST_COUNT,
    NEW,
    STAMPS,
    is_count,
    is_owner,
)
from zerog.records.operations import Document as Document
from zerog.records.operations import dropped_field
from zerog.support.jsonvalues import short_repr

INTERNAL_ERROR = 500
SUCCESS = 200
CANCELLED = 410
EXPIRED = 408

QUEUED, SCHEDULED, RUNNING = "queued", "scheduled", "running"
SUCCEEDED, FAILED, CANCELLED_STATUS = TERMINAL = "succeeded", "failed", "cancelled"
PAUSED = "paused"
WAITING = (QUEUED, SCHEDULED)
STATUSES = (NEW, *WAITING, PAUSED, RUNNING, *TERMINAL)

KEY_PREFIX = f"{DOCUMENT_TYPE}_"
"""The beginning of a job's key; its uuid follows."""

_PLAIN = {name: field.default for name, field in FIELDS.items() if field.default is not GIVEN}
_FRESH = [(name, type(default)) for name, default in _PLAIN.items() if type(default) in (dict, list)]
_REQUIRED = {
    name: CHECKS[field.kind]
    for name, field in FIELDS.items()
    if field.is_required and field.kind in CHECKS and name not in COUNTS
}
_OPTIONAL: dict[str, Callable[[Any], bool]] = {
    **{name: CHECKS[field.kind] for name, field in FIELDS.items() if field.kind in CHECKS and not field.is_required},
    **dict.fromkeys(map(dropped_field, HISTORY), lambda value: value is None or is_count(value)),
}
_NEEDED_STAMPS = frozenset(name for name in STAMPS if FIELDS[name].is_required)


def entries_kept(head: Document, default: int) -> int:
    """Return how many entries each history list of a job keeps: ``default``, unless its class has another bound."""
    kept = head.get("maxEvents")
    return kept if type(kept) is int and kept > 0 else default


def has_followers(head: Document) -> bool:
    """Return True if other jobs follow each end of a job: its class's on_end, or its web hooks."""
    return bool(head.get("follower") or head.get("notify"))


def make_key(uuid: str) -> str:
    """Return the datastore key of a job. Raises InvalidUuid for anything that is no uuid in its usual form."""
    return KEY_PREFIX + check_uuid(uuid)


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
    """Return the document of a job that has not been submitted yet. Raises InvalidUuid."""
    uuid = check_uuid(uuid) if uuid is not None else new_uuid()
    document = {
        **_PLAIN,
        "jobType": job_type,
        "schemaVersion": schema_version,
        "uuid": uuid,
        "logId": uuid[-8:],
        "createdAt": now,
        "updatedAt": now,
    }
    for name, kind in _FRESH:
        document[name] = kind()
    return document


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
    if f"{KEY_PREFIX}{head.get('uuid')}" != key:
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
        if value is not None or field in _NEEDED_STAMPS:
            try:
                datetime.fromisoformat(value)  # type: ignore[arg-type]
            except (TypeError, ValueError):
                return field
    return None


_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


def is_uuid(value: object) -> bool:
    """Return True for the usual text of a uuid."""
    return type(value) is str and _CANONICAL(value) is not None


def check_uuid(uuid: object) -> str:
    """Return a uuid in its usual text form. Raises InvalidUuid for anything else."""
    if isinstance(uuid, UUID):
        return str(uuid)
    if type(uuid) is not str or not is_uuid(uuid):
        shown = repr(uuid)
        raise InvalidUuid(
            f"{shown[:80]} is no job uuid; expected the form 0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f. Nothing was changed."
        )
    return uuid
