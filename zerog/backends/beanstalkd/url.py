"""Parse the URL of a beanstalkd server, and name its tubes."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote

from zerog.exceptions import ConfigurationError
from zerog.support.urls import options_of, seconds_of, split, without_secrets

PORT = 11300

PREFIX = "zerog"
"""What the names of an app's tubes begin with, unless its URL has ``?prefix=``."""

TIMEOUT = 5.0
"""Seconds that connecting and each answer may take, unless the URL has ``?timeout=``."""

LONGEST_TUBE = 200
"""Bytes of a tube's name, at most."""

_is_prefix = re.compile(r"[\w+;.()][\w+;.()-]{0,49}", re.ASCII).fullmatch


class Address(NamedTuple):
    """The parts of a URL."""

    name: str
    """The URL as it may be logged."""
    host: str
    port: int
    prefix: str
    timeout: float


def parse(url: str) -> Address:
    """Parse a URL. Raises ConfigurationError, naming the fault and never a password."""
    parts, name = split(url), without_secrets(url)
    options = options_of(url, ("prefix", "timeout"))
    if "@" in parts.netloc:
        raise ConfigurationError(
            f"{name} has a user or a password, and beanstalkd knows neither; expected beanstalkd://host:11300, on a "
            "network that only trusted programs reach"
        )
    if not parts.hostname or "," in parts.netloc:
        raise ConfigurationError(f"{name} doesn't name one host; expected a URL like beanstalkd://localhost:11300")
    if parts.path not in ("", "/"):
        raise ConfigurationError(f"{name} has a path; expected beanstalkd://host:11300, if need be with ?prefix=shop")
    try:
        port = PORT if parts.port is None else parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ConfigurationError(f"{name} has no valid port; expected a number from 1 to 65535")
    prefix = options.get("prefix", PREFIX)
    if not _is_prefix(prefix):
        raise ConfigurationError(
            f"{name} has the prefix {prefix!r}; expected up to 50 ASCII letters, digits and +;._()-, no - in front"
        )
    timeout = seconds_of(options.get("timeout", str(TIMEOUT)), name, 0.01)
    return Address(name, parts.hostname, port, prefix, timeout)


def tube_of(prefix: str, name: str) -> str:
    """Return the tube of a queue; each byte that a tube's name can't have is written as ``$`` and two digits.

    Raises ConfigurationError for a name that is too long.
    """
    quoted = quote(name, safe="+/;()", errors="surrogatepass").replace("~", "%7E").replace("%", "$")
    tube = f"{prefix}/{quoted}"
    if len(tube) > LONGEST_TUBE:
        raise ConfigurationError(
            f"queue={name!r:.80} would be the tube {tube!r:.80} of {len(tube)} bytes; expected a name for which "
            f"{LONGEST_TUBE} are enough. Nothing was stored."
        )
    return tube
