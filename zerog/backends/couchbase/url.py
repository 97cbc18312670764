"""Parse the URL of a Couchbase cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote

from zerog.exceptions import ConfigurationError
from zerog.support.environment import variable
from zerog.support.urls import options_of, seconds_of, split, without_secrets

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
    parts = split(url)
    login, _, hosts = parts.netloc.rpartition("@")
    name = without_secrets(url)
    user, _, password = login.partition(":")
    path = [unquote(part) for part in parts.path.strip("/").split("/") if part]
    if not user or not hosts or len(path) not in (1, 3):
        raise ConfigurationError(
            f"{name} names no bucket; expected couchbase://user@host/bucket or couchbase://user@host/bucket/scope/"
            "collection"
        )
    options = options_of(url, OPTIONS)
    password = unquote(password) or variable(PASSWORD_VARIABLE) or ""
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
        seconds_of(options.get("timeout", str(TIMEOUT)), name, 0.1),
        durability,
        options.get("ca"),
        options.get("network"),
    )
