"""``BaseJob``: a job as an object with a document.

The object shows the document as it was when last read, and every method that changes something writes it there, too.
What is done where: declarations and conversion in ``declaration``, writes and collisions in ``saving``, the numbers
of a run in ``run``, arithmetic of progress in ``progress``, versions in ``versions``.
"""

from __future__ import annotations

import functools
import json
import logging
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

from marshmallow import Schema

from zerog import values
from zerog.clock import SYSTEM, to_text
from zerog.datastores.base import HISTORY
from zerog.datastores.operations import Add, Append, Max, Operation, Remove, Set, dropped_field
from zerog.document import (
    DOCUMENT_TYPE,
    ENGINE_FIELDS,
    INTERNAL_ERROR,
    NO_RESULT,
    PROTECTED,
    Document,
    make_key,
)
from zerog.exceptions import InvalidJobClass, JobStateError
from zerog.jobs import saving
from zerog.jobs.declaration import Declaration, engine_attributes
from zerog.jobs.error import Error
from zerog.jobs.options import check_delay, check_priority, check_queue_options
from zerog.jobs.progress import clamp, info_of, is_worth_recording, progress_of
from zerog.jobs.schema import TIMESTAMPS, BaseJobSchema
from zerog.jobs.signals import ErrorContinue, ErrorFinish, WarningContinue, WarningFinish
from zerog.lifecycle import Engine
from zerog.transitions import error_record, event_record

if TYPE_CHECKING:
    from zerog.jobs.run import Run

log = logging.getLogger("zerog")

T = TypeVar("T")

CLAIM_CHANGES = (
    "status",
    "epoch",
    "seq",
    "owner",
    "running",
    "attempts",
    "startedAt",
    "updatedAt",
    "queueState",
    "notBefore",
    "due",
)
"""The fields that a claim changes."""

_HEAD_FIELDS = tuple(
    name for name in BaseJobSchema._declared_fields if name in ENGINE_FIELDS and name not in HISTORY and name != "cas"
)
"""The engine's fields of a head, in the order in which they are shown."""

_HEAD_SET = frozenset(_HEAD_FIELDS)

MAX_TRACEBACK = 64 * 1024
"""Bytes of UTF-8 kept of one traceback."""

FLUSH_EVERY = 5.0
"""Seconds after which a tick writes what has collected, however little."""


