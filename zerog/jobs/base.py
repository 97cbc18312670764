"""``BaseJob``: a job as an object with a document.

The object shows the document as it was when last read, and every method that changes something writes it there, too.
Its parts: the document in ``document``, the methods of every stored job in ``stored``, history in ``history``, loading
in ``load``; declarations and conversion in ``declaration``, versions in ``migrations``, the
numbers of a run in ``zerog.engine.run``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, Unpack

from marshmallow import Schema

from zerog import backoff
from zerog.exceptions import ConfigurationError, InvalidJobClass, InvalidValue
from zerog.jobs.document import document_of
from zerog.jobs.error import Error
from zerog.jobs.history import HistoryMethods
from zerog.jobs.items import MAX_ITEMS
from zerog.jobs.progress import STALLED_AFTER, share
from zerog.jobs.schema import HEAD_FIELDS, BaseJobSchema
from zerog.jobs.signals import ErrorContinue, ErrorFinish, WarningContinue, WarningFinish
from zerog.jobs.submit_options import SubmitKeywords
from zerog.records.fields import DOCUMENT_TYPE, HISTORY, NO_RESULT
from zerog.records.job import INTERNAL_ERROR, Document, make_key
from zerog.records.operations import dropped_field
from zerog.resources import Resources
from zerog.support import jsonvalues
from zerog.support.clock import to_text

if TYPE_CHECKING:
    from zerog.app import App
    from zerog.jobs.function import FunctionJob

J = TypeVar("J", bound="BaseJob")

_HEAD_SET = frozenset(HEAD_FIELDS)

_NONE = Resources()
"""Resources of a job that belongs to no app."""


class BaseJob(HistoryMethods, ABC):
    """The base class of all jobs. Subclasses set ``JOB_TYPE`` and write ``run()``.

    ``datastore`` and ``queue`` may be any objects with the verbs of the contracts; ``keepalive`` is called by
    ``keep_alive()`` and by every tick; the keyword arguments are the document's fields as Python values.
    """

    DOCUMENT_TYPE: ClassVar[str] = DOCUMENT_TYPE
    """Makes the datastore key; never override it."""
    JOB_TYPE: ClassVar[str] = ""
    """The unique name under which jobs of this class are stored. Must be overridden."""
    TITLE: ClassVar[str | None] = None
    """Name of this type of job for people; shown where types are listed."""
    SCHEMA_VERSION: ClassVar[str | float] = "1.0"
    """Raise it when stored documents need a ``@zerog.migration``."""
    SCHEMA: ClassVar[type[BaseJobSchema]] = BaseJobSchema
    """In the documented style: a subclass of BaseJobSchema with the job's own fields."""
    Params: ClassVar[type[Schema] | None] = None
    """Fields that a client may set, validated at submit."""
    State: ClassVar[type[Schema] | None] = None
    """Fields that the job keeps while it runs."""
    ATTRIBUTES: ClassVar[tuple[str, ...]] = ()
    """Names of up to 8 fields of Params or State by whose values jobs are found: ``app.jobs(attrs={"file": "a.csv"})``.
    At most 128 characters each: a longer one is refused at submit, and shortened for the search if a run sets it."""
    MAX_ITEMS: ClassVar[int | None] = MAX_ITEMS
    """Parts of lists, keys and values of dicts, objects and their fields that a client's parameters may have where the
    schema converts or validates each; None for no limit."""
    QUEUE: ClassVar[str] = "default"
    """The queue of jobs of this class, unless a submit names another."""
    PRIORITY: ClassVar[int] = 0
    """Their priority, unless a submit names another; higher runs earlier."""
    MAX_ERRORS: ClassVar[int] = 3
    """Recorded errors after which ``continue_running`` ends the job."""
    BACKOFF: ClassVar[backoff.AnyBackoff] = backoff.DEFAULT
    """Seconds to wait after an error: one of ``zerog.backoff``, or any callable of the number of errors, or of that and
    the exception (None if the run was killed)."""
    MAX_CONTINUES: ClassVar[int | None] = 1_000
    """Times that a job may ask to run again without an error; None for no limit."""
    MAX_CRASHES: ClassVar[int] = 3
    """Runs that may die under the job while their worker lives."""
    MAX_LOST: ClassVar[int] = 10
    """Runs that may be lost together with their whole worker."""
    FINISH_ON: ClassVar[tuple[type[BaseException], ...]] = ()
    """Exceptions after which another run is pointless: they end the job at once."""
    SOFT_TIMEOUT: ClassVar[float | None] = None
    """Seconds after which ``SoftTimeout`` is raised inside ``run()``, once; in a thread at its next tick or write."""
    STALLED_AFTER: ClassVar[float | None] = STALLED_AFTER
    """Seconds without a write or a ``keep_alive()`` after which a running job is shown as stalled; None for never. Kept
    in the document from the submit on. Nothing is done to the job."""
    RETAIN: ClassVar[timedelta | float | None] = None
    """Time to keep jobs that succeeded or were cancelled (seconds, or a timedelta); None keeps them for ever."""
    RETAIN_FAILED: ClassVar[timedelta | float | None] = None
    """The same for jobs that failed."""
    UNIQUE: ClassVar[tuple[str, ...] | None] = None
    """Names of parameters: of jobs with the same values of them there is one at a time, and a submit returns it."""
    UNIQUE_UNTIL: ClassVar[str | timedelta] = "ended"
    """How long that holds: until the job has ``ended``, until its first run has ``started``, or for a time from the
    submit on, whether it has ended or not."""
    ON_CONFLICT: ClassVar[str] = "join"
    """``join``: a submit returns the job as it is; ``replace`` (with ``started``): it gives the one that waits its own
    parameters and delay."""
    NOTIFY: ClassVar[Sequence[str]] = ()
    """URLs that web hooks notify of each end of a job, unless a submit names others; see ``App.webhooks``."""
    MAX_RUNNING: ClassVar[int | None] = None
    """Jobs of this type that run at once, on all workers; None for no limit. Further ones are parked."""
    CONCURRENCY_KEY: ClassVar[str | None] = None
    """One of ATTRIBUTES: of parked jobs, those of each of its values take turns."""
    MAX_RUNNING_PER_KEY: ClassVar[int | None] = None
    """Jobs of this type with the same value of CONCURRENCY_KEY that run at once; None for no limit."""
    RATE: ClassVar[str | None] = None
    """Starts of jobs of this type in a time, on all workers, such as ``"100/hour"``: of second, minute, hour, day."""
    RATE_PER_KEY: ClassVar[str | None] = None
    """Starts of jobs of this type with the same value of CONCURRENCY_KEY in a time."""
    TIMEOUT: ClassVar[float | None] = None
    """Seconds after which a run is ended from outside and counts as an error. It runs in a child process, which is
    killed; the async executor takes the job away from an ``async def run`` and cancels that."""
    CANCEL_GRACE: ClassVar[float] = 10.0
    """Seconds, up to 60, that a run has to end once it was notified that its job is cancelled. After them the job ends
    as cancelled all the same: the process executor kills the run, elsewhere it can't write to the job any more."""
    ON_SHUTDOWN: ClassVar[str] = "requeue"
    """Handling of a run at its worker's shutdown: ``requeue`` gives it the grace to stop, then puts the job back at no
    cost; ``stop`` cancels the job at once; ``finish`` waits for it, however long it takes."""

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
        self._middleware = ()
        self._app = None
        document = document_of(self)
        declaration = document.declaration
        token, unknown = int(kwargs.pop("cas", None) or 0), {}
        if kwargs.get("jobType", declaration.job_type) != declaration.job_type:
            raise InvalidValue(
                f"{type(self).__name__} was given the document of a {jsonvalues.short_repr(kwargs['jobType'])}; "
                f"expected one of a {declaration.job_type!r}. Nothing was stored."
            )
        known = declaration.attributes
        if token:  # what a schema loaded from a stored document: newer code may have added fields
            unknown = {name: kwargs.pop(name) for name in [*kwargs] if name not in known}
        for name in kwargs:
            if name not in known:
                raise TypeError(
                    f"{type(self).__name__} has no field {name!r}{declaration.suggestion(name)}; expected one of its "
                    f"Params, State or SCHEMA: {', '.join(declaration.fields) or 'it declares none'}"
                )
        if not kwargs.keys() >= _HEAD_SET:
            fresh = declaration.new_attributes(document.now(), kwargs.get("uuid"))
            kwargs = {**fresh, **kwargs, "uuid": fresh["uuid"]}
        for field in declaration.fields.values():
            if field.attribute not in kwargs:
                kwargs[field.attribute] = field.initial()
        given = {name: kwargs.pop(name, None) for name in HISTORY}
        history = {name: [_dumped_entry(e) for e in entries] if entries else [] for name, entries in given.items()}
        document.start(history, unknown, token)
        if "completeness" in kwargs:
            kwargs["completeness"] = share(kwargs["completeness"])
        self.__dict__.update(kwargs)

    # what the subclass writes

    @abstractmethod
    def run(self) -> Any:
        """Do the work. Called by the worker once the job is loaded; ``def`` or ``async def``.

        May return a result code (200 and the like), ``NO_RESULT`` or ``(NO_RESULT, delay)`` to run again, a dict to
        be stored as ``output``, or None for 200.
        """

    def before_run(self) -> Any:
        """Prepare a run: called before each ``run()``; ``def`` or ``async def``, and returns nothing.

        What a hook raises counts as if ``run()`` had raised it. Classes that share hooks call ``super()``.
        """

    def after_run(self) -> Any:
        """Clean up: called after each ``run()`` whose ``before_run`` succeeded, however it ended, within the run.

        ``self.returned`` is what ``run()`` returned; None if it raised.
        """

    def on_error(self, error: BaseException) -> Any:
        """Handle an error: called after ``after_run`` with an exception that would be an error of this run.

        Called before it is recorded. May raise in its place: one of the four exceptions to decide what follows, or a
        clearer one. Returns nothing, and then the exception propagates. Not called with the four exceptions, and not
        when the job is cancelled.
        """

    def get_data(self) -> dict[str, Any]:
        """Return the job's result data, as a dict. Override it to compute them.

        By default a copy of ``output``: empty without one, and ``{"output": …}`` of one that is no dict.
        """
        output = jsonvalues.copy(self.output)
        if output is None:
            return {}
        return output if isinstance(output, dict) else {"output": output}

    def continue_running(self) -> int:
        """Return NO_RESULT to run again after an exception, INTERNAL_ERROR to end. Override it for other rules.

        Called after every exception that doesn't itself end the job, WarningContinue included. By default a job
        ends once MAX_ERRORS errors are recorded; a warning is none.
        """
        return NO_RESULT if self.errorCount < self.MAX_ERRORS else INTERNAL_ERROR

    @property
    def resources(self) -> Resources:
        """Resources that the app shares among its jobs in this process: ``self.resources.db``; see ``App.resource``."""
        return _NONE if self._app is None else self._app.resources

    @property
    def app(self) -> App:
        """The app that the object belongs to; within a run the app that runs it, in tests the isolated one.

        Raises ConfigurationError for an object that was made by hand.
        """
        if self._app is None:
            raise ConfigurationError(
                f"job {self.uuid} belongs to no app: its object was made by hand. App.submit and App.get_job return "
                "objects that belong to theirs."
            )
        return self._app

    def submit(
        self,
        job_type: str | type[J] | FunctionJob[..., Any],
        params: Mapping[str, Any] | None = None,
        *,
        uuid: str | None = None,
        unique: Sequence[Any] | None = None,
        **options: Unpack[SubmitKeywords],
    ) -> J:
        """Submit another job on behalf of this one, whose uuid is stored as its ``parent``; see ``App.submit``.

        A run that is repeated submits again, unless ``uuid`` is one that it has stored.
        """
        return self.app.submit(job_type, params, parent=self.uuid, uuid=uuid, unique=unique, **options)

    def submit_many(
        self,
        job_type: str | type[BaseJob] | FunctionJob[..., Any],
        params: Iterable[Mapping[str, Any]],
        **options: Unpack[SubmitKeywords],
    ) -> list[str]:
        """Submit a job for each of ``params`` on behalf of this one; see ``App.submit_many``."""
        return self.app.submit_many(job_type, params, parent=self.uuid, **options)


BaseJob._RESERVED = frozenset({*dir(BaseJob), *map(dropped_field, HISTORY), "datastore", "queue", "keepalive"})


def _dumped_entry(entry: Any) -> Document:
    if isinstance(entry, Error):
        return entry.dump()
    return {name: to_text(value) if isinstance(value, datetime) else value for name, value in entry.items()}


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
