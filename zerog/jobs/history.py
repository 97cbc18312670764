"""A job's history: events, warnings and errors, and the ways to end a run with one of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from zerog.engine.transitions import erred, error_record, event_record
from zerog.exceptions import InvalidValue, SoftTimeout
from zerog.jobs.error import Error
from zerog.jobs.logfields import fields_of
from zerog.jobs.origin import origin_of
from zerog.jobs.signals import ErrorContinue, ErrorFinish, WarningContinue, WarningFinish
from zerog.jobs.stored import StoredJob
from zerog.jobs.submit_options import check_delay
from zerog.records.job import INTERNAL_ERROR, Document
from zerog.records.operations import Add, Max, Operation, Set
from zerog.support import jsonvalues
from zerog.support.checks import plain_code
from zerog.support.clock import from_text
from zerog.support.texts import LOGGED, name_of, plain_traceback, shortened

if TYPE_CHECKING:
    from zerog.jobs.base import BaseJob

log = logging.getLogger("zerog")

MAX_TRACEBACK = 64 * 1024
"""Bytes of UTF-8 kept of one traceback."""

MAX_DATA = 64 * 1024
"""Bytes of JSON that the ``data`` of one error may take."""


class HistoryMethods(StoredJob):
    """The methods of a job that read and write its history."""

    _data: Any = None
    """Data of the error being recorded; no parameter, since job classes override the methods in between."""

    @property
    def events(self) -> list[Document]:
        """Recorded events, oldest first."""
        return self._entries("events")

    @property
    def warnings(self) -> list[Document]:
        """Recorded warnings, oldest first."""
        return self._entries("warnings")

    @property
    def errors(self) -> list[Error]:
        """Recorded errors, oldest first."""
        return [Error(**entry) for entry in self._entries("errors")]

    def record_event(self, msg: str | Sequence[str], *, flush: bool = True) -> None:
        """Add an entry to the job's events, or one for each text of a list, in one write.

        With ``flush=False`` it waits for this object's next write: so what is recorded of a step is stored together
        with the step's own fields, or not at all.
        """
        self._record("events", msg, flush)

    def record_warning(self, msg: str | Sequence[str], *, flush: bool = True) -> None:
        """Add an entry to the job's warnings, or several, as ``record_event`` does."""
        self._record("warnings", msg, flush)

    def record_error(self, errorCode: int, msg: str, exception: BaseException | None = None) -> None:
        """Add an entry to the job's errors and count it. Override it to react to particular exceptions."""
        self._record_errors(errorCode, [str(msg)], exception, flush=True)

    def record_errors(self, errorCode: int, msgs: Sequence[str], *, flush: bool = True) -> None:
        """Add an entry to the job's errors for each text, in one write, and count them; ``flush`` as for events.

        For errors within a step, such as bad rows, beside those that ``record_error`` handles.
        """
        self._record_errors(errorCode, _texts(msgs), None, flush)

    def _record_errors(self, errorCode: int, msgs: Sequence[str], exception: BaseException | None, flush: bool) -> None:
        document = self._document
        operations: list[Operation] = []
        for text in msgs:
            code, text = _error_code(errorCode, text)
            more, text = _error_data(self._data, text)
            more.update(described(type(self), exception))  # type: ignore[arg-type]
            record = error_record(document.now(), code, text, self.attempts, document.build, **more)
            operations += [*erred(record, document.history_limit), Add("errorCount", 1)]
        document.write(operations, flush)

    def record_result(self, resultCode: int) -> None:
        """Record a result. The worker does this when the run ends."""
        resultCode = plain_code(resultCode)
        self._document.declaration.check_engine_value("resultCode", resultCode)
        operations: list[Operation] = [Set("resultCode", resultCode)]
        if 200 <= resultCode < 300:
            operations.append(Max("completeness", 1.0))
            if self.lastError is not None:  # the history keeps it
                operations.append(Set("lastError", None))
        self._document.write(operations)

    def job_log_info(self, msg: str) -> None:
        """Record an event and log it."""
        log.info("%s %s", self.logId, shortened(msg, LOGGED), extra=fields_of(self))
        self.record_event(msg)

    def job_log_warning(self, msg: str) -> None:
        """Record a warning and log it."""
        log.warning("%s %s", self.logId, shortened(msg, LOGGED), extra=fields_of(self))
        self.record_warning(msg)

    def job_log_error(self, errorCode: int, msg: str, exception: BaseException | None = None) -> None:
        """Record an error and log it."""
        log.error("%s [%s] %s", self.logId, errorCode, shortened(msg, LOGGED), extra=fields_of(self))
        self.record_error(errorCode, msg, exception)

    def raise_warning_continue(self, resultCode: int, msg: str, delay: float | None = None) -> NoReturn:
        """End this run with a warning; the job runs again, after ``delay`` seconds, up to MAX_CONTINUES times."""
        delay = None if delay is None else check_delay(delay)
        self._document.gathered(self.job_log_warning, msg)
        raise WarningContinue(msg, code=resultCode, delay=delay, recorded=True)

    def raise_warning_finish(self, resultCode: int, msg: str) -> NoReturn:
        """End the job with a warning and ``resultCode``."""
        self._document.gathered(self.job_log_warning, msg)
        raise WarningFinish(msg, code=resultCode, recorded=True)

    def raise_error_continue(
        self, errorCode: int, msg: str, delay: float | None = None, *, data: Any = None
    ) -> NoReturn:
        """End this run with an error; the job runs again, up to MAX_ERRORS errors.

        ``delay``: seconds until then, in place of BACKOFF's. ``data``: JSON to be kept with the error.
        """
        delay = None if delay is None else check_delay(delay)
        self._log_with(data, errorCode, msg)
        raise ErrorContinue(msg, code=errorCode, delay=delay, recorded=True)

    def raise_error_finish(self, errorCode: int, msg: str, *, data: Any = None) -> NoReturn:
        """End the job with an error and ``errorCode`` as its result. ``data``: JSON to be kept with the error."""
        self._log_with(data, errorCode, msg)
        raise ErrorFinish(msg, code=errorCode, recorded=True)

    def _record(self, field: str, msg: str | Sequence[str], flush: bool) -> None:
        document = self._document
        document.append(field, [event_record(document.now(), text) for text in _texts(msg)], flush)

    def _log_with(self, data: Any, errorCode: int, msg: str) -> None:
        self._data = data
        try:
            self._document.gathered(self.job_log_error, errorCode, msg)
        finally:
            self._data = None

    def _entries(self, field: str) -> list[Document]:
        return [
            {name: from_text(value) if name == "timestamp" else jsonvalues.copy(value) for name, value in entry.items()}
            for entry in self._document.entries(field)
        ]


