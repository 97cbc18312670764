"""A job that records what its run sees, and the check that this is what its schema made of a client's values."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

import zerog
from tests.jobs.generated import loaded, shown, submitted
from zerog.testing import run_inline


class Seeing(zerog.BaseJob):
    """Records what its run sees."""

    JOB_TYPE = "seeing"
    MAX_ERRORS = 1
    seen: Any

    def run(self) -> int:
        type(self).seen = _fields_of(self)
        return 200


def _fields_of(job: Any) -> dict[str, Any]:
    return {name: getattr(job, name) for name in job.Params().fields}


def register_seeing(app: zerog.App, params: type[Schema]) -> Any:
    """Register a new class of the job with these parameters, in place of an earlier one."""
    job_class: Any = type("Sees", (Seeing,), {"Params": params})
    if "seeing" in app.registry.get_registered_classes():
        app.unregister("seeing")
    app.register(job_class)
    return job_class


def seeing(field: fields.Field[Any], app: zerog.App | None = None) -> tuple[zerog.App, Any]:
    """An app with a job class that takes ``given``, and that class."""
    app = app or zerog.App("memory://")
    return app, register_seeing(app, type("Params", (Schema,), {"given": field}))


def check_seen(app: zerog.App, job_class: Any, sent: dict[str, Any]) -> Any:
    """Submit a job and run it; return what it saw, which must be what marshmallow makes of the client's values."""
    submitted.is_over = False
    expected = shown(loaded(job_class.Params, sent))
    job: Any = app.submit("seeing", sent)
    submitted.is_over = True
    try:
        assert shown(_fields_of(job)) == expected
        assert shown(_fields_of(app.get_job(job.uuid))) == expected
        assert run_inline(app, job.uuid).status == "succeeded"
        assert shown(job_class.seen) == expected
        return job_class.seen
    finally:
        submitted.is_over = False
