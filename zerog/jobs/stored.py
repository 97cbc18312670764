"""A job as an object with a document: its attributes are the fields, its methods change and store them."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from zerog.contracts.datastore import without_history
from zerog.exceptions import ConfigurationError, JobStateError
from zerog.jobs.answers import Info, Progress
from zerog.jobs.logfields import warn
from zerog.jobs.progress import ROUNDING, clamp, info_of, is_worth_recording, progress_of
from zerog.jobs.secrets import redacted
from zerog.jobs.submit_options import check_delay, check_priority, check_queue_options
from zerog.records.attrs import ATTRS
from zerog.records.fields import NEW
from zerog.records.job import Document, make_key
from zerog.records.operations import Add, Operation, Set

if TYPE_CHECKING:
    from zerog.app import App
    from zerog.jobs.document import JobDocument

T = TypeVar("T")

FLUSH_EVERY = 5.0
"""Seconds after the last write after which a tick writes the collected ticks, however few."""


class StoredJob:
    """What a job has by having a document. ``BaseJob`` gives every attribute its first value."""

    # Not in ``__dict__``, which the document refers to: an object is freed without the garbage collector.
    __slots__ = ("__dict__", "__weakref__", "_document")

    MAX_ERRORS: ClassVar[int]
    UNIQUE: ClassVar[tuple[str, ...] | None]
    MAX_EVENTS: ClassVar[int | None] = None
    """Entries kept of each of events, warnings and errors; None for what the datastore keeps (``history_limit``)."""
    MAX_DOCUMENT: ClassVar[int | None] = None
    """Bytes that the job's fields may take as JSON, without its history; None for what any document may (4 MiB)."""
    _REST: ClassVar[str | None] = None
    """The field that takes a client's parameters without a field of their own, for a function with ``**kwargs``."""
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
    expiresAt: datetime | None
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
    parent: str | None
    follower: str | None

    is_new: bool = False
    """True on the object that a submit returned which made the job; False if the job was there before."""

    datastore: Any
    queue: Any
    keepalive: Callable[[], object] | None

    _document: JobDocument
    _middleware: tuple[Callable[[Any], Any], ...]
    _app: App | None

    def key(self) -> str:
        """Return the datastore key."""
        return make_key(self.uuid)

    @property
    def cas(self) -> str | None:
        """The document's token as this object last read it, as text; None before the first save."""
        return str(self._document.token) if self._document.token else None

    def dump(self) -> Document:
        """Return the whole document as JSON values, unknown fields included; ``[secret]`` in place of secret fields.

        It shares nothing with the job. Optional fields without a value are left out: ``SCHEMA().load`` accepts it.
        """
        document = self._document
        whole = {**document.attributes.dump(), **document.dump_history(), "cas": self.cas}
        return redacted(whole, document.declaration.secrets)

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
        self._document.save()

    def reload(self) -> None:
        """Read the document again, with its history. Attributes outside the schema and the keepalive stay.

        Raises JobNotFound, and CorruptDocument if what is stored is the document of another type.
        """
        self._document.reload()

    def update_attrs(self, *, flush: bool = True, **kwargs: Any) -> None:
        """Set the named fields, here and in the document; other fields and other writers' changes stay.

        A job that was never saved is saved. With ``flush=False`` the change waits for this object's next write.
        Raises InvalidValue or marshmallow's ValidationError for a value that the field can't hold, and nothing is
        changed then. A ``completeness`` is clamped as by ``set_completeness``.
        """
        declaration = self._document.declaration
        operations: list[Operation] = []
        for name, value in kwargs.items():
            declaration.check_settable(name)
            key, dumped = declaration.dump_value(name, value)
            declaration.validate(name, value, dumped)
            if name == "completeness":
                kwargs[name] = dumped = self._clamped(dumped)
            operations.append(Set(key, dumped))
        self._document.write(operations, flush)
        for name, value in kwargs.items():
            self.__dict__[name] = value

    def record_change(self, func: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call ``func``, which changes this object, then save; after a collision reload and call it again.

        Raises TooManyCollisions after 200 tries.
        """
        return self._document.record_change(func, *args, **kwargs)

    # queue

    def enqueue(self, **kwargs: Any) -> None:
        """Accept the job: store it if it is new, and put it on its queue.

        ``kwargs`` are passed to the queue and kept as ``queueKwargs``: ``delay`` (seconds), ``priority``, ``ttr``, and
        what else the ``put`` of the queue takes. An unreachable queue, or one whose ``put`` returns None, is no error:
        the document stays pending, ``queueJobId`` is -1, and reconcile delivers it. Raises what the datastore raises if
        the document can't be stored, ``casException`` if it was changed since this object last read it, InvalidValue
        for a wrong option, TypeError for one that the queue doesn't take, JobStateError for a job that runs or has
        ended, and ConfigurationError for a new job of a class with UNIQUE, which ``App.submit`` takes.
        """
        if self.UNIQUE is not None and self.status == NEW:
            raise ConfigurationError(
                f"job {self.uuid} is of a class with UNIQUE and can't be enqueued: its key may be another job's. "
                "Submit it with App.submit, which returns the job that has the key. Nothing was stored."
            )
        delay = check_delay(kwargs.get("delay", 0))
        priority = check_priority(kwargs.get("priority", self.priority))
        check_queue_options(kwargs, self._takes)
        kept = {name: value for name, value in self.queueKwargs.items() if name != "delay"}
        document = self._document
        if document.stored is None and not document.token:
            self.priority, self.queueKwargs = priority, {**kept, **kwargs}
            [(stored, token)] = document.engine.submit([document.new()], delay)
            document.show(without_history(stored), token)
            return
        if document.run is not None:
            raise JobStateError(f"job {self.uuid} is running; return NO_RESULT from run() to run again")
        if document.stored is not None:
            document.engine.check_waits(self.uuid)  # before anything is written
        if document.has_changes:
            self.save()
        options = [Set("priority", priority), Set("queueKwargs", {**kept, **kwargs})]
        document.show(*document.engine.enqueue(self.uuid, delay, options))

    def _takes(self, option: str) -> bool:
        """Return True if the job's queue takes an option of this name."""
        with suppress(ConfigurationError):  # then no put succeeds, and the job stays pending
            return self._document.engine.queue_named(self.queueName).takes(option)
        return True

    # progress

    def set_completeness(self, completeness: float) -> None:
        """Set how much is done, from 0.0 to 1.0; ticks not yet recorded are dropped.

        Values outside are clamped; more than 1.0 logs a warning, once for each object.
        """
        self._document.write([Set("completeness", self._clamped(completeness)), Set("tickcount", 0.0)])

    def add_to_completeness(self, delta: float) -> None:
        """Add ``delta`` to how much is done, together with ticks not yet recorded."""
        self._document.absorb_ticks(float(delta))

    def set_tick_value(self, tickval: float) -> None:
        """Set how much one ``tick`` adds to the completeness; 0.001 unless set."""
        self.update_attrs(tickval=float(tickval))

    def tick(self) -> None:
        """Count one step. Written once the steps make 0.01, 5 seconds after the last write, or with any other write."""
        document = self._document
        document.write([Add("tickcount", self.tickval)], flush=False)
        silent_for = document.clock.monotonic() - document.last_write
        if is_worth_recording(self.tickcount) or (self.tickcount > 0 and silent_for >= FLUSH_EVERY):
            self.add_to_completeness(0.0)
        self.keep_alive()

    def progress(self) -> Progress:
        """Return ``completeness``, ``result``, ``status`` and more, as of this object's last read or write, as JSON."""
        document = self._document
        return progress_of(document.attributes.dump_engine_fields(), document.clock.now(), self.MAX_ERRORS)

    def info(self) -> Info:
        """Return ``progress()`` with ``attrs`` as last stored, ``events``, ``warnings`` and ``errors``."""
        document = self._document
        attrs = {ATTRS: (document.stored or {}).get(ATTRS)}
        shown = {**document.attributes.dump_engine_fields(), **attrs, **document.dump_history()}
        return info_of(shown, document.clock.now(), self.MAX_ERRORS)

    # the end

    def on_end(self, status: str) -> Any:
        """React to the end of the job: override it, ``def`` or ``async def``, to send a mail or call a web hook.

        ``status`` is how it ended: ``succeeded``, ``failed`` or ``cancelled``, in whatever way: by a result, a limit, a
        cancellation while it waited, a crash too many. Called at least once for each end, by a job of its own of type
        ``<JOB_TYPE>.on_end``, whose ``parent`` this one is, with its own tries; within 10 seconds of the end if a
        worker runs. The object is loaded anew, outside of a run. May return and raise what ``run()`` may.
        """

    def on_discard(self) -> None:
        """Remove what belongs to the job, such as its files: override it. Called before the job's document is removed.

        By ``app.discard``, ``zerog jobs rm`` or the sweep that follows RETAIN, in the program that removes the job, at
        least once: a crash repeats it, so what is gone already is no error. What it raises keeps the job; it is logged,
        and a sweep tries again, after 20 seconds at first and an hour at most. Plain code, without a time limit.
        """

    # within a run

    def keep_alive(self) -> None:
        """Show that the run is alive, from within a long step; raise ClaimLost or Cancelled if it should stop.

        May be called in a tight loop: ``updatedAt`` is written at most every third of STALLED_AFTER, and nothing else.
        Calls the keepalive of an object that has one. Raises SoftTimeout, too, and what any write raises.
        """
        if self.keepalive is not None:
            self.keepalive()
        if self._document.run is not None:
            self._document.run.check()
            self._document.touch()

    @property
    def stopping(self) -> bool:
        """True while the worker is shutting down: save what you have and return NO_RESULT. It costs the job nothing."""
        run = self._document.run
        return run is not None and run.stopping.is_set()

    @property
    def returned(self) -> Any:
        """What ``run()`` has returned, for ``after_run`` and middleware; None before, and if it raised."""
        run = self._document.run
        return None if run is None else run.returned

    def _clamped(self, completeness: float) -> float:
        """Clamp to 0.0–1.0; warn once, since larger values are usually percentages. Raises ValueError."""
        clamped = clamp(completeness)
        if clamped < completeness - ROUNDING and not self.__dict__.get("_has_warned"):
            self.__dict__["_has_warned"] = True
            warn(
                self.__dict__,
                f"a completeness of {completeness!r} is taken as 1.0; expected a number from 0.0 to 1.0, not a "
                "percentage",
            )
        return clamped
