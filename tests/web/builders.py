"""An app with jobs in every state, and clients of its REST API."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate
from starlette.testclient import TestClient

import zerog
from tests.processes import stretched
from zerog.testing import run_inline
from zerog.web import asgi

SECRET = "swordfish-4711"
HERE = ("127.0.0.1", 50_000)
UNKNOWN = "0190c3f2-1b6e-7cc3-98c4-dc0c0c07398f"


class Number(fields.Float):
    """A number, and no text."""

    def _deserialize(self, value: Any, *arguments: Any, **more: Any) -> Any:
        if isinstance(value, (str, bool)):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, *arguments, **more)


class Place(Schema):
    """A nested part."""

    city = fields.String(validate=validate.Length(max=50))


class Count(zerog.BaseJob):
    """Count the words of a text."""

    JOB_TYPE = "count"
    TITLE = "Word count"
    ATTRIBUTES = ("path",)

    class Params(Schema):
        path = fields.String(required=True, validate=validate.Length(1, 50))
        times = Number(load_default=1.0, validate=validate.Range(1, 9))
        place = fields.Nested(Place)
        password = fields.String(metadata={"secret": True})

    path: str

    def run(self) -> Any:
        if self.path == "bad":
            raise ValueError("the path is bad")
        self.record_event("counted")
        return {"words": 3}


class Idle(zerog.BaseJob):
    """Do nothing."""

    JOB_TYPE = "idle"

    def run(self) -> Any:
        return 200


def make_app(url: str = "memory://") -> zerog.App:
    """An app with two types."""
    app = zerog.App(url)
    app.register(Count, Idle)
    return app


def ended(app: zerog.App, path: str = "good") -> str:
    """A job that has ended."""
    job = app.submit(Count, {"path": path, "password": SECRET}, max_errors=1)
    return run_inline(app, job.uuid).uuid


def waiting(app: zerog.App, **options: Any) -> str:
    """A job that waits."""
    return app.submit(Count, {"path": "good", "password": SECRET}, **options).uuid


def client(app: zerog.App | str, where: tuple[str, int] = HERE, **options: Any) -> TestClient:
    """A client on this machine; what streams to it ends soon."""
    options = {"longest_stream": stretched(0.05), **options}
    return TestClient(asgi(app, **options), base_url="http://localhost", client=where, follow_redirects=False)
