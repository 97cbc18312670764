"""Uses that the plug-in must refuse. ``# E:`` names the errors of its line; checked by mypy, never run."""

from __future__ import annotations

from datetime import datetime

from marshmallow import Schema, fields

import zerog
from tests.typing.plugin_jobs import Common, Mail, thumbnail
from zerog.jobs.base import BaseJob, BaseJobSchema


class Import(zerog.BaseJob):
    JOB_TYPE = "import"

    class Params(Common):
        path = fields.String(required=True)
        since = fields.DateTime(load_default=None, data_key="from")
        sizes = fields.List(fields.Integer(), load_default=list)
        seen = fields.Boolean(dump_only=True, load_default=False)

    class State(Schema):
        line = fields.Integer(load_default=0)

    def run(self) -> None:
        self.update_attrs(line="5")  # E: arg-type
        self.update_attrs(lines=5)  # E: call-arg
        self.update_attrs(status="failed")  # E: call-arg
        self.update_attrs(completeness="half", who=5)  # E: arg-type arg-type
        self.line = "5"  # E: assignment
        print(self.lines)  # E: attr-defined
        print(self.since.year)  # E: union-attr
        self.submit(Mail, {"whom": "a@example.org"})  # E: typeddict-item typeddict-unknown-key
        self.submit_many(thumbnail, [{"path": 5}])  # E: typeddict-item


class CountSchema(BaseJobSchema):
    path = fields.String(required=True)


class Documented(BaseJob):
    JOB_TYPE = "documented"
    SCHEMA = CountSchema

    def run(self) -> int:
        self.update_attrs(pth="a.txt")  # E: call-arg
        return self.path  # E: return-value


class Reminder(Mail):
    JOB_TYPE = "reminder"

    class State(Schema):
        sent = fields.Boolean(load_default=False)

    def run(self) -> None:
        self.update_attrs(sent="yes")  # E: arg-type
        self.update_attrs(step=5)  # E: call-arg


class Bare(BaseJob):
    JOB_TYPE = "bare"

    def run(self) -> None:
        self.update_attrs(anything=5)  # E: call-arg


app = zerog.App("memory://")


@app.job("convert")
def convert(job: BaseJob, at: datetime, names: list[str] | None = None) -> None: ...


app.submit(Import)  # E: call-arg
app.submit(Import, {})  # E: typeddict-item
app.submit(Import, {"path": "a"})  # E: typeddict-item
app.submit(Import, {"path": 5, "who": "b"})  # E: typeddict-item
app.submit(Import, {"path": "a", "who": "b", "pth": "c"})  # E: typeddict-unknown-key
app.submit(Import, {"path": "a", "who": "b", "line": 5})  # E: typeddict-unknown-key
app.submit(Import, {"path": "a", "who": "b", "seen": True})  # E: typeddict-unknown-key
app.submit(Import, {"path": "a", "who": "b", "since": None})  # E: typeddict-unknown-key
app.submit(Import, {"path": "a", "who": "b", "from": []})  # E: typeddict-item
app.submit(Import, {"path": "a", "who": "b", "sizes": ["5"]})  # E: list-item
app.submit(Import, {"path": "a", "who": None})  # E: typeddict-item
app.submit(params={"path": "a"}, job_type=Import)  # E: typeddict-item
app.submit(Bare, {"path": "a"})  # E: typeddict-unknown-key
app.submit(Documented, {"path": 5})  # E: typeddict-item
app.submit(Mail, {"who": "b", "step": 5})  # E: typeddict-unknown-key
app.submit(Mail, {"who": "b"} if app else {})  # E: typeddict-item
app.submit_many(Documented, [{"path": "a"}, {"path": 5}])  # E: typeddict-item
app.submit_many(Documented, ({"pth": path} for path in ["a"]))  # E: typeddict-item typeddict-unknown-key
app.submit_many(Documented, [{"path": number} for number in [5]])  # E: typeddict-item
app.submit(thumbnail)  # E: call-arg
app.submit(thumbnail, {"path": "a", "width": "b"})  # E: typeddict-item
app.submit(thumbnail, {"path": "a", "job": 5})  # E: typeddict-unknown-key
app.submit(convert, {"at": ["2026"]})  # E: typeddict-item
app.submit(convert, {"at": "2026-01-01", "names": [5]})  # E: list-item


def some(cls: type[Mail], mail: Mail) -> None:
    app.submit(cls, {"who": 5})  # E: typeddict-item
    mail.update_attrs(who=5)  # E: arg-type
