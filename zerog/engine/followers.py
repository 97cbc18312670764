"""Followers: jobs that are submitted because another one has ended, once for each end.

A job whose class has ``on_end`` names the type of its follower in the field ``follower``; the URLs that web hooks
notify are in ``notify``, and each of them is a follower, too. The write that ends such a job sets ``due`` in the same
step; the sweep finds it there, submits the followers and clears ``due``. A follower's uuid is computed from the job's
uuid and the epoch of its end, so that a sweep that is repeated submits none twice.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid5

from zerog.engine.scheduled import why_tick_kept
from zerog.exceptions import AmbiguousWrite, CasMismatch, CorruptDocument
from zerog.records.job import (
    CANCELLED_STATUS,
    SUCCEEDED,
    TERMINAL,
    Document,
    has_followers,
    make_key,
    new_document,
)
from zerog.records.operations import Set
from zerog.support.clock import to_text
from zerog.support.failpoints import failpoint

log = logging.getLogger("zerog")

VERSION = 1.0
"""Schema version of followers."""

WEB_HOOK = "zerog.webhook"
"""The type of the jobs that deliver web hooks."""

NOTIFIED = ("uuid", "jobType", "attempts", "createdAt", "startedAt", "finishedAt", "parent")
"""Fields of a job that a web hook sends, beside ``status`` and ``result``: none that the job's own code has set."""


def is_to_be_followed(head: Document) -> bool:
    """Return True if a job has ended and its followers aren't known to be submitted."""
    return has_followers(head) and head.get("due") is not None and head.get("status") in TERMINAL


def follower_of(head: Document) -> str:
    """Return the uuid of the job that calls ``on_end`` for a job's latest end."""
    return _named(head, "end")


def web_hooks_of(head: Document) -> list[str]:
    """Return the uuids of the web hooks of a job's latest end, one for each of its URLs."""
    urls: Any = head.get("notify")
    return [_named(head, f"notify:{number}") for number in range(len(urls) if isinstance(urls, list) else 0)]


def _named(head: Document, role: str) -> str:
    return str(uuid5(UUID(head["uuid"]), f"{head['epoch']}:{role}"))


def submit_followers(engine: Any, head: Document) -> list[str]:
    """Submit the followers of a job that has ended, unless that was done before; return their uuids.

    Raises the errors of ``Engine.submit``.
    """
    now = to_text(engine.now())
    documents = []
    if head.get("follower"):
        ending = new_document(head["follower"], VERSION, now, follower_of(head))
        documents.append({**ending, "ended": head["status"]})
    for number, uuid in enumerate(web_hooks_of(head)):
        hook = new_document(WEB_HOOK, VERSION, now, uuid)
        documents.append({**hook, "number": number, "message": message_of(head)})
    place = {"parent": head["uuid"], **{name: head[name] for name in ("queueName", "priority")}}
    for document in documents:
        with suppress(CasMismatch, engine.datastore.casException):
            engine.submit([{**document, **place}], 0)
    return [document["uuid"] for document in documents]


def message_of(head: Document) -> Document:
    """Return what a web hook sends of the end of a job."""
    data = {name: head.get(name) for name in NOTIFIED}
    data |= {"status": head["status"], "result": head.get("resultCode")}
    return {"type": f"job.{head['status']}", "timestamp": head.get("finishedAt"), "data": data}


def follow(engine: Any, uuid: str) -> list[str]:
    """Submit the followers of a job that has ended, and note it there; return their uuids, none if that was done.

    Raises the errors of ``Engine.read`` and ``Engine.submit``; a repetition finds out what is missing.
    """
    head, token = engine.read(uuid)
    if not is_to_be_followed(head):
        return []
    followers = submit_followers(engine, head)
    datastore = engine.datastore
    failpoint("follow.note")
    with suppress(CasMismatch, AmbiguousWrite, datastore.casException, datastore.lockedException):
        datastore.mutate(make_key(uuid), [Set("due", None)], cas=token)
    failpoint("follow.noted")
    return followers


def why_kept(engine: Any, head: Document) -> str | None:
    """Return why a job can't be removed yet: its followers read it, or its schedule has to find it. None if it can."""
    if (why := why_tick_kept(engine, head)) is not None:
        return why
    if not has_followers(head):
        return None
    if is_to_be_followed(head):
        return f"its {'on_end' if head.get('follower') else 'web hook'} is not submitted yet; a sweep does so"
    needed: list[tuple[str, str, tuple[str | None, ...]]] = []
    if head.get("follower"):
        needed.append(("on_end", follower_of(head), (None, SUCCEEDED, CANCELLED_STATUS)))
    needed += [("web hook", uuid, (None, *TERMINAL)) for uuid in web_hooks_of(head)]
    for what, uuid, done in needed:
        try:
            found = engine.datastore.read_with_cas(make_key(uuid), head=True)[0] or {}
        except CorruptDocument:
            return f"its {what} is job {uuid}, whose document makes no sense"
        if found.get("status") not in done:
            return f"its {what} is job {uuid}, which is {found.get('status')}"
    return None
