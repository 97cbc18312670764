"""The public API as a user would write it. Checked by mypy, never run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from marshmallow import Schema, fields

import zerog
from zerog.jobs.base import BaseJob, BaseJobSchema, make_key
from zerog.jobs.error import Error, ErrorSchema
from zerog.testing.inline import run_inline, ways_out


class CountSchema(BaseJobSchema):
    path = fields.String(required=True)


class Documented(BaseJob):
    JOB_TYPE = "documented"
    SCHEMA = CountSchema
    MAX_ERRORS = 5

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.path: str = kwargs["path"]

    def run(self) -> int:
        self.job_log_info(f"reading {self.path}")
        if not self.path:
            self.raise_error_finish(404, "no path")
        return 200

    def get_data(self) -> dict[str, str]:
        return {"path": self.path}

    def record_error(self, errorCode: int, msg: str, exception: BaseException | None = None) -> None:
        super().record_error(errorCode, msg, exception)

    def continue_running(self) -> int:
        return zerog.NO_RESULT if self.errorCount < 2 else zerog.INTERNAL_ERROR


class WordCount(zerog.BaseJob):
    JOB_TYPE = "word_count"
    SCHEMA_VERSION = "2.0"
    FINISH_ON = (FileNotFoundError,)
    TIMEOUT = 3600

    class Params(Schema):
        path = fields.String(required=True)

    class State(Schema):
        offset = fields.Integer(load_default=0)

    path: str
    offset: int

    @zerog.migration("1.0", "2.0")
    @staticmethod
    def rename(document: dict[str, Any]) -> dict[str, Any]:
        return {**document, "path": document["file"]}

    def run(self) -> dict[str, int] | tuple[int, float] | int:
        self.update_attrs(offset=self.offset + 1, flush=False)
        self.tick()
        if self.stopping:
            return zerog.NO_RESULT
        if self.offset < 10:
            return zerog.NO_RESULT, 2.5
        return {"words": self.offset}


class Later(zerog.BaseJob):
    JOB_TYPE = "later"

    async def run(self) -> None:
        self.set_completeness(0.5)


app = zerog.App("memory://")
app.register(Documented, WordCount, Later)
job: zerog.BaseJob = app.submit(WordCount, {"path": "x"}, priority=1, headers={"a": "b"})
uuids: list[str] = app.submit_many("later", [{}, {}], at=datetime.now(UTC))
progress: dict[str, Any] = app.progress(job.uuid)
for shown in app.jobs(status="queued", job_type=WordCount, limit=10):
    print(shown["uuid"])
finished = app.wait(job.uuid, timeout=60)
errors: list[Error] = finished.errors
codes: list[int] = [error.errorCode for error in errors]
loaded: Any = ErrorSchema(many=True, context={}).load([])
key: str = make_key(job.uuid)
status: str = app.cancel(job.uuid)
app.retry(job.uuid, "again")
stats = zerog.Worker(app, concurrency=4, executor="thread", queues=("high", "low")).run(burst=True)
count: int = stats.succeeded
branches: tuple[str, ...] = ways_out(run_inline(app, job.uuid))
registry = zerog.JobRegistry()
registry.add_classes(zerog.find_subclasses(zerog.BaseJob))
made: zerog.BaseJob = registry.make_job({"jobType": "later"}, app.datastore, app.queue)
made.enqueue(delay=5, priority=1, ttr=60)
result: int = made.record_change(lambda: 5)
try:
    app.get_job(job.uuid)
except (zerog.JobNotFound, zerog.UnknownJobType, zerog.SchemaTooNew, zerog.CorruptDocument) as error:
    print(error)
