"""Entries of a job's ``warnings``."""

from __future__ import annotations

from marshmallow import fields

from zerog.jobs.entry_schema import RecordSchema, Timestamp


class WarningSchema(RecordSchema):
    """Something a job's owner should look at: ``timestamp`` and ``msg``."""

    timestamp = Timestamp(required=True)
    msg = fields.String(required=True)
