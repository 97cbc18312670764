"""Send one web hook: to an address that was checked, within a time, without redirects or proxies.

A name is resolved once, and the address that was checked is the one connected to, so that a name which changes its
address meanwhile leads nowhere else. Of the answer only the head is read.
"""

from __future__ import annotations

import io
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Iterable
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import unquote_to_bytes

import zerog
from zerog.exceptions import InvalidValue
from zerog.webhooks.signing import signed
from zerog.webhooks.targets import Target, Targets, target_of

PATIENCE = 20.0
"""Seconds of one attempt, from the connection to the head of the answer."""

LONGEST_HEAD = 64 * 1024
"""Bytes that the head of an answer may have."""

LONGEST_WAIT = 86_400.0
"""Seconds that a receiver's Retry-After may ask for."""


class NotDelivered(Exception):
    """An attempt that failed: ``status`` of the answer, if there was one, and the seconds that it asks to wait."""

    def __init__(self, text: str, status: int | None = None, delay: float | None = None) -> None:
        super().__init__(text)
        self.status, self.delay = status, delay


def send(targets: Targets, url: str, message: str, body: bytes) -> int:
    """Send a message and return the status of the answer, 200 to 299. Raises NotDelivered, which shows no secret."""
    try:
        target = target_of(url)
        keys = targets.keys(target)
    except InvalidValue as error:
        raise NotDelivered(str(error)) from None
    headers = {
        "Host": target.shown.partition("://")[2],
        "Content-Type": "application/json",
        "User-Agent": f"ZeroG/{zerog.__version__}",
        "Connection": "close",
        **signed(message, body, keys, time.time()),
    }
    if target.user is not None:
        headers["Authorization"] = f"Basic {b64encode(unquote_to_bytes(target.user)).decode()}"
    try:
        status, wait = _exchange(target, _addresses(targets, target), headers, body)
    except (OSError, HTTPException, ValueError) as error:  # the chain could contain parts of the URL
        raise NotDelivered(f"{target.shown} was not notified: {_reason(error)}") from None
    if 200 <= status < 300:
        return status
    redirect = "; redirects are not followed" if 300 <= status < 400 else ""
    raise NotDelivered(f"{target.shown} answered {status}{redirect}", status, _seconds(wait))


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {PATIENCE:g} s"
    text = str(error) if isinstance(error, (OSError, _Refused)) else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class _Refused(ValueError):
    """An address or an answer that is not accepted."""


def _addresses(targets: Targets, target: Target) -> list[tuple[Any, ...]]:
    """Return the addresses of a target that may be connected to, as ``getaddrinfo`` gives them."""
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    allowed = [each for each in found if targets.allows(str(each[4][0]))]
    if not allowed:
        raise _Refused(f"it has the address {found[0][4][0]}, which is not public and in none of the app's networks")
    return allowed


def _exchange(
    target: Target, addresses: Iterable[tuple[Any, ...]], headers: dict[str, str], body: bytes
) -> tuple[int, str | None]:
    """Return the status of the answer and its Retry-After."""
    deadline = time.monotonic() + PATIENCE
    wire = _connected(target, addresses, deadline)
    connection = HTTPConnection(target.host, target.port)
    connection.sock = wire  # so that it opens no connection itself
    try:
        connection.request("POST", target.path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Retry-After")
    finally:
        wire.close()


def _connected(target: Target, addresses: Iterable[tuple[Any, ...]], deadline: float) -> _Wire:
    """Return a connection to the first address that accepts one. Raises OSError."""
    trouble: OSError | None = None
    for family, kind, protocol, _, address in addresses:
        wire = _Wire(socket.socket(family, kind, protocol), deadline)
        try:
            wire.connect(address, target)
            return wire
        except BaseException as error:  # a run may be interrupted here
            wire.close()
            if not isinstance(error, OSError):
                raise
            trouble = error
    raise trouble or OSError("it has no address")


class _Wire:
    """A connection on which all calls together end by a deadline, and from which little is read."""

    def __init__(self, plain: socket.socket, deadline: float) -> None:
        self._socket, self._deadline, self._left = plain, deadline, LONGEST_HEAD

    def connect(self, address: Any, target: Target) -> None:
        """Connect to an address, encrypted for ``https``."""
        self._limit()
        self._socket.connect(address)
        if target.scheme == "https":
            self._limit()
            self._socket = ssl.create_default_context().wrap_socket(self._socket, server_hostname=target.host)

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        self._limit()
        self._socket.sendall(data)

    def receive_into(self, buffer: Any) -> int:
        """Receive into a buffer, and return the number of bytes."""
        self._limit()
        if self._left <= 0:
            raise _Refused(f"the head of its answer is longer than {LONGEST_HEAD:,} bytes")
        number = self._socket.recv_into(buffer, min(len(buffer), self._left))
        self._left -= number
        return number

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return what answers are read from."""
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def _limit(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)


class _Reader(io.RawIOBase):
    def __init__(self, wire: _Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._wire.receive_into(buffer)


def _seconds(retry_after: str | None) -> float | None:
    """Return the seconds that an answer asks to wait, if it gives them as a number."""
    text = (retry_after or "").strip()
    return min(float(text), LONGEST_WAIT) if text.isascii() and text.isdigit() and len(text) < 10 else None
