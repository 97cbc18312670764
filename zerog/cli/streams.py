"""Standard output and error that never fail.

A log disk that is full, a pipe that nobody reads any more and a descriptor that was closed must not fail the jobs that
print, nor the worker.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO


class _Steady(io.FileIO):
    """A file of which nothing is asked: what can't be written is lost."""

    def write(self, data: Any, /) -> int:
        try:
            written = super().write(data)
        except OSError:
            written = None
        return memoryview(data).nbytes if written is None else written


def keep_streams() -> None:
    """Replace ``sys.stdout`` and ``sys.stderr`` by streams that lose what they can't write; each line goes out at once.

    A closed descriptor among the first three becomes the null device: the next file that is opened, a database
    perhaps, would otherwise take its number, and with it whatever a library writes to it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
    sys.stdout = _stream(1)
    sys.stderr = _stream(2)


def _stream(number: int) -> TextIO:
    raw = io.BufferedWriter(_Steady(number, "w", closefd=False))
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
