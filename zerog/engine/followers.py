"""Followers: a job that is submitted because another one has ended, once for each end.

A job whose class has ``on_end`` names the type of its follower in the field ``follower``. The write that ends such a
job sets ``due`` in the same step; the sweep finds it there, submits the follower and clears ``due``. The follower's
uuid is computed from the job's uuid and the epoch of its end, so that a sweep that is repeated submits none twice.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid5

from zerog.engine.scheduled import why_tick_kept
from zerog.exceptions import AmbiguousWrite, CasMismatch, CorruptDocument
from zerog.records.job import CANCELLED_STATUS, SUCCEEDED, TERMINAL, Document, make_key, new_document
from zerog.records.operations import Set
from zerog.support.clock import to_text
from zerog.support.failpoints import failpoint

log = logging.getLogger("zerog")

VERSION = 1.0
"""Schema version of followers."""


def is_to_be_followed(head: Document) -> bool:
    """Return True if a job has ended and its follower isn't known to be submitted."""
    return bool(head.get("follower")) and head.get("due") is not None and head.get("status") in TERMINAL


def follower_of(head: Document) -> str:
    """Return the uuid of the follower of a job's latest end."""
    return str(uuid5(UUID(head["uuid"]), f"{head['epoch']}:end"))


def submit_follower(engine: Any, head: Document) -> str:
    """Submit the follower of a job that has ended, unless that was done before; return its uuid.

    Raises the errors of ``Engine.submit``.
    """
    follower = follower_of(head)
    document = new_document(head["follower"], VERSION, to_text(engine.now()), follower)
    place = {name: head[name] for name in ("queueName", "priority")}
    with suppress(CasMismatch, engine.datastore.casException):
        engine.submit([{**document, **place, "parent": head["uuid"], "ended": head["status"]}], 0)
    return follower


def follow(engine: Any, uuid: str) -> str | None:
    """Submit the follower of a job that has ended, and note it there; return its uuid, None if there is nothing to do.

    Raises the errors of ``Engine.read`` and ``Engine.submit``; a repetition finds out what is missing.
    """
    head, token = engine.read(uuid)
    if not is_to_be_followed(head):
        return None
    follower = submit_follower(engine, head)
    datastore = engine.datastore
    failpoint("follow.note")
    with suppress(CasMismatch, AmbiguousWrite, datastore.casException, datastore.lockedException):
        datastore.mutate(make_key(uuid), [Set("due", None)], cas=token)
    failpoint("follow.noted")
    return follower


def why_kept(engine: Any, head: Document) -> str | None:
    """Return why a job can't be removed yet: its follower reads it, or its schedule has to find it. None if it can."""
    if (why := why_tick_kept(engine, head)) is not None:
        return why
    if not head.get("follower"):
        return None
    if is_to_be_followed(head):
        return "its on_end is not submitted yet; a sweep does so"
    follower = follower_of(head)
    try:
        found = engine.datastore.read_with_cas(make_key(follower), head=True)[0] or {}
    except CorruptDocument:
        return f"its on_end is job {follower}, whose document makes no sense"
    status = found.get("status")
    return None if status in (None, SUCCEEDED, CANCELLED_STATUS) else f"its on_end is job {follower}, which is {status}"
