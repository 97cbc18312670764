"""The API within other applications on their own servers, behind a proxy that shows all of it below a path."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.acceptance.harness import ROOT
from tests.processes import until
from tests.servers import free_port
from tests.web.test_mounted import check

pytestmark = pytest.mark.wide

SITE = "/site"
"""What the proxy removes from paths. It says so in a header, and servers get it by their own option."""

COMMON = """
import sys
sys.path.insert(0, {root!r})
from tests.web.builders import make_app
from zerog.web import asgi

def authorize(request, action, job):
    return request.headers.get("x-user") == "ann"  # what a proxy forwards has to be decided on

jobs_app = make_app({url!r})
"""

PROJECTS = {
    "starlette": """
from starlette.applications import Starlette
from starlette.routing import Mount
application = Starlette(routes=[Mount("/jobs-api", app=asgi(jobs_app, authorize))])
""",
    "fastapi": """
from fastapi import FastAPI
application = FastAPI()
application.mount("/jobs-api", asgi(jobs_app, authorize))
""",
    "litestar": """
import litestar
from typing import Any
inner = asgi(jobs_app, authorize, prefix="/jobs-api")

@litestar.asgi("/jobs-api", is_mount=True, copy_scope=True)
async def jobs_api(scope: Any, receive: Any, send: Any) -> None:
    await inner({**scope, "path": scope["path"].rstrip("/") or "/"}, receive, send)

application = litestar.Litestar([jobs_api])
""",
    "django": """
from django.conf import settings
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"])
urlpatterns = []
from django.core.asgi import get_asgi_application
django, jobs = get_asgi_application(), asgi(jobs_app, authorize, prefix="/jobs-api")

async def application(scope, receive, send):
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    inner = jobs if scope["type"] == "http" and path.startswith("/jobs-api/") else django
    await inner(scope, receive, send)
""",
    "flask": """
from a2wsgi import ASGIMiddleware
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.serving import run_simple
flask = Flask(__name__)
mounted = DispatcherMiddleware(flask.wsgi_app, {"/jobs-api": ASGIMiddleware(asgi(jobs_app, authorize))})
flask.wsgi_app = ProxyFix(mounted, x_prefix=1)
if __name__ == "__main__":
    run_simple("127.0.0.1", int(sys.argv[1]), flask, threaded=True)
""",
}


@contextmanager
def project(name: str, folder: Path) -> Iterator[int]:
    """Serve a project by its own server; yields the port."""
    text = COMMON.format(root=str(ROOT), url=f"sqlite:///{folder}/jobs.db") + PROJECTS[name]
    (folder / "project.py").write_text(text)
    port = free_port()
    uvicorn = ["-m", "uvicorn", "project:application", "--root-path", SITE, "--port", str(port)]
    command = ["project.py", str(port)] if name == "flask" else uvicorn
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen([sys.executable, *command], cwd=folder, stderr=log) as server,
    ):
        try:
            yield port
        finally:
            server.terminate()


@contextmanager
def proxy(port: int) -> Iterator[str]:
    """Show a server below ``SITE``; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def forward(self) -> None:
            inner = HTTPConnection("127.0.0.1", port, timeout=60)
            headers = {**self.headers, "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Prefix": SITE}
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            inner.request(self.command, self.path.removeprefix(SITE), body or None, headers)
            answer = inner.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            inner.close()

        do_GET = do_POST = forward

        def log_message(self, *_arguments: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def is_served(api: httpx.Client) -> bool:
    try:
        return api.get(f"{SITE}/jobs-api/healthz").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("name", PROJECTS)
def test_links_lead_through_the_proxy(name: str, tmp_path: Path) -> None:
    with project(name, tmp_path) as port, proxy(port) as url, httpx.Client(base_url=url, timeout=60) as api:
        until(lambda: is_served(api), 60, name)
        assert api.get(f"{SITE}/jobs-api/jobs").status_code == 403
        api.headers["x-user"] = "ann"
        check(api, f"{SITE}/jobs-api")
