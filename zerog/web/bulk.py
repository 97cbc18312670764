"""Bulk actions as jobs: a request stores one, and a worker in this process runs it as long as there are any."""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from marshmallow import Schema, fields

from zerog.app import App
from zerog.exceptions import ConfigurationError, InvalidValue
from zerog.jobs.base import BaseJob
from zerog.query import Query, cursor_behind
from zerog.records.fields import NO_RESULT
from zerog.records.job import FAILED, PAUSED, RUNNING, TERMINAL, WAITING, Document
from zerog.support.checks import check_queue_name
from zerog.support.clock import from_text, to_text
from zerog.web import answers, requests
from zerog.web.actions import links_of
from zerog.web.answer import Answer
from zerog.web.call import Call, Endpoint
from zerog.web.jobs import checked, query_of
from zerog.worker.worker import Worker

QUEUE = "zerog.bulk"
"""The queue of bulk jobs, which only servers take."""

PAGE = 100
"""Jobs that are read at a time."""

COUNTED = 100_000
"""Jobs of a status that are counted for the progress."""

LEASE, LOOK = 10.0, 0.2
"""Seconds of the worker's lease, and between two looks for bulk jobs that haven't ended."""

STATUSES = {
    "cancel": (*WAITING, PAUSED, RUNNING),
    "retry": (FAILED,),
    "discard": TERMINAL,
    "move": WAITING,
    "pause": (*WAITING, RUNNING),
    "resume": (PAUSED,),
}
"""The statuses that a verb is for, unless the filters name one."""


OPTIONS = {
    "cancel": (),
    "retry": ("reason", "reset"),
    "discard": ("reason",),
    "move": ("queue", "priority", "reason"),
    "pause": ("reason",),
    "resume": (),
}
"""The fields of a request that are options of a verb."""

NAMED = ("retry", "move", "pause", "resume")
"""The verbs whose events name who did it."""


class Bulk(BaseJob):
    """Does one thing to all jobs that filters find. A subclass sets ``target``."""

    JOB_TYPE = "zerog.bulk"
    TITLE = "Do one thing to many jobs"
    RETAIN = RETAIN_FAILED = timedelta(days=30)
    target: App

    class Params(Schema):
        verb = fields.String(required=True)
        filters = fields.Dict(required=True)
        options = fields.Dict(load_default=dict)
        limit = fields.Integer(load_default=None)

    class State(Schema):
        place = fields.Integer(load_default=0)
        after = fields.String(load_default=None)
        became = fields.Dict(load_default=dict)
        undone = fields.Integer(load_default=0)

    verb: str
    filters: dict[str, Any]
    options: dict[str, Any]
    limit: int | None
    place: int
    after: str | None
    became: dict[str, int]
    undone: int

    def run(self) -> Any:
        """Do it to one job after the other; the place is stored with each."""
        queries = queries_of(self.verb, self.filters)
        bulk = self.target.bulk(self.verb, **self.options)
        total = count_of(self.target, queries)
        while self.place < len(queries) and not self._is_enough():
            page = queries[self.place].page(self.target.datastore, self.target.clock, self.after, PAGE)
            for head in page.heads:
                if self.stopping or self._is_enough():
                    break
                for outcome in bulk.run([head] if self._is_meant(head) else []):
                    self._note(outcome.became, f"{outcome.uuid}: {outcome.why}")
                done = min(self._handled() / max(total or 0, 1), 0.99)
                self.update_attrs(after=cursor_behind(head), completeness=done if total else self.completeness)
            if self.stopping:
                return NO_RESULT
            self.update_attrs(place=self.place + (page.after is None), after=page.after)
        return {"became": self.became, "undone": self.undone}

    def _is_meant(self, head: Document) -> bool:
        """Return True unless it is this job, or one that has ended again since this job was made."""
        is_again = str(head.get("finishedAt") or "") > to_text(self.createdAt)
        return head.get("uuid") != self.uuid and not is_again and not (self.verb == "cancel" and _is_stopping(head))

    def _note(self, became: str | None, why: str) -> None:
        if became is None:
            self.record_warning(why, flush=False)
            self.update_attrs(undone=self.undone + 1, flush=False)
        else:
            counts = Counter(self.became)
            counts[became] += 1
            self.update_attrs(became=dict(counts), flush=False)

    def _handled(self) -> int:
        return self.undone + sum(self.became.values())

    def _is_enough(self) -> bool:
        return self.limit is not None and self._handled() >= self.limit


