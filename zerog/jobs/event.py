"""Entries of a job's ``events``."""

from __future__ import annotations

from marshmallow import fields

from zerog.jobs.entry_schema import RecordSchema, Timestamp


class EventSchema(RecordSchema):
    """Something that happened during a job: ``timestamp`` and ``msg``."""

    timestamp = Timestamp(required=True)
    msg = fields.String(required=True)
