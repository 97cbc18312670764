"""Spans of submits, runs and takeovers, made by the API of OpenTelemetry alone.

Names follow the semantic conventions for messaging, version 1.44. A span is exported when it ends, so a run of hours
would be invisible for as long; therefore its claim is a span of its own, which ends at once, in the trace of the run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from zerog.app import App
from zerog.exceptions import ConfigurationError, ZerogError
from zerog.jobs.base import BaseJob
from zerog.jobs.signals import SIGNALS, WARNINGS
from zerog.records.job import make_key
from zerog.support.extras import how_to_install

try:
    from opentelemetry import propagate, trace
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer
except ImportError as error:
    raise ConfigurationError(
        f"traces need opentelemetry-api, which isn't installed: {how_to_install('otel')}"
    ) from error

SYSTEM, OPERATION, KIND = "messaging.system", "messaging.operation.name", "messaging.operation.type"
QUEUE, ID, CLIENT = "messaging.destination.name", "messaging.message.id", "messaging.client.id"
BATCH, ERROR_TYPE = "messaging.batch.message_count", "error.type"
TYPE, ATTEMPT, VERSION, BUILD = "zerog.job.type", "zerog.job.attempt", "zerog.schema_version", "zerog.build"
RESULT, REASON = "zerog.job.result", "zerog.takeover.reason"

TAKEN = "rescued"
"""The transition of a job that was taken from a worker that is gone, as it is logged."""


def instrument(app: App, tracer: Tracer | None = None) -> None:
    """Trace the submits and runs of an app, and the jobs that its workers take over.

    ``tracer``: by default one of the program's tracer provider. Without a provider nothing is recorded, and it costs
    next to nothing. Call it where the app is made, once. Raises ConfigurationError.
    """
    used = tracer or trace.get_tracer("zerog")
    app.submit_middleware(_Submits(used))
    app.middleware(_Runs(used))
    logging.getLogger("zerog").addHandler(_Takeovers(app, used))


class _Submits:
    """The middleware of submits: a span each, whose context goes into the jobs' ``headers``."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def __call__(self, jobs: Sequence[BaseJob]) -> Iterator[None]:
        if not jobs:
            yield
            return
        queue = jobs[0].queueName
        is_batch = len(jobs) > 1
        attributes = {**_common("send", "send", queue), TYPE: jobs[0].jobType}
        attributes |= {BATCH: len(jobs)} if is_batch else {ID: jobs[0].uuid}
        kind = SpanKind.CLIENT if is_batch else SpanKind.PRODUCER
        with self._tracer.start_as_current_span(f"send {queue}", _of(jobs[0]), kind, attributes):
            for job in jobs:
                with ExitStack() as stack:
                    if is_batch:
                        own = {**_common("create", "create", queue), ID: job.uuid, TYPE: job.jobType}
                        name = f"create {queue}"
                        stack.enter_context(
                            self._tracer.start_as_current_span(name, kind=SpanKind.PRODUCER, attributes=own)
                        )
                    carrier: dict[str, str] = {}
                    propagate.inject(carrier)
                    job.headers = {**job.headers, **carrier}
            yield


class _Runs:
    """The middleware of runs: each is a trace of its own, with a link to its submit."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def __call__(self, job: BaseJob) -> Iterator[None]:
        owner = job.owner or {}
        own = {ID: job.uuid, TYPE: job.jobType, ATTEMPT: job.attempts, VERSION: job.schemaVersion}
        own |= {CLIENT: str(owner.get("worker"))} if owner else {}
        own |= {BUILD: str(job.app.build_id)} if job.app.build_id else {}
        process = {**_common("process", "process", job.queueName), **own}
        links = _links(job.headers)
        name = f"process {job.queueName}"
        with self._tracer.start_as_current_span(
            name, Context(), SpanKind.CONSUMER, process, links, record_exception=False, set_status_on_exception=False
        ) as span:
            receive = {**_common("receive", "receive", job.queueName), **own}
            self._tracer.start_span(f"receive {job.queueName}", None, SpanKind.CLIENT, receive, links).end()
            try:
                yield
            except BaseException as error:
                _note(span, error)
                raise
            span.set_attribute(RESULT, _code(job.returned))


class _Takeovers(logging.Handler):
    """Makes a span of each job that is taken from a worker which is gone: the run's own span never ended."""

    def __init__(self, app: App, tracer: Tracer) -> None:
        super().__init__()
        self._app, self._tracer = app, tracer

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "transition", None) != TAKEN:
            return
        fields = record.__dict__
        try:
            head = self._app.datastore.read_with_cas(make_key(str(fields["uuid"])), head=True)[0] or {}
        except ZerogError:  # it is traced without what the document says
            head = {}
        queue = str(head.get("queueName", "unknown"))
        attributes = {**_common("takeover", "settle", queue), ID: str(fields["uuid"]), TYPE: str(fields["jobType"])}
        attributes |= {REASON: str(fields.get("reason")), ATTEMPT: int(head.get("attempts", 0))}
        links = _links(head.get("headers"))
        span = self._tracer.start_span(f"takeover {queue}", Context(), SpanKind.CLIENT, attributes, links)
        span.set_status(Status(StatusCode.ERROR, str(fields.get("reason"))))
        span.end()


def _common(name: str, kind: str, queue: str) -> dict[str, Any]:
    return {SYSTEM: "zerog", OPERATION: name, KIND: kind, QUEUE: queue}


def _of(job: BaseJob) -> Context | None:
    """Return the context of a submit: the current one, or if there is none that of the headers its caller gave."""
    if trace.get_current_span().get_span_context().is_valid:
        return None
    return propagate.extract(job.headers, Context())


def _links(headers: Any) -> list[Link]:
    """Return a link to the submit that made a job."""
    if not isinstance(headers, dict):
        return []
    context = trace.get_current_span(propagate.extract(headers, Context())).get_span_context()
    return [Link(context)] if context.is_valid else []


def _code(returned: Any) -> str:
    """Return the result code of what ``run()`` returned."""
    first = returned[0] if isinstance(returned, (tuple, list)) and returned else returned
    return str(first) if isinstance(first, int) else "200"


def _note(span: Span, error: BaseException) -> None:
    """Note how a run ended that returned nothing."""
    span.set_attribute(ERROR_TYPE, type(error).__qualname__)
    if isinstance(error, SIGNALS):
        span.set_attribute(RESULT, str(error.code))
    if isinstance(error, Exception) and not isinstance(error, WARNINGS):
        span.set_status(Status(StatusCode.ERROR, f"{type(error).__qualname__}: {error}"[:500]))
        span.record_exception(error)
