"""The four exceptions with which a job ends its run from anywhere inside ``run()``.

Each takes an optional code and message, which ``raise_error_continue`` and its siblings fill in; a job may raise the
classes themselves, too.
"""

from __future__ import annotations

from zerog.document import INTERNAL_ERROR


class _Signal(Exception):
    """``recorded``: whether the error or warning is in the job's history already."""

    def __init__(self, *args: object, code: int = INTERNAL_ERROR, delay: float | None = None, recorded: bool = False):
        super().__init__(*args)
        self.code = code
        self.delay = delay
        self.recorded = recorded


class ErrorContinue(_Signal):
    """Ends this run with an error; the job may run again."""


class ErrorFinish(_Signal):
    """Ends the job with an error."""


class WarningContinue(_Signal):
    """Ends this run with a warning; the job may run again."""


class WarningFinish(_Signal):
    """Ends the job with a warning."""
