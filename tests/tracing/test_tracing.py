"""Traces: a submit leads to its run, a long run is visible while it runs, and who took over says so."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import zerog
from zerog.engine.transitions import WorkerIdentity
from zerog.testing import drain, run_inline
from zerog.tracing import instrument

EXPORTER = InMemorySpanExporter()
PROVIDER = TracerProvider()
PROVIDER.add_span_processor(SimpleSpanProcessor(EXPORTER))
TRACER = PROVIDER.get_tracer("test")


class Job(zerog.BaseJob):
    JOB_TYPE = "job"
    MAX_ERRORS = 2
    BACKOFF = zerog.backoff.none()

    def run(self) -> Any:
        return 200


class Failing(Job):
    JOB_TYPE = "failing"

    def run(self) -> Any:
        raise ValueError("no such customer")


class Long(Job):
    """Keeps what was exported by the middle of its run."""

    JOB_TYPE = "long"

    def run(self) -> Any:
        seen.append((named("receive"), named("process"), trace.get_current_span().get_span_context()))
        with TRACER.start_as_current_span("step"):
            pass
        seen.append((named("step"), named("process"), trace.get_current_span().get_span_context()))
        return {"pages": 3}


seen: list[Any] = []


@pytest.fixture
def app() -> Iterator[zerog.App]:
    log = logging.getLogger("zerog")
    before = list(log.handlers)
    EXPORTER.clear()
    seen.clear()
    app = zerog.App("memory://")
    app.register(Job, Failing, Long)
    app.build_id = "build-7"
    instrument(app, TRACER)
    yield app
    log.handlers[:] = before
    app.close()


def named(operation: str) -> list[ReadableSpan]:
    return [span for span in EXPORTER.get_finished_spans() if span.name.split()[0] == operation]


def one(operation: str) -> ReadableSpan:
    [span] = named(operation)
    return span


def linked(span: ReadableSpan) -> list[int]:
    return [link.context.span_id for link in span.links]


def test_a_run_is_linked_to_its_submit(app: zerog.App) -> None:
    """It is a trace of its own; the submit belongs to that of the request."""
    with TRACER.start_as_current_span("request") as request:
        job = app.submit(Job)
    run_inline(app, job.uuid)
    send, process, receive = one("send"), one("process"), one("receive")
    assert send.parent is not None and send.parent.span_id == request.get_span_context().span_id
    assert process.parent is None
    assert linked(process) == linked(receive) == [send.context.span_id]
    assert (send.kind, process.kind, receive.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER, SpanKind.CLIENT)
    assert [span.name for span in (send, receive, process)] == ["send default", "receive default", "process default"]
    common = {"messaging.system": "zerog", "messaging.destination.name": "default", "messaging.message.id": job.uuid}
    assert {**common, "messaging.operation.name": "send", "zerog.job.type": "job"}.items() <= send.attributes.items()
    attempt = {"zerog.job.attempt": 1, "zerog.schema_version": 1.0, "zerog.build": "build-7", "zerog.job.result": "200"}
    assert {**common, "messaging.operation.type": "process", **attempt}.items() <= process.attributes.items()


def test_the_context_is_in_the_headers(app: zerog.App) -> None:
    """As W3C defines it, beside what the caller gave; written once."""
    job = app.submit(Job, headers={"owner": "ann"})
    send = one("send").context
    stored = app.get_job(job.uuid).headers
    assert job.headers == stored
    assert stored.keys() == {"owner", "traceparent"}
    assert stored["traceparent"].startswith(f"00-{send.trace_id:032x}-{send.span_id:016x}-")
    run_inline(app, job.uuid)
    assert app.get_job(job.uuid).headers == stored


def test_a_context_that_a_client_gives_is_continued(app: zerog.App) -> None:
    """Over REST, for example, in ``headers``."""
    app.submit(Job, headers={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
    send = one("send")
    assert send.parent is not None and send.parent.span_id == 0xB7AD6B7169203331
    assert send.context.trace_id == 0x0AF7651916CD43DD8448EB211C80319C
    app.submit(Job, headers={"traceparent": "nonsense"})
    assert named("send")[1].parent is None


def test_a_long_run_is_visible_while_it_runs(app: zerog.App) -> None:
    """Its claim is exported at once, and each step as it ends, all in the trace of the run."""
    job = app.submit(Long)
    run_inline(app, job.uuid)
    (receives, none, inside), (steps, none_yet, _) = seen
    assert none == none_yet == []
    [receive], [step] = receives, steps
    assert receive.attributes["messaging.message.id"] == job.uuid
    assert receive.attributes["zerog.job.attempt"] == 1
    assert receive.context.trace_id == step.context.trace_id == inside.trace_id == one("process").context.trace_id
    assert receive.parent.span_id == step.parent.span_id == inside.span_id == one("process").context.span_id


def test_each_run_is_a_trace_of_its_own(app: zerog.App) -> None:
    """Of a job that is tried again; an error is named."""
    job = app.submit(Failing)
    run_inline(app, job.uuid)
    first, second = named("process")
    assert first.context.trace_id != second.context.trace_id
    assert linked(first) == linked(second) == [one("send").context.span_id]
    assert [span.attributes["zerog.job.attempt"] for span in (first, second)] == [1, 2]
    for span in (first, second):
        assert (span.status.status_code, span.attributes["error.type"]) == (StatusCode.ERROR, "ValueError")
        assert [event.name for event in span.events] == ["exception"]


def test_many_jobs_are_one_send(app: zerog.App) -> None:
    """With a span for each, to which the runs are linked."""
    uuids = app.submit_many(Job, [{}, {}, {}])
    send, creates = one("send"), named("create")
    assert (send.kind, send.attributes["messaging.batch.message_count"]) == (SpanKind.CLIENT, 3)
    assert [create.attributes["messaging.message.id"] for create in creates] == uuids
    assert {create.parent.span_id for create in creates if create.parent} == {send.context.span_id}
    drain(app)
    assert sorted(id for span in named("process") for id in linked(span)) == sorted(
        create.context.span_id for create in creates
    )


def test_a_takeover_is_a_span_of_who_took_over(app: zerog.App) -> None:
    """The span of the lost run never ended; this one has a link to its submit."""
    job = app.submit(Job)
    [claim] = app.engine.claim(1, WorkerIdentity("gone", 30.0), app.registry.load_head)
    app.engine.rescue(claim.uuid, claim.run, "lost", "worker gone is silent")
    takeover = one("takeover")
    assert linked(takeover) == [one("send").context.span_id]
    assert takeover.attributes["messaging.message.id"] == job.uuid
    assert takeover.attributes["zerog.job.attempt"] == 1
    assert "worker gone is silent" in takeover.attributes["zerog.takeover.reason"]
    assert takeover.status.status_code == StatusCode.ERROR
    run_inline(app, job.uuid)
    assert one("process").attributes["zerog.job.attempt"] == 2


def test_a_refused_submit_is_an_error(app: zerog.App) -> None:
    """And no headers lead to what doesn't exist."""
    job = app.submit(Job)
    EXPORTER.clear()
    with pytest.raises(zerog.CasMismatch):
        app.submit(Failing, uuid=job.uuid)
    assert one("send").status.status_code == StatusCode.ERROR


def test_what_asks_to_run_again_is_no_error(app: zerog.App) -> None:
    class Again(Job):
        JOB_TYPE = "again"

        def run(self) -> Any:
            return (zerog.NO_RESULT, 5) if self.attempts == 1 else self.raise_warning_finish(299, "odd")

    app.register(Again)
    run_inline(app, app.submit(Again).uuid)
    first, second = named("process")
    assert (first.attributes["zerog.job.result"], first.status.status_code) == ("-1", StatusCode.UNSET)
    assert (second.attributes["zerog.job.result"], second.status.status_code) == ("299", StatusCode.UNSET)


def test_without_a_provider_nothing_is_written(app: zerog.App) -> None:
    """The API alone has no spans, and no context for the headers."""
    plain = zerog.App("memory://")
    plain.register(Job)
    instrument(plain, trace.NoOpTracer())
    job = plain.submit(Job)
    assert job.headers == {}
    assert run_inline(plain, job.uuid).status == "succeeded"
    assert EXPORTER.get_finished_spans() == ()
