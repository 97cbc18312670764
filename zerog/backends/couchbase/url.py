"""Parse the URL of a Couchbase cluster."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from zerog.exceptions import ConfigurationError

PASSWORD_VARIABLE = "ZEROG_COUCHBASE_PASSWORD"  # noqa: S105  # a name, no password
"""Environment variable with the password, unless the URL has one."""

TIMEOUT = 5.0
"""Seconds that connecting and each answer may take, unless the URL has ``?timeout=``."""

PORTS = {"couchbase": "11210", "couchbases": "11207"}
"""Ports of a cluster unless the URL has its own."""

DURABILITY = ("none", "majority", "majority_and_persist_to_active", "persist_to_majority")
"""Values of ``?durability=``: where a write must have arrived before it is answered."""

OPTIONS = ("timeout", "durability", "ca", "network")


@dataclass(frozen=True)
class Address:
    """The parts of a URL."""

    name: str
    """The URL as it may be logged: without user, password and query."""
    scheme: str
    hosts: str
    user: str
    password: str = field(repr=False)
    bucket: str
    scope: str
    collection: str
    timeout: float
    durability: str
    ca: str | None
    network: str | None


def parse(url: str) -> Address:
    """Parse a URL. Raises ConfigurationError, naming the fault and never the password."""
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    name = f"{parts.scheme}://{hosts}{parts.path}"
    user, _, password = login.partition(":")
    path = [unquote(part) for part in parts.path.strip("/").split("/") if part]
    if not user or not hosts or len(path) not in (1, 3):
        raise ConfigurationError(
            f"{name} names no bucket; expected couchbase://user@host/bucket or couchbase://user@host/bucket/scope/"
            "collection"
        )
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for option in options:
        if option not in OPTIONS:
            raise ConfigurationError(f"{name} has the option {option!r}; expected {', '.join(OPTIONS)}")
    password = unquote(password) or os.environ.get(PASSWORD_VARIABLE, "")
    if not password:
        raise ConfigurationError(f"{name} has no password; set {PASSWORD_VARIABLE}")
    durability = options.get("durability", "none")
    if durability not in DURABILITY:
        raise ConfigurationError(f"{name} has the durability {durability!r}; expected {', '.join(DURABILITY)}")
    scope, collection = path[1:] or ("_default", "_default")
    return Address(
        name,
        parts.scheme,
        hosts,
        unquote(user),
        password,
        path[0],
        scope,
        collection,
        _seconds(options.get("timeout", str(TIMEOUT)), name),
        durability,
        options.get("ca"),
        options.get("network"),
    )


def _seconds(text: str, name: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:
        raise ConfigurationError(f"{name} has the timeout {text!r}; expected seconds from 0.1 to 3600")
    return seconds
