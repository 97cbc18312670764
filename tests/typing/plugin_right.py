"""Programs that pass strict with the plug-in. Checked by mypy, never run."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, assert_type

from marshmallow import EXCLUDE, Schema, fields, pre_load

import zerog
from tests.typing.plugin_jobs import Base, Common, Mail, made, thumbnail
from zerog.jobs.base import BaseJob, BaseJobSchema


class Kind(enum.Enum):
    PNG = "png"


class Import(zerog.BaseJob):
    JOB_TYPE = "import"

    class Params(Common):
        path = fields.String(required=True)
        since = fields.DateTime()
        kind = fields.Enum(Kind, by_value=True, load_default=Kind.PNG)
        limit = fields.Int(load_default=None)
        price = fields.Decimal(load_default=Decimal(5), data_key="Price")
        tags = fields.List(fields.Str(), load_default=list)
        counts = fields.Dict(fields.String(), fields.List(fields.Float()), load_default=dict)
        by_key = fields.Dict(values=fields.Bool(), load_default=dict)
        nested = fields.Nested(Common, load_default=dict)
        seen = fields.Boolean(dump_only=True, load_default=False)
        raw = fields.Raw(load_default=5)

    class State(Schema):
        line = fields.Integer(load_default=0)
        narrow = fields.String(load_default="a")

    narrow: str | int  # an annotation counts more than the schema

    def run(self) -> dict[str, int]:
        assert_type(self.path, str)
        assert_type(self.who, str)
        assert_type(self.since, datetime | None)
        assert_type(self.kind, Kind)
        assert_type(self.limit, int | None)
        assert_type(self.price, Decimal)
        assert_type(self.tags, list[str])
        assert_type(self.counts, dict[str, list[float]])
        assert_type(self.by_key, dict[Any, bool])
        assert_type(self.nested, Any)
        assert_type(self.seen, bool)
        assert_type(self.raw, Any)
        assert_type(self.narrow, str | int)
        self.update_attrs(line=self.line + 1, narrow=5, completeness=0.5, output={"line": 1}, flush=False)
        changes: dict[str, Any] = {"line": 5}
        self.update_attrs(**changes)
        mail: Mail = self.submit(Mail, {"who": "a@example.org"}, delay=5)
        assert_type(self.submit_many(thumbnail, [{"path": mail.who}]), list[str])
        return {"line": self.line}


class CountSchema(BaseJobSchema):
    path = fields.String(required=True)
    words = fields.Integer(load_default=0)
    lines = fields.Integer(load_default=0)


class Documented(BaseJob):
    JOB_TYPE = "documented"
    SCHEMA = CountSchema

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.path: str | bytes = kwargs["path"]
        self.words = kwargs.get("words", 0)
        self.scratch = 5

    def run(self) -> int:
        assert_type(self.path, str | bytes)
        assert_type(self.words, int)
        assert_type(self.lines, int)
        assert_type(self.scratch, int)
        self.update_attrs(words=self.words + 1, errorCount=0)
        return 200


class Reminder(Mail):
    JOB_TYPE = "reminder"

    class State(Schema):
        sent = fields.Boolean(load_default=False)

    def run(self) -> None:
        assert_type(self.who, str)
        self.update_attrs(sent=True)


class Tolerant(BaseJob):
    JOB_TYPE = "tolerant"

    class Params(Schema):
        path = fields.String(required=True)

        class Meta:
            unknown = EXCLUDE

    def run(self) -> None:
        self.update_attrs(path=self.path)


class Filled(BaseJob):
    JOB_TYPE = "filled"

    class Params(Schema):
        path = fields.String(required=True)

        @pre_load
        def fill(self, data: Mapping[str, Any], **options: Any) -> dict[str, Any]:
            return {"path": "a.txt", **data}

    def run(self) -> None:
        assert_type(self.path, str)


class Unseen(BaseJob):
    JOB_TYPE = "unseen"

    class Params(Schema):
        path = made()
        size = fields.Integer(required=True)

    path: str

    def run(self) -> None:
        assert_type(self.size, int)
        self.update_attrs(path="b.txt", other=5)


class Mixed:
    size = fields.Integer(required=True)


class WithMixin(BaseJob):
    JOB_TYPE = "with_mixin"

    class Params(Schema, Mixed):
        path = fields.String(required=True)

    def run(self) -> None:
        self.update_attrs(path="b.txt", size=5)


class Sited(BaseJob):
    class Params(Schema):
        site = fields.String(required=True)


app = zerog.App("memory://")


@app.job(base=Sited)
def crawl(job: Sited, depth: int) -> None: ...


@app.job("convert", base=Base)
def convert(job: Base, kind: Kind, at: datetime | None = None, names: list[str] | None = None) -> None: ...


job: Import = app.submit(Import, {"path": "a", "who": "a@example.org"})
app.submit(
    Import, {"path": "a", "who": "b", "since": "2026-01-01", "kind": "png", "limit": None, "Price": "5"}, delay=5
)
app.submit(Import, {"path": "a", "who": "b", "since": datetime.now(UTC), "kind": Kind.PNG, "Price": 5, "tags": ["x"]})
app.submit(Import, {"path": "a", "who": "b", "nested": {"who": "c"}, "counts": {"x": [5, 0.5]}, "raw": object()})
app.submit(params={"path": "a"}, job_type=Documented)
app.submit_many(Documented, ({"path": path} for path in ["a", "b"]), queue="slow")
app.submit_many(Documented, [{"path": path, "lines": 5} for path in ["a", "b"]])
app.submit(Mail, {"who": "a@example.org"})
app.submit(Tolerant, {"path": "a", "dropped": 5})
app.submit(Filled)
app.submit(Unseen, {"anything": 5})
app.submit(WithMixin, {"path": "a", "size": 5})
app.submit(thumbnail, {"path": "a", "width": 5})
app.submit(thumbnail.job, {"what": "isn't known of a class that a function became"})
app.submit(crawl, {"depth": 5, "site": "example.org"})
app.submit(convert, {"kind": "png", "at": "2026-01-01", "names": ["a"]})
app.submit("mail", {"what": "isn't known of a name"})

given: dict[str, Any] = {"of": "a client"}  # is validated when the job is submitted
app.submit(Mail, given)
app.submit(Mail, {**given, "who": "a@example.org"})
app.submit(Mail, given or {"who": "a@example.org"})
app.submit_many(Mail, [given])
app.submit_many(Mail, [given for _ in range(5)])
arguments: tuple[Any, ...] = (Mail, given)
app.submit(*arguments)


def any_job(base: BaseJob, abstract: Base, cls: type[BaseJob]) -> None:
    base.update_attrs(declared_below=5)
    abstract.update_attrs(declared_below=5)
    app.submit(cls, {"declared_below": 5})
