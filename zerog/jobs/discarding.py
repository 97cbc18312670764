"""``on_discard`` of a job class: called before a job is removed, by the program that removes it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from zerog.engine import joblog
from zerog.exceptions import AmbiguousWrite, DatastoreError, JobStateError, UnknownJobType, ZerogError
from zerog.jobs.declaration import declaration_of
from zerog.records.fields import is_count
from zerog.records.job import Document, make_key
from zerog.records.operations import Set
from zerog.support import jsonvalues
from zerog.support.clock import seconds_between, to_text
from zerog.support.error_text import message_of
from zerog.support.texts import shortened

if TYPE_CHECKING:
    from zerog.app import App

log = logging.getLogger("zerog")

FIRST_PAUSE, LONGEST_PAUSE = 20.0, 3600.0
"""Seconds until a sweep calls an ``on_discard`` again that has failed: twice as long after each time."""

WITHOUT = "on_discard=False (--no-on-discard) removes it without that call"

MOST = 500
"""Bytes of an error's text that are kept in the document."""


def discarder(app: App) -> Callable[[Document], None]:
    """Return the function that calls the ``on_discard`` of an app's jobs, for ``Engine.discard``."""
    return partial(call_on_discard, app)


def call_on_discard(app: App, head: Document) -> None:
    """Call the ``on_discard`` of a job that is about to be removed, if its class has one.

    Raises JobStateError if that fails, which is noted in the document, and for a job whose class has one and isn't
    registered here.
    """
    uuid, job_type = head["uuid"], head["jobType"]
    try:
        job_class = app.registry.class_for(head)
    except UnknownJobType as error:
        if head.get("onDiscard") is None:
            return
        raise JobStateError(
            f"job {uuid} can't be removed here: its class has an on_discard, which has to be called first, and no "
            f"class is registered for {jsonvalues.short_repr(job_type)}. Nothing was removed; {WITHOUT}."
        ) from error
    if not declaration_of(job_class).discards:
        return
    try:
        on_discard: Callable[[], Any] = app.get_job(uuid).on_discard
        _nothing(on_discard())
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a class's own code raises: no other job is concerned
        text = shortened(jsonvalues.storable_text(message_of(error)), MOST)
        log.exception("on_discard of job %s failed, so it is kept: %s", uuid, text, extra=joblog.fields(head))
        _note(app, head, text)
        raise JobStateError(f"job {uuid} is kept, for its on_discard failed: {text}; {WITHOUT}") from error


def _nothing(value: Any) -> None:
    if value is not None:
        raise TypeError(f"on_discard() returned {jsonvalues.short_repr(value)}; expected None (it may raise)")


def failures_of(head: Document) -> int:
    """Return how often the ``on_discard`` of a job has failed."""
    failures: Any = (head.get("onDiscard") or {}).get("failures")
    return int(failures) if is_count(failures) else 0


def may_be_called(head: Document, now: str) -> bool:
    """Return True if a sweep may call the ``on_discard`` of a job: it hasn't failed lately."""
    failures = failures_of(head)
    if not failures:
        return True
    with suppress(KeyError, TypeError, ValueError):  # a damaged time
        pause = min(FIRST_PAUSE * 2.0 ** min(failures - 1, 20), LONGEST_PAUSE)
        return seconds_between(head["onDiscard"]["at"], now) >= pause
    return True


def _note(app: App, head: Document, text: str) -> None:
    """Note in the document that ``on_discard`` has failed, unless the job has changed since."""
    engine = app.engine
    datastore = engine.datastore
    note = {"failures": failures_of(head) + 1, "at": to_text(engine.now()), "error": text}
    with suppress(ZerogError, DatastoreError, AmbiguousWrite, datastore.casException, datastore.lockedException):
        again, token = engine.read(head["uuid"])
        if again.get("finishedAt") == head.get("finishedAt"):
            datastore.mutate(make_key(head["uuid"]), [Set("onDiscard", note)], cas=token)
