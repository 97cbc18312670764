"""The public API as a user would write it. Checked by mypy, never run."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NoReturn

from marshmallow import Schema, fields

import zerog
from tests.typing import somejobs
from zerog.jobs.base import BaseJob, BaseJobSchema, make_key
from zerog.jobs.error import Error, ErrorSchema
from zerog.maintenance.reconcile import Report
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
    BACKOFF = zerog.backoff.exponential(30, factor=2, cap=3600, jitter=True)
    SOFT_TIMEOUT = 3500.0
    TIMEOUT = 3600
    CANCEL_GRACE = 5
    ON_SHUTDOWN = "finish"

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


class Shared(zerog.BaseJob):
    """An abstract base of function jobs."""

    TITLE = "Shared"
    MAX_CONTINUES = None


class OfShared(Shared):
    def run(self) -> None: ...


def by_kind(error_count: int, error: BaseException | None) -> float:
    return 5.0 if isinstance(error, ConnectionError) else 10.0 * error_count


class Hooked(Shared):
    JOB_TYPE = "hooked"
    BACKOFF = by_kind

    async def before_run(self) -> None:
        self.session = self.resources.db.session()

    def after_run(self) -> None:
        if self.returned is None:
            self.session.close()

    def on_error(self, error: BaseException) -> None:
        if isinstance(error, ConnectionError):
            raise zerog.WarningContinue("no route", delay=60) from error

    def on_end(self, status: str) -> None:
        assert status

    def on_discard(self) -> None:
        assert self.uuid

    async def run(self) -> int:
        follower: Later = self.submit(Later, delay=5)
        uuids: list[str] = self.submit_many("later", [{}], queue="mails")
        uuid: str = self.app.submit("later", parent=follower.parent or uuids[0]).uuid
        assert uuid
        return 200


app = zerog.App("memory://")
app.register(Documented, WordCount, Later)
app.register(somejobs, WordCount)
app.resource("db", dict)


@app.middleware
@contextmanager
def timed(job: zerog.BaseJob) -> Iterator[None]:
    yield


@app.middleware
@asynccontextmanager
async def traced(job: zerog.BaseJob) -> AsyncIterator[None]:
    yield


@app.submit_middleware
@contextmanager
def noted(jobs: list[zerog.BaseJob]) -> Iterator[None]:
    jobs[0].headers["trace"] = "x"
    yield


@app.job("resize", base=Shared)
def resize(job: Shared, path: str, width: int = 100) -> dict[str, int]:
    job.tick()
    return {"width": width}


@app.job
async def fetch(job: zerog.BaseJob, url: Annotated[str, fields.URL()]) -> None:
    await asyncio.to_thread(job.update_attrs, completeness=0.5)


@app.job()
def nothing(job: zerog.BaseJob) -> int:
    return 200


job: WordCount = app.submit(WordCount, {"path": "x"}, priority=1, headers={"a": "b"})
offset: int = app.submit(WordCount, delay=5).offset
of_a_function: zerog.BaseJob = app.submit(resize.job, {"path": "x"})
of_the_function_itself: zerog.BaseJob = app.submit(resize, {"path": "x"}, delay=5)
many_of_a_function: list[str] = app.submit_many(resize, [{"path": "x"}])
by_name: zerog.BaseJob = app.submit("word_count", {"path": "x"}, queue="slow", uuid=job.uuid)
sizes: dict[str, int] = resize(OfShared(app.datastore, app.queue), "a.png", width=5)
classes: list[type[zerog.BaseJob]] = [resize.job, fetch.job, app.job_class("later"), app.unregister("later")]
described: list[dict[str, Any]] = app.types()
uuids: list[str] = app.submit_many("later", [{}, {}], at=datetime.now(UTC))
with sqlite3.connect("shop.db") as shop:
    along: WordCount = app.submit(WordCount, {"path": "x"}, connection=shop)
    all_along: list[str] = along.submit_many("later", [{}], connection=shop)
progress: zerog.Progress = app.progress(job.uuid)
done: float = progress["completeness"]
last_message: str = "" if progress["lastError"] is None else progress["lastError"]["msg"]
by_parent: dict[str | None, str] = {each["parent"]: each["uuid"] for each in app.jobs()}
for shown in app.jobs(status="queued", job_type=WordCount, limit=10):
    print(shown["uuid"])
finished: zerog.BaseJob = app.wait(job.uuid, timeout=60)
counted: WordCount = app.wait(job.uuid, 60, WordCount)
again: WordCount = app.get_job(job.uuid, job_type=WordCount)
any_job: zerog.BaseJob = app.get_job(job.uuid)
info: zerog.Info = app.info(job.uuid)
messages: list[str] = [entry["msg"] for entry in info["events"]]
error_codes: list[int] = [entry["errorCode"] for entry in info["errors"]]
report: Report = app.reconcile()
set_up: dict[str, list[str]] = app.setup()
outcomes: list[str] = [outcome.uuid for outcome in app.bulk("cancel", reason="gone").run(app.jobs(status="queued"))]
is_moved: bool = app.move(job.uuid, "slow", priority=-1)
app.webhooks({"shop.example": "whsec_" + "a" * 32})
of_a_head: zerog.Progress = app.progress_of({"uuid": job.uuid})
app.discard(job.uuid)
parts: list[Any] = [app.datastore, app.queue]
app.close()
errors: list[Error] = finished.errors
codes: list[int] = [error.errorCode for error in errors]
loaded: Any = ErrorSchema(many=True, context={}).load([])
key: str = make_key(job.uuid)
status: str = app.cancel(job.uuid)
app.retry(job.uuid, "again")
app.retry(job.uuid, "again", who="alice", ended="2026-01-01T00:00:00+00:00")
changed: dict[str, dict[str, Any]] = app.edit(job.uuid, {"path": "b.txt"}, who="alice", reason="typo", cas=job.cas)
app.edit(job.uuid, {"path": "c.txt"}, who="alice", reason="typo", retry=True, dry_run=True)
app.discard(job.uuid, "not needed any more", ended=None)
for found in app.jobs(status="failed", error="ValueError", code=500):
    last: Any = found["lastError"]
number: int = app.count(status="failed", job_type=type(job), cap=100).number
is_more: bool = zerog.Count(3).is_capped
worker = zerog.Worker(app, concurrency=4, executor="async", queues=("high", "low"), lease=30, grace=5, max_jobs=100)
stats = worker.run(burst=True)
worker.stop()
worker.stop(2, wait=True)
stopped: bool = worker.is_stopped
settings: dict[str, Any] = worker.config()
beside: bool = worker.is_running and "high" in worker.queues
fleet: list[dict[str, Any]] = app.workers() + app.fleet.queues()
drained: list[dict[str, Any]] = app.fleet.drain(worker.name, for_good=True, by="ann") + app.fleet.undrain(host="web1")
is_at: str = app.pause("0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f", "the disk", who="ann")
goes_on: str = app.resume("0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f", who="ann")
paused: bool = app.fleet.pause("slow", reason="the disk is full") or app.fleet.resume("slow")


def on_fatal(error: BaseException) -> None:
    print(error)


async def serve() -> None:
    async with zerog.Worker(app, on_fatal=on_fatal, signals=(), connect_retries=10, build_id="7", name="web") as async_:
        print(async_.name)
    with zerog.Worker(app) as beside_:
        print(beside_.name)


count: int = stats.succeeded
branches: tuple[str, ...] = ways_out(run_inline(app, job.uuid))
registry = zerog.JobRegistry()
registry.add_classes(zerog.find_subclasses(zerog.BaseJob))
modules: list[str] = list(zerog.import_submodules("zerog.jobs"))
known: dict[str, type[zerog.BaseJob]] = registry.get_registered_classes()
versions: tuple[tuple[str, float], ...] = registry.versions()
one: type[zerog.BaseJob] = registry.get_class("later")
same_one: type[zerog.BaseJob] = registry.class_of(one)
registry.expect("0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f", "later", one)
registry.check_attributes(["customer"], "later")
slots: int = len(registry.limits_of({"jobType": "later"}).each)
limited: bool = registry.knows_limits()
gone: type[zerog.BaseJob] = registry.remove_class("later")
accepted: Any = registry.load_head({})
clients: list[type[zerog.BaseJob]] = registry.client_classes()
undeclared: list[str] = registry.undeclared({"jobType": "later"})
without_secrets: dict[str, Any] = registry.shown({"jobType": "later"})
kept: float = registry.kept()["failed"]["later"].seconds
by_version: type[zerog.BaseJob] = registry.class_for({"jobType": "later", "schemaVersion": 1.0})
side_by_side: list[type[zerog.BaseJob]] = registry.classes_of("later")
found_by: dict[str, str] | None = registry.attributes_of({"jobType": "later"})
made: zerog.BaseJob = registry.make_job({"jobType": "later"}, app.datastore, app.queue)
stored: zerog.BaseJob = registry.get_job(made.uuid, app.datastore, app.queue)
made.enqueue(delay=5, priority=1, ttr=60)
result: int = made.record_change(lambda: 5)
made.save()
made.reload()
made.keep_alive()
texts: list[str] = [made.dumps(indent=4), made.key(), str(made.cas)]
document: dict[str, Any] = made.dump()
own: list[zerog.Progress] = [made.progress(), made.info()]
data: Any = made.get_data()
histories: list[list[dict[str, Any]]] = [made.events, made.warnings]
made.record_event("x")
made.record_warning("x")
made.record_error(500, "x", ValueError())
made.record_errors(422, ["row 1", "row 2"], flush=False)
made.record_result(200)
made.job_log_warning("x")
made.job_log_error(500, "x")
made.set_completeness(0.5)
made.add_to_completeness(0.1)
made.set_tick_value(0.01)


async def following() -> None:
    async for seen in app.follow(made.uuid):
        status: str = seen["status"]
        print(status)
    ended: zerog.BaseJob = await app.wait_async(made.uuid, timeout=10)
    print(ended.status)


nightly = app.schedule_definition("0 3 * * *", "later", timezone="Europe/Berlin")
app.schedules.add("nightly", nightly, by="ann")
app.schedule("poll", job_type="later", every=timedelta(minutes=5), overlap="queue")
minutes: list[zerog.Rates] = app.rates(30)
of_a_type: dict[str, zerog.TypeRates] = minutes[0].types
hours: int = sum(rates.types["later"].total for rates in app.rates(24, hourly=True))


def raising(job: zerog.BaseJob, way: int) -> NoReturn:
    if way == 1:
        job.raise_error_continue(500, "x", delay=5, data={"field": "path"})
    if way == 2:
        job.raise_warning_continue(202, "x")
    if way == 3:
        job.raise_warning_finish(206, "x")
    raise zerog.ErrorFinish("x", code=404)


try:
    app.get_job(job.uuid)
except (
    zerog.JobNotFound,
    zerog.ScheduleNotFound,
    zerog.WorkerNotFound,
    zerog.UnknownJobType,
    zerog.SchemaTooNew,
    zerog.CorruptDocument,
) as error:
    print(error)
except (zerog.AmbiguousWrite, zerog.CasMismatch, zerog.DatastoreError, zerog.QueueError, zerog.TooManyCollisions):
    print("the datastore or the queue")
except (zerog.ConfigurationError, zerog.DuplicateJobType, zerog.InvalidJobClass):
    print("declared wrongly")
except (zerog.InvalidUuid, zerog.InvalidValue, zerog.JobStateError, zerog.QueueFull):
    print("called wrongly")
except (zerog.ErrorContinue, zerog.WarningContinue, zerog.WarningFinish) as signal:
    print(signal.code)
except zerog.ZerogError:
    print("anything else")
except (zerog.Cancelled, zerog.ClaimLost, zerog.Paused, zerog.SoftTimeout):
    print(zerog.__version__, zerog.INTERNAL_ERROR)
schema: type[Schema] = zerog.BaseJobSchema
migrate: Callable[[dict[str, Any]], dict[str, Any]] = zerog.migration("2.0", "3.0")(lambda document: document)
