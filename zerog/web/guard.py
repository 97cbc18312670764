"""Checks on every request before it is routed, and headers on every answer."""

from __future__ import annotations

from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zerog.web.problems import Problem

LONGEST_BODY = 1024 * 1024
"""Bytes of a request's body."""

SLOWEST_BODY = 30.0
"""Seconds in which a body has to arrive."""

PROBES = ("/healthz", "/readyz")
"""Paths that answer under any name: probes address a machine."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None, prefix: str, longest_body: int) -> None:
        self.app = app
        self.hosts = hosts
        """Names that a request may address, in small letters; None for any."""
        self.prefix = prefix
        self.longest_body = longest_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope = self._placed(scope)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(scope)
            inner = await self._body(Headers(scope=scope), receive)
        except Problem as problem:
            answer = problem.answer()
            # The rest of the body is not read, so the connection can't be used again.
            response = Response(answer.body(), answer.status, {**answer.headers, "Connection": "close"})
            await response(scope, receive, send_guarded)
            return
        await self.app(scope, inner, send_guarded)

    def _placed(self, scope: Scope) -> Scope:
        """Return a scope whose path is below the prefix, whether a proxy has removed it or not."""
        if not self.prefix:
            return scope
        root, path = scope.get("root_path", ""), scope["path"]
        inner = path.removeprefix(root)
        if inner == self.prefix or inner.startswith(self.prefix + "/"):
            return {**scope, "root_path": root + self.prefix}
        return {**scope, "root_path": root + self.prefix, "path": root + self.prefix + inner}

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if self.hosts is not None and not scope["path"].endswith(PROBES):
            name = _name(headers.get("host", ""))
            if name not in self.hosts:
                raise Problem(
                    400, "UnknownHost", "This server doesn't answer under the name that the request has in Host."
                )
        if _is_cross_site(scope, headers):
            raise Problem(403, "CrossSite", "The request comes from another site's page.")

    async def _body(self, headers: Headers, receive: Receive) -> Receive:
        """Read the body within its limits; returns what passes it on."""
        try:
            declared = int(headers.get("content-length", "0"))
        except ValueError:
            raise Problem(400, "BadRequest", "Content-Length is no number.") from None
        chunked = "chunked" in headers.get("transfer-encoding", "")
        if not declared and not chunked:
            return receive
        if declared > self.longest_body:
            raise self._too_large()
        body = bytearray()
        with anyio.move_on_after(SLOWEST_BODY) as patience:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    break
                body += message.get("body", b"")
                if len(body) > self.longest_body:
                    raise self._too_large()
                if not message.get("more_body", False):
                    break
        if patience.cancelled_caught:
            raise Problem(408, "SlowBody", f"The body didn't arrive within {SLOWEST_BODY:g} s.")
        return _again(bytes(body), receive)

    def _too_large(self) -> Problem:
        return Problem(413, "TooLarge", f"The body is longer than {self.longest_body:,} bytes.")


def _again(body: bytes, receive: Receive) -> Receive:
    passed = False

    async def inner() -> Message:
        nonlocal passed
        if passed:
            return await receive()
        passed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return inner


def _name(host: str) -> str:
    """Return the name in a Host header, without the port."""
    host = host.strip().lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].rstrip(".")


def _is_cross_site(scope: Scope, headers: Headers) -> bool:
    """Return True for a request that a page of another site makes a browser send; following a link is none."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        is_visit = scope["method"] in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate"
        return site not in ("same-origin", "none") and not is_visit
    origin = headers.get("origin")  # of browsers that don't send the other header to this server
    return origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
