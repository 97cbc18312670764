"""Jobs of another module, which mypy reads from its cache."""

from __future__ import annotations

from marshmallow import Schema, fields

import zerog


class Common(Schema):
    who = fields.Email(required=True)


class Base(zerog.BaseJob):
    """An abstract base: what its subclasses declare isn't known here."""

    class State(Schema):
        step = fields.Integer(load_default=0)

    def advance(self) -> None:
        self.update_attrs(step=self.step + 1, declared_below=5)


class Mail(Base):
    JOB_TYPE = "mail"
    Params = Common

    def run(self) -> None:
        self.update_attrs(step=5)


app = zerog.App("memory://")


@app.job
def thumbnail(job: zerog.BaseJob, path: str, width: int = 100) -> None: ...


def made() -> fields.String:
    return fields.String(required=True)
