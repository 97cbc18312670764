"""The key of a unique job: the field that holds it, the document that locks it, the rule by which a job holds that.

The lock names one job: the one that has its key. A job whose document says otherwise, or that
doesn't exist, holds nothing.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from zerog.records.fields import NEW
from zerog.records.job import PAUSED, TERMINAL, WAITING, Document, is_uuid
from zerog.records.keys import UNIQUE
from zerog.support.clock import seconds_between
from zerog.support.texts import flat

STARTED, ENDED = UNTIL = ("started", "ended")
"""Until when a job holds its key, unless it is a moment: until its first run begins, until it has ended."""

SHOWN = 100
"""Characters of a key that are shown."""


def unique_lock(job_type: str, values: dict[str, Any] | list[Any], until: str) -> Document:
    """Return the field ``uniqueLock`` of a new job; ``values``: by field, or those that the caller gave.

    ``until``: one of UNTIL, or a moment as text.
    """
    text = json.dumps([job_type, values], sort_keys=True, separators=(",", ":"))
    if isinstance(values, dict):
        parts = [f"{name}={_brief(value)}" for name, value in values.items()]
    else:
        parts = [_brief(value) for value in values]
    shown = flat(", ".join(parts))
    return {
        "key": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40],
        "fields": [*values] if isinstance(values, dict) else [],
        "shown": shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 1]}…",
        "until": until,
    }


def _brief(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def lock_in(head: Document) -> Document | None:
    """Return what the document of a job says of its key; None for a job without one."""
    lock = head.get("uniqueLock")
    return lock if type(lock) is dict and type(lock.get("key")) is str else None


def lock_key(head: Document) -> str | None:
    """Return the datastore key of the lock of a job; None for a job without a key."""
    lock = lock_in(head)
    return None if lock is None else UNIQUE + lock["key"]


def shown_key(head: Document) -> str | None:
    """Return the key of a job for people; None for a job without one."""
    lock = lock_in(head)
    return None if lock is None else str(lock.get("shown"))


def lock_document(uuid: str, is_firm: bool = False) -> Document:
    """Return the lock that names a job.

    ``is_firm``: the writer has seen the job live after having read the lock as it was. Another program that read it
    before that, and saw no live job there, fails with the write that is to follow.
    """
    return {"documentType": "zerog_unique", "uuid": uuid, "firm": is_firm}


def is_firm(lock: Document | None) -> bool:
    """Return True if the job that a lock names was seen live under it."""
    return (lock or {}).get("firm") is True


def named_by(lock: Document | None) -> str | None:
    """Return the uuid that a lock names; None if it doesn't exist or names none."""
    uuid = (lock or {}).get("uuid")
    return uuid if is_uuid(uuid) else None


def is_over(lock: Document, now: str) -> bool:
    """Return True if the moment has passed until which a job holds its key."""
    try:
        return lock["until"] not in UNTIL and seconds_between(now, lock["until"]) <= 0
    except (KeyError, TypeError, ValueError):
        return False


def is_held(head: Document | None, key: str, now: str) -> bool:
    """Return True if the job of a head, which the lock of this key names, holds it still."""
    if head is None or lock_key(head) != key:
        return False
    lock = head["uniqueLock"]
    if lock.get("until") == STARTED:
        return head.get("status") in (NEW, *WAITING, PAUSED) and not lock.get("begun")
    if lock.get("until") == ENDED:
        return head.get("status") not in TERMINAL
    return not is_over(lock, now)
