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

import click

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


def _event(record: logging.LogRecord) -> str:
    """Return the message of a record without the names of its job that it begins with; fields have them, too."""
    message = record.getMessage()
    for field in ("logId", "jobType", "uuid"):
        name = flat(getattr(record, field, ""))
        if name and message.startswith(f"{name} "):
            message = message[len(name) + 1 :]
    return message


COLOURS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}
"""The colour of a level's name on a terminal."""


class _Plain(_Utc):
    """Lines for people: time, level, logger unless it is ``zerog``, uuid and type of the job, and what happened.

    They fit 120 columns as long as a job's own text is short. A job's ``logId`` is added if its class has set one. No
    text of a job can look like a separate record or control a terminal.
    """

    default_msec_format = "%s.%03dZ"

    def __init__(self, is_coloured: bool = False) -> None:
        super().__init__("%(asctime)s %(message)s")
        self._is_coloured = is_coloured

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        uuid, job_type, log_id = (getattr(record, field, None) for field in ("uuid", "jobType", "logId"))
        if log_id is not None and str(uuid).endswith(str(log_id)):
            log_id = None  # the end of the uuid, unless another one was set
        logger = None if record.name == "zerog" else record.name
        names = (flat(name) for name in (logger, uuid, job_type, log_id) if name is not None)
        level, time = record.levelname, record.asctime
        if self._is_coloured:
            level, time = click.style(level, fg=COLOURS.get(level)), click.style(time, dim=True)
        return " ".join([time, level, *names, flat(_event(record))])

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
        """One object a line, with every field of the record; messages without names of jobs, so that logs group."""

        def format(self, record: logging.LogRecord) -> str:
            alone = copy(record)
            alone.msg, alone.args = _event(record), ()
            return super().format(alone)

    return Json(list(COLUMNS), style=",", rename_fields={name: to for name, to in COLUMNS.items() if name != to})


class WorkerLogging:
    """The logging of ``zerog worker``.

    The rule: ``--log-level`` and ``--log-format`` decide if one of them is given; else the application decides, if the
    root logger has a handler once the app is imported; else every record from INFO on is written as plain text. What
    has no effect by this rule is logged at the start. Records that the import makes are written meanwhile.
    """

    def __init__(self, level: str | None, form: str | None) -> None:
        """Check the options, None if they weren't given. Raises ConfigurationError."""
        number = logging.getLevelName((level or "INFO").upper())
        if not isinstance(number, int):
            raise zerog.ConfigurationError(f"--log-level {level!r}; expected DEBUG, INFO, WARNING or ERROR")
        self._given = [f"--log-{name}" for name, value in (("level", level), ("format", form)) if value is not None]
        self._level = number
        self._handler = logging.StreamHandler(steady_stream(2))  # its own: jobs close sys.stderr
        self._handler.setLevel(number)
        self._handler.setFormatter(_json() if form == "json" else _Plain(_has_colours()))
        logging.lastResort = self._handler

    def decide(self) -> None:
        """Apply the rule; to be called when the app is imported."""
        from zerog.jobs.logfields import JobFields

        root, log = logging.getLogger(), logging.getLogger("zerog")
        is_configured = bool(root.handlers)
        if is_configured and not self._given:
            if log.disabled:  # dictConfig does so by default
                click.echo(
                    "zerog: the application's configuration disables the logger zerog; no job is logged. Give it "
                    "disable_existing_loggers=False",
                    err=True,
                )
            return
        self._handler.addFilter(JobFields())
        root.handlers[:] = [self._handler]
        root.setLevel(self._level)
        log.disabled = False
        if is_configured:
            log.warning("the application's configuration of logging has no effect: %s", " and ".join(self._given))


def _has_colours() -> bool:
    """Return True if standard error is a terminal that shows colours (https://no-color.org)."""
    return os.isatty(2) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
