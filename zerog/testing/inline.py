"""Run jobs to their ends in this process, for tests of jobs.

Claim, load, execute and settle are production's own code: the document is in the job's datastore, as JSON, with its
fences; only the queue is replaced by one with nothing but the job whose turn it is, and the clock by one that skips
delays. Values that production refuses are refused here.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Iterator
from datetime import timedelta

from zerog.app import App
from zerog.backends.memory.queue import MemoryQueue
from zerog.contracts.datastore import FindQuery
from zerog.engine.engine import Engine
from zerog.engine.followers import follow, is_to_be_followed
from zerog.engine.transitions import Claim, WorkerIdentity
from zerog.exceptions import ConfigurationError, CorruptDocument, JobStateError
from zerog.jobs.base import BaseJob
from zerog.jobs.document import document_of
from zerog.records.job import TERMINAL, WAITING, Document
from zerog.support.clock import from_text, to_text
from zerog.testing.clock import ManualClock
from zerog.worker.executors.thread import ThreadExecutor
from zerog.worker.outcome import LOST, Outcome
from zerog.worker.settings import LEASE
from zerog.worker.settling import settle_once

MAX_RUNS = 100
"""Runs after which a job that never ends is given up."""

MOMENT = timedelta(seconds=1)
"""An end may be stamped a little after the time of a clock that stands still."""

MAX_DRAINED = 1_000
"""Runs after which ``drain`` gives up."""


def run_inline(job_or_app: BaseJob | App, uuid: str | None = None, *, max_runs: int = MAX_RUNS) -> BaseJob:
    """Run a job until it has ended, without waiting for the delays between its runs; return it reloaded.

    Takes a job, stored or not, or an app and the uuid of a job submitted to it. ``ways_out`` of the result returns how
    its runs ended. Raises JobStateError if the job runs elsewhere or continues after ``max_runs`` runs, and
    CorruptDocument with the reason if no worker could load it. An ``async def run`` needs a thread without an event
    loop: where one runs, ConfigurationError is raised before the job begins, and
    ``await asyncio.to_thread(run_inline, job)`` works.
    """
    app, uuid = _app_and_uuid(job_or_app, uuid)
    return _finished(app, uuid, _Inline(app).run(uuid, max_runs))


def drain(app: App, *, jump: bool = True, max_runs: int = MAX_DRAINED) -> list[BaseJob]:
    """Run everything that waits, and jobs submitted by it, until nothing waits; return the jobs in order of their ends.

    Jobs run one at a time, by priority and then age. With ``jump`` time passes over delays: on the app's clock if that
    is a ``ManualClock``, otherwise on a new one. Without, only jobs that are due by the app's clock run. Raises the
    errors of ``run_inline``.
    """
    inline = _Inline(app)
    runs: dict[str, list[Outcome]] = {}
    for _ in range(max_runs):
        head = inline.next_waiting(jump)
        if head is None:
            break
        runs.setdefault(head["uuid"], []).append(inline.run_once(head["uuid"]))
    else:
        raise JobStateError(f"jobs still wait after {max_runs} runs; drain gave up")
    ended = sorted(runs, key=lambda uuid: app.progress(uuid)["finishedAt"] or "~")
    return [_finished(app, uuid, runs[uuid]) for uuid in ended if app.progress(uuid)["status"] in TERMINAL]


def ways_out(job: BaseJob) -> tuple[str, ...]:
    """Return how the runs of a job that ``run_inline`` or ``drain`` returned ended, in order.

    Each is one of value, continue, finish, exception, cancelled, claim lost.
    """
    ways: tuple[str, ...] = job.__dict__.get("_ways_out", ())
    return ways


def _app_and_uuid(job_or_app: BaseJob | App, uuid: str | None) -> tuple[App, str]:
    if isinstance(job_or_app, App):
        if uuid is None:
            raise ConfigurationError("run_inline(app, uuid) needs the uuid of a job")
        return job_or_app, uuid
    job = job_or_app
    if uuid is not None and uuid != job.uuid:
        raise ConfigurationError(f"run_inline(job) runs job {job.uuid}, not {uuid!r}")
    if job.cas is None or job.status == "new":
        job.enqueue()
    if job._app is not None:
        return job._app, job.uuid
    app = App(datastore=job.datastore, queue=job.queue, clock=document_of(job).clock)
    app.register(type(job))
    return app, job.uuid


def _finished(app: App, uuid: str, outcomes: list[Outcome]) -> BaseJob:
    job = app.get_job(uuid)
    job.__dict__["_ways_out"] = tuple(outcome.branch for outcome in outcomes)
    return job


class _Inline:
    def __init__(self, app: App) -> None:
        self._app = app
        self._clock = app.clock if isinstance(app.clock, ManualClock) else ManualClock(app.clock.now())
        self._engine = Engine(app.datastore, MemoryQueue(clock=self._clock), self._clock)
        self._worker = WorkerIdentity("inline", LEASE, app.build_id)
        self._slots = ThreadExecutor(app, 1, LEASE, lambda *_: None, app.clock)

    def run(self, uuid: str, max_runs: int) -> list[Outcome]:
        outcomes: list[Outcome] = []
        while True:
            head = self._engine.read(uuid)[0]
            if head["status"] in TERMINAL:
                return outcomes
            if len(outcomes) == max_runs:
                raise JobStateError(f"job {uuid} is {head['status']} after {max_runs} runs; run_inline gave it up")
            outcomes.append(self.run_once(uuid))

    def run_once(self, uuid: str) -> Outcome:
        """Run a waiting job once, at the time it is due."""
        self._require_no_loop(uuid)
        return run_claim(self._engine, self._slots, self._claim(uuid))

    def _require_no_loop(self, uuid: str) -> None:
        job_type = self._engine.read(uuid)[0]["jobType"]
        job_class = self._app.registry.get_registered_classes().get(job_type)
        if job_class is None or not inspect.iscoroutinefunction(job_class.run):
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise ConfigurationError(
            f"job {uuid} of type {job_type} has an async def run, which needs an event loop of its own, but one runs "
            f"in this thread; use another: await asyncio.to_thread(run_inline, job). The job was not run."
        )

    def next_waiting(self, jump: bool) -> Document | None:
        """Return the head of the next job: the most urgent of those that are due, then (``jump``) the next one.

        The followers of jobs that have ended are submitted before, as a sweep does.
        """
        soon = self._clock.now() + MOMENT
        for head in self._app.datastore.find(FindQuery(due=to_text(soon))).heads:
            if is_to_be_followed(head):
                follow(self._app.engine, head["uuid"])
        heads = [head for status in WAITING for head in self._all(status)]
        now = to_text(self._clock.now())
        due = [head for head in heads if (head["notBefore"] or "") <= now]
        if due:
            return min(due, key=lambda head: (-head["priority"], head["notBefore"] or "", head["createdAt"]))
        return min(heads, key=lambda head: head["notBefore"]) if heads and jump else None

    def _all(self, status: str) -> Iterator[Document]:
        after = None
        while True:
            page = self._app.datastore.find(FindQuery(status=status, after=after))
            yield from page.heads
            after = page.after
            if after is None:
                return

    def _claim(self, uuid: str) -> Claim:
        head = self._engine.read(uuid)[0]
        if head["notBefore"] is not None:
            early = (from_text(head["notBefore"]) - self._clock.now()).total_seconds()
            self._clock.advance(max(0.0, early))
        name = head["queueName"]
        self._engine.queue_named(name).put(uuid)
        claims = self._engine.claim(1, self._worker, self._app.registry.load_head, [name])
        if claims:
            return claims[0]
        if uuid in self._engine.skipped:
            raise CorruptDocument(f"no worker would take job {uuid}: {self._engine.skipped[uuid]}")
        raise JobStateError(f"job {uuid} is {self._engine.read(uuid)[0]['status']}; it can't be run inline now")


def run_claim(engine: Engine, slots: ThreadExecutor, claim: Claim) -> Outcome:
    """Run a claimed job once in this thread and settle it; return how it ended."""
    outcome = slots.run_here(claim)
    outcome = Outcome.from_json(json.loads(json.dumps(outcome.to_json(), allow_nan=False)))
    if outcome.kind == LOST:
        engine.rescue(claim.uuid, claim.run, "lost", "the worker could not keep the claim of this run")
    else:
        answer = settle_once(engine, outcome.settlement(claim), slots.clock)
        if isinstance(answer, Exception):
            raise answer
    return outcome
