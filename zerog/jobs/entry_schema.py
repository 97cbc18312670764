"""The base of the schemas of documents and history entries."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Any, Literal

from marshmallow import INCLUDE, Schema, fields

from zerog.support.clock import to_text


class Timestamp(fields.AwareDateTime):
    """A time as documents hold it: in UTC; one without a timezone is taken as UTC."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(default_timezone=UTC, **kwargs)

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return to_text(value) if isinstance(value, datetime) else value


class RecordSchema(Schema):
    """A marshmallow schema that keeps unknown fields and takes the documented constructor arguments."""

    class Meta:
        unknown = INCLUDE

    def __init__(
        self,
        *,
        only: Sequence[str] | AbstractSet[str] | None = None,
        exclude: Sequence[str] | AbstractSet[str] = (),
        many: bool | None = None,
        context: dict[str, Any] | None = None,
        load_only: Sequence[str] | AbstractSet[str] = (),
        dump_only: Sequence[str] | AbstractSet[str] = (),
        partial: bool | Sequence[str] | AbstractSet[str] | None = None,
        unknown: Literal["exclude", "include", "raise"] | None = None,
    ) -> None:
        # marshmallow 4 dropped ``context``; it is kept as an attribute for schemas that read it.
        self.context = context or {}
        super().__init__(
            only=only,
            exclude=exclude,
            many=many,
            load_only=load_only,
            dump_only=dump_only,
            partial=partial,
            unknown=unknown,
        )
