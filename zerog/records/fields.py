"""The engine's fields of a job's document: one table, from which all that is known of each follows.

Schema, defaults, checks, columns, what a poller is shown, what a submit and a claim change: a new field is a line here
and the code that uses it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import Enum, auto
from typing import Any, NamedTuple, TypeGuard

from zerog.support.checks import is_delay

FORMAT = 1
"""Layout of the engine's fields. A document with a higher ``format`` is left alone."""

DOCUMENT_TYPE = "zerog_job"
NO_RESULT = -1
COPIED = "copied"
"""``queueJobId`` of a waiting job that was copied from another datastore and is to be put on a queue here."""

NEW = "new"
NOT_QUEUED, PENDING, IN_QUEUE, PARKED = QUEUE_STATES = ("none", "pending", "queued", "parked")
"""``queueState``: not to be on a queue; to be put on one; put, as far as is known; waits for a slot of a limit."""

LARGEST_COUNT = 2**53
"""What a counter, a version or a share may come to: beyond it neighbouring numbers look alike to many JSON readers."""

LONGEST_NAME = 200
"""Characters of the name of a queue or of a worker."""


class Kind(Enum):
    """What values a field has."""

    TEXT = auto()
    JOB_TYPE = auto()
    NAME = auto()
    COUNT = auto()
    BOUND = auto()
    AMOUNT = auto()
    SECONDS = auto()
    VERSION = auto()
    CODE = auto()
    PRIORITY = auto()
    FLAG = auto()
    TIMESTAMP = auto()
    TOKEN = auto()
    ENTRY_ID = auto()
    QUEUE_STATE = auto()
    QUEUE_OPTIONS = auto()
    OBJECT = auto()
    OWNER = auto()
    JSON = auto()
    HISTORY = auto()


GIVEN = object()
"""In place of a default: a new document is given the value, or has no such field."""


class Field(NamedTuple):
    """What is known of one field."""

    kind: Kind
    default: Any = GIVEN
    """Its value in a new document."""
    is_jobs: bool = False
    """True if a job may set it through ``update_attrs``; only the lifecycle writes the others."""
    is_required: bool = False
    """True if a document without it, or with null, makes no sense."""
    is_hot: bool = False
    """True if every run changes it, or ``find`` asks for it: a column in SQLite."""
    is_scripted: bool = False
    """True if the script of a Redis server decides by it or counts it: it is never within the body there."""
    is_shown: bool = False
    """True if ``progress()`` passes it on as it is."""
    submit_changes: bool = False
    claim_changes: bool = False
    is_attribute: bool = True
    """False if a job object has no attribute of that name."""


