"""Who may do what: closed by default.

Without authentication only programs on this machine are answered. Otherwise bearer tokens, or a function of the host
application, decide on each request.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from hashlib import sha256
from hmac import compare_digest
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple, cast

from anyio import from_thread
from starlette.requests import Request

from zerog.exceptions import ConfigurationError, JobNotFound
from zerog.web.problems import Problem

READ, OPERATE = LEVELS = ("read", "operate")

READING = frozenset({"read", "list", "diagnose", "measure"})
"""Actions that change nothing."""

ACTIONS = (
    *sorted(READING),
    "submit",
    "cancel",
    "retry",
    "move",
    "edit",
    "discard",
    "pause",
    "drain",
    "schedule",
    "configure",
    "bulk",
)
"""What ``authorize`` is called with: a resume is a pause, an undrain a drain."""

SHORTEST_TOKEN = 20
"""Characters of a token."""

FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""Headers of proxies: what comes through one need not come from this machine."""

Authorize = Callable[[Request, str, Any], bool | Awaitable[bool]]
Job = dict[str, Any] | None


class Access:
    """Without authentication: clients on this machine may do everything."""

    is_authenticated = False

    def check(self, request: Request, action: str) -> None:
        """Refuse a request before anything is read. Raises Problem."""
        client = request.client
        if client is None or not _is_loopback(client.host) or any(name in request.headers for name in FORWARDED):
            raise Problem(
                403,
                "Forbidden",
                "Without authentication only clients on this machine are answered. Set authorize= or tokens.",
            )

    def check_job(self, request: Request, action: str, job: Job) -> None:
        """Refuse a request about one job, or about none in particular. Raises Problem, JobNotFound."""

    def who(self, request: Request) -> str:
        """Return the author of an action, for the events of a job."""
        return str(getattr(request.state, "who", None) or "web")[:200]


class Token(NamedTuple):
    """A bearer token: its hash, its level and the name of its owner."""

    digest: bytes
    level: str
    name: str


class Tokens(Access):
    """Bearer tokens of two levels."""

    is_authenticated = True

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens

    def check(self, request: Request, action: str) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        digest = sha256(given.strip().encode()).digest()
        found = None
        for token in self._tokens:  # all of them, so that the time depends on none
            if compare_digest(token.digest, digest):
                found = token
        if found is None or scheme.lower() != "bearer":
            raise Problem(
                401,
                "Unauthorized",
                "A bearer token is needed; none, or an unknown one, was sent.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        request.state.who = found.name
        if found.level != OPERATE and action not in READING:
            raise Problem(403, "Forbidden", f"This token may read, but not {action}.")


class Authorized(Access):
    """The host application decides: ``authorize(request, action, job)``, plain or asynchronous."""

    is_authenticated = True

    def __init__(self, authorize: Authorize) -> None:
        self._authorize = authorize

    def check(self, request: Request, action: str) -> None:
        """Nothing yet: the decision needs the job."""

    def check_job(self, request: Request, action: str, job: Job) -> None:
        if self._may(request, action, job):
            return
        if job is not None and "uuid" in job and not self._may(request, "read", job):
            raise JobNotFound(f"there is no job {job['uuid']}")  # as for an unknown uuid: it gives nothing away
        raise Problem(403, "Forbidden", f"You may not {action} here.")

    def _may(self, request: Request, action: str, job: Job) -> bool:
        answer = self._authorize(request, action, job)
        if inspect.isawaitable(answer):
            answer = from_thread.run(_awaited, answer)
        return answer is True


async def _awaited(answer: Awaitable[bool]) -> bool:
    return await answer


def access_of(authorize: Authorize | None, tokens: list[Token] | None) -> Access:
    """Return what decides on requests. Raises ConfigurationError."""
    if authorize is not None and tokens is not None:
        raise ConfigurationError("give either authorize= or tokens, not both")
    if authorize is not None and not callable(authorize):
        raise ConfigurationError(f"authorize={authorize!r:.80}; expected a function of a request, an action and a job")
    if tokens is not None:
        return Tokens(tokens)
    return Access() if authorize is None else Authorized(authorize)


def read_tokens(path: str) -> list[Token]:
    """Read a file with a token in each line: its level (``read`` or ``operate``), the token, and a name.

    Empty lines and those that begin with ``#`` are ignored. Raises ConfigurationError, which shows no token.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the tokens in {path} can't be read: {error}; nothing was started") from None
    tokens = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] not in LEVELS or len(words) < 2 or len(words[1]) < SHORTEST_TOKEN:
            raise ConfigurationError(
                f"line {number} of {path} is no token; expected 'read' or 'operate', a token of at least "
                f"{SHORTEST_TOKEN} characters, and the name of its owner. Nothing was started."
            )
        name = " ".join(words[2:]) or f"token {number}"
        tokens.append(Token(sha256(words[1].encode()).digest(), words[0], name))
    if not tokens:
        raise ConfigurationError(f"{path} has no token; nothing was started")
    return tokens


def is_loopback_name(host: str) -> bool:
    """Return True for a name or address of this machine alone."""
    return host == "localhost" or _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return cast("bool", (mapped or address).is_loopback)
