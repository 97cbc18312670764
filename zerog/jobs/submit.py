"""Submit new job objects: their parameters and options, and storing many in one call of the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from marshmallow import ValidationError

from zerog.contracts.datastore import without_history
from zerog.exceptions import CasMismatch, ConfigurationError
from zerog.jobs.base import BaseJob
from zerog.jobs.declaration import declaration_of, engine_attributes
from zerog.jobs.document import document_of
from zerog.jobs.limits import check_limits_given
from zerog.jobs.migrations import upgrade_operations
from zerog.jobs.skew import lifted_params
from zerog.jobs.submit_options import Expires, Version, check_headers, check_priority, delay_until, expires_at
from zerog.jobs.unique import REPLACE, check_given, lock_of
from zerog.records.fields import named
from zerog.records.job import Document, check_head, check_uuid, make_key
from zerog.records.operations import Operation, Set
from zerog.support.checks import check_queue_name
from zerog.support.clock import to_text

BATCH = 500
"""Documents that are stored in one call of the engine."""

SUBMIT_CHANGES = named(lambda field: field.submit_changes)
"""The fields in which a submitted document differs from the job object it was made of."""


class SubmitOptions(NamedTuple):
    """When, where and how long new jobs run, and what is recorded of their submitter: see ``App.submit``."""

    delay: float = 0
    at: datetime | None = None
    priority: int | None = None
    queue: str | None = None
    headers: Mapping[str, str] | None = None
    parent: str | None = None
    max_errors: int | None = None
    timeout: float | None = None
    soft_timeout: float | None = None
    expires: Expires = None
    connection: Any = None
    unique: Sequence[Any] | None = None
    notify: Sequence[str] | None = None

    def seconds(self, now: Callable[[], datetime]) -> float:
        """Return the seconds until they may run; ``now`` is called only if that is needed. Raises InvalidValue."""
        return delay_until(self.delay, self.at, now)

    def expiry(self, delay: float, now: Callable[[], datetime]) -> Document:
        """Return the field of the time by which a run must begin, if they have one. Raises InvalidValue."""
        moment = expires_at(self.expires, delay, now)
        return {} if moment is None else {"expiresAt": to_text(moment)}

    def attributes(self, job_class: type[BaseJob], now: datetime) -> dict[str, Any]:
        """Return the attributes that they give to a job. Raises InvalidValue, InvalidUuid."""
        return {
            "priority": job_class.PRIORITY if self.priority is None else check_priority(self.priority),
            "queueName": job_class.QUEUE if self.queue is None else check_queue_name(self.queue),
            "headers": check_headers(self.headers),
            "parent": None if self.parent is None else check_uuid(self.parent),
            "createdAt": now,
            "updatedAt": now,
        }

    def limits(self, job_class: type[BaseJob]) -> Document:
        """Return the fields of the limits that they give to a job. Raises InvalidValue."""
        return check_limits_given(job_class, self.max_errors, self.soft_timeout, self.timeout)


def validated(
    job_class: type[BaseJob], params: Mapping[str, Any] | None, version: Version = None
) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Return parameters, which have this version of the class, as those of the class; and the attributes of the job.

    Raises ValidationError with messages by field, and what ``lifted_params`` raises.
    """
    own: Mapping[str, Any] = {} if params is None else params
    state: dict[str, Any] = {}
    if version is not None:
        own, state = lifted_params(job_class, own, version)
    return own, {**declaration_of(job_class).validated(own), **state}


def validated_all(
    job_class: type[BaseJob], params: Iterable[Mapping[str, Any]], version: Version = None
) -> list[dict[str, Any]]:
    """Return the attributes of a job for each of ``params``, which have this version of the class.

    Raises ValidationError with the messages by index, and what ``lifted_params`` raises.
    """
    attributes: list[dict[str, Any]] = []
    messages: dict[Any, Any] = {}
    for index, given in enumerate(params):
        try:
            attributes.append(validated(job_class, given, version)[1])
        except ValidationError as error:
            messages[index] = error.messages
    if messages:
        raise ValidationError(messages)
    return attributes


def accept(
    engine: Any,
    jobs: Sequence[BaseJob],
    delay: float,
    limits: Document,
    options: SubmitOptions,
    params: Mapping[str, Any] | None = None,
) -> None:
    """Submit new jobs of one class; then the objects show the jobs that are stored. ``limits``: further fields of each.

    ``params``: what the client gave for the single one whose uuid it has chosen; None if it hasn't. Raises InvalidValue
    for a value that can't be stored, before anything is; CasMismatch if the chosen uuid is another job's, naming what
    differs; and what the engine raises.
    """
    given = None if options.unique is None else check_given(options.unique)
    if given is None and not any(type(job).UNIQUE for job in jobs[:1]):
        submit = partial(submit_all, engine, jobs, delay, limits, options.connection)
    else:
        submit = partial(_submit_unique, engine, jobs, delay, limits, options.connection, given)
    if params is None:
        submit()
        return
    [job] = jobs
    uuid = job.uuid
    is_found = submit.func is _submit_unique and _show_same(engine, job, uuid, options.connection, params)
    if not is_found:
        try:
            submit()
        except (CasMismatch, engine.datastore.casException):
            if not _show_same(engine, job, uuid, options.connection, params):  # it was removed meanwhile
                raise


