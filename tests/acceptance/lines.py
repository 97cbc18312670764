"""Traces of jobs outside ZeroG, where no fence protects them."""

from __future__ import annotations

import os

EFFECT_BYTES = 8
"""Length of the line that a counted job leaves at its end."""


def append_line(path: str, line: str) -> None:
    """Append a line in one write, which the system doesn't mix with another process's."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)
