"""The application before the deploy."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

import zerog


class Order(zerog.BaseJob):
    JOB_TYPE = "order"

    class Params(Schema):
        amount = fields.Float(required=True)

    amount: float

    def run(self) -> Any:
        return {"by": "old", "amount": self.amount}


class Letter(zerog.BaseJob):
    JOB_TYPE = "letter"

    class Params(Schema):
        text = fields.String(required=True)

    class State(Schema):
        pages = fields.Integer(load_default=0)

    text: str
    pages: int

    def run(self) -> Any:
        self.update_attrs(pages=2)
        self.record_event("written")
        return {"by": "old", "text": self.text}


app = zerog.App()
app.register(Order, Letter)
