"""Places that installations are copied between, jobs in every state, and datastores that break at a write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakeredis
import mongomock

import zerog
from tests.backends.mongo.servers import url_for as mongo_url_for
from tests.backends.postgres.servers import url_for as postgres_url_for
from tests.backends.redis.servers import FakeServer, shared
from tests.marks import wide
from zerog.backends.memory.datastore import MemoryDatastore
from zerog.backends.mongo.datastore import MongoDatastore
from zerog.backends.postgres.datastore import PostgresDatastore
from zerog.backends.redis.datastore import RedisDatastore
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.contracts.datastore import Datastore
from zerog.contracts.find import FindQuery
from zerog.records.job import Document, make_key

PLACES: dict[str, Callable[[Path], Datastore]] = {
    "memory": lambda _folder: MemoryDatastore(),
    "sqlite": lambda folder: SqliteDatastore(folder / "jobs.db", synchronous="normal"),
    "fakeredis": lambda _folder: RedisDatastore(FakeServer(fakeredis.FakeServer())),
    "mongomock": lambda _folder: MongoDatastore(client=mongomock.MongoClient()),
    "redis": lambda _folder: RedisDatastore(shared("valkey").url()),
    "postgres": lambda folder: PostgresDatastore(postgres_url_for(folder)),
    "mongodb": lambda folder: MongoDatastore(mongo_url_for(folder)),
}
EACH = [*("memory", "sqlite", "fakeredis", "mongomock"), *wide("redis", "postgres", "mongodb")]


RUNS: list[str] = []
"""The jobs that ran, in the order of their runs."""


class Count(zerog.BaseJob):
    """Notes each of its runs where a copy can't move it: in this process."""

    JOB_TYPE = "count"

    def run(self) -> Any:
        RUNS.append(self.uuid)
        self.record_event("it ran: äöü 漢字 \x00")
        if self.headers.get("fails"):
            self.raise_error_finish(403, "no")
        return {"big": 2**62, "small": 1e-300, "nested": [{"a": None}]}


def app_on(datastore: Datastore) -> zerog.App:
    """An app with this datastore, and a queue of its own."""
    app = zerog.App(datastore=datastore, queue="memory://")
    app.register(Count)
    return app


def fill(datastore: Datastore) -> dict[str, str]:
    """Store a job in every state but running, and return their uuids by state."""
    app = app_on(datastore)
    jobs = {
        "succeeded": app.submit(Count).uuid,
        "failed": app.submit(Count, headers={"fails": "yes"}).uuid,
    }
    zerog.Worker(app).run(burst=True)
    jobs["queued"] = app.submit(Count, priority=3).uuid
    jobs["scheduled"] = app.submit(Count, delay=3600).uuid
    jobs["paused"] = app.submit(Count, queue="slow").uuid
    jobs["expiring"] = app.submit(Count, expires=7200).uuid
    jobs["cancelled"] = app.submit(Count).uuid
    app.cancel(jobs["cancelled"])
    new = Count(app.datastore, app.queue)
    new.save()
    jobs["new"] = new.uuid
    newer = jobs["newer"] = app.submit(Count).uuid
    document = datastore.read(make_key(newer)) or {}
    datastore.set(make_key(newer), {**document, "format": 9, "later": {"list": [1, {"x": "y"}]}})
    app.fleet.pause("slow", "the disk", "ann")
    RUNS.clear()
    return jobs


def documents(datastore: Datastore) -> dict[str, Document]:
    """All jobs, by key."""
    found, after = {}, None
    while True:
        page = datastore.find(FindQuery(after=after, limit=3))
        for head in page.heads:
            found[make_key(head["uuid"])] = datastore.read(make_key(head["uuid"])) or {}
        after = page.after
        if after is None:
            return found


class Broken(BaseException):
    """The end of a process."""


def breaking(datastore: Datastore, left: int) -> None:
    """Have a datastore break off at a write, after ``left`` of them; every other time when it has happened."""
    writes = [0]

    def broken(verb: str) -> None:
        original = getattr(datastore, verb)

        def write(*args: Any, **options: Any) -> Any:
            writes[0] += 1
            if writes[0] == left and left % 2:
                raise Broken
            answer = original(*args, **options)
            if writes[0] >= left:
                raise Broken
            return answer

        setattr(datastore, verb, write)

    for verb in ("create", "set", "set_with_cas"):
        broken(verb)


def mend(datastore: Datastore) -> None:
    """Have it work again."""
    for verb in ("create", "set", "set_with_cas"):
        datastore.__dict__.pop(verb, None)
