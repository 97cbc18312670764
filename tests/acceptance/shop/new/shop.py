"""The application after the deploy: orders in cents, letters with a stamp, and parcels."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

import zerog


class Order(zerog.BaseJob):
    JOB_TYPE = "order"
    SCHEMA_VERSION = "2.0"

    class Params(Schema):
        cents = fields.Integer(required=True)

    cents: int

    @zerog.migration("1.0", "2.0")
    def to_cents(document: dict[str, Any]) -> dict[str, Any]:
        document["cents"] = round(document.pop("amount") * 100)
        return document

    def run(self) -> Any:
        return {"by": "new", "cents": self.cents}


class Letter(zerog.BaseJob):
    JOB_TYPE = "letter"

    class Params(Schema):
        text = fields.String(required=True)
        stamp = fields.Dict(load_default=None, allow_none=True)

    class State(Schema):
        pages = fields.Integer(load_default=0)

    text: str
    pages: int

    def run(self) -> Any:
        return {"by": "new", "text": self.text}


class Parcel(zerog.BaseJob):
    JOB_TYPE = "parcel"

    def run(self) -> Any:
        return {"by": "new"}


app = zerog.App()
app.register(Order, Letter, Parcel)