def _is_stopping(head: Document) -> bool:
    return head.get("cancelRequested") is not None and head.get("status") not in TERMINAL


class Bulks:
    """The bulk jobs of one site."""

    def __init__(self, app: App) -> None:
        self._app = App(datastore=app.datastore, queue=app.queue, clock=app.clock)
        self._job = type("Bulk", (Bulk,), {"target": app})
        self._app.register(self._job)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, params: dict[str, Any]) -> BaseJob:
        """Store a bulk job and see to it that it runs."""
        job: BaseJob = self._app.submit(self._job, params, queue=QUEUE)
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="zerog-bulk", daemon=True)
                self._thread.start()
        return job

    def _work(self) -> None:
        with Worker(self._app, queues=[QUEUE], lease=LEASE, signals=()):
            while True:
                time.sleep(LOOK)
                with self._lock:
                    if not self._are_left():
                        self._thread = None
                        return

    def _are_left(self) -> bool:
        found = (self._app.jobs(status=status, queue=QUEUE, limit=1) for status in (RUNNING, *WAITING))
        return any(next(jobs, None) is not None for jobs in found)


def queries_of(verb: str, filters: dict[str, Any]) -> list[Query]:
    """Return the stored filters of a bulk job as questions, one for each status."""
    given = dict(filters)
    status = given.pop("status", None)
    statuses = (RUNNING,) if given.get("stalled") else STATUSES[verb] if status is None else (status,)
    moments: dict[str, Any] = {name: from_text(given.pop(name)) for name in ("since", "until") if name in given}
    return [query_of({**given, **moments, "status": each}) for each in statuses]


def count_of(app: App, queries: list[Query]) -> int | None:
    """Return how many jobs match, None if an index can't say."""
    try:
        return sum(query.count(app.datastore, COUNTED).number for query in queries)
    except InvalidValue:
        return None


def bulk(call: Call) -> Answer:
    """Store a bulk job, or only count what it would go through."""
    call.query |= call.body["filters"]
    filters = checked(call)
    dry_run = filters.pop("dry_run")
    stored = {name: to_text(value) if isinstance(value, datetime) else value for name, value in filters.items()}
    verb, options = call.body["verb"], _options(call)
    try:
        call.app.bulk(verb, **options)
        queries = queries_of(verb, stored)
        if "queue" in options:
            call.app.engine.queue_named(check_queue_name(options["queue"]))
    except ConfigurationError as error:  # a name that no queue here can have
        raise InvalidValue(str(error)) from error
    if dry_run:
        return Answer({"number": count_of(call.app, queries)})
    params = {"verb": verb, "filters": stored, "options": options, "limit": call.body.get("limit")}
    job = call.site.bulks.submit(params)
    return Answer({"uuid": job.uuid, "status": job.status, "links": links_of(call, job.uuid)}, 202)


def _options(call: Call) -> dict[str, Any]:
    """Return the options of the verb that were given, with the client's name where events show it."""
    given = {name: call.body[name] for name in OPTIONS[call.body["verb"]] if name in call.body}
    return {**given, "who": call.who} if call.body["verb"] in NAMED else given


BULK = (
    Endpoint(
        "POST",
        "/jobs/bulk",
        "bulk",
        bulk,
        "Do one thing to all jobs that filters find, as a job with its own progress",
        {
            200: ("With dry_run: how many jobs match.", answers.Matching),
            202: ("The job that does it.", answers.Submitted),
        },
        query=requests.DryRun(),
        body=requests.Bulk(),
    ),
)
