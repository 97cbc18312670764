"""Load a job object from a stored document. What is read before a claim is used after it, too."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from zerog.jobs.declaration import Declaration, declaration_of, engine_attributes
from zerog.jobs.document import document_of
from zerog.records.fields import named
from zerog.records.job import Document, check_layout

if TYPE_CHECKING:
    from zerog.app import App
    from zerog.engine.engine import Engine
    from zerog.jobs.base import BaseJob

log = logging.getLogger("zerog")

J = TypeVar("J", bound="BaseJob")

CLAIM_CHANGES = named(lambda field: field.claim_changes)
"""The fields that a claim changes."""

Loaded = tuple[Document, Document, dict[str, Any], Document]
"""A stored head, its lifted form, the attributes in it, and its unknown fields."""


def construct(job_class: type[J], args: tuple[Any, ...], kwargs: dict[str, Any]) -> J:
    """Make a job object; what its own ``__init__`` changes is stored with its first or next save.

    ``args`` and ``kwargs`` are those of ``__init__``.
    """
    # Without the arguments, which object.__new__ ignores: passing some forty of them takes time.
    is_plain = job_class.__new__ is object.__new__
    job = object.__new__(job_class) if is_plain else job_class.__new__(job_class, *args, **kwargs)
    document = document_of(job)
    document.is_gathering = True
    job.__init__(*args, **kwargs)  # type: ignore[misc]
    document.is_gathering = False
    return job


def attach(job: BaseJob, app: App, engine: Engine, middleware: tuple[Any, ...]) -> None:
    """Let a job object use an app and its parts instead of parts of its own."""
    document = document_of(job)
    document.engine, document.clock, document.last_write = engine, app.clock, app.clock.monotonic()
    job._app, job._middleware = app, middleware


def load_job(
    job_class: type[BaseJob],
    loaded: Loaded,
    token: int,
    datastore: Any,
    queue: Any,
    keepalive: Callable[[], object] | None = None,
) -> BaseJob:
    """Return a job object of a stored document; ``loaded`` is what ``read_head`` made of its head."""
    head, lifted, attributes, unknown = loaded
    job = construct(job_class, (datastore, queue, keepalive), attributes)
    document = document_of(job)
    document.attributes.unknown = unknown
    document.bind(head, lifted, token)
    return job


def read_head(job_class: type[BaseJob], head: Document) -> Loaded:
    """Lift and convert a stored head that ``check_head`` has accepted.

    Raises CorruptDocument or SchemaTooNew; nothing is changed.
    """
    declaration = declaration_of(job_class)
    check_layout(head)
    lifted = head if head["schemaVersion"] == declaration.version else declaration.chain.lift(head)
    attributes, unknown = declaration.load(lifted)
    if unknown and not unknown.keys() <= declaration.noted:
        _warn_of_undeclared(declaration, unknown)
    return head, lifted, attributes, unknown


def _warn_of_undeclared(declaration: Declaration, unknown: Document) -> None:
    """Log each stored field that the class doesn't declare, once in this process."""
    for field in declaration.undeclared(unknown):
        if field not in declaration.noted:
            log.warning(
                "jobs of type %s have a stored field %s that %s in version %s does not declare: it stays in their "
                "documents, and no run uses it. If the field was renamed, raise SCHEMA_VERSION and add a migration.",
                declaration.job_type,
                field,
                declaration.job_class.__qualname__,
                declaration.version,
            )
    declaration.noted.update(unknown)


def after_claim(loaded: Loaded, head: Document) -> Loaded:
    """Update what was loaded before a claim to the head that the claim left."""
    before, lifted, attributes, unknown = loaded
    if attributes["epoch"] == head["epoch"]:  # a claim raises it, so this was loaded after the claim
        return loaded
    changed = {field: head[field] for field in CLAIM_CHANGES}
    lifted = head if lifted is before else {**lifted, **changed}
    return head, lifted, {**attributes, **engine_attributes(changed)}, unknown
