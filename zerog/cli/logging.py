"""Logging as ``zerog worker`` sets it up, to standard output and error that never fail and never block.

A log disk that is full, a pipe that nothing reads and a descriptor that was closed must not fail the jobs that print,
nor block a worker. What can't be written is lost; the number of lost bytes is written once that is possible again.
"""

from __future__ import annotations

import io
import logging
import os
import select
import socket
import stat
import sys
import time
from contextlib import suppress
from copy import copy
from typing import Any, TextIO

import zerog
from zerog.support.texts import INDENT, flat, indented, plain_traceback

PATIENCE = 0.2
"""Seconds for which a write waits for a reader. After a write that timed out none waits until something was read."""


class _Steady(io.RawIOBase):
    """A descriptor to which everything can be written; what its reader doesn't take in time is lost."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._seen: tuple[int, int] | None = None
        self._outlet = number
        self._socket: socket.socket | None = None
        self._lost = 0

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def write(self, data: Any, /) -> int:
        view = memoryview(data).cast("B")
        size = view.nbytes
        with suppress(OSError):
            self._open()
            if self._lost:
                if not self._has_been_read():
                    self._lost += size
                    return size
                notice = f"\n[{self._lost} bytes of output were lost: nothing read them in time]\n"
                self._lost = 0
                view = memoryview(notice.encode() + view)
            self._put(view)
        return size

    def _put(self, view: memoryview) -> None:
        deadline = time.monotonic() + PATIENCE
        while view:
            try:
                view = view[self._send(view) :]
            except BlockingIOError:
                if time.monotonic() > deadline:
                    self._lost += view.nbytes
                    return
                time.sleep(PATIENCE / 50)

    def _send(self, view: memoryview) -> int:
        if self._socket is not None:
            return self._socket.send(view, socket.MSG_DONTWAIT)
        return os.write(self._outlet, view)

    def _has_been_read(self) -> bool:
        """Return True if there is room for more than a few bytes again."""
        poll = select.poll()
        poll.register(self._outlet, select.POLLOUT)
        return bool(poll.poll(0))

    def _open(self) -> None:
        """Open an outlet that doesn't block to the descriptor's present file.

        The descriptor itself is shared with other processes, which expect that it blocks. So a pipe or a terminal is
        opened once more.
        """
        status = os.fstat(self._number)
        if (status.st_dev, status.st_ino) == self._seen:
            return
        self._close()
        self._seen = status.st_dev, status.st_ino
        if stat.S_ISSOCK(status.st_mode):
            self._socket = socket.socket(fileno=os.dup(self._number))
            self._outlet = self._socket.fileno()
        elif stat.S_ISFIFO(status.st_mode) or stat.S_ISCHR(status.st_mode):
            with suppress(OSError):  # not allowed, or not Linux: then it may block after all
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
                self._outlet = os.open(f"/proc/self/fd/{self._number}", flags)

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        elif self._outlet != self._number:
            os.close(self._outlet)
        self._socket, self._outlet = None, self._number


def keep_streams() -> None:
    """Replace ``sys.stdout`` and ``sys.stderr`` by line-buffered streams that lose what they can't write.

    A closed descriptor among the first three becomes the null device: the next file that is opened, possibly a
    database, would otherwise take its number, and with it whatever a library writes to it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
    sys.stdout = steady_stream(1)
    sys.stderr = steady_stream(2)


def steady_stream(number: int) -> TextIO:
    """Return a stream to a descriptor that loses what can't be written; closing it leaves the descriptor open."""
    raw = io.BufferedWriter(_Steady(number))
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)


FORMATS = ("plain", "json")

COLUMNS = {"asctime": "timestamp", "levelname": "level", "process": "pid", "name": "logger", "message": "message"}
"""Fields that each line begins with, and their names in JSON."""


LONGEST_TRACEBACK = 64 * 1024
"""Bytes of one traceback in the log."""


class _Utc(logging.Formatter):
    """Timestamps in UTC, in ISO form."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03d+00:00"
    converter = staticmethod(time.gmtime)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Return a traceback, shortened if it is long, even if that of a job's exception can't be formatted."""
        return plain_traceback(ei[1], LONGEST_TRACEBACK) if ei[1] is not None else ""


class _Plain(_Utc):
    """Lines for people; records of other loggers within a job's run begin with the job's logId, too.

    No text of a job can look like a separate record or control a terminal.
    """

    def __init__(self) -> None:
        super().__init__(" ".join(f"%({column})s" for column in COLUMNS))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        log_id = getattr(record, "logId", None)
        if log_id is not None and not record.message.startswith(str(log_id)):
            record.message = f"{log_id} {record.message}"
        return flat(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, and its traceback as lines that are indented, as no record is."""
        alone = copy(record)
        alone.exc_info = alone.exc_text = alone.stack_info = None
        trace = self.formatException(record.exc_info) if record.exc_info else record.exc_text
        more = [INDENT + indented(text.rstrip()) for text in (trace, record.stack_info) if text]
        return "\n".join([super().format(alone), *more])


def _json() -> logging.Formatter:
    from pythonjsonlogger.json import JsonFormatter  # an extra, imported only for --log-format json

    class Json(_Utc, JsonFormatter):
        """One object a line, with every field of the record."""

    return Json(list(COLUMNS), style=",", rename_fields={name: to for name, to in COLUMNS.items() if name != to})


def configure(level: str, form: str) -> None:
    """Send every record from ``level`` on to standard error, as ``plain`` or ``json``. Raises ConfigurationError."""
    number = logging.getLevelName(level.upper())
    if not isinstance(number, int):
        raise zerog.ConfigurationError(f"--log-level {level!r}; expected DEBUG, INFO, WARNING or ERROR")
    from zerog.jobs.logfields import JobFields

    handler = logging.StreamHandler(steady_stream(2))  # its own: jobs close sys.stderr
    handler.addFilter(JobFields())
    handler.setFormatter(_json() if form == "json" else _Plain())
    logging.basicConfig(level=number, handlers=[handler])
