"""The application after a failed deploy: its migration can't read what is stored."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

import zerog


class Order(zerog.BaseJob):
    JOB_TYPE = "order"
    SCHEMA_VERSION = "2.0"

    class Params(Schema):
        cents = fields.Integer(required=True)

    @zerog.migration("1.0", "2.0")
    def to_cents(document: dict[str, Any]) -> dict[str, Any]:
        document["cents"] = round(document.pop("price") * 100)
        return document

    def run(self) -> Any:
        return {"by": "broken"}


class Letter(zerog.BaseJob):
    JOB_TYPE = "letter"

    class Params(Schema):
        text = fields.String(required=True)

    def run(self) -> Any:
        return {"by": "broken"}


app = zerog.App()
app.register(Order, Letter)
