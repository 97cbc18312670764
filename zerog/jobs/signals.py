"""Four exceptions with which a job ends its run from anywhere inside ``run()``.

Each takes an optional code and message, which ``raise_error_continue`` and its siblings fill in; a job may raise the
classes themselves, too.
"""

from __future__ import annotations

from typing import Any

from zerog.records.job import INTERNAL_ERROR


def _init(
    self: Any, *args: object, code: int = INTERNAL_ERROR, delay: float | None = None, recorded: bool = False
) -> None:
    """Keep what the end of the run needs; ``recorded``: True if the job's history has the error or warning already."""
    Exception.__init__(self, *args)
    self.code = code
    self.delay = delay
    self.recorded = recorded


# By the documented API each of the four derives from Exception directly: what catches one catches no other.


class ErrorContinue(Exception):
    """Ends this run with an error; the job may run again."""

    code: int
    delay: float | None
    recorded: bool
    __init__ = _init


class ErrorFinish(Exception):
    """Ends the job with an error."""

    code: int
    delay: float | None
    recorded: bool
    __init__ = _init


class WarningContinue(Exception):
    """Ends this run with a warning; the job may run again."""

    code: int
    delay: float | None
    recorded: bool
    __init__ = _init


class WarningFinish(Exception):
    """Ends the job with a warning."""

    code: int
    delay: float | None
    recorded: bool
    __init__ = _init