def _show_same(engine: Any, job: BaseJob, uuid: str, connection: Any, params: Mapping[str, Any]) -> bool:
    """Let a new object show the job that is stored under its uuid; False if there is none. Raises CasMismatch."""
    head, token = engine.read_within(connection, uuid)
    if head is None:
        return False
    check_head(make_key(uuid), head)
    if differences := _differences(job, head, params):
        raise CasMismatch(
            f"job {uuid} is there already, {differences}; a uuid that the caller chooses names one job. Nothing was "
            "stored."
        )
    document_of(job).show(head, token)
    return True


def _submit_unique(
    engine: Any, jobs: Sequence[BaseJob], delay: float, limits: Document, connection: Any, given: list[Any] | None
) -> None:
    """Submit new jobs that are unique, each unless another one has its key; then the objects show the jobs that do."""
    now, documents = engine.now(), []
    for job in jobs:
        check_headers(job.headers)  # a middleware may have set some
        document = {**document_of(job).new(), **limits}
        documents.append({**document, **lock_of(type(job), document, given, now)})
    replace = None
    if jobs and type(jobs[0]).ON_CONFLICT == REPLACE:
        if connection is not None:
            raise ConfigurationError(
                f"connection= can't be combined with ON_CONFLICT = 'replace' of {type(jobs[0]).__qualname__}: the job "
                "that waits may start before the caller's transaction ends. Nothing was stored."
            )

        def replace(head: Document, index: int) -> list[Operation]:
            return _replacing(jobs[index], head, documents[index])

    for job, submitted in zip(jobs, engine.submit_unique(documents, delay, connection, replace), strict=True):
        head = without_history(submitted.document)
        document_of(job).show(head, submitted.token)
        job.__dict__["is_new"] = submitted.is_new


def _replacing(job: BaseJob, head: Document, new: Document) -> list[Operation]:
    """Return the operations that give a stored job the parameters of a new one."""
    declaration = declaration_of(type(job))
    lifted = declaration.chain.lift(head)
    keys = declaration.client_keys(new)
    operations: list[Operation] = [Set(key, new.get(key)) for key in keys if lifted.get(key) != new.get(key)]
    return [*upgrade_operations(head, lifted), *operations] if operations and lifted is not head else operations


def _differences(job: BaseJob, head: Document, params: Mapping[str, Any]) -> str:
    """Return in words what distinguishes a stored job from a new one of its uuid; empty if they are the same."""
    if head["jobType"] != job.jobType:
        return f"of type {head['jobType']!r:.80}, not {job.jobType!r}"
    declaration = declaration_of(type(job))
    lifted, new = declaration.chain.lift(head), document_of(job).new()
    differing = [key for key in declaration.client_keys(params) if lifted.get(key) != new.get(key)]
    return f"with another value of {', '.join(differing)}" if differing else ""


def submit_all(engine: Any, jobs: Sequence[BaseJob], delay: float, limits: Document, connection: Any = None) -> None:
    """Submit new jobs to the engine; then the objects are as they are stored. ``limits``: further fields of each.

    ``connection``: submit them in its transaction. Raises InvalidValue for a value that can't be stored, before
    anything is; and what the engine raises, with a note of how many are stored if there are several.
    """
    for job in jobs:
        check_headers(job.headers)  # a middleware may have set some
    documents = [{**document_of(job).new(), **limits} for job in jobs]
    bound = 0
    for stored in submit_documents(engine, documents, delay, connection):
        _bind(jobs[bound : bound + len(stored)], stored)
        bound += len(stored)


def submit_documents(
    engine: Any, documents: Sequence[Document], delay: float, connection: Any = None
) -> Iterator[list[tuple[Document, int]]]:
    """Submit new documents to the engine in batches; yield each batch as stored, with tokens. Raises as its caller."""
    if connection is not None:
        yield engine.submit_within(connection, documents, delay)
        return
    for start in range(0, len(documents), BATCH):
        try:
            stored = engine.submit(documents[start : start + BATCH], delay)
        except Exception as error:
            if len(documents) > 1:
                error.add_note(f"{_count_stored(engine, documents)} of {len(documents)} jobs are stored and will run")
            raise
        yield stored


def _bind(jobs: Sequence[BaseJob], stored: Sequence[tuple[Document, int]]) -> None:
    for job, (document, token) in zip(jobs, stored, strict=True):
        head = without_history(document)
        job.__dict__.update(engine_attributes({f: head[f] for f in SUBMIT_CHANGES}), is_new=True)
        document_of(job).bind(head, head, token)


def _count_stored(engine: Any, documents: Sequence[Document]) -> int | str:
    try:
        return sum(engine.datastore.read(make_key(document["uuid"])) is not None for document in documents)
    except Exception:  # the first error is the one to report
        return "an unknown number"
