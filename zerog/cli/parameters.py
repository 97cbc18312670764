"""Parameters of a job as a shell or a file gives them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import zerog
from zerog import values


def pair(text: str) -> tuple[str, str]:
    """A name and its value, from KEY=VALUE. Raises ConfigurationError."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise zerog.ConfigurationError(f"{text!r} is no parameter; expected KEY=VALUE")
    return name, value


def read_json(source: str) -> Any:
    """The JSON of a file, - for standard input. Raises ConfigurationError, InvalidValue."""
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
        return values.decode(text)
    except OSError as error:
        raise zerog.ConfigurationError(f"{source} can't be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise zerog.InvalidValue(f"{source} holds no JSON: {error}; nothing was stored") from None
