"""Logging as ``zerog worker`` sets it up. The library itself never does."""

from __future__ import annotations

import logging
import time

import zerog
from zerog.cli.streams import steady_stream
from zerog.logs import JobFields

FORMATS = ("plain", "json")

COLUMNS = {"asctime": "timestamp", "levelname": "level", "process": "pid", "name": "logger", "message": "message"}
"""What each line begins with, and what JSON calls it."""


class _Utc(logging.Formatter):
    """Timestamps in UTC, in ISO form."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03d+00:00"
    converter = staticmethod(time.gmtime)


class _Plain(_Utc):
    """One line for people; what other loggers say within a job's run begins with the job's logId, too."""

    def __init__(self) -> None:
        super().__init__(" ".join(f"%({column})s" for column in COLUMNS))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        log_id = getattr(record, "logId", None)
        if log_id is not None and not record.message.startswith(str(log_id)):
            record.message = f"{log_id} {record.message}"
        # One record, one line: what a job or its documents say must not look like a record of its own.
        record.message = record.message.replace("\r", "\\r").replace("\n", "\\n")
        return super().formatMessage(record)


def _json() -> logging.Formatter:
    from pythonjsonlogger.json import JsonFormatter  # for those only who want it

    class Json(_Utc, JsonFormatter):
        """One object a line, with every field of the record."""

    return Json(list(COLUMNS), style=",", rename_fields={name: to for name, to in COLUMNS.items() if name != to})


def configure(level: str, form: str) -> None:
    """Send every record from ``level`` on to standard error, as ``plain`` or ``json``. Raises ConfigurationError."""
    number = logging.getLevelName(level.upper())
    if not isinstance(number, int):
        raise zerog.ConfigurationError(f"--log-level {level!r}; expected DEBUG, INFO, WARNING or ERROR")
    handler = logging.StreamHandler(steady_stream(2))  # its own: jobs close sys.stderr
    handler.addFilter(JobFields())
    handler.setFormatter(_json() if form == "json" else _Plain())
    logging.basicConfig(level=number, handlers=[handler])
