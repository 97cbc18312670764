"""The whole description against the server: every answer is one that is described, whatever is sent."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from tests.marks import wide
from tests.web.builders import HERE, ended, make_app, waiting
from zerog.schemas.describe import described
from zerog.schemas.stored import StoredSchemas
from zerog.web import asgi

CROSS = {
    "include-path-regex": r"^/jobs(/stream|/count|/bulk)?$|/params$|/move$|^/queues/|^/roles/|^/schedules/|^/errors"
}
"""Paths with values whose limits JSON Schema can't express: some exclude each other, names are printable."""

ACCEPTED = ["2xx", 304, 404, 409, 412, 428, 429]
"""What a well-formed request gets: also that a job is in another status, was changed since, or its queue is full."""


class Here:
    """ASGI: requests of a client on this machine."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.inner({**scope, "client": HERE}, receive, send)


def explored(examples: int) -> tuple[Counter[str], list[str]]:
    """Requests by check, and descriptions of failures."""
    app = make_app()
    ended(app), ended(app, "bad"), waiting(app), waiting(app, delay=600)
    nightly = app.schedule_definition("0 3 * * *", "count", {"path": "good"})
    app.schedules.add("nightly", nightly)
    app.fleet.settings.set_role("heavy", ["default"])
    StoredSchemas(app.engine).record(map(described, app.registry.client_classes()), "v1")
    config = SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "cache": {"enabled": False},
            "generation": {"max-examples": examples},
            "checks": {"positive_data_acceptance": {"expected-statuses": ACCEPTED}},
            "operations": [{**CROSS, "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, 422]}}}],
        }
    )
    served = Here(asgi(app, hosts=["testserver", "localhost"], longest_stream=0.02))
    schema = schemathesis.openapi.from_asgi("/openapi.json", served, config=config)
    checks, failures = Counter[str](), []
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            for case, results in event.recorder.checks.items():
                checks.update(result.name for result in results)
                for result in results:
                    if result.failure_info is not None:
                        sent = event.recorder.interactions[case].request
                        failure = result.failure_info.failure
                        failures.append(f"{sent.method} {sent.uri} {sent.body!r}: {failure.title} {failure.message}")
        elif isinstance(event, (events.NonFatalError, events.FatalError)):
            failures.append(repr(getattr(event, "exception", event)))
    return checks, failures


@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of a body near the limit of jobs in one request
@pytest.mark.parametrize(
    "examples", [*wide(10), pytest.param(100, marks=pytest.mark.slow), pytest.param(400, marks=pytest.mark.long)]
)
def test_every_answer_is_described(examples: int, caplog: pytest.LogCaptureFixture) -> None:
    """With 400 examples more than 10,000 requests."""
    caplog.set_level(logging.CRITICAL)
    checks, failures = explored(examples)
    assert failures == []
    assert checks["not_a_server_error"] >= 25 * examples
    assert {"response_schema_conformance", "status_code_conformance", "negative_data_rejection"} <= checks.keys()