FIELDS: dict[str, Field] = {
    "documentType": Field(Kind.TEXT, DOCUMENT_TYPE),
    "jobType": Field(Kind.JOB_TYPE, is_required=True, is_hot=True, is_shown=True),
    "schemaVersion": Field(Kind.VERSION, is_required=True),
    "format": Field(Kind.COUNT, FORMAT, is_required=True),
    "createdAt": Field(Kind.TIMESTAMP, is_required=True, is_hot=True, is_shown=True),
    "updatedAt": Field(
        Kind.TIMESTAMP,
        is_required=True,
        is_hot=True,
        is_scripted=True,
        is_shown=True,
        submit_changes=True,
        claim_changes=True,
    ),
    "cas": Field(Kind.TOKEN),
    "uuid": Field(Kind.TEXT, is_shown=True),
    "logId": Field(Kind.TEXT, is_jobs=True),
    "queueName": Field(Kind.NAME, "default", is_jobs=True, is_required=True, is_hot=True, is_shown=True),
    "queueKwargs": Field(Kind.QUEUE_OPTIONS, {}, is_jobs=True, is_required=True),
    "queueJobId": Field(Kind.ENTRY_ID, NO_RESULT, is_jobs=True, is_hot=True, submit_changes=True),
    "queueState": Field(Kind.QUEUE_STATE, NOT_QUEUED, is_hot=True, submit_changes=True, claim_changes=True),
    "queuedAt": Field(Kind.TIMESTAMP, None, is_hot=True, submit_changes=True),
    "notBefore": Field(Kind.TIMESTAMP, None, is_hot=True, is_shown=True, submit_changes=True, claim_changes=True),
    "expiresAt": Field(Kind.TIMESTAMP, None, is_shown=True, submit_changes=True),
    "due": Field(Kind.TIMESTAMP, None, is_hot=True, is_scripted=True, submit_changes=True, claim_changes=True),
    "priority": Field(Kind.PRIORITY, 0, is_jobs=True, is_required=True),
    "status": Field(Kind.TEXT, NEW, is_hot=True, is_scripted=True, submit_changes=True, claim_changes=True),
    "epoch": Field(Kind.COUNT, 0, is_required=True, is_hot=True, is_scripted=True, claim_changes=True),
    "seq": Field(Kind.COUNT, 0, is_required=True, is_hot=True, is_scripted=True, claim_changes=True),
    "owner": Field(Kind.OWNER, None, is_hot=True, is_scripted=True, claim_changes=True),
    "running": Field(Kind.FLAG, False, is_jobs=True, is_hot=True, claim_changes=True),
    "attempts": Field(
        Kind.COUNT, 0, is_required=True, is_hot=True, is_scripted=True, is_shown=True, claim_changes=True
    ),
    "errorCount": Field(Kind.COUNT, 0, is_jobs=True, is_required=True, is_hot=True, is_scripted=True, is_shown=True),
    "lastError": Field(Kind.OBJECT, None, is_shown=True),
    "crashes": Field(Kind.COUNT, 0, is_required=True, is_hot=True),
    "lost": Field(Kind.COUNT, 0, is_required=True, is_hot=True),
    "continues": Field(Kind.COUNT, 0, is_required=True, is_hot=True, is_scripted=True),
    "startedAt": Field(Kind.TIMESTAMP, None, is_hot=True, is_shown=True, claim_changes=True),
    "finishedAt": Field(Kind.TIMESTAMP, None, is_hot=True, is_shown=True),
    "cancelRequested": Field(Kind.TIMESTAMP, None, is_hot=True, is_scripted=True, is_shown=True),
    "completeness": Field(Kind.AMOUNT, 0.0, is_jobs=True, is_required=True, is_hot=True, is_scripted=True),
    "tickcount": Field(Kind.AMOUNT, 0.0, is_jobs=True, is_hot=True, is_scripted=True),
    "tickval": Field(Kind.AMOUNT, 0.001, is_jobs=True),
    "resultCode": Field(Kind.CODE, NO_RESULT, is_jobs=True, is_required=True, is_hot=True),
    "output": Field(Kind.JSON, None, is_jobs=True),
    "headers": Field(Kind.OBJECT, {}, is_jobs=True),
    "parent": Field(Kind.TEXT, None, is_shown=True),
    "follower": Field(Kind.TEXT, None),
    "events": Field(Kind.HISTORY, [], is_jobs=True),
    "errors": Field(Kind.HISTORY, [], is_jobs=True),
    "warnings": Field(Kind.HISTORY, [], is_jobs=True),
    # The name of the last run, which is the job's own method there; of its class, where they differ from the defaults,
    # the bound of each history list, and the seconds without a write after which it is shown as stalled; and the limits
    # that its submit gave it in place of its class's.
    "run": Field(Kind.TEXT, is_hot=True, is_scripted=True, claim_changes=True, is_attribute=False),
    "maxEvents": Field(Kind.BOUND, is_attribute=False),
    "stalledAfter": Field(Kind.BOUND, is_attribute=False),
    # By name, the texts of the fields that its class has in ATTRIBUTES: kept by its writes, for an index.
    "attrs": Field(Kind.OBJECT, is_attribute=False),
    # Of a unique job: ``key``, the hash that names its lock; ``fields`` of the job that the key is made of; ``shown``,
    # the key for people; ``until`` when it holds it; ``begun``, True once a run has begun.
    "uniqueLock": Field(Kind.OBJECT, is_attribute=False),
    # Of a job that is or was parked: the ``limit`` for people, its ``key``, ``most``; ``priority``, ``lane``, ``at``.
    "parked": Field(Kind.OBJECT, is_attribute=False),
    # Of a class with on_discard: empty, or ``failures``, ``at`` and ``error`` of its calls.
    "onDiscard": Field(Kind.OBJECT, is_attribute=False),
    # Its completeness when its latest run began, if that wasn't 0: by it the run's own rate is computed.
    "resumedFrom": Field(Kind.AMOUNT, is_attribute=False),
    # Of a job that a schedule submitted: its ``name``, and the ``tick`` that the job is for.
    "scheduledBy": Field(Kind.OBJECT, is_attribute=False),
    # The URLs that a web hook notifies of each end of the job; what follows their hosts is a secret.
    "notify": Field(Kind.JSON, is_attribute=False),
    # Of a job that is paused, or is to be once its run has stopped: ``at``, ``by`` and ``reason``.
    "paused": Field(Kind.OBJECT, is_shown=True, is_attribute=False),
    "maxErrors": Field(Kind.COUNT, is_attribute=False),
    "softTimeout": Field(Kind.SECONDS, is_attribute=False),
    "hardTimeout": Field(Kind.SECONDS, is_attribute=False),
}
"""All fields of the engine, in the order in which they are shown."""


