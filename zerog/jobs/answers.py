"""What a poller gets of a job, as types: JSON values, timestamps as text in ISO 8601."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

Status = Literal["new", "queued", "scheduled", "paused", "running", "succeeded", "failed", "cancelled"]


class LastError(TypedDict):
    """The latest error in short; the whole of it is in ``errors``."""

    timestamp: str
    errorCode: int
    type: str | None
    msg: str
    build: NotRequired[str]
    """The build of the code that recorded it, if it has one."""
    fingerprint: NotRequired[str]
    """The same for errors of one kind at one place of the code."""


class PausedBy(TypedDict):
    """Why a job is paused."""

    at: str
    by: str
    reason: str


class Entry(TypedDict):
    """An entry of ``events`` or ``warnings``."""

    timestamp: str
    msg: str
    who: NotRequired[str]
    reason: NotRequired[str]
    changed: NotRequired[dict[str, Any]]
    """By field: ``{"old": …, "new": …}``, of an edit."""
    run: NotRequired[str]


class ErrorEntry(TypedDict):
    """An entry of ``errors``."""

    timestamp: str
    errorCode: int
    msg: str
    type: NotRequired[str]
    traceback: NotRequired[str]
    data: NotRequired[Any]
    attempt: NotRequired[int]
    build: NotRequired[str]
    run: NotRequired[str]
    fingerprint: NotRequired[str]
    where: NotRequired[str]
    """Function and line of the job's own code."""


class Progress(TypedDict):
    """The answer of ``progress()``: a small part of a job's head."""

    completeness: float
    """How much is done, from 0.0 to 1.0."""
    result: int
    """The result code; -1 (NO_RESULT) until the job has ended."""
    status: Status
    stalled: bool
    """True if the job runs and has written nothing for the ``STALLED_AFTER`` of its class, 15 minutes by default."""
    rate: float | None
    """Completeness a second of this run; None if it runs no more, or has none yet."""
    eta_low: float | None
    eta_high: float | None
    """Seconds that are left, at least and at most, by this run and past ones of its type; None if unknown."""
    quiet_for: int | None
    """Seconds since the last write of a running job, in whole minutes; None if it doesn't run."""
    jobType: str
    createdAt: str
    updatedAt: str
    uuid: str
    queueName: str
    notBefore: str | None
    expiresAt: str | None
    """The time by which a run must begin, lest the job end as expired; None without one, or once one has begun."""
    attempts: int
    errorCount: int
    errorsLeft: int | None
    """Errors until ``MAX_ERRORS`` ends the job, by its own limit or its class's; None if neither is known here."""
    lastError: LastError | None
    startedAt: str | None
    finishedAt: str | None
    cancelRequested: str | None
    """When its run was asked to stop, to be cancelled or paused; None if it was not."""
    paused: PausedBy | None
    """Of a job with the status ``paused``, and of a run that is to stop for that."""
    uniqueKey: str | None
    """The key of a unique job, for people; None without one."""
    parked: str | None
    """The limit for whose slot it waits, for people; None if it isn't parked."""
    parent: str | None
    """The uuid of the job that submitted it."""


class Info(Progress):
    """The answer of ``info()``: progress, attributes and history."""

    place: NotRequired[int]
    """Of a parked job: its place, from 1, among those of its priority and key that wait for the same limit."""
    attrs: dict[str, str]
    """The texts of the fields in ATTRIBUTES of its class, by name."""
    events: list[Entry]
    warnings: list[Entry]
    errors: list[ErrorEntry]
