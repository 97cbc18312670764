"""``asgi``: the ASGI application over an app, for any ASGI server, alone or mounted in another application."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

from zerog.app import App
from zerog.exceptions import ConfigurationError
from zerog.support.extras import how_to_install

try:
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.convertors import StringConvertor, register_url_convertor
    from starlette.exceptions import HTTPException
    from starlette.middleware.gzip import GZipMiddleware
    from starlette.requests import Request
    from starlette.responses import RedirectResponse, Response
    from starlette.routing import Route
    from starlette.types import ASGIApp
except ImportError as error:
    raise ConfigurationError(f"the REST API needs starlette, which isn't installed: {how_to_install('web')}") from error

from zerog.web.access import Authorize, Token, access_of, read_tokens
from zerog.web.answer import Answer, revision
from zerog.web.bulk import Bulks
from zerog.web.call import Call, Endpoint, Site, check_first
from zerog.web.client import script
from zerog.web.description import described
from zerog.web.endpoints import ENDPOINTS
from zerog.web.guard import LONGEST_BODY, Guard
from zerog.web.page import page
from zerog.web.problems import Problem, problem_of
from zerog.web.streams import LONGEST, MOST, Streams
from zerog.web.take import body_of, query_of

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


SHORT = 1_000
"""Bytes of an answer below which it isn't compressed."""


POLLED = "/jobs/{uuid}"
"""The path that is asked for most often."""


class _Job(StringConvertor):
    """What may name a job: none of the paths beside them."""

    regex = r"(?!(?:count|stream|bulk)(?:/|$))[^/]+"


register_url_convertor("job", _Job())


def asgi(
    app: App | str,
    authorize: Authorize | None = None,
    *,
    tokens: str | list[Token] | None = None,
    hosts: Collection[str] | None = None,
    prefix: str = "",
    read_only: bool = False,
    longest_body: int = LONGEST_BODY,
    longest_stream: float = LONGEST,
    most_streams: int = MOST,
    target: str = "MODULE:APP",
) -> ASGIApp:
    """Return the REST API as an ASGI application.

    ``app``: an app, or the URL of a datastore, whose jobs are shown and steered without their classes. Without
    ``authorize`` and ``tokens`` only clients on this machine are answered. ``authorize(request, action, job)``, plain
    or asynchronous, returns True for what is allowed; ``action`` is one of ``zerog.web.access.ACTIONS``, ``job`` the
    job's document without its history and with secrets hidden, of a submit a dict with its ``jobType``, else None.
    ``tokens``: a file of bearer tokens, see ``read_tokens``. ``hosts``: the names that requests may address; by default
    those of this machine, and any with authentication. ``prefix``: the path below which a proxy shows this application.
    ``read_only`` refuses all that changes jobs. ``longest_body``: bytes. ``longest_stream``: seconds after
    which a stream ends, to be begun again; ``most_streams`` at once. ``target``: what commands that ``doctor``
    offers call the app. Raises ConfigurationError.
    """
    if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
        raise ConfigurationError(f"prefix={prefix!r:.80}; expected a path such as /zerog, without a slash at its end")
    access = access_of(authorize, read_tokens(tokens) if isinstance(tokens, str) else tokens)
    opened = App(app) if isinstance(app, str) else app
    site = Site(opened, access, target, Streams(opened, longest_stream, most_streams), Bulks(opened), read_only)
    if hosts is None:
        names = None if access.is_authenticated else LOOPBACK_NAMES
    else:
        names = frozenset(name.lower() for name in hosts)
    inner = Starlette(routes=_routes(site), exception_handlers={HTTPException: _refused})
    inner.router.redirect_slashes = False
    return Guard(GZipMiddleware(inner, SHORT), names, prefix, longest_body)  # which leaves streams as they are


def _routes(site: Site) -> list[Route]:
    own = [
        Endpoint("GET", "/openapi.json", "read", described, "This description", {}, group="About"),
        Endpoint("GET", "/docs", "read", page, "This description as a page", {}, group="About"),
        Endpoint("GET", "/zerog.js", "probe", script, "The client for browsers", {}, group="About"),
    ]
    # Fixed paths come before those with names, which would match them, too; first of all what is polled.
    paths = {endpoint.path for endpoint in (*ENDPOINTS, *own)}
    routes = [Route("/", _to_the_page)]
    for path in sorted(paths, key=lambda path: (path != POLLED, "{" in path, path.count("/"), path)):
        there = {endpoint.method: endpoint for endpoint in (*ENDPOINTS, *own) if endpoint.path == path}
        routes.append(Route(path.replace("{uuid}", "{uuid:job}"), partial(_serve, site, there), methods=list(there)))
    return routes


async def _to_the_page(request: Request) -> Response:
    return RedirectResponse(str(request.scope.get("root_path", "")) + "/docs")


async def _serve(site: Site, endpoints: dict[str, Endpoint], request: Request) -> Response:
    try:
        endpoint = endpoints["GET" if request.method == "HEAD" else request.method]
        check_first(site, request, endpoint)
        if endpoint.is_stream:
            return await _streamed(site, endpoint, request)
        body = await body_of(endpoint, request)
        return await run_in_threadpool(_answered, site, endpoint, request, body)
    except Problem as problem:
        return _response(problem.answer(), request)


def _answered(site: Site, endpoint: Endpoint, request: Request, body: Any) -> Response:
    """Answer a request, in a thread."""
    try:
        call = _call(site, endpoint, request)
        call.body = {} if endpoint.body is None else endpoint.body.take(body)
        return _response(endpoint.handler(call), request)
    except Exception as error:  # a class's own code, too, may raise anything
        return _response(problem_of(error).answer(), request)


async def _streamed(site: Site, endpoint: Endpoint, request: Request) -> Response:
    try:
        response: Response = await endpoint.handler(await run_in_threadpool(_call, site, endpoint, request))
        return response
    except Exception as error:
        return _response(problem_of(error).answer(), request)


def _call(site: Site, endpoint: Endpoint, request: Request) -> Call:
    """Return a request with its values checked, if the client may make it. Raises Problem, ValidationError."""
    call = Call(site, request, endpoint.action)
    if not endpoint.is_about_a_job and endpoint.action not in ("submit", "probe"):
        call.permit()
    call.query = query_of(endpoint, request)
    return call


def _response(answer: Answer, request: Request) -> Response:
    body = answer.body()
    headers = {"Content-Type": "application/json", **answer.headers}
    if answer.is_tagged:
        tag = f'W/"{revision(body)}"'
        headers |= {"ETag": tag, "Cache-Control": "private, no-cache"}
        known = request.headers.get("if-none-match", "")
        if known.strip() == "*" or tag.removeprefix("W/") in (
            part.strip().removeprefix("W/") for part in known.split(",")
        ):
            del headers["Content-Type"]
            return Response(status_code=304, headers=headers)
    if answer.status == 204:
        return Response(status_code=204, headers=answer.headers)
    return Response(body, answer.status, headers)


async def _refused(request: Request, error: Exception) -> Response:
    """Answer what the router refuses."""
    assert isinstance(error, HTTPException)
    names = {404: ("NoSuchPath", "There is nothing under this path."), 405: ("MethodNotAllowed", "Not by this method.")}
    name, detail = names.get(error.status_code, ("BadRequest", str(error.detail)))
    return _response(Problem(error.status_code, name, detail, headers=dict(error.headers or {})).answer(), request)
