"""A job's document as an object: its attributes, and the methods that change them.

``StoredJob`` has fields only; what makes it a job is in ``base``. How changes are written is in ``writes``.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from zerog.engine.engine import Engine
from zerog.exceptions import CorruptDocument
from zerog.jobs import writes
from zerog.jobs.declaration import Declaration
from zerog.jobs.logfields import fields_of
from zerog.jobs.migrations import upgrade_operations
from zerog.jobs.progress import ROUNDING, clamp, share
from zerog.jobs.schema import TIMESTAMPS, BaseJobSchema
from zerog.jobs.secrets import redacted
from zerog.jobs.size_limit import Sizes
from zerog.records.fields import ENGINE_FIELDS, HISTORY, PROTECTED
from zerog.records.job import Document, make_key
from zerog.records.operations import Append, Operation, Set
from zerog.resources import Resources
from zerog.support import jsonvalues
from zerog.support.clock import Clock, to_text

if TYPE_CHECKING:
    from zerog.engine.run import Run

log = logging.getLogger("zerog")

T = TypeVar("T")

HEAD_FIELDS = tuple(
    name for name in BaseJobSchema._declared_fields if name in ENGINE_FIELDS and name not in HISTORY and name != "cas"
)
"""The engine's fields of a head, in the order in which they are shown."""


