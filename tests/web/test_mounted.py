"""The API within other applications, behind a prefix and a proxy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from a2wsgi import ASGIMiddleware
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from tests.web.builders import HERE, client, make_app
from zerog.web import asgi


def check(api: Any, prefix: str = "/jobs-api") -> None:
    """Submit a job below the prefix, and follow all links."""
    answer = api.post(f"{prefix}/jobs", json={"type": "count", "params": {"path": "a"}})
    assert answer.status_code == 201, answer.text
    links = answer.json()["links"]
    assert answer.headers["location"] == links["progress"]
    assert all(link.startswith(f"{prefix}/jobs/") for link in links.values())
    for name in ("progress", "info", "data", "document"):
        assert api.get(links[name]).status_code == 200, links[name]
    assert api.post(links["cancel"]).json()["status"] == "cancelled"
    assert api.get(f"{prefix}/openapi.json").json()["servers"] == [{"url": prefix}]
    assert f'href="{prefix}/openapi.json"' in api.get(f"{prefix}/docs").text
    assert api.get(f"{prefix}/").headers["location"] == f"{prefix}/docs"
    assert api.get(f"{prefix}/nothing").status_code == 404


SERVER = {"REMOTE_ADDR": "127.0.0.1", "REMOTE_PORT": "50000"}
"""What a WSGI server says of a client."""


def as_client(app: Any) -> TestClient:
    return TestClient(app, base_url="http://localhost", client=HERE, follow_redirects=False)


def test_in_starlette() -> None:
    check(as_client(Starlette(routes=[Mount("/jobs-api", app=asgi(make_app()))])))


def test_in_fastapi() -> None:
    app = FastAPI()
    app.mount("/jobs-api", asgi(make_app()))
    check(as_client(app))


def test_in_flask() -> None:
    """Through a2wsgi."""
    flask = Flask(__name__)
    flask.wsgi_app = DispatcherMiddleware(flask.wsgi_app, {"/jobs-api": ASGIMiddleware(asgi(make_app()))})  # type: ignore[method-assign,arg-type]
    inner = Client(flask)

    class Answer:
        def __init__(self, answer: Any) -> None:
            self.status_code, self.text, self.headers = answer.status_code, answer.text, answer.headers
            self.json = lambda: answer.json

    class Api:
        def get(self, path: str) -> Answer:
            return Answer(inner.get(path, environ_base=SERVER))

        def post(self, path: str, json: Any = None) -> Answer:
            body = {} if json is None else {"json": json}
            return Answer(inner.post(path, environ_base=SERVER, **body))

    check(Api())


DJANGO = """
import sys
sys.path.insert(0, {root!r})
from django.conf import settings
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["localhost"])
urlpatterns = []
from django.core.asgi import get_asgi_application
from zerog.web import asgi
from tests.web.builders import make_app
from tests.web.test_mounted import as_client, check

django, jobs = get_asgi_application(), asgi(make_app(), prefix="/jobs-api")

async def application(scope, receive, send):
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    inner = jobs if scope["type"] == "http" and path.startswith("/jobs-api/") else django
    await inner(scope, receive, send)

check(as_client(application))
assert as_client(application).get("/other").status_code == 404
"""


def test_in_django(tmp_path: Path) -> None:
    """In a process of its own: Django's settings are one for each process."""
    script = tmp_path / "project.py"
    script.write_text(DJANGO.format(root=str(Path(__file__).parents[2])))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_behind_a_proxy_that_keeps_the_prefix() -> None:
    check(client(make_app(), prefix="/jobs-api"))


class Stripped:
    """A proxy that removes the prefix."""

    def __init__(self, inner: TestClient) -> None:
        self.inner = inner

    def get(self, path: str) -> Any:
        return self.inner.get(path.removeprefix("/jobs-api"))

    def post(self, path: str, json: Any = None) -> Any:
        return self.inner.post(path.removeprefix("/jobs-api"), json=json)


def test_behind_a_proxy_that_removes_the_prefix() -> None:
    check(Stripped(client(make_app(), prefix="/jobs-api")))


@pytest.mark.parametrize("method", ["PUT", "TRACE", "OPTIONS", "CONNECT"])
def test_other_methods_are_refused(method: str) -> None:
    answer = client(make_app()).request(method, "/jobs")
    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]
    assert answer.headers["x-content-type-options"] == "nosniff"
