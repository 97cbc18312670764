"""For how long ended jobs are kept, and which of those read may be removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from zerog.exceptions import CorruptDocument, InvalidUuid, SchemaTooNew
from zerog.records.job import Document, check_head, check_layout, make_key
from zerog.support.clock import text_after

PAGE = 200
"""Heads read at a time, and jobs removed in one transaction: ended jobs may have large outputs."""

REASON = "its class keeps it no longer"
"""Why they are removed, for the log."""


class Keep(NamedTuple):
    """Seconds for which jobs of a type are kept, by code that can read documents up to this version."""

    seconds: float
    version: float
    has_hook: bool = False
    """True if the class has ``on_discard``."""


Kept = Mapping[str, Mapping[str, Keep]]
"""By status and type, the retention of ended jobs; those that aren't listed are kept for ever."""


def named(kept: Kept, with_hook: bool) -> Kept:
    """Return those of types that have ``on_discard``, or those of the others."""
    chosen = {
        s: {name: keep for name, keep in types.items() if keep.has_hook == with_hook} for s, types in kept.items()
    }
    return {status: types for status, types in chosen.items() if types}


def until_of(keep: Keep, now: str) -> str:
    """Return the time of the end, as stored text, of the jobs that are kept until now."""
    return text_after(now, -keep.seconds)


def is_known(head: Document, keep: Keep) -> bool:
    """True if this code may remove the job. Only newer code may remove a document that it has written."""
    try:
        key = make_key(head.get("uuid") or "")
        check_head(key, head)
        check_layout(head)
    except (InvalidUuid, CorruptDocument, SchemaTooNew):
        return False
    return bool(head["schemaVersion"] <= keep.version)