def named(which: Callable[[Field], bool]) -> tuple[str, ...]:
    """Return the names of the fields of which ``which`` is true."""
    return tuple(name for name, field in FIELDS.items() if which(field))


HISTORY = named(lambda field: field.kind is Kind.HISTORY)
"""The lists that only grow. A head is a document without them."""

PROTECTED = frozenset(named(lambda field: not field.is_jobs))
"""Fields that only the lifecycle writes."""

DOCUMENTED = frozenset(named(lambda field: field.is_jobs))
"""The engine's other fields, which a job may set through ``update_attrs``."""

ENGINE_FIELDS = PROTECTED | DOCUMENTED

NO_ATTRIBUTES = frozenset(named(lambda field: not field.is_attribute))
"""Fields that a job object doesn't have."""

CONTAINERS = named(lambda field: field.kind in (Kind.QUEUE_OPTIONS, Kind.OBJECT, Kind.OWNER, Kind.JSON))
"""Fields whose values a job could change in place."""

COUNTS = named(lambda field: field.kind is Kind.COUNT and field.is_required)
STAMPS = named(lambda field: field.kind is Kind.TIMESTAMP)


def is_count(value: object) -> TypeGuard[int]:
    """Return True for a counter's value, which leaves room for counting on."""
    return type(value) is int and 0 <= value <= LARGEST_COUNT


def is_amount(value: object) -> bool:
    """Return True for a number that sums can be made of."""
    return type(value) in (int, float) and -LARGEST_COUNT <= value <= LARGEST_COUNT  # type: ignore[operator]


def is_name(value: object) -> bool:
    """Return True for what can be the name of a queue or of a worker."""
    return type(value) is str and 0 < len(value) <= LONGEST_NAME and value.isprintable()


def is_timestamp(value: object) -> bool:
    """Return True for the text of a moment."""
    try:
        datetime.fromisoformat(value)  # type: ignore[arg-type]
        return True
    except (TypeError, ValueError):
        return False


def is_owner(value: object) -> bool:
    """Return True for what names the run of a worker. Its lease is read by ``lease_of``, which takes any value."""
    return type(value) is dict and is_name(value.get("worker")) and type(value.get("nonce")) is str


def is_seconds(value: object) -> bool:
    """Return True for the limit of a run."""
    return is_delay(value) and value > 0


def _is_text(value: object) -> bool:
    return type(value) is str


def _is_code(value: object) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _is_priority(value: object) -> bool:
    return type(value) is int and -(2**31) <= value < 2**31


def _is_queue_options(value: object) -> bool:
    if type(value) is not dict:
        return False
    ttr = value.get("ttr")
    return ttr is None or (is_amount(ttr) and ttr > 0)


def _is_object_or_null(value: object) -> bool:
    return value is None or type(value) is dict


def _is_list_or_null(value: object) -> bool:
    return value is None or type(value) is list


def _is_queue_state(value: object) -> bool:
    return value in QUEUE_STATES


CHECKS: dict[Kind, Callable[[Any], bool]] = {
    Kind.JOB_TYPE: _is_text,
    Kind.NAME: is_name,
    Kind.COUNT: is_count,
    Kind.AMOUNT: is_amount,
    Kind.SECONDS: is_seconds,
    Kind.VERSION: is_amount,
    Kind.CODE: _is_code,
    Kind.PRIORITY: _is_priority,
    Kind.QUEUE_STATE: _is_queue_state,
    Kind.QUEUE_OPTIONS: _is_queue_options,
    Kind.OBJECT: _is_object_or_null,
    Kind.HISTORY: _is_list_or_null,
}
"""Whether the engine can work with a value: for the kinds that it computes with or passes on to the queue."""
