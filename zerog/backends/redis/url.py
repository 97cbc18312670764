"""Parse the URL of a Redis server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from zerog.exceptions import ConfigurationError
from zerog.support.urls import options_of, seconds_of, split, without_secrets

PREFIX = "zerog"
"""Prefix of an app's keys, unless its URL has ``?prefix=``."""

TIMEOUT = 5.0
"""Seconds that connecting and each answer may take, unless the URL has ``?timeout=``."""

_OPTIONS = ("prefix", "timeout")
_PASSED_ON = ("db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")


class Address(NamedTuple):
    """The parts of a URL."""

    name: str
    """The URL as it may be logged: without user, password and options."""
    client_url: str
    """The URL as the client takes it."""
    prefix: str
    timeout: float
    options: Mapping[str, Any] | None = None
    """How to connect, in place of ``client_url``: the options of a client of the caller's."""


def parse(url: str) -> Address:
    """Parse a URL. Raises ConfigurationError, naming the fault and never the password."""
    parts, name = split(url), without_secrets(url)
    options = options_of(url, (*_OPTIONS, *_PASSED_ON))
    prefix = options.pop("prefix", PREFIX)
    check_prefix(prefix, name)
    timeout = seconds_of(options.pop("timeout", str(TIMEOUT)), name, 0.01)
    if parts.scheme == "unix":
        if not parts.path:
            raise ConfigurationError(f"{name} names no socket; expected unix:///run/redis.sock?db=0")
    else:
        database = parts.path.removeprefix("/")
        if database and not re.fullmatch(r"\d{1,9}", database):
            raise ConfigurationError(
                f"{name} names no database by its path; expected a number, as in redis://localhost:6379/0"
            )
        if database and options.get("db", database) != database:
            raise ConfigurationError(f"{name} and its option db name two databases; expected one of both")
    return Address(name, f"{url.partition('?')[0]}?{urlencode(options)}", prefix, timeout)


def check_prefix(prefix: object, name: str) -> str:
    """Return the prefix of keys on the server of this name. Raises ConfigurationError."""
    if type(prefix) is not str or not prefix or re.search(r"[{}\s]", prefix):
        raise ConfigurationError(f"{name} has the prefix {prefix!r}; expected a text without spaces and braces")
    return prefix
