"""URLs of datastores and queues: their parts, and how they may be shown."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from zerog.exceptions import ConfigurationError


def without_secrets(url: str) -> str:
    """A URL as it may be logged: without user, password and options, encoded as they should be or not."""
    scheme, _, rest = url.partition("://")
    before, _, options = rest.partition("?")
    if before.startswith("/"):  # a path, which has no login in front of it
        return f"{scheme}://{before}"
    if "@" in options:  # a password with a question mark in it, or an option
        return f"{scheme}://…"
    return f"{scheme}://{before.rpartition('@')[2]}"


def file_of(url: str) -> str:
    """Return the path of the file that a URL names. Raises ConfigurationError."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc or len(path) < 2 or path == "/:memory:":
        raise ConfigurationError(
            f"{without_secrets(url)} names no file; expected sqlite:///relative.db or sqlite:////absolute/path.db, "
            "or memory:// for jobs that need not outlive the process"
        )
    return path[1:]


def options_of(url: str, known: tuple[str, ...]) -> dict[str, Any]:
    """Return the options of a URL. Raises ConfigurationError for one that is not among ``known``."""
    options = dict(parse_qsl(urlsplit(url).query))
    for name in options:
        if name not in known:
            raise ConfigurationError(
                f"{without_secrets(url)} has the option {name!r}; expected {' or '.join(known) or 'none'}"
            )
    return options