class BaseJob(ABC):
    """The base class of all jobs. Subclasses set ``JOB_TYPE`` and write ``run()``.

    ``datastore`` and ``queue`` may be any objects with the verbs of the contracts; ``keepalive`` is called by
    ``keep_alive()`` and by every tick; the keyword arguments are the document's fields as Python values.
    """

    DOCUMENT_TYPE: ClassVar[str] = DOCUMENT_TYPE
    """Makes the datastore key; never override it."""
    JOB_TYPE: ClassVar[str] = ""
    """The unique name under which jobs of this class are stored. Must be overridden."""
    SCHEMA_VERSION: ClassVar[str | float] = "1.0"
    """Raise it when stored documents need a ``@zerog.migration``."""
    SCHEMA: ClassVar[type[BaseJobSchema]] = BaseJobSchema
    """In the documented style: a subclass of BaseJobSchema with the job's own fields."""
    Params: ClassVar[type[Schema] | None] = None
    """What a client may set, validated at submit."""
    State: ClassVar[type[Schema] | None] = None
    """What the job keeps while it runs."""
    MAX_ERRORS: ClassVar[int] = 3
    """Recorded errors after which ``continue_running`` ends the job."""
    MAX_CONTINUES: ClassVar[int | None] = 1_000
    """How often a job may ask to run again without an error; None for no limit."""
    MAX_CRASHES: ClassVar[int] = 3
    """Runs that may die under the job while their worker lives."""
    MAX_LOST: ClassVar[int] = 10
    """Runs that may be lost together with their whole worker."""
    FINISH_ON: ClassVar[tuple[type[BaseException], ...]] = ()
    """Exceptions after which another run is pointless: they end the job at once."""
    TIMEOUT: ClassVar[float | None] = None
    """Seconds after which a run is killed and counts as an error; needs the process executor."""

    # The fields of every document. Dates are timezone-aware; those of waiting jobs may be None.
    documentType: str
    jobType: str
    schemaVersion: float
    format: int
    uuid: str
    logId: str
    createdAt: datetime
    updatedAt: datetime
    status: str
    epoch: int
    seq: int
    owner: dict[str, Any] | None
    running: bool
    attempts: int
    errorCount: int
    crashes: int
    lost: int
    continues: int
    queueName: str
    queueKwargs: dict[str, Any]
    queueJobId: int | str
    queueState: str
    queuedAt: datetime | None
    notBefore: datetime | None
    due: datetime | None
    priority: int
    startedAt: datetime | None
    finishedAt: datetime | None
    cancelRequested: datetime | None
    completeness: float
    tickcount: float
    tickval: float
    resultCode: int
    output: Any
    headers: dict[str, str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.DOCUMENT_TYPE != DOCUMENT_TYPE:
            raise InvalidJobClass(f"{cls.__qualname__} overrides DOCUMENT_TYPE, which would hide its documents")
        if not (isinstance(cls.SCHEMA, type) and issubclass(cls.SCHEMA, BaseJobSchema)):
            raise InvalidJobClass(f"{cls.__qualname__}.SCHEMA is {cls.SCHEMA!r}; expected a subclass of BaseJobSchema")

    def __init__(
        self, datastore: Any, queue: Any, keepalive: Callable[[], object] | None = None, **kwargs: Any
    ) -> None:
        self.datastore = datastore
        self.queue = queue
        self.keepalive = keepalive
        self._declaration = declaration = declaration_of(type(self))
        self._clock = SYSTEM
        self._run: Run | None = None
        self._stored: Document | None = None
        self._unknown: Document = {}
        self._pending = saving.Pending()
        self._gathering = False
        self._history: dict[str, list[Document]] | None = {field: [] for field in HISTORY}
        self._last_write = self._clock.monotonic()
        self._token = int(kwargs.pop("cas", None) or 0)
        known = declaration.attributes
        if self._token:  # what a schema loaded from a stored document: newer code may have added fields
            self._unknown = {name: kwargs.pop(name) for name in [*kwargs] if name not in known}
        for name in kwargs:
            if name not in known:
                raise TypeError(
                    f"{type(self).__name__} has no field {name!r}{declaration.suggestion(name)}; expected one of its "
                    f"Params, State or SCHEMA: {', '.join(declaration.fields) or 'it declares none'}"
                )
        if not kwargs.keys() >= _HEAD_SET:
            fresh = declaration.new_attributes(self._now(), kwargs.get("uuid"))
            kwargs = {**fresh, **kwargs, "uuid": fresh["uuid"]}
        for field in declaration.fields.values():
            if field.attribute not in kwargs:
                kwargs[field.attribute] = field.initial()
        for field_name in HISTORY:
            entries = kwargs.pop(field_name, [])
            if entries:
                self._history[field_name] = [_dumped_entry(entry) for entry in entries]
        self.__dict__.update(kwargs)

    # what the subclass writes

    @abstractmethod
    def run(self) -> Any:
        """Do the work. Called by the worker once the job is loaded; ``def`` or ``async def``.

        May return a result code (200 and the like), ``NO_RESULT`` or ``(NO_RESULT, delay)`` to run again, a dict to
        be stored as ``output``, or None for 200.
        """

    def get_data(self) -> Any:
        """The job's result data. Override it to compute them; by default ``output``."""
        return self.output

    def continue_running(self) -> int:
        """After an exception: NO_RESULT to run again, INTERNAL_ERROR to end. Override it for other rules.

        By default a job ends once MAX_ERRORS errors are recorded.
        """
        return NO_RESULT if self.errorCount < self.MAX_ERRORS else INTERNAL_ERROR

    # document

    def key(self) -> str:
        """The datastore key."""
        return make_key(self.uuid)

    @property
    def cas(self) -> str | None:
        """The document's token as this object last saw it, as text; None before the first save."""
        return str(self._token) if self._token else None

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

    def dump(self) -> Document:
        """The whole document as JSON values, unknown fields included."""
        history = {field: values.copy(self._raw_entries(field)) for field in HISTORY}
        return {**self._dump_head(), **history, "cas": self.cas}

    def dumps(self, **kwargs: Any) -> str:
        """The whole document as JSON text; ``kwargs`` go to ``json.dumps``."""
        return json.dumps(self.dump(), **kwargs)

    def __str__(self) -> str:
        return self.dumps(indent=4, ensure_ascii=False)

    def save(self) -> None:
        """Store what was changed on this object. The first save of a job that isn't enqueued makes it ``new``.

        Raises ``datastore.casException`` if the document was changed since this object last saw it, and ClaimLost or
        Cancelled within a run.
        """
        saving.save(self)

    def reload(self) -> None:
        """Show the document as it is now. Attributes outside the schema and the keepalive stay."""
        saving.reload(self)

    def update_attrs(self, *, flush: bool = True, **kwargs: Any) -> None:
        """Set the named fields, here and in the document; other fields and other writers' changes stay.

        With ``flush=False`` the change rides with this object's next write. Raises InvalidValue or marshmallow's
        ValidationError for a value that the field can't hold, and nothing is changed then.
        """
        operations: list[Operation] = []
        for name, value in kwargs.items():
            self._check_settable(name)
            key, dumped = self._declaration.dump_value(name, value)
            self._declaration.validate(name, dumped)
            operations.append(Set(key, dumped))
        self._write(operations, flush)
        for name, value in kwargs.items():
            self.__dict__[name] = value

    def record_change(self, func: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call ``func``, which changes this object, then save; after a collision reload and call it again.

        Raises TooManyCollisions rather than giving up quietly.
        """
        return saving.record_change(self, func, *args, **kwargs)

    # history

    def record_event(self, msg: str) -> None:
        """Add to the job's events."""
        self._record("events", event_record(self._now(), str(msg)))

    def record_warning(self, msg: str) -> None:
        """Add to the job's warnings."""
        self._record("warnings", event_record(self._now(), str(msg)))

    def record_error(self, errorCode: int, msg: str, exception: BaseException | None = None) -> None:
        """Add to the job's errors and count it. Override it to react to particular exceptions."""
        code, msg = _error_code(errorCode, str(msg))
        record = error_record(self._now(), code, msg, self.attempts, **described(exception))
        self._record("errors", record, Add("errorCount", 1))

    def record_result(self, resultCode: int) -> None:
        """Record a result. The worker does this when the run ends."""
        self._declaration.check_engine_value("resultCode", resultCode)
        operations: list[Operation] = [Set("resultCode", resultCode)]
        if 200 <= resultCode < 300:
            operations.append(Max("completeness", 1.0))
        self._write(operations)

    def job_log_info(self, msg: str) -> None:
        """Record an event and log it."""
        log.info("%s %s", self.logId, msg)
        self.record_event(msg)

    def job_log_warning(self, msg: str) -> None:
        """Record a warning and log it."""
        log.warning("%s %s", self.logId, msg)
        self.record_warning(msg)

    def job_log_error(self, errorCode: int, msg: str, exception: BaseException | None = None) -> None:
        """Record an error and log it."""
        log.error("%s [%s] %s", self.logId, errorCode, msg)
        self.record_error(errorCode, msg, exception)

    def raise_warning_continue(self, resultCode: int, msg: str, delay: float | None = None) -> NoReturn:
        """End this run with a warning; the job runs again, after ``delay`` seconds, up to MAX_CONTINUES times."""
        delay = None if delay is None else check_delay(delay)
        self._gathered(self.job_log_warning, msg)
        raise WarningContinue(msg, code=resultCode, delay=delay, recorded=True)

    def raise_warning_finish(self, resultCode: int, msg: str) -> NoReturn:
        """End the job with a warning and ``resultCode``."""
        self._gathered(self.job_log_warning, msg)
        raise WarningFinish(msg, code=resultCode, recorded=True)

    def raise_error_continue(self, errorCode: int, msg: str, delay: float | None = None) -> NoReturn:
        """End this run with an error; the job runs again, after ``delay`` seconds, up to MAX_ERRORS errors."""
        delay = None if delay is None else check_delay(delay)
        self._gathered(self.job_log_error, errorCode, msg)
        raise ErrorContinue(msg, code=errorCode, delay=delay, recorded=True)

    def raise_error_finish(self, errorCode: int, msg: str) -> NoReturn:
        """End the job with an error and ``errorCode`` as its result."""
        self._gathered(self.job_log_error, errorCode, msg)
        raise ErrorFinish(msg, code=errorCode, recorded=True)

    # progress

    def set_completeness(self, completeness: float) -> None:
        """Set how much is done, from 0.0 to 1.0; ticks not yet recorded are dropped."""
        self._write([Set("completeness", clamp(completeness)), Set("tickcount", 0.0)])

    def add_to_completeness(self, delta: float) -> None:
        """Add to how much is done, together with ticks not yet recorded."""
        saving.absorb_ticks(self, float(delta))
        self._last_write = self._clock.monotonic()

    def set_tick_value(self, tickval: float) -> None:
        """Set what one ``tick`` adds to the completeness; 0.001 unless set."""
        self.update_attrs(tickval=float(tickval))

    def tick(self) -> None:
        """Count one step. Written once the steps make 0.01, 5 seconds after the last write, or with any other write."""
        self._write([Add("tickcount", self.tickval)], flush=False)
        now = self._clock.monotonic()
        if is_worth_recording(self.tickcount) or (self.tickcount > 0 and now - self._last_write >= FLUSH_EVERY):
            self.add_to_completeness(0.0)
        self.keep_alive()

    def progress(self) -> dict[str, Any]:
        """``completeness``, ``result``, ``status`` and more, as of this object's last read or write. JSON values."""
        return progress_of(self._dump_engine_fields())

    def info(self) -> dict[str, Any]:
        """``progress()`` with ``events``, ``warnings`` and ``errors``."""
        history = {field: values.copy(self._raw_entries(field)) for field in HISTORY}
        return info_of({**self._dump_engine_fields(), **history})

    # queue and worker

    def enqueue(self, **kwargs: Any) -> None:
        """Accept the job: store it if it is new, and put it on its queue.

        ``kwargs`` go to the queue: ``delay`` (seconds), ``priority``, ``ttr``. A queue out of reach is no error: the
        document stays pending, ``queueJobId`` is -1, and reconcile delivers it. Raises what the datastore raises if
        the document can't be stored, ``casException`` if it was changed since this object last saw it, InvalidValue
        for a wrong option, and JobStateError for a job that runs or has ended.
        """
        delay = check_delay(kwargs.pop("delay", 0))
        priority = check_priority(kwargs.pop("priority", self.priority))
        check_queue_options(kwargs)
        if self._stored is None and not self._token:
            self.priority, self.queueKwargs = priority, {**self.queueKwargs, **kwargs}
            [(document, token)] = self._engine.submit([saving.new_document_of(self)], delay)
            self._show({f: value for f, value in document.items() if f not in HISTORY}, token)
            return
        if self._run is not None:
            raise JobStateError(f"job {self.uuid} is running; return NO_RESULT from run() to run again")
        self.save()
        self.update_attrs(priority=priority, queueKwargs={**self.queueKwargs, **kwargs})
        head, token = self._engine.enqueue(self.uuid, delay)
        self._show(head, token)

    def keep_alive(self) -> None:
        """Call the keepalive; within a run raise ClaimLost or Cancelled if the run should stop."""
        if self.keepalive is not None:
            self.keepalive()
        if self._run is not None:
            self._run.check()

    @property
    def stopping(self) -> bool:
        """Whether the worker is shutting down: save what you have and return NO_RESULT. It costs the job nothing."""
        return self._run is not None and self._run.stopping.is_set()

    # inside

    @functools.cached_property
    def _engine(self) -> Engine:
        return Engine(self.datastore, self.queue)

    def _now(self) -> str:
        return to_text(self._clock.now())

    def _write(self, operations: list[Operation], flush: bool = True) -> None:
        saving.write(self, operations, flush)
        if flush:
            self._last_write = self._clock.monotonic()

    def _record(self, field: str, record: Document, *more: Operation) -> None:
        self._write([Append(field, record, self._engine.datastore.history_limit), *more])

    def _gathered(self, function: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        """Call ``function`` with its writes waiting for the next one, which settles the run."""
        before, self._gathering = self._gathering, True
        try:
            function(*args, **kwargs)
        finally:
            self._gathering = before

    def _check_settable(self, name: str) -> None:
        if name in HISTORY or name in PROTECTED:
            raise AttributeError(
                f"{name} can't be set by a job: the engine writes it. Use the record_… methods for history, and "
                "cancel, retry or the value that run() returns for the status. Nothing was changed."
            )
        known = {field.attribute for field in self._declaration.fields.values()}
        if name not in known and name not in ENGINE_FIELDS:
            raise AttributeError(
                f"{type(self).__name__} has no field {name!r}{self._declaration.suggestion(name)}. Nothing was changed."
            )

    def _dump_engine_fields(self) -> Document:
        head: Document = {}
        for name in _HEAD_FIELDS:
            value = self.__dict__[name]
            head[name] = to_text(value) if name in TIMESTAMPS and value is not None else value
        return head

    def _dump_head(self) -> Document:
        head = self._dump_engine_fields()
        for field in self._declaration.fields.values():
            head[field.key] = field.dump(self.__dict__.get(field.attribute))
        return {**self._unknown, **head}

    def _show(self, head: Document, token: int) -> None:
        """Take over a stored head: attributes of the schema change, everything else stays."""
        lifted = self._declaration.chain.lift(head)
        attributes, self._unknown = self._declaration.load(lifted)
        self.__dict__.update(attributes)
        self._bind(head, lifted, token)

    def _bind(self, head: Document, lifted: Document, token: int) -> None:
        self._stored, self._token, self._history = head, token, None
        if lifted is not head:
            self._pending.add_before(_lifting(head, lifted))

    def _entries(self, field: str) -> list[Document]:
        return [
            {name: datetime.fromisoformat(value) if name == "timestamp" else value for name, value in entry.items()}
            for entry in self._raw_entries(field)
        ]

    def _raw_entries(self, field: str) -> list[Document]:
        if self._history is None:
            document = self._engine.datastore.read(self.key()) or {}
            waiting = [operation for operation in self._pending if isinstance(operation, Append)]
            self._history = {name: list(document.get(name) or []) for name in HISTORY}
            for operation in waiting:
                self._history[operation.field].append(operation.value)
        return self._history[field]

    def _append_locally(self, field: str, value: Document) -> None:
        if self._history is not None:
            self._history[field].append(value)


def declaration_of(job_class: type[BaseJob]) -> Declaration:
    """The checked declaration of a class, made once. Raises InvalidJobClass."""
    declaration = job_class.__dict__.get("_zerog_declaration")
    if declaration is None:
        reserved = {*dir(BaseJob), *map(dropped_field, HISTORY), "datastore", "queue", "keepalive"}
        declaration = Declaration(job_class, reserved)
        job_class._zerog_declaration = declaration  # type: ignore[attr-defined]
    return declaration


Loaded = tuple[Document, Document, dict[str, Any], Document]
"""A stored head, its lifted form, the attributes in it, and its unknown fields."""


def load_job(
    job_class: type[BaseJob],
    loaded: Loaded,
    token: int,
    datastore: Any,
    queue: Any,
    keepalive: Callable[[], object] | None = None,
) -> BaseJob:
    """A job object of a stored document; ``loaded`` is what ``read_head`` made of its head."""
    head, lifted, attributes, unknown = loaded
    job = job_class(datastore, queue, keepalive, **attributes)
    job._unknown = unknown
    job._bind(head, lifted, token)
    return job


def read_head(job_class: type[BaseJob], head: Document) -> Loaded:
    """Lift and convert a stored head that ``check_head`` found to make sense.

    Raises CorruptDocument or SchemaTooNew; nothing is changed.
    """
    declaration = declaration_of(job_class)
    lifted = declaration.chain.lift(head)
    return head, lifted, *declaration.load(lifted)


def after_claim(loaded: Loaded, head: Document) -> Loaded:
    """What was loaded before a claim, brought up to the head that the claim left."""
    before, lifted, attributes, unknown = loaded
    changed = {field: head[field] for field in CLAIM_CHANGES}
    lifted = head if lifted is before else {**lifted, **changed}
    return head, lifted, {**attributes, **engine_attributes(changed)}, unknown


def _lifting(head: Document, lifted: Document) -> list[Operation]:
    """What the next write must carry, so that the lifted form is stored."""
    operations: list[Operation] = [
        Set(field, value) for field, value in lifted.items() if field not in head or head[field] != value
    ]
    return operations + [Remove(field) for field in head if field not in lifted]


def _dumped_entry(entry: Any) -> Document:
    if isinstance(entry, Error):
        return entry.dump()
    return {name: to_text(value) if isinstance(value, datetime) else value for name, value in entry.items()}


def _error_code(code: object, msg: str) -> tuple[int, str]:
    """A code that can be stored. An odd one must not hide the error that it came with: it moves into the message."""
    if type(code) is int and abs(code) < 2**31:
        return code, msg
    return INTERNAL_ERROR, f"{msg} (error code {code!r:.80})"


def described(exception: BaseException | None) -> dict[str, Any]:
    """The type and traceback of an exception, for a record in ``errors``; the traceback within MAX_TRACEBACK bytes."""
    if exception is None:
        return {}
    kind = type(exception)
    text = values.storable_text("".join(traceback.format_exception(exception)))
    raw = text.encode()
    if len(raw) > MAX_TRACEBACK:
        half = MAX_TRACEBACK // 2 - 100
        first, last = (part.decode(errors="ignore") for part in (raw[:half], raw[-half:]))
        text = f"{first}\n… {len(raw) - 2 * half:,} bytes left out …\n{last}"
    return {
        "type": f"{kind.__module__}.{kind.__qualname__}" if kind.__module__ != "builtins" else kind.__qualname__,
        "traceback": text,
    }


__all__ = [
    "INTERNAL_ERROR",
    "NO_RESULT",
    "BaseJob",
    "BaseJobSchema",
    "ErrorContinue",
    "ErrorFinish",
    "WarningContinue",
    "WarningFinish",
    "make_key",
]
