"""A redis-py client that is opened when it is first needed, and never used by a forked child.

Nothing is ever sent twice by the client itself: a write whose answer is lost is the caller's to judge.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from zerog.exceptions import ConfigurationError, QueueUnavailable

TIMEOUT = 5.0
"""Seconds that connecting and each answer may take, unless the URL says ``?timeout=``."""

PASSED_ON = ("db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
"""Options of a URL that are the client library's own."""


class RedisClient:
    """The server that a URL names. Safe to share between threads.

    Raises ConfigurationError for a URL that makes no sense; whether there is a server is seen at the first call.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.name = f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
        options = dict(parse_qsl(parts.query))
        for option in options:
            if option not in ("timeout", *PASSED_ON):
                expected = ", ".join(("timeout", *PASSED_ON))
                raise ConfigurationError(f"{self.name} has the option {option!r}; expected {expected}")
        self._timeout = _seconds(options.pop("timeout", str(TIMEOUT)), self.name)
        self._url = urlunsplit(parts._replace(query=urlencode(options)))
        self._lock = threading.Lock()
        self._pid = 0
        self._client: Any = None
        self._connect()  # a wrong URL fails here, at the start

    def get(self) -> Any:
        """This process's client."""
        with self._lock:
            if self._client is None or self._pid != os.getpid():
                self._client, self._pid = self._connect(), os.getpid()
            return self._client

    def close(self) -> None:
        """Close this process's connections. A later call opens new ones."""
        with self._lock:
            client, self._client = self._client, None
            if client is not None and self._pid == os.getpid():
                client.close()

    @contextmanager
    def translated(self, what: str) -> Iterator[None]:
        """Have what the client raises come out as QueueUnavailable or ConfigurationError, telling ``what`` failed."""
        try:
            yield
        except (redis.exceptions.AuthenticationError, redis.exceptions.NoPermissionError) as error:
            raise ConfigurationError(f"{what}: {self.name} refuses this user, password or command ({error})") from None
        except (redis.exceptions.RedisError, OSError) as error:
            raise QueueUnavailable(f"{what}: {self.name}: {type(error).__name__}: {error}") from error

    def _connect(self) -> Any:
        try:
            return redis.Redis.from_url(
                self._url,
                protocol=2,  # works on every server, without a handshake
                socket_timeout=self._timeout,
                socket_connect_timeout=self._timeout,
                retry=Retry(NoBackoff(), 0),
            )
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"{self.name} can't be used: {error}") from None


def _seconds(text: str, name: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 2 <= seconds <= 3600:
        raise ConfigurationError(f"{name} has the timeout {text!r}; expected seconds from 2 to 3600")
    return seconds
