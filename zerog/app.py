"""``App``: datastore, queue and registered classes. What user code holds."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from zerog.backends import open_engine
from zerog.clock import SYSTEM, Clock
from zerog.datastores.base import HISTORY
from zerog.document import STATUSES, TERMINAL, Document, check_head, make_key
from zerog.exceptions import ConfigurationError, InvalidValue, JobNotFound
from zerog.jobs.base import BaseJob, declaration_of
from zerog.jobs.progress import info_of, progress_of
from zerog.reconcile import Reconciler, Report
from zerog.registry import JobRegistry

URL_VARIABLE = "ZEROG_URL"

WAIT_SHORTEST, WAIT_LONGEST = 0.01, 0.5
"""Seconds between two looks of ``wait``; the pause grows from one to the other."""

BATCH = 500
"""Documents that ``submit_many`` stores in one call of the engine."""


class App:
    """One application's jobs.

    ``App("sqlite:///jobs.db")`` uses one server or file for both parts; ``App(datastore=…, queue=…)`` takes URLs or
    built adapters. Without either the URL comes from the environment variable ZEROG_URL. Raises ConfigurationError.
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
            first = os.environ.get(URL_VARIABLE)
        if first is None:
            raise ConfigurationError(f"App needs a URL, for example sqlite:///jobs.db, or {URL_VARIABLE} set to one")
        self.engine = open_engine(first, queue, clock)
        self.registry = JobRegistry()
        self.clock = clock
        self._reconciler = Reconciler(self.engine, f"app-{os.getpid()}", clock)

    @property
    def datastore(self) -> Any:
        """The datastore."""
        return self.engine.datastore

    @property
    def queue(self) -> Any:
        """The default queue."""
        return self.engine.queue

    def register(self, *job_classes: type[BaseJob]) -> None:
        """Make job classes known. Raises InvalidJobClass and DuplicateJobType; nothing is registered then."""
        self.registry.add_classes(job_classes)

    def submit(
        self,
        job_type: str | type[BaseJob],
        params: Mapping[str, Any] | None = None,
        *,
        delay: float = 0,
        at: datetime | None = None,
        priority: int = 0,
        queue: str = "default",
        headers: Mapping[str, str] | None = None,
        uuid: str | None = None,
    ) -> BaseJob:
        """Accept a job and return it; once this returns, the job is not lost.

        ``job_type`` is a registered class or its type. ``delay`` (seconds) or ``at`` (timezone-aware) start it later.
        ``uuid`` lets the caller choose a new job's uuid. Raises UnknownJobType, marshmallow's ValidationError with
        messages by field, CasMismatch if the uuid exists, and what the datastore raises; nothing is stored then.
        """
        [job] = self._submit(
            job_type, [params or {}], self._delay(delay, at), priority, queue, dict(headers or {}), uuid
        )
        return job

    def submit_many(
        self,
        job_type: str | type[BaseJob],
        params: Iterable[Mapping[str, Any]],
        *,
        delay: float = 0,
        at: datetime | None = None,
        priority: int = 0,
        queue: str = "default",
        headers: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Accept a job for each of ``params``; returns their uuids in that order.

        All are validated before the first is stored. They are stored in batches: an error between two batches leaves
        whole jobs, and says how many.
        """
        jobs = self._submit(job_type, list(params), self._delay(delay, at), priority, queue, dict(headers or {}), None)
        return [job.uuid for job in jobs]

    def _submit(
        self,
        job_type: str | type[BaseJob],
        params: Sequence[Mapping[str, Any]],
        delay: float,
        priority: int,
        queue: str,
        headers: dict[str, str],
        uuid: str | None,
    ) -> list[BaseJob]:
        job_class = self._class(job_type)
        declaration = declaration_of(job_class)
        self.engine.named(queue)
        chosen: dict[str, Any] = {"uuid": uuid} if uuid is not None else {}
        if uuid is not None:
            make_key(uuid)
        jobs = []
        for given in params:
            attributes = declaration.validated(given)
            job = job_class(
                self.datastore, self.queue, priority=priority, queueName=queue, headers=headers, **chosen, **attributes
            )
            self._attach(job)
            jobs.append(job)
        documents = [job.dump() for job in jobs]
        for document in documents:
            del document["cas"]
        for start in range(0, len(jobs), BATCH):
            stored = self.engine.submit(documents[start : start + BATCH], delay)
            for job, (document, token) in zip(jobs[start : start + BATCH], stored, strict=True):
                job._show({f: value for f, value in document.items() if f not in HISTORY}, token)
        return jobs

    def get_job(self, uuid: str) -> BaseJob:
        """The job object of a stored document.

        Raises InvalidUuid, JobNotFound, UnknownJobType, SchemaTooNew, CorruptDocument.
        """
        job = self.registry.get_job(uuid, self.datastore, self.queue)
        self._attach(job)
        return job

    def progress(self, uuid: str) -> dict[str, Any]:
        """How far a job is: ``completeness``, ``result``, ``status`` and more, as JSON values. Needs no class.

        Raises InvalidUuid, JobNotFound, CorruptDocument.
        """
        return progress_of(self.engine.read(uuid)[0])

    def info(self, uuid: str) -> dict[str, Any]:
        """``progress`` with ``events``, ``warnings`` and ``errors``."""
        key = make_key(uuid)
        document = self.datastore.read(key)
        if document is None:
            raise JobNotFound(f"there is no job {uuid}")
        check_head(key, document)
        return info_of(document)

    def jobs(
        self,
        *,
        status: str | None = None,
        job_type: str | type[BaseJob] | None = None,
        queue: str | None = None,
        limit: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """The ``progress`` of all jobs with the given values, oldest first, read page by page.

        Raises InvalidValue for an unknown status, and DatastoreError if the datastore can't list.
        """
        if status is not None and status not in STATUSES:
            raise InvalidValue(f"no job ever has the status {status!r}; expected one of {', '.join(STATUSES)}")
        name = job_type.JOB_TYPE if isinstance(job_type, type) else job_type
        left = limit
        after = None
        while left is None or left > 0:
            size = BATCH if left is None else min(BATCH, left)
            page = self.datastore.find(status=status, job_type=name, queue=queue, after=after, limit=size)
            yield from (progress_of(head) for head in page.heads)
            left = None if left is None else left - len(page.heads)
            after = page.after
            if after is None:
                return

    def wait(self, uuid: str, timeout: float | None = None) -> BaseJob:
        """Wait until a job has ended; returns it, loaded afresh. Raises TimeoutError after ``timeout`` seconds."""
        deadline = None if timeout is None else self.clock.monotonic() + timeout
        pause, never = WAIT_SHORTEST, threading.Event()
        while True:
            head: Document = self.engine.read(uuid)[0]
            if head["status"] in TERMINAL:
                return self.get_job(uuid)
            left = pause if deadline is None else min(pause, deadline - self.clock.monotonic())
            if left <= 0:
                raise TimeoutError(f"job {uuid} is still {head['status']} after {timeout} s; it goes on")
            self.clock.wait(never, left)
            pause = min(pause * 1.5, WAIT_LONGEST)

    def cancel(self, uuid: str) -> str:
        """Cancel a job; returns ``cancelled``, or ``running`` until the run has noticed. Raises JobStateError."""
        return self.engine.cancel(uuid)

    def retry(self, uuid: str, reason: str = "") -> None:
        """Let a job that has ended run again, from the state it has; recorded in its events. Raises JobStateError."""
        self.engine.retry(uuid, reason)

    def reconcile(self) -> Report:
        """Repair now what a crash left; workers do so by themselves.

        Silent workers and lost queue entries are judged by what several calls on this app saw.
        """
        return self._reconciler.sweep()

    def close(self) -> None:
        """Close connections. A later call opens them again."""
        self.engine.close()

    def _class(self, job_type: str | type[BaseJob]) -> type[BaseJob]:
        name = job_type.JOB_TYPE if isinstance(job_type, type) else job_type
        job_class = self.registry.get_class(name)
        if isinstance(job_type, type) and job_class is not job_type:
            raise ConfigurationError(f"{job_type!r} isn't registered here; {name!r} belongs to {job_class!r}")
        return job_class

    def _attach(self, job: BaseJob) -> None:
        """Let a job object use this app's engine rather than make a generic one."""
        job.__dict__["_engine"] = self.engine

    def _delay(self, delay: float, at: datetime | None) -> float:
        if at is not None:
            if delay:
                raise InvalidValue("give either delay= or at=, not both; nothing was stored")
            if at.tzinfo is None:
                raise InvalidValue(f"at={at!r} has no timezone; nothing was stored")
            return max(0.0, (at - self.clock.now()).total_seconds())
        if isinstance(delay, bool) or not isinstance(delay, (int, float)) or not 0 <= delay < 10**9:
            raise InvalidValue(f"delay={delay!r}; expected seconds, 0 or more. Nothing was stored.")
        return float(delay)
