"""Errors as problem details (RFC 9457): what is wrong, and what happens to the job now."""

from __future__ import annotations

import logging
import re
from typing import Any, NamedTuple

from marshmallow import ValidationError

from zerog.exceptions import (
    AmbiguousWrite,
    CasMismatch,
    ConfigurationError,
    CorruptDocument,
    DatastoreError,
    InvalidUuid,
    InvalidValue,
    JobNotFound,
    JobStateError,
    QueueError,
    QueueFull,
    ScheduleNotFound,
    SchemaTooNew,
    TooManyCollisions,
    UnknownJobType,
    WorkerNotFound,
)
from zerog.web.answer import Answer

log = logging.getLogger("zerog")

MEDIA_TYPE = "application/problem+json"

UNCHANGED = "Nothing was stored or changed."
UNKNOWN = "It is unknown whether the change was stored; read the job before a second try."
LATER = "Nothing was stored or changed; try again later."

INTERNAL = "Something is wrong on this side; the server's log has the reason."
UNREACHABLE = "The jobs can't be reached at the moment; the server's log has the reason."


class Problem(Exception):
    """An answer that refuses a request."""

    def __init__(
        self,
        status: int,
        name: str,
        detail: str,
        effect: str = UNCHANGED,
        errors: Any = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.name, self.detail, self.effect = status, name, detail, effect
        self.errors = errors
        self.headers = headers or {}

    def answer(self) -> Answer:
        """Return the problem as an answer."""
        title = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", self.name).capitalize()
        body = {
            "type": f"urn:zerog:problem:{self.name}",
            "title": title,
            "status": self.status,
            "detail": self.detail,
            "effect": self.effect,
        }
        if self.errors is not None:
            body["errors"] = self.errors
        return Answer(body, self.status, {**self.headers, "Content-Type": MEDIA_TYPE})


class _Rule(NamedTuple):
    """The status of an error, and what it means for the job."""

    status: int
    effect: str = UNCHANGED
    is_clients: bool = True
    """True if the message is for the client; others are logged, since they may name hosts and files."""


_RULES: dict[type[Exception], _Rule] = {
    InvalidUuid: _Rule(404),
    JobNotFound: _Rule(404),
    WorkerNotFound: _Rule(404),
    ScheduleNotFound: _Rule(404),
    UnknownJobType: _Rule(404),
    InvalidValue: _Rule(422),
    JobStateError: _Rule(409),
    QueueFull: _Rule(429),
    CasMismatch: _Rule(409),
    SchemaTooNew: _Rule(409),
    TooManyCollisions: _Rule(503, LATER, False),
    AmbiguousWrite: _Rule(503, UNKNOWN, False),
    DatastoreError: _Rule(503, LATER, False),
    QueueError: _Rule(503, LATER, False),
    CorruptDocument: _Rule(500, UNCHANGED, False),
    ConfigurationError: _Rule(500, UNCHANGED, False),
}


def problem_of(error: Exception) -> Problem:
    """Return the problem that an error is to a client; an error of this side is logged."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ValidationError):
        detail = "Some values are wrong; errors has the messages by field."
        return Problem(422, "ValidationError", detail, errors=error.messages)
    name = type(error).__name__
    found = next((rule for kind, rule in _RULES.items() if isinstance(error, kind)), None)
    if found is not None and found.is_clients:
        headers = {"Retry-After": "5"} if found.status == 429 else None
        return Problem(found.status, name, str(error), found.effect, headers=headers)
    log.error("a request failed: %s", error, exc_info=error)
    if found is None:
        return Problem(500, "InternalError", INTERNAL, UNKNOWN)
    if found.status == 503:
        return Problem(503, name, UNREACHABLE, found.effect, headers={"Retry-After": "5"})
    return Problem(found.status, name, INTERNAL, found.effect)