def _texts(msg: object) -> list[str]:
    return [str(text) for text in msg] if isinstance(msg, (list, tuple)) else [str(msg)]


def _error_code(code: object, msg: str) -> tuple[int, str]:
    """Return a code that can be stored, and the message. A wrong code must not hide its error: the message gets it."""
    code = plain_code(code)
    if type(code) is int and abs(code) < 2**31:
        return code, msg
    return INTERNAL_ERROR, f"{msg} (error code {code!r:.80})"


def _error_data(data: Any, msg: str) -> tuple[dict[str, Any], str]:
    """Return data that can be stored, and the message. Wrong data must not hide their error: the message gets why."""
    if data is None:
        return {}, msg
    try:
        jsonvalues.check(data, "data", 2)  # of lists and objects around it in the document
        size = len(jsonvalues.encode_checked(data, "data").encode())
    except InvalidValue as error:
        return {}, f"{msg} (its data can't be stored: {error})"
    if size > MAX_DATA:
        return (
            {},
            f"{msg} (its data can't be stored: they take {size:,} bytes of JSON, and at most {MAX_DATA:,} are kept)",
        )
    return {"data": jsonvalues.copy(data)}, msg


def described(job_class: type[BaseJob], exception: BaseException | None) -> dict[str, Any]:
    """Return type, traceback, fingerprint and place of an error, for ``errors``; the first two of an exception alone.

    The traceback is within MAX_TRACEBACK bytes.
    """
    if exception is None:
        return origin_of(job_class, None)
    kind, module = name_of(type(exception)), str(type.__getattribute__(type(exception), "__module__"))
    text = shortened(jsonvalues.storable_text(plain_traceback(exception, MAX_TRACEBACK)), MAX_TRACEBACK)
    is_plain = module == "builtins" or isinstance(exception, SoftTimeout)  # as Timeout, the hard one, is
    kind = kind if is_plain else f"{module}.{kind}"
    return {"type": kind, "traceback": text, **origin_of(job_class, exception, kind)}
