"""The schema of the fields that every job's document has."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, fields

from zerog.exceptions import InvalidJobClass
from zerog.jobs.entry_schema import RecordSchema, Timestamp
from zerog.jobs.error import ErrorSchema
from zerog.jobs.event import EventSchema
from zerog.jobs.migrations import parse_version
from zerog.jobs.warning import WarningSchema


class CasField(fields.Field[str]):
    """A token: dumped as text, because 64-bit integers don't survive a browser; loaded from text or number."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else str(value)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).isdecimal():
            raise ValidationError("Not a token; expected a whole number or its text.")
        return str(value)


class VersionField(fields.Field[float]):
    """A schema version: a number in the document, text or number elsewhere."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> float | None:
        return None if value is None else parse_version(value)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> float:
        try:
            return parse_version(value)
        except InvalidJobClass as error:
            raise ValidationError(str(error)) from None


class BaseJobSchema(RecordSchema):
    """The fields of every job. Subclass it to add a job's own, in the documented style; ``Params`` and ``State`` need
    no subclass. Unknown fields are carried through a load."""

    documentType = fields.String()
    jobType = fields.String()
    schemaVersion = VersionField()
    format = fields.Integer()
    createdAt = Timestamp()
    updatedAt = Timestamp()
    cas = CasField(allow_none=True)
    uuid = fields.String()
    logId = fields.String()
    queueName = fields.String()
    queueKwargs = fields.Dict(keys=fields.String())
    queueJobId = fields.Raw()
    queueState = fields.String()
    queuedAt = Timestamp(allow_none=True)
    notBefore = Timestamp(allow_none=True)
    due = Timestamp(allow_none=True)
    priority = fields.Integer()
    status = fields.String()
    epoch = fields.Integer()
    seq = fields.Integer()
    owner = fields.Dict(keys=fields.String(), allow_none=True)
    running = fields.Boolean()
    attempts = fields.Integer()
    errorCount = fields.Integer()
    lastError = fields.Dict(keys=fields.String(), allow_none=True)
    crashes = fields.Integer()
    lost = fields.Integer()
    continues = fields.Integer()
    startedAt = Timestamp(allow_none=True)
    finishedAt = Timestamp(allow_none=True)
    cancelRequested = Timestamp(allow_none=True)
    completeness = fields.Float()
    tickcount = fields.Float()
    tickval = fields.Float()
    resultCode = fields.Integer()
    output = fields.Raw(allow_none=True)
    headers = fields.Dict(keys=fields.String())
    events = fields.List(fields.Nested(EventSchema))
    errors = fields.List(fields.Nested(ErrorSchema))
    warnings = fields.List(fields.Nested(WarningSchema))


TIMESTAMPS = frozenset(name for name, field in BaseJobSchema._declared_fields.items() if isinstance(field, Timestamp))
