"""Answers as JSON: what a browser can read without loss."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

SAFE = 2**53 - 1
"""The largest integer that a browser reads as it is; larger ones are sent as text."""


@dataclass
class Answer:
    """What a handler returns: JSON content, or with ``text`` another body."""

    content: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    text: str | None = None
    is_tagged: bool = False
    """True if it has an ETag made of its content."""

    def body(self) -> bytes:
        """Return the body, encoded."""
        return to_json(self.content) if self.text is None else self.text.encode("utf-8", "backslashreplace")


def to_json(value: Any) -> bytes:
    """Return a value as JSON in UTF-8; integers that browsers would round become text."""
    plain = _readable(value)
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair in a damaged document
        return json.dumps(plain, separators=(",", ":")).encode()


def revision(body: bytes) -> str:
    """Return a short name of a state, to be compared for equality only."""
    return blake2b(body, digest_size=12).hexdigest()


def _readable(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {name: _readable(part) for name, part in value.items()}
    if kind is list:
        return [_readable(part) for part in value]
    if kind is int and not -SAFE <= value <= SAFE:
        return str(value)
    return value
