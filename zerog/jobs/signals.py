"""Four exceptions with which a job ends its run from anywhere inside ``run()``.

Each takes an optional code and message, which ``raise_error_continue`` and its siblings fill in; a job may raise the
classes themselves, too.
"""

from __future__ import annotations

from zerog.records.job import INTERNAL_ERROR

# By the documented API each of the four derives from Exception directly: what catches one catches no other. Each has an
# __init__ of its own, since type checkers don't see one that is assigned.


class ErrorContinue(Exception):
    """Ends this run with an error; the job may run again."""

    def __init__(
        self, *args: object, code: int = INTERNAL_ERROR, delay: float | None = None, recorded: bool = False
    ) -> None:
        super().__init__(*args)
        self.code, self.delay, self.recorded = code, delay, recorded


class ErrorFinish(Exception):
    """Ends the job with an error."""

    def __init__(
        self, *args: object, code: int = INTERNAL_ERROR, delay: float | None = None, recorded: bool = False
    ) -> None:
        super().__init__(*args)
        self.code, self.delay, self.recorded = code, delay, recorded


class WarningContinue(Exception):
    """Ends this run with a warning; the job may run again."""

    def __init__(
        self, *args: object, code: int = INTERNAL_ERROR, delay: float | None = None, recorded: bool = False
    ) -> None:
        super().__init__(*args)
        self.code, self.delay, self.recorded = code, delay, recorded


class WarningFinish(Exception):
    """Ends the job with a warning."""

    def __init__(
        self, *args: object, code: int = INTERNAL_ERROR, delay: float | None = None, recorded: bool = False
    ) -> None:
        super().__init__(*args)
        self.code, self.delay, self.recorded = code, delay, recorded


WARNINGS = (WarningContinue, WarningFinish)
"""Those that are no failure of the run."""

SIGNALS = (ErrorContinue, ErrorFinish, *WARNINGS)
"""All of them. None is passed to ``on_error``."""
