"""``ScheduleVerbs``: the part of ``App`` that declares schedules and submits their jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from zerog.engine.engine import Engine
from zerog.exceptions import InvalidValue, UnknownJobType
from zerog.jobs.declaration import declaration_of
from zerog.jobs.document import document_of
from zerog.jobs.load import construct
from zerog.jobs.submit import SubmitOptions
from zerog.jobs.unique import lock_of
from zerog.records.job import Document, new_document
from zerog.schedules.definition import ONE, SKIP, Definition, check_schedule_name, definition_of
from zerog.schedules.leader import tick_fields, tick_headers
from zerog.schedules.schedules import Calls, Schedules
from zerog.schedules.timing import timing_of
from zerog.support.clock import Clock, to_text

if TYPE_CHECKING:
    from zerog.jobs.base import BaseJob
    from zerog.jobs.function import FunctionJob
    from zerog.registry import JobRegistry

_OF_ONE_JOB = ("uuid", "logId", "createdAt", "updatedAt", "cas", "headers")


class ScheduleVerbs:
    """Declares schedules, and submits their jobs as ``App.submit`` does."""

    engine: Engine
    registry: JobRegistry
    clock: Clock

    @cached_property
    def schedules(self) -> Schedules:
        """The schedules of this app: list, add, pause, resume, run, remove."""
        calls = Calls(self._submit_tick, self._submit_scheduled, self._template_of)
        return Schedules(self.engine, self.registry, calls)

    def schedule(
        self,
        name: str,
        cron: str | None = None,
        job_type: str | type[BaseJob] | FunctionJob[..., Any] | None = None,
        params: Mapping[str, Any] | None = None,
        *,
        every: timedelta | None = None,
        timezone: str = "UTC",
        overlap: str = SKIP,
        catch_up: str = ONE,
        queue: str | None = None,
        priority: int | None = None,
    ) -> None:
        """Declare a schedule: a job is submitted at each time of ``cron`` in ``timezone``, or at each ``every``.

        ``cron``: minute, hour, day of the month, month and day of the week, as Debian's cron reads them. ``every``: a
        timedelta of whole seconds; its ticks are the multiples since 1970-01-01 UTC. ``overlap``: what becomes of a
        tick while the previous job hasn't ended: ``skip`` none, ``queue`` a job once that has ended, ``cancel`` the
        same, and the previous job is cancelled. ``catch_up``: of the ticks missed while no worker lived, ``one`` gets
        a job, the latest, or ``none``. ``queue`` and ``priority`` are those of the class unless given.

        Workers store it when they start, in place of what code declared before under this name; the rest is done by the
        worker that sweeps. The job has the headers ``schedule`` and ``tick``. Raises InvalidValue, UnknownJobType,
        marshmallow's ValidationError with messages by field, and ConfigurationError for a second schedule of that name
        and if cronsim isn't installed.
        """
        definition = self.schedule_definition(
            cron,
            job_type,
            params,
            every=every,
            timezone=timezone,
            overlap=overlap,
            catch_up=catch_up,
            queue=queue,
            priority=priority,
        )
        self.schedules.declare(check_schedule_name(name), definition)

    def schedule_definition(
        self,
        cron: str | None,
        job_type: str | type[BaseJob] | FunctionJob[..., Any] | None,
        params: Mapping[str, Any] | None = None,
        *,
        every: timedelta | None = None,
        timezone: str = "UTC",
        overlap: str = SKIP,
        catch_up: str = ONE,
        queue: str | None = None,
        priority: int | None = None,
    ) -> Definition:
        """Return what ``schedules.add`` takes, checked as by ``schedule``."""
        timing = timing_of(cron, every, timezone)
        if params is not None and not isinstance(params, Mapping):
            raise InvalidValue(f"params={params!r:.80}; expected an object of parameters. The schedule was not stored.")
        job_class = self.registry.class_of(job_type)
        declaration = declaration_of(job_class)
        declaration.validated(params or {})
        rules: dict[str, Any] = {"overlap": overlap, "catch_up": catch_up, "queue": queue, "priority": priority}
        return definition_of(declaration.job_type, params or {}, timing, **rules)

    def _submit(
        self,
        job_class: type[BaseJob],
        attributes: Sequence[dict[str, Any]],
        options: SubmitOptions,
        params: Mapping[str, Any] | None = None,
        fields: Document | None = None,
    ) -> list[BaseJob]:
        """Make and store jobs of a class, as ``App`` does."""
        raise NotImplementedError

    def _attach(self, job: BaseJob) -> None:
        raise NotImplementedError

    @property
    def datastore(self) -> Any:
        """The datastore."""
        raise NotImplementedError

    @property
    def queue(self) -> Any:
        """The default queue."""
        raise NotImplementedError

    def _submit_tick(self, definition: Definition, uuid: str, name: str, tick: str) -> str:
        headers = tick_headers(name, tick)
        return self._submit_defined(definition, {"uuid": uuid}, headers, tick_fields(name, tick))

    def _submit_scheduled(self, definition: Definition, name: str) -> str:
        return self._submit_defined(definition, {}, {"schedule": name})

    def _submit_defined(
        self,
        definition: Definition,
        own: dict[str, Any],
        headers: dict[str, str],
        fields: Document | None = None,
    ) -> str:
        job_class = self.registry.get_class(definition.job_type)
        attributes = {**declaration_of(job_class).validated(definition.params), **own}
        options = SubmitOptions(queue=definition.queue, priority=definition.priority, headers=headers)
        return self._submit(job_class, [attributes], options, fields=fields)[0].uuid

    def _template_of(self, definition: Definition) -> Document | None:
        try:
            job_class = self.registry.get_class(definition.job_type)
        except UnknownJobType:
            return None
        now = self.clock.now()
        options = SubmitOptions(queue=definition.queue, priority=definition.priority)
        own = declaration_of(job_class).validated(definition.params)
        job = construct(job_class, (self.datastore, self.queue), {**options.attributes(job_class, now), **own})
        self._attach(job)
        document = {f: value for f, value in document_of(job).new().items() if f not in _OF_ONE_JOB}
        plain = new_document(definition.job_type, document["schemaVersion"], to_text(now))
        changed = {f: value for f, value in document.items() if f not in plain or plain[f] != value}
        lock = lock_of(job_class, document, None, now)
        if isinstance(job_class.UNIQUE_UNTIL, timedelta) and lock:
            lock["uniqueFor"] = job_class.UNIQUE_UNTIL.total_seconds()
        return {**changed, **lock, "schemaVersion": document["schemaVersion"]}
