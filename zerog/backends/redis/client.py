"""A redis client made by the caller: where and how it connects. ZeroG opens connections of its own in the same way.

So the client's other options, for example ``decode_responses``, its own retries and the size of its pool, don't matter,
a forked child may use what its parent was given, and the caller closes the client whenever it likes.
"""

from __future__ import annotations

from typing import Any

import redis
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection

from zerog.backends.redis.url import TIMEOUT, Address, check_prefix
from zerog.exceptions import ConfigurationError

KINDS = {Connection: "redis", SSLConnection: "rediss", UnixDomainSocketConnection: "unix"}
"""The connections that can be made again, by their schemes."""

_PASSED_ON = (
    *("host", "port", "path", "db", "username", "password", "credential_provider", "client_name"),
    *("socket_keepalive", "socket_keepalive_options", "socket_type", "redis_connect_func"),
)
"""Options of a client's connections that are used, beside those whose names begin with ``ssl_``."""


def address_of(client: Any, prefix: str) -> Address:
    """Return where a client connects to, and how. Raises ConfigurationError for what is no plain client."""
    if not isinstance(client, redis.Redis):
        raise ConfigurationError(
            f"client={client!r:.200}; expected redis.Redis(…) or redis.Redis.from_url(…): asynchronous clients and "
            "clusters can't be used"
        )
    pool = client.connection_pool
    given, kind = pool.connection_kwargs, pool.connection_class
    scheme = KINDS.get(kind)
    if scheme is None:
        raise ConfigurationError(
            f"client=… connects by {kind.__module__}.{kind.__qualname__}; expected a client over TCP, over TLS or over "
            "a socket of the file system, without Sentinel"
        )
    options = {name: given[name] for name in given if name in _PASSED_ON or name.startswith("ssl_")}
    seconds: Any = given.get("socket_timeout")
    timeout = float(seconds) if type(seconds) in (int, float) and seconds >= 0.01 else TIMEOUT
    place = given.get("path") or f"{given.get('host', 'localhost')}:{given.get('port', 6379)}"
    name = f"{scheme}://{place}/{given.get('db') or 0}"
    return Address(name, "", check_prefix(prefix, name), timeout, {**options, "connection_class": kind})
