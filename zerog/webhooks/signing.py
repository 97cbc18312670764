"""Signatures of web hooks by the Standard Webhooks specification: made by the sender, verified by the receiver.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import binascii
import json
import secrets
import time
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from hmac import compare_digest, digest
from typing import Any

from zerog.exceptions import ConfigurationError, InvalidSignature

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
"""Headers of a web hook."""

PREFIX = "whsec_"
"""What secrets begin with."""

SHORTEST, LONGEST = 24, 64
"""Bytes of a secret."""

TOLERANCE = 300.0
"""Seconds by which the clocks of sender and receiver may differ, the time on the way included."""


def new_secret() -> str:
    """Return a new secret: ``whsec_`` and 32 random bytes as base64."""
    return PREFIX + b64encode(secrets.token_bytes(32)).decode()


def keys_of(given: str | Iterable[str]) -> tuple[bytes, ...]:
    """Return the keys of one secret or of several. Raises ConfigurationError, which shows none."""
    texts = [given] if isinstance(given, str) else list(given)
    if not texts:
        raise ConfigurationError("no secret was given for a web hook; expected one made by zerog.webhooks.new_secret()")
    return tuple(_key_of(text) for text in texts)


def _key_of(text: object) -> bytes:
    try:
        key = b64decode(str(text).removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not isinstance(text, str) or not SHORTEST <= len(key) <= LONGEST:
        raise ConfigurationError(
            f"the secret of a web hook (not shown) is not as expected: {PREFIX} and {SHORTEST} to {LONGEST} bytes as "
            "base64; zerog.webhooks.new_secret() makes one"
        )
    return key


def signed(message: str, body: bytes, keys: Iterable[bytes], now: float) -> dict[str, str]:
    """Return the headers of a message: its id, the time of this attempt and a signature by each key."""
    stamp = str(int(now))
    return {ID: message, TIMESTAMP: stamp, SIGNATURE: " ".join(_signature(message, stamp, body, key) for key in keys)}


def _signature(message: str, stamp: str, body: bytes, key: bytes) -> str:
    return "v1," + b64encode(digest(key, f"{message}.{stamp}.".encode() + body, sha256)).decode()


def verify(
    body: bytes, headers: Mapping[str, str], secret: str | Iterable[str], tolerance: float = TOLERANCE
) -> dict[str, Any]:
    """Return the content of a web hook that was received, if it is signed with the secret.

    ``body``: the bytes as they came. ``headers``: those of the request, in upper or lower case. ``secret``: one or,
    while it is being replaced, several. ``tolerance``: seconds by which the time of the signature may differ from this
    machine's. Raises InvalidSignature, and ConfigurationError for what is no secret. The same message may come more
    than once: its ``webhook-id`` is the same then.
    """
    keys = keys_of(secret)
    given = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in (ID, TIMESTAMP, SIGNATURE) if not given.get(name)]
    if missing:
        raise InvalidSignature(f"the web hook has no {', '.join(missing)}")
    stamp = given[TIMESTAMP]
    if not (stamp.isascii() and stamp.isdigit() and abs(time.time() - int(stamp[:15])) <= tolerance):
        raise InvalidSignature(f"the web hook's time {stamp!r:.30} is more than {tolerance:g} s from the time here")
    expected = [_signature(given[ID], stamp, body, key).encode() for key in keys]
    signatures = [text.encode() for text in given[SIGNATURE].split(" ")]
    if not any(compare_digest(one, other) for one in expected for other in signatures):
        raise InvalidSignature("no signature of the web hook fits; it has another secret, or was changed on its way")
    content: dict[str, Any] = json.loads(body)
    return content
