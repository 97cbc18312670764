"""URLs of datastores and queues: their parts, checked, and how they may be shown.

A password with an unencoded ``@``, ``/``, ``?`` or ``#`` moves the borders between the parts (RFC 3986, 3.2). So a URL
is refused if its borders are in doubt, and neither an error nor a log line shows what may be a part of a password.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from zerog.exceptions import ConfigurationError

FILES = ("sqlite", "unix")
"""The schemes whose path is a file's, which may contain an ``@``."""

_split = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^?#]*)(.*)", re.DOTALL).fullmatch
_are_hosts = re.compile(r"(?:(?:[\w.%-]*|\[[\da-fA-F:.]+(?:%[\w.]+)?\])(?::\d{1,5})?(?:,|$))*").fullmatch


def without_secrets(url: str) -> str:
    """Return a URL as it may be logged: without user, password and options, and without what may belong to them."""
    parts = _split(url)
    if parts is None:
        return repr(url) if "@" not in url else "a text without scheme:// (not shown, as it may contain a password)"
    scheme, before, options = parts.groups()
    if before.startswith("/") and _is_file(scheme):
        return f"{scheme}:///…" if scheme.endswith("unix") and "@" in before + options else f"{scheme}://{before}"
    shown = before.rpartition("@")[2]
    if "@" in options or not _are_hosts(shown.partition("/")[0]):
        return f"{scheme}://…"
    return f"{scheme}://{shown}"


def _is_file(scheme: str) -> bool:
    return scheme.removeprefix("rq+") in FILES


def split(url: str) -> SplitResult:
    """Return the parts of a URL. Raises ConfigurationError if an unencoded character puts their borders in doubt."""
    found = _split(url)
    if found is None:
        raise ConfigurationError(f"{without_secrets(url)} is no URL; expected one like sqlite:///jobs.db")
    scheme, before, after = found.groups()
    netloc, _, path = before.partition("/")
    name = without_secrets(url)
    if "#" in after:
        raise ConfigurationError(f"{name} contains a #; in a password or a path it is written as %23")
    if "@" in after or ("@" in path and not _is_file(scheme)):
        raise ConfigurationError(
            f"{name} has an @ behind its first / or ?; user and password must be percent-encoded: @ as %40, / as %2F, "
            "? as %3F"
        )
    if not _are_hosts(netloc.rpartition("@")[2]):
        raise ConfigurationError(
            f"{name} can't be used: no host and port are where they are expected, as in "
            "scheme://user:password@host:1234; user and password must be percent-encoded"
        )
    try:
        return urlsplit(url)
    except ValueError:  # its text contains the password
        raise ConfigurationError(f"{name} is no valid URL; user, password and path must be percent-encoded") from None


def file_of(url: str) -> str:
    """Return the path of the file that a URL names. Raises ConfigurationError."""
    parts = split(url)
    path = unquote(parts.path)
    if parts.netloc or len(path) < 2 or path == "/:memory:":
        raise ConfigurationError(
            f"{without_secrets(url)} names no file; expected sqlite:///relative.db or sqlite:////absolute/path.db, "
            "or memory:// for jobs that need not outlive the process"
        )
    return path[1:]


def options_of(url: str, known: tuple[str, ...]) -> dict[str, Any]:
    """Return the options of a URL. Raises ConfigurationError for one that is not among ``known``, or is given twice."""
    given = parse_qsl(split(url).query, keep_blank_values=True)
    options = dict(given)
    for name in options:
        if name not in known:
            raise ConfigurationError(
                f"{without_secrets(url)} has the option {name!r}; expected {' or '.join(known) or 'none'}"
            )
    if len(given) > len(options):
        raise ConfigurationError(f"{without_secrets(url)} has an option twice: {', '.join(name for name, _ in given)}")
    return options


def seconds_of(text: str, name: str, least: float) -> float:
    """Return the seconds of a timeout in a URL. Raises ConfigurationError outside ``least`` to 3600."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not least <= seconds <= 3600:
        raise ConfigurationError(f"{name} has the timeout {text!r}; expected seconds from {least} to 3600")
    return seconds
