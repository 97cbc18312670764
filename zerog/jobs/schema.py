"""The schema of the fields that every job's document has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from marshmallow import ValidationError, fields

from zerog.exceptions import InvalidJobClass
from zerog.jobs.entry_schema import RecordSchema, Timestamp
from zerog.jobs.error import ErrorSchema
from zerog.jobs.event import EventSchema
from zerog.jobs.migrations import parse_version
from zerog.jobs.warning import WarningSchema
from zerog.records.fields import CONTAINERS, ENGINE_FIELDS, FIELDS, HISTORY, STAMPS, Field, Kind


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


SCHEMA_FIELDS: dict[Kind, Callable[[], fields.Field[Any]]] = {
    Kind.TEXT: fields.String,
    Kind.JOB_TYPE: fields.String,
    Kind.NAME: fields.String,
    Kind.QUEUE_STATE: fields.String,
    Kind.COUNT: fields.Integer,
    Kind.CODE: fields.Integer,
    Kind.PRIORITY: fields.Integer,
    Kind.AMOUNT: fields.Float,
    Kind.VERSION: VersionField,
    Kind.FLAG: fields.Boolean,
    Kind.TIMESTAMP: Timestamp,
    Kind.TOKEN: partial(CasField, allow_none=True),
    Kind.ENTRY_ID: fields.Raw,
    Kind.QUEUE_OPTIONS: partial(fields.Dict, keys=fields.String()),
    Kind.OBJECT: partial(fields.Dict, keys=fields.String()),
    Kind.OWNER: partial(fields.Dict, keys=fields.String()),
    Kind.JSON: fields.Raw,
}
ENTRIES = {"events": EventSchema, "errors": ErrorSchema, "warnings": WarningSchema}


def _schema_field(name: str, field: Field) -> fields.Field[Any]:
    """Return the marshmallow field of one of the engine's fields; it takes None if None is its default."""
    if field.kind is Kind.HISTORY:
        return fields.List(fields.Nested(ENTRIES[name]))
    made = SCHEMA_FIELDS[field.kind]()
    made.allow_none = made.allow_none or field.default is None
    return made


ENGINE_SCHEMA = {name: _schema_field(name, field) for name, field in FIELDS.items() if field.is_attribute}


class BaseJobSchema(RecordSchema):
    """The fields of every job. Subclass it to add a job's own, in the documented style; ``Params`` and ``State`` need
    no subclass. Unknown fields are carried through a load."""

    locals().update(ENGINE_SCHEMA)


TIMESTAMPS = frozenset(STAMPS)

HEAD_FIELDS = tuple(name for name in ENGINE_SCHEMA if name in ENGINE_FIELDS - {*HISTORY, "cas"})
"""The engine's fields of a head, in the order in which they are shown."""

HEAD_CONTAINERS = tuple(name for name in HEAD_FIELDS if name in CONTAINERS)
"""Those of them whose values a job could change in place."""
