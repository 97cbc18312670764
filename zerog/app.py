"""``App``: datastore, queue and registered classes; the object that user code works with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from types import ModuleType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, Unpack, cast, overload
from weakref import WeakSet

from zerog.backends.urls import open_engine, urls_from_environment
from zerog.exceptions import ConfigurationError
from zerog.fleet.fleet import Fleet
from zerog.jobs.alike import documents_like, needs_objects
from zerog.jobs.backlog import Backlog
from zerog.jobs.base import BaseJob
from zerog.jobs.delivery import WebHooks
from zerog.jobs.function import FunctionJob, job_class_of
from zerog.jobs.load import attach, construct
from zerog.jobs.submit import SubmitOptions, accept, submit_documents, validated, validated_all
from zerog.jobs.submit_options import Expires, SubmitKeywords, Version
from zerog.jobs.waiting import wait_for_end
from zerog.jsonschema import described_type
from zerog.maintenance.operating import OperatorVerbs
from zerog.maintenance.reconcile import INTERVAL, Reconciler, Report
from zerog.middleware import (
    Middleware,
    SubmitMiddleware,
    check_middleware,
    check_submit_middleware,
    managers_of,
    within,
)
from zerog.query import JobReader
from zerog.registry import JobRegistry, classes_in
from zerog.resources import Resources
from zerog.schedules.verbs import ScheduleVerbs
from zerog.support.clock import SYSTEM, Clock

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound=Middleware)
S = TypeVar("S", bound=SubmitMiddleware)
if TYPE_CHECKING:
    import typing_extensions  # for the default: a type given as text doesn't determine the class

    J = typing_extensions.TypeVar("J", bound=BaseJob, default=BaseJob)
else:
    J = TypeVar("J", bound=BaseJob)

APPS: WeakSet[App] = WeakSet()
"""The apps of this process: the aids for tests keep jobs from all but one of them."""


class App(ScheduleVerbs, OperatorVerbs, WebHooks, JobReader):
    """One application's jobs.

    ``App("sqlite:///jobs.db")`` uses one server or file for both parts; ``App(datastore=…, queue=…)`` takes URLs or
    built adapters. Without either they come from the environment: ZEROG_URL, or ZEROG_DATASTORE and ZEROG_QUEUE. Raises
    ConfigurationError.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        datastore: str | Any | None = None,
        queue: str | Any | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        if url is not None and (datastore is not None or queue is not None):
            raise ConfigurationError("App takes either one URL or datastore= and queue=, not both")
        if datastore is None and queue is not None:
            raise ConfigurationError("App(queue=…) also needs datastore=…")
        first = url if datastore is None else datastore
        if first is None:
            first, queue = urls_from_environment()
        self.engine = open_engine(first, queue, clock)
        self.registry = JobRegistry()
        self.engine.limits_of, self.engine.knows_limits = self.registry.limits_of, self.registry.knows_limits
        self.build_id: str | None = None
        """The build of the code that runs here; kept with every error of its jobs."""
        self.resources = Resources()
        """Resources that were declared with ``resource``, opened when first used in this process."""
        self._middleware: tuple[Middleware, ...] = ()
        self._submit_middleware: tuple[SubmitMiddleware, ...] = ()
        self.clock = clock
        self._backlog = Backlog(self.engine)
        self.fleet = Fleet(self.engine)
        """The workers and queues of this app: list, drain, pause."""
        name = f"app-{os.getpid()}"
        self._reconciler = Reconciler(self.engine, name, clock, INTERVAL, self.registry.kept, self._on_discard)
        APPS.add(self)

    @property
    def datastore(self) -> Any:
        """The datastore."""
        return self.engine.datastore

    @property
    def queue(self) -> Any:
        """The default queue."""
        return self.engine.queue

    def register(self, *jobs: type[BaseJob] | ModuleType) -> None:
        """Register job classes. A module or package stands for every concrete job class that it defines.

        Raises InvalidJobClass, DuplicateJobType, and what the import of a submodule raises; nothing is registered then.
        """
        self.registry.add_classes(
            job_class
            for given in jobs
            for job_class in (classes_in(given) if isinstance(given, ModuleType) else [given])
        )

    @overload
    def job(self, job_type: Callable[P, R], /) -> FunctionJob[P, R]: ...

    @overload
    def job(
        self, job_type: str | None = None, /, *, base: Callable[..., BaseJob] = BaseJob
    ) -> Callable[[Callable[P, R]], FunctionJob[P, R]]: ...

    def job(self, job_type: Any = None, /, *, base: Any = BaseJob) -> Any:
        """Make a job of a function: ``@app.job`` under the function's own name, or ``@app.job("resize")``.

        The first parameter is the job object; a client may set the further ones, which are annotated. The function
        stays as it is and has its class, a subclass of ``base``, as ``.job``. Raises InvalidJobClass, DuplicateJobType.
        """

        def decorate(function: Any) -> Any:
            made = job_class_of(function, None if callable(job_type) else job_type, base)
            self.register(made)
            function.job = made
            return function

        return decorate(job_type) if callable(job_type) else decorate

    def middleware(self, factory: M) -> M:
        """Put a context manager around every run of this app's jobs: ``factory(job)`` makes it, plain or asynchronous.

        The first one is outermost. It gets an exception of the run and may raise another, but can't hide it; what
        ``run()`` returned is ``job.returned`` then. May be used as a decorator. Raises ConfigurationError.
        """
        check_middleware(factory, self._middleware)
        self._middleware += (factory,)
        return factory

    def submit_middleware(self, factory: S) -> S:
        """Put a context manager around every submit of this app: ``factory(jobs)`` makes it, a plain one.

        ``jobs``: the list of new job objects, one of ``submit``. They are stored within; before, their ``headers`` may
        be set, or an exception refuse them all. It gets an exception of the submit as by ``middleware``. May be used as
        a decorator. Raises ConfigurationError.
        """
        check_submit_middleware(factory, self._submit_middleware)
        self._submit_middleware += (factory,)
        return factory

    def resource(self, name: str, factory: Callable[[], Any]) -> None:
        """Declare a resource that jobs use as ``self.resources.<name>``, opened once in each process when first used.

        ``factory`` returns the object, whose ``close()`` ends it if it has one, or yields it once and then closes it.
        Raises ConfigurationError.
        """
        self.resources.add(name, factory)

    def job_class(self, job_type: str) -> type[BaseJob]:
        """Return the class of a type. Raises UnknownJobType, naming the known ones."""
        return self.registry.get_class(job_type)

    def unregister(self, job_type: str) -> type[BaseJob]:
        """Remove a type and return its class. Its jobs wait for workers that have it. Raises UnknownJobType."""
        return self.registry.remove_class(job_type)

    def types(self) -> list[dict[str, Any]]:
        """Describe what can be submitted: each type's name, title, description, schema version and parameters, by name.

        ``params`` is a JSON Schema (draft 2020-12). Raises ConfigurationError if apispec isn't installed.
        """
        return [described_type(job_class) for job_class in self.registry.client_classes()]

    def submit(
        self,
        job_type: str | type[J] | FunctionJob[..., Any],
        params: Mapping[str, Any] | None = None,
        *,
        delay: float = 0,
        at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        headers: Mapping[str, str] | None = None,
        expires: Expires = None,
        parent: str | None = None,
        uuid: str | None = None,
        max_errors: int | None = None,
        timeout: float | None = None,
        soft_timeout: float | None = None,
        schema_version: Version = None,
        connection: Any = None,
        unique: Sequence[str | int | None] | None = None,
        notify: Sequence[str] | None = None,
    ) -> J:
        """Submit a job and return it; once this returns, the job is not lost.

        ``job_type`` is a registered class, its type, or a function that is a job. ``delay`` (seconds) or ``at``
        (in UTC unless it has a timezone) start it later. ``priority`` and ``queue`` are those of its class unless
        given. ``expires``: a job of which no run has begun by then ends as cancelled, with the result 408; seconds or
        a timedelta from now, or a datetime. ``parent``: the uuid of the job on whose behalf it is submitted;
        ``self.submit`` of a job passes its own. ``uuid`` lets the caller choose a new job's uuid; if there is a job of
        this uuid, type and parameters, it is returned, and its ``is_new`` is False. ``max_errors``, ``timeout`` and
        ``soft_timeout`` (seconds) stand for its class's MAX_ERRORS, TIMEOUT and SOFT_TIMEOUT.
        ``schema_version``: the version of the class for which ``params`` were made, if that is an earlier one; they are
        lifted by its migrations first. ``connection``: submit in its transaction, with which the job comes to exist or
        vanishes; a connection of psycopg 3, sqlite3, SQLAlchemy or Django, or a SQLAlchemy session, to this app's
        PostgreSQL database or SQLite file. ``unique``: a key, such as ``("invoice", 42)``, in place of that of the
        class's UNIQUE: the job of this type and key is returned if there is one. ``notify``: URLs that web hooks notify
        of its ends, in place of the class's NOTIFY. Raises UnknownJobType, InvalidValue, SchemaTooNew for a later
        ``schema_version``, marshmallow's ValidationError with messages by field, CasMismatch if the uuid is another
        job's, QueueFull if as many jobs wait as an operator allows on the queue, ConfigurationError if jobs can't be
        submitted on the connection, and what the datastore raises; nothing is stored then.
        """
        job_class = self.registry.class_of(job_type)
        params, attributes = validated(job_class, params, schema_version)
        if uuid is not None:
            attributes["uuid"] = uuid
        limits = max_errors, timeout, soft_timeout, expires
        options = SubmitOptions(delay, at, priority, queue, headers, parent, *limits, connection, unique, notify)
        return cast("J", self._submit(job_class, [attributes], options, None if uuid is None else params)[0])

    def submit_many(
        self,
        job_type: str | type[BaseJob] | FunctionJob[..., Any],
        params: Iterable[Mapping[str, Any]],
        *,
        parent: str | None = None,
        schema_version: Version = None,
        **options: Unpack[SubmitKeywords],
    ) -> list[str]:
        """Submit a job for each of ``params``; returns their uuids in that order. The options are those of ``submit``.

        All are validated before the first is stored; a ValidationError has the messages by index. They are stored in
        batches: an error of the datastore in between leaves whole jobs, and has a note with their number. With
        ``connection`` all or none are in its transaction.
        """
        job_class = self.registry.class_of(job_type)
        attributes, given = validated_all(job_class, params, schema_version), SubmitOptions(parent=parent, **options)
        if not attributes or self._submit_middleware or needs_objects(job_class):
            return [job.uuid for job in self._submit(job_class, attributes, given)]
        delay, now, limits = self._terms(job_class, given)
        job = self._new_job(job_class, {**given.attributes(job_class, now), **attributes[0]})
        documents = documents_like(job, attributes, limits)
        self._admit([job.queueName] * len(documents))
        for _ in submit_documents(self.engine, documents, delay, given.connection):
            pass
        return [document["uuid"] for document in documents]

    def _submit(
        self,
        job_class: type[BaseJob],
        attributes: Sequence[dict[str, Any]],
        options: SubmitOptions,
        params: Mapping[str, Any] | None = None,
        fields: dict[str, Any] | None = None,
    ) -> list[BaseJob]:
        """Make and store jobs. ``params``: what the client gave for the single one of a uuid that the client chose.

        ``fields``: further ones of each document.
        """
        delay, now, limits = self._terms(job_class, options)
        limits |= fields or {}
        jobs = [self._new_job(job_class, {**options.attributes(job_class, now), **own}) for own in attributes]
        self._admit([job.queueName for job in jobs])
        around = within(managers_of(self._submit_middleware, jobs)) if self._submit_middleware else nullcontext()
        with around:
            accept(self.engine, jobs, delay, limits, options, params)
        return jobs

    def _terms(self, job_class: type[BaseJob], options: SubmitOptions) -> tuple[float, datetime, dict[str, Any]]:
        """Return the delay of new jobs, the time, and the fields that their options and class give to them."""
        delay, now, limits = options.seconds(self.engine.now), self.clock.now(), options.limits(job_class)
        limits |= options.expiry(delay, self.engine.now)
        if job_class.NOTIFY or options.notify is not None:
            limits |= self.targets.fields(job_class.NOTIFY, options.notify)
        return delay, now, limits

    def _admit(self, queues: list[str]) -> None:
        """Count new jobs of these queues. Raises QueueFull."""
        if most := self.engine.live_limits.most_waiting():
            self._backlog.admit(most, queues)

    def _new_job(self, job_class: type[BaseJob], given: dict[str, Any]) -> BaseJob:
        self.engine.queue_named(given["queueName"])
        job = construct(job_class, (self.datastore, self.queue), given)
        self._attach(job)
        return job

    def get_job(self, uuid: str, job_type: type[J] | str | None = None) -> J:
        """Return the job object of a stored document. ``job_type`` is the class that is expected, or its type.

        Raises InvalidUuid, JobNotFound, UnknownJobType, SchemaTooNew, CorruptDocument; JobNotFound also if ``job_type``
        is given and the job is none of that class.
        """
        job = self.registry.get_job(uuid, self.datastore, self.queue)
        self.registry.expect(job.uuid, job.jobType, job_type)
        self._attach(job)
        return cast("J", job)

    def wait(self, uuid: str, timeout: float | None = None, job_type: type[J] | str | None = None) -> J:
        """Wait until a job has ended; returns it, newly loaded. Raises TimeoutError after ``timeout`` seconds.

        Raises what ``get_job`` raises, too; a job that is none of ``job_type`` isn't waited for.
        """
        wait_for_end(self.engine, self.registry, uuid, timeout, job_type)
        return self.get_job(uuid, job_type)

    def workers(self) -> list[dict[str, Any]]:
        """Return the workers of this app and their states: see ``Fleet.workers``."""
        return self.fleet.workers()

    def reconcile(self) -> Report:
        """Repair now what a crash left; workers do so without this call.

        Lost workers and lost queue entries are detected by comparing several calls on this app.
        """
        return self._reconciler.sweep()

    def close(self) -> None:
        """Close connections and resources, as ``with app:`` does. A later call opens them again."""
        self.resources.close()
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def setup(self) -> dict[str, list[str]]:
        """Make what the datastore and the queue need before their first use; safe to repeat.

        Returns the names of what was made, by ``datastore`` and ``queue``. Raises what they raise if unreachable.
        """
        return {"datastore": self.datastore.setup(), "queue": self.engine.queue.setup()}

    def _attach(self, job: BaseJob) -> None:
        """Attach this app's engine, clock, middleware and resources to a job object."""
        attach(job, self, self.engine, self._middleware)
