"""Fill a datastore with many jobs, quickly: the engine runs a few, and the other ended ones are copies of these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from typing import Any

from marshmallow import Schema, fields

import zerog
from zerog.backends.postgres.datastore import PostgresDatastore, first_token
from zerog.backends.postgres.rows import stored as row_of
from zerog.backends.redis.commands import stored as command_of
from zerog.backends.redis.datastore import RedisDatastore
from zerog.backends.sqlite.datastore import SqliteDatastore
from zerog.contracts.datastore import Datastore
from zerog.engine.transitions import WorkerIdentity
from zerog.fleet.heartbeat import WorkerRecords
from zerog.records.fields import is_timestamp
from zerog.records.job import Document, make_key, new_uuid
from zerog.support.clock import from_text, to_text
from zerog.support.jsonvalues import JOB_BYTES

AT_ONCE = 250
"""Documents that are stored together."""

FAILED_IN = 20
"""One in so many ended jobs has failed."""

LATER_IN = 5
"""One in so many waiting jobs is scheduled."""

LATER = timedelta(days=7)

OF_EACH = 100
"""Ended jobs of each customer, spread over the whole time: so that many jobs are those of many customers."""

PERIOD = timedelta(days=7)
"""The time over which the ended jobs were created."""

Fill = Callable[[Iterable[Document]], None]


class Export(zerog.BaseJob):
    """A job with as many fields of its own as most have. Fails if it is to."""

    JOB_TYPE = "export"
    MAX_ERRORS = 1
    ATTRIBUTES = ("customer",)

    class Params(Schema):
        """What a client sets."""

        customer = fields.Integer(required=True)
        file = fields.String(required=True)
        fails = fields.Boolean(load_default=False)

    class State(Schema):
        """What a run keeps."""

        offset = fields.Integer(load_default=0)

    customer: int
    file: str
    fails: bool
    offset: int

    def run(self) -> dict[str, int]:
        """Record an event, as most jobs do, and end."""
        self.record_event("begun")
        if self.fails:
            raise ConnectionError(f"no route to {self.customer}")
        self.update_attrs(offset=17)
        return {"rows": 17}


def fill(app: zerog.App, ended: int, waiting: int) -> None:
    """Store so many jobs of the type ``Export``, which is registered, and the record of a worker that may run them."""
    for fails in (False, True):
        app.submit(Export, params(0, fails))
    zerog.Worker(app, lease=30).run(burst=True)
    heads = {head["status"]: head for head in app.jobs(limit=2)}
    models = {status: app.datastore.read(make_key(head["uuid"])) for status, head in heads.items()}
    order = cycle(["succeeded"] * (FAILED_IN - 1) + ["failed"])
    began = datetime.now(UTC) - PERIOD
    customers = ended // OF_EACH | 1  # odd, so that some jobs of each have failed
    copies = (
        copied(models[status], began + PERIOD * n / ended, n % customers)
        for n, status in enumerate(islice(order, ended - 2))
    )
    storing(app.datastore)(copies)
    later = waiting // LATER_IN
    app.submit_many(Export, map(params, range(waiting - later)))
    app.submit_many(Export, map(params, range(later)), delay=LATER.total_seconds())
    keep_worker(app)


def params(customer: int, fails: bool = False) -> dict[str, Any]:
    """Return the parameters of one job."""
    return {"customer": customer, "file": f"/srv/exports/{customer}.csv", "fails": fails}


def copied(model: Document, created: datetime, customer: int) -> Document:
    """Return the document of another job that has ended in the same way, created at that time."""
    uuid = new_uuid()
    shift = created - from_text(model["createdAt"])
    times = {
        field: to_text(from_text(value) + shift)
        for field, value in model.items()
        if field.endswith("At") and is_timestamp(value)
    }
    return {
        **model,
        **times,
        "uuid": uuid,
        "logId": uuid[-8:],
        "customer": customer,
        "attrs": {"customer": str(customer)},
    }


def keep_worker(app: zerog.App) -> None:
    """Store the record of a worker as it renews it."""
    identity = WorkerIdentity("bench", 30.0, None, app.registry.versions())
    details = {
        "queues": ["default"],
        "renewedAt": to_text(app.engine.now()),
        "knows": [list(known) for known in app.registry.versions()],
    }
    WorkerRecords(app.engine).renew(identity, 1, lambda: details)


def storing(datastore: Datastore) -> Fill:
    """Return the fastest way to store new documents in a datastore, by its adapter's own means."""

    def one_by_one(documents: Iterable[Document]) -> None:
        for document in documents:
            datastore.create(make_key(document["uuid"]), document)

    ways = {SqliteDatastore: _sqlite, PostgresDatastore: _postgres, RedisDatastore: _redis}
    way = ways.get(type(datastore))
    return one_by_one if way is None else lambda documents: way(datastore, _groups(documents))


def _groups(documents: Iterable[Document]) -> Iterator[list[tuple[str, Document]]]:
    pairs = ((make_key(document["uuid"]), document) for document in documents)
    while group := list(islice(pairs, AT_ONCE)):
        yield group


def _sqlite(datastore: Any, groups: Iterator[list[tuple[str, Document]]]) -> None:
    with datastore.file.writing() as sqlite:
        for group in groups:
            for key, document in group:
                datastore.write(sqlite, key, document, 0)


def _postgres(datastore: Any, groups: Iterator[list[tuple[str, Document]]]) -> None:
    for group in groups:
        datastore.insert_all([(key, first_token(), row_of(key, each, JOB_BYTES)) for key, each in group], [])


def _redis(datastore: Any, groups: Iterator[list[tuple[str, Document]]]) -> None:
    for group in groups:
        commands = [{"command": "store", "token": "0", **command_of(key, each, JOB_BYTES)} for key, each in group]
        if 0 in datastore.server.call(commands, "filling"):
            raise RuntimeError("a document was there already")
