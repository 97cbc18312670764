"""Entries of a job's ``errors``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from marshmallow import fields

from zerog.jobs.entry_schema import RecordSchema, Timestamp


class ErrorSchema(RecordSchema):
    """An error: ``timestamp``, ``errorCode`` and ``msg``; of an exception also ``type`` and ``traceback``.

    ``attempt`` is the run in which it happened, counted from 1, ``build`` the code that ran, and ``data`` what the job
    itself attached to it. ``fingerprint`` is the same for errors of one kind at one place of the code; ``where`` names
    that place and its line.
    """

    timestamp = Timestamp(required=True)
    errorCode = fields.Integer(required=True)
    msg = fields.String(required=True)
    type = fields.String()
    traceback = fields.String()
    attempt = fields.Integer()
    build = fields.String()
    data = fields.Raw()
    fingerprint = fields.String()
    where = fields.String()


class Error:
    """One recorded error, with the fields of ErrorSchema as attributes; those that weren't recorded are None."""

    timestamp: datetime
    errorCode: int
    msg: str
    type: str | None
    traceback: str | None
    attempt: int | None
    build: str | None
    data: Any
    fingerprint: str | None
    where: str | None

    def __init__(self, **kwargs: Any) -> None:
        self.timestamp = kwargs.pop("timestamp", None) or datetime.now(UTC)
        self.errorCode = kwargs.pop("errorCode", 500)
        self.msg = kwargs.pop("msg", "")
        for name in ("type", "traceback", "attempt", "build", "data", "fingerprint", "where"):
            setattr(self, name, kwargs.pop(name, None))
        self.more: dict[str, Any] = kwargs

    def dump(self) -> dict[str, Any]:
        """Return the error as JSON values."""
        dumped: dict[str, Any] = ErrorSchema().dump(self)
        return {name: value for name, value in dumped.items() if value is not None} | self.more

    def __repr__(self) -> str:
        return f"Error({self.errorCode}, {self.msg!r})"