class StoredJob:
    """A job's document as an object. ``BaseJob`` makes it and gives every attribute its first value."""

    MAX_EVENTS: ClassVar[int | None] = None
    """Entries kept of each of events, warnings and errors; None for what the datastore keeps (``history_limit``)."""
    MAX_DOCUMENT: ClassVar[int | None] = None
    """Bytes that the job's fields may take as JSON, without its history; None for what any document may (4 MiB)."""
    _RESERVED: ClassVar[frozenset[str]]
    """Names of BaseJob itself, which no field may have."""

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
    lastError: dict[str, Any] | None
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

    datastore: Any
    queue: Any
    keepalive: Callable[[], object] | None
    _declaration: Declaration
    _clock: Clock
    _run: Run | None
    _middleware: tuple[Callable[[Any], Any], ...]
    _resources: Resources
    _stored: Document | None
    _unknown: Document
    _pending: writes.Pending
    _gathering: bool = False
    _history: dict[str, list[Document]] | None
    _last_write: float
    _latest: str
    _token: int
    _sizes: Sizes | None = None

    def key(self) -> str:
        """Return the datastore key."""
        return make_key(self.uuid)

    @property
    def cas(self) -> str | None:
        """The document's token as this object last read it, as text; None before the first save."""
        return str(self._token) if self._token else None

    def dump(self) -> Document:
        """Return the whole document as JSON values, unknown fields included; ``[secret]`` in place of secret fields.

        It shares nothing with the job. Optional fields without a value are left out: ``SCHEMA().load`` accepts it.
        """
        history = {field: jsonvalues.copy(self._raw_entries(field)) for field in HISTORY}
        return redacted({**self._dump_head(), **history, "cas": self.cas}, self._declaration.secrets)

    def dumps(self, **kwargs: Any) -> str:
        """Return ``dump()`` as JSON text; ``kwargs`` are passed to ``json.dumps``."""
        return json.dumps(self.dump(), **kwargs)

    def __str__(self) -> str:
        return self.dumps(indent=4, ensure_ascii=False)

    def save(self) -> None:
        """Store what was changed on this object. The first save of a job that isn't enqueued makes it ``new``.

        Raises ``datastore.casException`` if the document was changed since this object last read it, also if there is
        nothing to store, and ClaimLost or Cancelled within a run.
        """
        writes.save(self)

    def reload(self) -> None:
        """Read the document again, with its history. Attributes outside the schema and the keepalive stay.

        Raises JobNotFound, and CorruptDocument if what is stored is the document of another type.
        """
        writes.reload(self)

    def update_attrs(self, *, flush: bool = True, **kwargs: Any) -> None:
        """Set the named fields, here and in the document; other fields and other writers' changes stay.

        A job that was never saved is saved. With ``flush=False`` the change waits for this object's next write.
        Raises InvalidValue or marshmallow's ValidationError for a value that the field can't hold, and nothing is
        changed then. A ``completeness`` is clamped as by ``set_completeness``.
        """
        operations: list[Operation] = []
        for name, value in kwargs.items():
            self._check_settable(name)
            key, dumped = self._declaration.dump_value(name, value)
            self._declaration.validate(name, value, dumped)
            if name == "completeness":
                kwargs[name] = dumped = self._clamped(dumped)
            operations.append(Set(key, dumped))
        self._write(operations, flush)
        for name, value in kwargs.items():
            self.__dict__[name] = value

    def record_change(self, func: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call ``func``, which changes this object, then save; after a collision reload and call it again.

        Raises TooManyCollisions after 200 tries.
        """
        return writes.record_change(self, func, *args, **kwargs)

    # within a run

    def keep_alive(self) -> None:
        """Call the keepalive; within a run raise ClaimLost or Cancelled if the run should stop."""
        if self.keepalive is not None:
            self.keepalive()
        if self._run is not None:
            self._run.check()

    @property
    def stopping(self) -> bool:
        """True while the worker is shutting down: save what you have and return NO_RESULT. It costs the job nothing."""
        return self._run is not None and self._run.stopping.is_set()

    # inside

    @property
    def _build(self) -> str | None:
        """The build of the code that runs the job, None outside a run."""
        return None if self._run is None else self._run.build

    @functools.cached_property
    def _engine(self) -> Engine:
        return Engine(self.datastore, self.queue)

    @property
    def _history_limit(self) -> int:
        return self.MAX_EVENTS or self._engine.datastore.history_limit

    def _now(self) -> str:
        """Return the time for a record: never earlier than what this object has read or written."""
        self._latest = max(self._latest, to_text(self._clock.now()))
        return self._latest

    def _write(self, operations: list[Operation], flush: bool = True) -> None:
        writes.write(self, operations, flush)
        if flush:
            self._last_write = self._clock.monotonic()

    def _clamped(self, completeness: float) -> float:
        """Clamp to 0.0–1.0; warn once, since larger values are usually percentages. Raises ValueError."""
        clamped = clamp(completeness)
        if clamped < completeness - ROUNDING and not self.__dict__.get("_has_warned"):
            self.__dict__["_has_warned"] = True
            log.warning(
                "%s a completeness of %r is taken as 1.0; expected a number from 0.0 to 1.0, not a percentage",
                self.logId,
                completeness,
                extra=fields_of(self),
            )
        return clamped

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
        for name in HEAD_FIELDS:
            value = self.__dict__[name]
            if type(value) is dict or type(value) is list:
                value = jsonvalues.copy(value)
            head[name] = to_text(value) if name in TIMESTAMPS and value is not None else value
        head["completeness"] = share(head["completeness"])
        return head

    def _dump_head(self) -> Document:
        head = self._dump_engine_fields()
        for field in self._declaration.fields.values():
            value = self.__dict__.get(field.attribute)
            if value is not None or not field.is_left_out:
                head[field.key] = field.dump(value)
        return {**jsonvalues.copy(self._unknown), **head}

    def _show(self, head: Document, token: int) -> None:
        """Set the attributes of the schema from a stored head; everything else stays."""
        if head["jobType"] != self.jobType:
            raise CorruptDocument(
                f"job {self.uuid} is stored as a {jsonvalues.short_repr(head['jobType'])}, and this object is a "
                f"{self.jobType!r}; neither was changed"
            )
        lifted = self._declaration.chain.lift(head)
        attributes, self._unknown = self._declaration.load(lifted)
        self.__dict__.update(attributes)
        self._bind(head, lifted, token)

    def _bind(self, head: Document, lifted: Document, token: int) -> None:
        self._stored, self._token, self._history, self._sizes = head, token, None, None
        self._latest = max(self._latest, head["updatedAt"])
        if lifted is not head:
            self._pending.add_before(upgrade_operations(head, lifted))

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
